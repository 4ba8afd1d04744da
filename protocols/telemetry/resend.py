"""The request to send again (server to gateway): what the server lacks, as after a database was restored.

::

    {"schema": "congto.resend.v1", "gateway": "gw-01", "generation": "5f0c2e9a1b7d4463",
     "sequences": [[15, 15], [18, 9007199254740991]], "events": [[4, 9007199254740991]]}

It goes over the receipts' topic. A range that ends in 2⁵³ − 1 has no end: everything from its first sequence on, which
is the watermark. The gateway sends what it still keeps, receipted before or not, and declares as a loss what it does
not (:mod:`protocols.telemetry.loss`). Asking twice does no harm.
"""

import json
from dataclasses import dataclass
from typing import Any

from protocols.telemetry.batch import decompress
from protocols.telemetry.fields import check_schema, take_generation, take_identifier
from protocols.telemetry.sequences import Ranges, take_ranges
from protocols.telemetry.strict_json import parse_object

SCHEMA = "congto.resend.v1"


@dataclass(frozen=True, slots=True)
class Resend:
    """The batches, and the messages of events, of one spool generation that the server lacks, as closed ranges."""

    gateway: str
    generation: str
    sequences: Ranges = ()
    events: Ranges = ()

    def encode(self) -> bytes:
        """Return the message."""
        message: dict[str, Any] = {
            "schema": SCHEMA,
            "gateway": self.gateway,
            "generation": self.generation,
            "sequences": self.sequences,
        }
        if self.events:
            message["events"] = self.events
        return json.dumps(message, separators=(",", ":")).encode()


def decode_resend(payload: bytes) -> Resend:
    """Return the request in ``payload``; raise :class:`RemoteProtocolError` if it breaks the contract."""
    message = parse_object(decompress(payload))
    check_schema(message, SCHEMA)
    return Resend(
        gateway=take_identifier(message, "gateway"),
        generation=take_generation(message),
        sequences=take_ranges(message, "sequences"),
        events=take_ranges(message, "events") if "events" in message else (),
    )
