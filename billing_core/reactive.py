r"""The surcharge for reactive energy (Circular 15/2014/TT-BCT).

.. math:: \cos\varphi = \frac{A}{\sqrt{A^2 + Q^2}},\quad k = \frac{0.9}{\cos\varphi} - 1,\quad T_q = T_a \cdot k

with cosφ to two decimals and k to 0.01 %, both half up. The square root is irrational, so the two decimals of cosφ are
estimated in floating point and, where the estimate is close to a half, decided in exact integers.
"""

from math import isqrt

import numpy as np

from billing_core.rounding import Int64Array, divide_half_up, multiply
from billing_core.tariff import PowerFactorTable

CLOSE_TO_A_HALF = 1e-6  # in units of 0.01; float64 errs by about 1e-13 of them


def power_factor(active_wh: Int64Array, reactive_varh: Int64Array) -> Int64Array:
    """Return cosφ in hundredths, half up; 100 where nothing flowed. [1/100, n]"""
    active, reactive = active_wh.astype(np.float64), reactive_varh.astype(np.float64)
    apparent = np.hypot(active, reactive)
    exact = np.divide(100.0 * active, apparent, out=np.full_like(apparent, 100.0), where=apparent > 0)
    rounded = np.floor(exact + 0.5).astype(np.int64)
    close = np.abs(exact - np.floor(exact) - 0.5) < CLOSE_TO_A_HALF
    for row in np.flatnonzero(close):
        rounded[row] = _power_factor_exactly(int(active_wh[row]), int(reactive_varh[row]))
    return rounded


def _power_factor_exactly(active: int, reactive: int) -> int:
    """Return the largest c with c − ½ ≤ 100 A/S, S = √(A² + Q²): that is ⌊(⌊200 A/S⌋ + 1)/2⌋."""
    return (isqrt(200 * 200 * active * active // (active * active + reactive * reactive)) + 1) // 2


def surcharge(factor: Int64Array, table: PowerFactorTable) -> Int64Array:
    """Return k for a power factor in hundredths. [1/100 %, n]"""
    within = np.clip(factor, table.floor_percent, table.required_percent)
    missing = (table.required_percent - within) * 10_000
    found = divide_half_up(missing, within)
    return np.where(factor < table.floor_percent, table.floor_surcharge_bp, found)


def charge_reactive(amount: Int64Array, surcharge_bp: Int64Array) -> Int64Array:
    """Return the surcharge on ``amount``, the cost of the active energy before tax. [đ, n]"""
    return divide_half_up(multiply(amount, surcharge_bp), 10_000)
