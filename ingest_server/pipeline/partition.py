"""Static parts of the gateways, so that several processes share the load.

MQTT's filters know whole topic levels only: neither a hash nor a prefix of a gateway's name. So a process of several
asks the registry for the gateways and subscribes to those whose hash falls to it; the hash depends on the name alone,
so the part of a gateway changes only with the number of parts. The first part also hears every status, and so counts
the gateways that nobody has registered; their readings wait in their spools until they are. The single part of one
hears all by wildcards and needs no list.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b

from protocols.errors import UsageError
from protocols.telemetry.topics import PREFIX, Kind, Topic

PARTS_MAX = 64  # processes; more than a machine has cores for
KINDS = (Kind.READINGS, Kind.EVENTS)


@dataclass(frozen=True, slots=True)
class Partition:
    """The part ``number`` (from 1) ``of`` so many."""

    number: int = 1
    of: int = 1

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @property
    def whole(self) -> bool:
        """Whether there is no other part."""
        return self.of == 1

    def client_id(self, base: str) -> str:
        """Return the fixed name at the broker: one session for each part of each division."""
        return base if self.whole else f"{base}-{self.number}-of-{self.of}"

    def holds(self, gateway: str) -> bool:
        """Return whether messages of ``gateway`` are this part's."""
        return int.from_bytes(blake2b(gateway.encode(), digest_size=8).digest()) % self.of == self.number - 1

    def filters(self, gateways: Iterable[str]) -> list[str]:
        """Return the topic filters to subscribe to when ``gateways`` are registered."""
        if self.whole:
            return [f"{PREFIX}/+/{kind.value}" for kind in (*KINDS, Kind.STATUS)]
        statuses = [f"{PREFIX}/+/{Kind.STATUS.value}"] if self.number == 1 else []
        return statuses + [str(Topic(each, kind)) for each in gateways if self.holds(each) for kind in KINDS]


def parse_partition(text: str) -> Partition:
    """Return the part written as ``K/N``; raise :class:`UsageError` if it is none."""
    match = re.fullmatch(r"([0-9]{1,3})/([0-9]{1,3})", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]) <= PARTS_MAX:
        raise UsageError(f"--partition {text!r}: expected K/N with 1 ≤ K ≤ N ≤ {PARTS_MAX}, such as 2/4")
    return Partition(int(match[1]), int(match[2]))
