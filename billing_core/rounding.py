"""The one place where a figure is rounded.

Everything in this package is int64: energy in Wh, money in đồng. A quotient appears in four rules only (a tier's quota,
a day share, an amount, a tax) and each is rounded once, half up, by :func:`divide_half_up`. Energy, prices and counts
are bounded at the door (:data:`ENERGY_WH_MAX` and its neighbours), so that no product of two of them can leave 64 bits;
:func:`multiply` proves it again for the arrays at hand.
"""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Int64Array: TypeAlias = NDArray[np.int64]

INT64_MAX = 2**63 - 1
ENERGY_WH_MAX = 10**13  # 10 TWh, a third of what Vietnam uses in a month: no single bill is larger
PRICE_MAX = 40_000  # đ/kWh, seven times the dearest price in force; ENERGY_WH_MAX × PRICE_MAX < 2⁶²
HOUSEHOLDS_MAX = 10**6  # numerator and denominator; a block of flats behind one meter has hundreds
DEMAND_W_MAX = 10**10  # 10 GW; the whole country draws 50
DAYS_MAX = 3_660  # ten years; ENERGY_WH_MAX × DAYS_MAX < 2⁶³


def divide_half_up(numerator: Int64Array, denominator: Int64Array | int) -> Int64Array:
    """Divide integers that are not negative, and round half up: 0.5 becomes 1.

    Parameters
    ----------
    numerator
        Not negative, at most half of what 64 bits hold. Any shape.
    denominator
        Positive; a number, or an array that broadcasts against ``numerator``.
    """
    if isinstance(denominator, int) and denominator % 2 == 0:
        return (numerator + denominator // 2) // denominator
    return (2 * numerator + denominator) // (2 * denominator)


def multiply(left: Int64Array, right: Int64Array | int) -> Int64Array:
    """Multiply, and refuse a product that twice over would leave 64 bits (:func:`divide_half_up` doubles it).

    Raises
    ------
    OverflowError
        If the largest of ``left`` times the largest of ``right`` is too large.
    """
    bound = _largest(left) * (abs(right) if isinstance(right, int) else _largest(right))
    if bound > INT64_MAX // 2:
        raise OverflowError(f"a product may reach {bound}, 64 bits hold {INT64_MAX}: the input was not bounded")
    return left * right


def _largest(values: NDArray[Any]) -> int:
    """Return the largest magnitude in ``values`` as a Python integer, 0 for none."""
    return max(abs(int(values.max())), abs(int(values.min()))) if values.size else 0
