r"""Whole Wh that add up exactly: the method of the largest remainder.

A total T is shared out by weights: each part gets the floor of :math:`T w_i / \sum w`, and what is left, less than one
Wh per part, goes one by one to the parts with the largest remainders, the earlier first among equals. So the parts are
integers, add up to T, and none is a Wh or more from its exact share.
"""

import numpy as np
from numpy.typing import NDArray

from billing_core.rounding import Int64Array
from protocols.errors import UsageError

BITS = 62


def share_out(total: Int64Array, weight: Int64Array, group: NDArray[np.int64]) -> Int64Array:
    """Share out each group's total among its parts.

    Parameters
    ----------
    total
        What each group has to share, not negative. [Wh, groups]
    weight
        Of each part, not negative; a group whose weights are all 0 is shared evenly. [parts]
    group
        The group of each part, 0 to groups − 1, in any order. [parts]

    Returns
    -------
    ndarray
        [Wh, parts]; each group with parts sums to its total.
    """
    if (total < 0).any() or (weight < 0).any():
        raise UsageError("share_out: found a negative total or weight; expected none: hold what cannot be shared out")
    groups = total.shape[0]
    weight = _bounded(total, weight, group)
    whole = np.zeros(groups, dtype=np.int64)
    np.add.at(whole, group, weight)
    even = whole[group] == 0
    weight = np.where(even, 1, weight)
    np.add.at(whole, group[even], 1)
    product = total[group] * weight
    share: Int64Array = product // whole[group]
    remainder = product - share * whole[group]
    left = total.copy()
    np.subtract.at(left, group, share)
    # Compared as fractions of one denominator within a group, so remainders can be compared as they are.
    order = np.lexsort((np.arange(group.size), -remainder, group))
    begins = np.searchsorted(group[order], np.arange(groups))
    rank = np.arange(group.size) - begins[group[order]]
    share[order] += rank < left[group[order]]
    return share


def _bounded(total: Int64Array, weight: Int64Array, group: NDArray[np.int64]) -> Int64Array:
    """Shift a group's weights right until total × the sum of its weights stays within 62 bits."""
    summed = np.zeros(total.shape[0], dtype=np.float64)
    np.add.at(summed, group, weight.astype(np.float64))
    bits = np.ceil(np.log2(np.maximum(summed, 1))) + np.ceil(np.log2(np.maximum(total, 1))) + 1
    shift = np.maximum(bits - BITS, 0).astype(np.int64)
    bounded: Int64Array = weight >> shift[group]
    return bounded
