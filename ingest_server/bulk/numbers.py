"""Numbers out of the octets of a text, all at once by NumPy; what is not in the plain form is told, not guessed."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

DIGITS_MAX = 18  # more may not fit into 64 bits
WHOLE_DIGITS_MAX, DECIMALS_MAX = 15, 6
PRODUCT_MAX = (1 << 62) - 1
ZERO, MINUS, POINT, COMMA = (ord(sign) for sign in "0-.,")

Octets = NDArray[np.uint8]
Places = NDArray[np.int64]
Mask = NDArray[np.bool_]


def parse_integers(octets: Octets, begin: Places, end: Places) -> tuple[NDArray[np.int64], Mask]:
    """Return the integers that stand in ``octets`` from ``begin`` to ``end`` each, and which of them are plain.

    Plain is an optional minus and 1 to 18 digits. ``octets`` must not be empty.
    """
    minus = octets[np.minimum(begin, len(octets) - 1)] == MINUS
    length = end - begin - minus
    plain = (length >= 1) & (length <= DIGITS_MAX)
    value = np.zeros(len(begin), np.int64)
    power = 1
    for place in range(int(length[plain].max(initial=0))):
        digit = octets[np.maximum(end - 1 - place, 0)] - np.uint8(ZERO)  # wraps: what is below '0' is then above 9
        here = length > place
        plain &= (digit <= 9) | ~here
        value += np.where(here, digit, np.uint8(0)) * np.int64(power)
        power *= 10
    return np.where(minus, -value, value), plain


def parse_decimals(text: str, factor: NDArray[np.int64]) -> tuple[NDArray[np.int64], Mask]:
    """Return the numbers in ``text``, separated by commas, each times its ``factor``, and which are plain.

    Plain is an optional minus, 1 to 15 digits, and perhaps a point and 1 to 6 digits, 18 digits in all, such that the
    product is whole and within 62 bits. There must be as many numbers as factors.
    """
    octets = np.frombuffer(text.encode("utf-8", "replace") + b",", np.uint8)
    points, commas = np.flatnonzero(octets == POINT), np.flatnonzero(octets == COMMA)
    of = np.searchsorted(commas, points)
    decimals = np.zeros(len(commas), np.int64)
    decimals[of] = commas[of] - points - 1
    several = np.bincount(of, minlength=len(commas)) > 1
    left = octets[octets != POINT]
    end = np.flatnonzero(left == COMMA)
    begin = np.concatenate(([0], end[:-1] + 1))
    number, plain = parse_integers(left, begin, end)
    digits = end - begin - (left[begin] == MINUS)
    plain &= ~several & (decimals <= DECIMALS_MAX) & (digits - decimals >= 1) & (digits - decimals <= WHOLE_DIGITS_MAX)
    has_point = np.zeros(len(commas), bool)
    has_point[of] = True
    plain &= ~has_point | (decimals >= 1)
    plain &= np.abs(number) <= PRODUCT_MAX // factor
    divisor = np.int64(10) ** np.clip(decimals, 0, DECIMALS_MAX)
    whole, rest = np.divmod(np.where(plain, number, 0) * factor, divisor)
    return whole, plain & (rest == 0)


def take(octets: Octets, begin: Places, width: int) -> NDArray[np.uint8]:
    """Return ``width`` octets from each ``begin``, one row each; all must lie within ``octets``."""
    windows: Any = np.lib.stride_tricks.sliding_window_view(octets, width)
    found: NDArray[np.uint8] = windows[begin]
    return found


def two_digits(table: NDArray[np.uint8], column: int) -> NDArray[np.int64]:
    """Return the number of two digits that begins at ``column`` of each row of digits' values."""
    return table[:, column].astype(np.int64) * 10 + table[:, column + 1]
