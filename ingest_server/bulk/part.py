"""Readings of a file as columns."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingest_server.bulk.row import Row
from protocols.telemetry.reading import Reading

CHANNELS_MAX = 1_000_000  # 300 MB


class BadLine(NamedTuple):
    """A line without a reading: how many readings of its part stand before it, its number, what is wrong, itself."""

    place: int
    number: int
    reason: str
    text: str


class ChannelNumbers:
    """Numbers channels as they are first met in a file, so that each is looked at once and not in each part.

    ``channels`` only grows, and is another list once it has become too long.
    """

    def __init__(self) -> None:
        self.channels: list[tuple[str, str]] = []
        self._numbers: dict[tuple[str, str], int] = {}

    def begin_part(self) -> bool:
        """Begin anew if the list is too long; return whether that was done. Not within a part."""
        if len(self.channels) < CHANNELS_MAX:
            return False
        self.channels, self._numbers = [], {}
        return True

    def number(self, meter: str, obis: str) -> int:
        """Return the place of a channel in ``channels``."""
        found = self._numbers.setdefault((meter, obis), len(self.channels))
        if found == len(self.channels):
            self.channels.append((meter, obis))
        return found


@dataclass(frozen=True, slots=True)
class Part:
    """Readings of a file in their order, as four columns of one length; ``channel`` points into ``channels``.

    ``at_ms`` is in milliseconds since 1970 UTC, ``value`` in the base unit of the OBIS code. ``flags`` are what the
    file's own format says of single rows' quality beyond our flags, by the place of the row; ``bad`` are the lines
    between them that hold no reading.
    """

    channels: Sequence[tuple[str, str]]
    channel: NDArray[np.int64]
    at_ms: NDArray[np.int64]
    value: NDArray[np.int64]
    quality: NDArray[np.int16]
    flags: Mapping[int, str] = field(default_factory=dict)
    bad: Sequence[BadLine] = ()

    def __len__(self) -> int:
        return len(self.value) + len(self.bad)

    def rows(self) -> Iterator[Row]:
        """Yield the readings one by one."""
        columns = (each.tolist() for each in (self.channel, self.at_ms, self.value, self.quality))
        for place, (channel, *rest) in enumerate(zip(*columns, strict=True)):
            yield Row(Reading(*self.channels[channel], *rest), self.flags.get(place))

    def marked(self, quality: int) -> "Part":
        """Return the same with ``quality`` added to each reading."""
        return replace(self, quality=self.quality | np.int16(quality))

    def cut(self, length: int) -> tuple["Part", "Part"]:
        """Return the first ``length`` rows, bad lines counted as rows, and the others."""
        # A bad line at place p that is the nth of them (from 0) is row p + n.
        bad = sum(each.place + number < length for number, each in enumerate(self.bad))
        good = length - bad
        later = [each._replace(place=each.place - good) for each in self.bad[bad:]]
        return self._span(0, good, self.bad[:bad]), self._span(good, len(self.value), later)

    def _span(self, first: int, end: int, bad: Sequence[BadLine]) -> "Part":
        flags = {place - first: flag for place, flag in self.flags.items() if first <= place < end}
        span = slice(first, end)
        return Part(
            self.channels, self.channel[span], self.at_ms[span], self.value[span], self.quality[span], flags, bad
        )


def in_parts(parts: Iterator[Part], length: int, skip: int) -> Iterator[Part]:
    """Yield what ``parts`` hold in parts of at most ``length`` rows, without the first ``skip``.

    Each part given is cut by itself: joining would copy, and readers give parts that are large enough.
    """
    for part in parts:
        rest = part
        if skip:
            gone = min(skip, len(rest))
            skip -= gone
            _, rest = rest.cut(gone)
        while len(rest):
            now, rest = rest.cut(min(length, len(rest)))
            yield now
