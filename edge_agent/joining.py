"""Batches joined into messages: an hour of a channel takes less on the wire than four quarters of it apart."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from edge_agent.spool_seals import SEQUENCE_MASK
from protocols.errors import RemoteProtocolError
from protocols.telemetry.batch import NO_CLOCKS, ROWS_MAX, Batch, Clocks
from protocols.telemetry.columns import Rows, encode_channels
from protocols.telemetry.readings import decode_header, decode_readings
from protocols.telemetry.sequences import Ranges, ranges


class Outgoing(NamedTuple):
    """A message to be sent, the batches that its receipt settles, and the key of the last of them."""

    generation: str
    sequences: Ranges
    last_key: int
    payload: bytes


@dataclass(slots=True)
class _Gathered:
    """The batches of the next message."""

    gateway: str
    generation: str
    sequences: list[int] = field(default_factory=list)
    channels: dict[tuple[str, str], Rows] = field(default_factory=dict)
    rows: int = 0
    clocks: Clocks = NO_CLOCKS
    alone: bytes = b""
    last_key: int = 0

    def takes(self, batch: Batch, found: list[tuple[tuple[str, str], Rows]]) -> bool:
        """Return whether ``batch`` goes into the same message: of one generation, few rows, later in each channel."""
        return (
            batch.generation == self.generation
            and self.rows + len(batch) <= ROWS_MAX
            and all(self.channels[pair][-1][0] < rows[0][0] for pair, rows in found if pair in self.channels)
        )

    def add(self, key: int, batch: Batch, found: list[tuple[tuple[str, str], Rows]], payload: bytes) -> None:
        """Take ``batch`` in."""
        self.alone = b"" if self.sequences else payload
        self.sequences.append(key & SEQUENCE_MASK)
        for pair, rows in found:
            self.channels.setdefault(pair, []).extend(rows)
        self.rows += len(batch)
        taken = max((each for each in (self.clocks.taken_at_ms, batch.clocks.taken_at_ms) if each), default=None)
        self.clocks = Clocks(taken, {**self.clocks.offsets_ms, **batch.clocks.offsets_ms})
        self.last_key = key

    def message(self) -> Outgoing:
        """Return the message; a batch that is alone goes as it was spooled."""
        found = ranges(self.sequences)
        payload = self.alone or encode_channels(self.gateway, self.generation, found, self.channels, self.clocks)
        return Outgoing(self.generation, found, self.last_key, payload)


def join(batches: Iterable[tuple[int, bytes]]) -> Iterator[Outgoing]:
    """Yield the messages that carry ``batches``, pairs of key and payload, in their order.

    One that breaks the contract, by a mistake of ours, goes alone: the server keeps it in the quarantine and says so.
    """
    gathered: _Gathered | None = None
    for key, payload in batches:
        try:
            batch = decode_readings(payload)
        except RemoteProtocolError:
            if gathered is not None:
                yield gathered.message()
                gathered = None
            header = decode_header(payload)
            yield Outgoing(header.generation, header.settles, key, payload)
            continue
        found = _by_channel(batch)
        if gathered is None or not gathered.takes(batch, found):
            if gathered is not None:
                yield gathered.message()
            gathered = _Gathered(batch.gateway, batch.generation)
        gathered.add(key, batch, found, payload)
    if gathered is not None:
        yield gathered.message()


def _by_channel(batch: Batch) -> list[tuple[tuple[str, str], Rows]]:
    rows: list[Rows] = [[] for _ in batch.channels]
    for channel, row in zip(batch.channel, zip(batch.at_ms, batch.value, batch.quality, strict=True), strict=True):
        rows[channel].append(row)
    return [(pair, found) for pair, found in zip(batch.channels, rows, strict=True) if found]
