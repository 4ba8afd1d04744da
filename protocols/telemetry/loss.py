"""The loss (gateway to server): which batches will never come, and why. So a gap that is declared is told from one
that is not.

::

    {"schema": "congto.loss.v1", "gateway": "gw-01", "generation": "5f0c2e9a1b7d4463",
     "sequences": [[17, 17], [19, 21]], "reason": "space", "readings": 400,
     "from": 1759251600000, "to": 1759253400000}

It goes over the readings' topic in the place of the batches, is repeated until it is receipted as they are, and a
receipt names the same sequences.
"""

import json
from dataclasses import dataclass
from enum import Enum
from typing import Any

from protocols.errors import RemoteProtocolError
from protocols.telemetry.batch import AT_MS_MAX, AT_MS_MIN, decompress
from protocols.telemetry.fields import check_schema, take_generation, take_identifier, take_integer
from protocols.telemetry.sequences import Ranges, take_ranges
from protocols.telemetry.strict_json import parse_object

SCHEMA = "congto.loss.v1"


class Reason(Enum):
    """Why batches were given up."""

    SPACE = "space"  # the spool was full: the oldest instantaneous readings go first, billing registers last
    DAMAGE = "damage"  # the gateway's disk gave back other octets than it was given, or none
    EXPIRED = "expired"  # receipted long ago, and no longer kept when the server asked for it again
    NEVER_USED = "never_used"  # numbers that were skipped on purpose: no reading was ever under them


@dataclass(frozen=True, slots=True)
class Loss:
    """Batches that will not come. ``readings`` and the times [ms since 1970 UTC] are None where nobody knows."""

    gateway: str
    generation: str
    sequences: Ranges
    reason: Reason
    readings: int | None = None
    from_ms: int | None = None
    to_ms: int | None = None

    def encode(self) -> bytes:
        """Return the message."""
        message: dict[str, Any] = {
            "schema": SCHEMA,
            "gateway": self.gateway,
            "generation": self.generation,
            "sequences": self.sequences,
            "reason": self.reason.value,
        }
        known = {"readings": self.readings, "from": self.from_ms, "to": self.to_ms}
        message |= {key: value for key, value in known.items() if value is not None}
        return json.dumps(message, separators=(",", ":")).encode()


def is_loss(payload: bytes) -> bool:
    """Return whether a message on the readings' topic is a loss; cheap, and right for what an agent writes."""
    return payload.startswith(b'{"schema":"congto.loss.v1",')


def decode_loss(payload: bytes) -> Loss:
    """Return the loss in ``payload``; raise :class:`RemoteProtocolError` if it breaks the contract."""
    message = parse_object(decompress(payload))
    check_schema(message, SCHEMA)
    try:
        reason = Reason(message.get("reason"))
    except ValueError:
        reasons = ", ".join(each.value for each in Reason)
        raise RemoteProtocolError(f"reason {str(message.get('reason'))[:40]!r}: expected one of {reasons}") from None
    return Loss(
        gateway=take_identifier(message, "gateway"),
        generation=take_generation(message),
        sequences=take_ranges(message, "sequences", ordered=True),
        reason=reason,
        readings=take_integer(message, "readings") if "readings" in message else None,
        from_ms=take_integer(message, "from", AT_MS_MIN, AT_MS_MAX) if "from" in message else None,
        to_ms=take_integer(message, "to", AT_MS_MIN, AT_MS_MAX) if "to" in message else None,
    )
