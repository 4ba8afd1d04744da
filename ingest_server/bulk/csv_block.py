"""A block of CSV lines as columns, by NumPy; lines that are not plain are left to whoever reads them one by one.

Times and values are computed from their octets. Names repeat: the octets of meter and OBIS code, and those of the
quality, are hashed word by word, and one text of each hash is read; that the others are the same is then compared, so a
hash that two texts share costs time and never a wrong name.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ingest_server.bulk.numbers import Mask, Octets, Places, parse_integers
from ingest_server.bulk.times import parse_times
from protocols.errors import UsageError

COMMA, LINE_END = ord(","), ord("\n")
COMMAS = 4
NAME_OCTETS_MAX = 64 + 1 + 23  # a meter's name and an OBIS code of six groups of three digits
WORD = 8
PADDING = bytes(NAME_OCTETS_MAX + WORD)  # words may be read beyond the end
_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # 2⁶⁴ divided by the golden ratio: Knuth, TAOCP 3, section 6.4
_MASKS = np.array([(1 << (8 * octets)) - 1 for octets in range(WORD + 1)], np.uint64)


@dataclass(frozen=True, slots=True)
class Block:
    """The columns of a block's lines. What stands at lines that are not ``plain`` means nothing."""

    begin: Places  # of each line
    end: Places  # where its line end stands
    plain: Mask
    channel: NDArray[np.int64]
    at_ms: NDArray[np.int64]
    value: NDArray[np.int64]
    quality: NDArray[np.int16]


def parse_block(lines: bytes, channel_of: Callable[[bytes], int], quality_of: Callable[[bytes], int]) -> Block:
    """Return the columns of ``lines``, whole ones, each with its line end.

    ``channel_of`` gives the number of ``meter,obis``, ``quality_of`` reads the last field; both give 0 or more, and
    raise :class:`UsageError` where they can't.
    """
    octets: Octets = np.frombuffer(lines + PADDING, np.uint8)
    text = octets[: len(lines)]
    end = np.flatnonzero(text == LINE_END)
    begin = np.concatenate(([0], end[:-1] + 1))
    plain, commas = _commas(np.flatnonzero(text == COMMA), begin, end)
    at_ms, good = parse_times(octets, commas[:, 1] + 1, commas[:, 2])
    plain &= good
    value, good = parse_integers(octets, commas[:, 2] + 1, commas[:, 3])
    plain &= good  # and so many digits are less than VALUE_MAX
    channel = _numbers(octets, begin, commas[:, 1], channel_of, wanted=plain)
    quality = _numbers(octets, commas[:, 3] + 1, end, quality_of, wanted=plain & (channel >= 0))
    return Block(begin, end, quality >= 0, channel, at_ms, value, quality.astype(np.int16))


def _commas(found: Places, begin: Places, end: Places) -> tuple[Mask, Places]:
    """Return which lines have four commas, and where each line's stand."""
    count = len(begin)
    if len(found) == COMMAS * count:
        table = found.reshape(count, COMMAS)
        if (table[:, 0] >= begin).all() and (table[:, -1] < end).all():
            return np.ones(count, bool), table
    first = np.searchsorted(found, begin)
    plain = np.searchsorted(found, end) - first == COMMAS
    table = np.repeat(begin[:, None], COMMAS, axis=1)
    table[plain] = found[first[plain][:, None] + np.arange(COMMAS)]
    return plain, table


def _numbers(
    octets: Octets, begin: Places, end: Places, number_of: Callable[[bytes], int], *, wanted: Mask
) -> NDArray[np.int64]:
    """Return the number of the text from ``begin`` to ``end`` of each line that is ``wanted``, -1 where it has none."""
    numbers = np.full(len(begin), -1)
    length = end - begin
    (chosen,) = np.nonzero(wanted & (length <= NAME_OCTETS_MAX))
    if not len(chosen):
        return numbers
    begin, length = begin[chosen], length[chosen]
    words = [
        word & _MASKS[np.clip(length - WORD * place, 0, WORD)]
        for place, word in enumerate(_words(octets, begin, length))
    ]
    hashed = length.astype(np.uint64)
    for word in words:
        hashed = (hashed ^ word) * _FACTOR
        hashed ^= hashed >> np.uint64(32)
    _, first, which = np.unique(hashed, return_index=True, return_inverse=True)
    of = first[which]
    same = length == length[of]
    for word in words:
        same &= word == word[of]
    found = []
    for at, octets_long in zip(begin[first].tolist(), length[first].tolist(), strict=True):
        try:
            found.append(number_of(octets[at : at + octets_long].tobytes()))
        except UsageError:  # whoever reads the line by itself says what is wrong with it
            found.append(-1)
    numbers[chosen] = np.where(same, np.array(found, np.int64)[which], -1)
    return numbers


def _words(octets: Octets, begin: Places, length: Places) -> list[NDArray[np.uint64]]:
    """Return the texts' words, the first of each, the second of each, and so on; what follows a text is in them too."""
    overlapping: NDArray[np.uint64] = np.ndarray((len(octets) - WORD + 1,), "<u8", octets, strides=(1,))
    count = -(-int(length.max()) // WORD)
    last = len(overlapping) - 1
    return [overlapping[np.minimum(begin + WORD * place, last)] for place in range(count)]
