"""Sequences as closed ranges, as receipts, losses and requests give them: ``[[17, 21], [23, 23]]``."""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from protocols.errors import RemoteProtocolError

SEQUENCE_MAX = (1 << 53) - 1  # exact in every JSON implementation
RANGES_MAX = 10_000

Ranges = tuple[tuple[int, int], ...]


def ranges(sequences: Iterable[int]) -> Ranges:
    """Return ``sequences`` as ascending closed ranges."""
    return join_ranges((sequence, sequence) for sequence in sequences)


def join_ranges(found: Iterable[tuple[int, int]]) -> Ranges:
    """Return closed ranges that may overlap as ascending ones that neither overlap nor touch."""
    joined: list[tuple[int, int]] = []
    for first, last in sorted(found):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append((first, last))
    return tuple(joined)


def count_sequences(found: Ranges) -> int:
    """Return how many sequences lie in ``found``."""
    return sum(last - first + 1 for first, last in found)


def take_ranges(message: dict[str, Any], key: str, *, ordered: bool = False) -> Ranges:
    """Return a list of closed ranges; ``ordered`` refuses one that is empty, or not ascending and apart."""
    found = message.get(key)
    if type(found) is not list or len(found) > RANGES_MAX:
        raise RemoteProtocolError(f"{key}: expected a list of at most {RANGES_MAX} ranges")
    for pair in found:
        if type(pair) is not list or [type(end) for end in pair] != [int, int]:
            raise RemoteProtocolError(f"{key}: expected pairs of integers, found {str(pair)[:80]!r}")
        if not 1 <= pair[0] <= pair[1] <= SEQUENCE_MAX:
            raise RemoteProtocolError(f"{key}: {str(pair)[:80]} is not a range of sequences")
    if ordered and (not found or any(before[1] >= after[0] for before, after in pairwise(found))):
        raise RemoteProtocolError(f"{key}: expected one ascending range or more, none overlapping another")
    return tuple((first, last) for first, last in found)
