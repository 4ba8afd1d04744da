"""Rows that may be stored already, compared with what is: which are new, which are there, which say another value.

Pure: what is stored is an argument.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ingest_server.pipeline.admission import Rows


@dataclass(frozen=True, slots=True)
class Staged:
    """Rows in the order of channel, time and coming; ``message`` numbers the message of each, from 1."""

    message: NDArray[np.int32]
    rows: Rows

    def __len__(self) -> int:
        return len(self.rows)

    def chosen(self, mask: NDArray[np.bool_]) -> "Staged":
        """Return the rows in ``mask``."""
        return Staged(self.message[mask], self.rows.chosen(mask))


@dataclass(frozen=True, slots=True)
class Compared:
    """What is to be inserted, what is to be kept as a conflict, and how many rows were there already."""

    new: Staged
    conflicts: Staged
    duplicates: int


def order(parts: Sequence[tuple[Rows, int]]) -> Staged:
    """Return the rows of all ``parts``, pairs with the number of their message."""
    rows = Rows.together([each for each, _ in parts])
    message = np.repeat(np.array([number for _, number in parts], np.int32), [len(each) for each, _ in parts])
    ordered = np.lexsort((message, rows.at_ms, rows.channel_id))
    return Staged(message[ordered], rows.chosen(ordered))


def compare(staged: Staged, place: NDArray[np.int64], value: NDArray[np.int64]) -> Compared:
    """Return what becomes of the rows, given that those at ``place`` (from 0) are stored with ``value``.

    Of rows with one key that is not stored the first is new; what another then says is held against it.
    """
    rows = staged.rows
    found = np.zeros(len(staged), bool)
    found[place] = True
    stands = rows.value.copy()
    stands[place] = value
    first = np.ones(len(staged), bool)
    first[1:] = (np.diff(rows.channel_id) != 0) | (np.diff(rows.at_ms) != 0)
    stands = stands[np.maximum.accumulate(np.where(first, np.arange(len(staged)), 0))]
    new = first & ~found
    conflict = rows.value != stands
    return Compared(staged.chosen(new), staged.chosen(conflict), int(np.count_nonzero(~new & ~conflict)))
