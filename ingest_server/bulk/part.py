"""Readings of a file as columns."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
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

    ``at_ms`` is in milliseconds since 1970 UTC, ``value`` in the base unit of the OBIS code. ``flag`` numbers what the
    file's own format says of each row's quality beyond our flags, one of ``flag_texts`` counted from 1, or 0: nothing;
    ``None`` if it says nothing at all. ``bad`` are the lines between the rows that hold no reading.
    """

    channels: Sequence[tuple[str, str]]
    channel: NDArray[np.int64]
    at_ms: NDArray[np.int64]
    value: NDArray[np.int64]
    quality: NDArray[np.int16]
    flag: NDArray[np.int32] | None = None
    flag_texts: Sequence[str] = ()
    bad: Sequence[BadLine] = ()

    def __len__(self) -> int:
        return len(self.value) + len(self.bad)

    def rows(self) -> Iterator[Row]:
        """Yield the readings one by one."""
        flag = np.zeros(len(self.value), np.int32) if self.flag is None else self.flag
        texts = (None, *self.flag_texts)
        columns = (each.tolist() for each in (self.channel, self.at_ms, self.value, self.quality, flag))
        for channel, *rest, said in zip(*columns, strict=True):
            yield Row(Reading(*self.channels[channel], *rest), texts[said])

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
        span = slice(first, end)
        return replace(
            self,
            channel=self.channel[span],
            at_ms=self.at_ms[span],
            value=self.value[span],
            quality=self.quality[span],
            flag=None if self.flag is None else self.flag[span],
            bad=bad,
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
