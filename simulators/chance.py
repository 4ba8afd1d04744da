"""Chance that is the same on every machine: numbers drawn by counting, not by a generator's hidden state.

A draw is a hash of a key and an index (SplitMix64's finaliser, Steele, Lea and Flood, "Fast splittable pseudorandom
number generators", OOPSLA 2014, figure 17). Everything is integer arithmetic modulo 2⁶⁴, so neither the NumPy version
nor the processor nor the order of the questions can change an answer, and the draw of any half-hour is found without
drawing those before it.
"""

from hashlib import blake2b

import numpy as np
import numpy.typing as npt

Int64Array = npt.NDArray[np.int64]

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_MIX_1 = 0xBF58476D1CE4E5B9
_MIX_2 = 0x94D049BB133111EB


def key_of(*parts: object) -> int:
    """Return the 64-bit key that belongs to ``parts``, such as a seed, a meter and a purpose."""
    text = "\x1f".join(map(str, parts))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


def draw(key: int, index: int) -> int:
    """Return the 64 bits drawn for ``index`` under ``key``."""
    bits = (key + (index + 1) * _GOLDEN) & _MASK
    bits = ((bits ^ bits >> 30) * _MIX_1) & _MASK
    bits = ((bits ^ bits >> 27) * _MIX_2) & _MASK
    return bits ^ bits >> 31


def draws(key: int, indices: Int64Array) -> npt.NDArray[np.uint64]:
    """Return :func:`draw` of each index."""
    bits = np.uint64(key) + (indices.astype(np.uint64) + np.uint64(1)) * np.uint64(_GOLDEN)
    bits = (bits ^ bits >> np.uint64(30)) * np.uint64(_MIX_1)
    bits = (bits ^ bits >> np.uint64(27)) * np.uint64(_MIX_2)
    return bits ^ bits >> np.uint64(31)


def below(key: int, index: int, limit: int) -> int:
    """Return an integer from 0 to ``limit`` − 1; ``limit`` at most 2³²."""
    return (draw(key, index) >> 32) * limit >> 32


def all_below(key: int, indices: Int64Array, limit: int) -> Int64Array:
    """Return :func:`below` of each index; ``limit`` below 2³¹."""
    return ((draws(key, indices) >> np.uint64(32)) * np.uint64(limit) >> np.uint64(32)).astype(np.int64)


def per_mille_around_one(key: int, indices: Int64Array, spread: int) -> Int64Array:
    """Return factors in thousandths between 1000 ± ``spread``, most of them near 1000 (a sum of four even draws)."""
    bits = draws(key, indices)
    total = np.zeros(indices.shape, dtype=np.int64)
    for shift in (0, 16, 32, 48):
        total += (bits >> np.uint64(shift) & np.uint64(0xFFFF)).astype(np.int64)
    return 1000 + (total - 2 * 0xFFFF) * spread // (2 * 0xFFFF)
