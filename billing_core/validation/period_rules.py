"""Rules about the energy of a billing period: V34, V37, V39, V40, V41."""

from collections.abc import Sequence
from math import isqrt

import numpy as np
from numpy.typing import NDArray

from billing_core.rounding import Int64Array
from billing_core.validation.finding import BoolArray, Finding, found
from billing_core.validation.parameters import Columns
from billing_core.validation.series import Registers

NO_PROPOSAL = -1
PERIOD_WH_MAX = 10**12  # E × days × percent stays below 2⁶³; more energy than this goes to a person anyway


def first_known(references: Sequence[Int64Array]) -> Int64Array:
    """Return per meter the first reference above 0: same season last year, last period, peers. [Wh per day, meters]"""
    chosen = np.zeros_like(references[0])
    for reference in references:
        chosen = np.where(chosen > 0, chosen, reference)
    return chosen


def v34_high_low(energy_wh: Int64Array, days: Int64Array, daily_wh: Int64Array, parameters: Columns) -> Finding:
    """A period's energy against what its days would usually take; it is held until a person has looked.

    Parameters
    ----------
    energy_wh, days
        Of the period. [Wh, days; meters]
    daily_wh
        What a day usually takes (:func:`first_known`), 0 where that is not known. [Wh, meters]
    """
    usual = daily_wh * days
    energy = np.minimum(energy_wh, PERIOD_WH_MAX)
    high = energy * 100 > parameters["high_percent"] * usual
    low = energy * 100 < parameters["low_percent"] * usual
    material = np.abs(energy - usual) > parameters["high_low_floor_wh"]
    return found("V34", (high | low) & material & (usual > 0), energy_wh=energy_wh, usual_wh=usual)


def v37_digit_error(registers: Registers, usual_wh: Int64Array, parameters: Columns) -> Finding:
    """A reading that one slip of the pen explains, and the reading that was probably meant.

    Tried on the last register of each meter, if its energy is out of range or negative: two neighbouring digits
    transposed, a digit left out or written twice (a factor near 10 or 1/10). The evidence ``proposed_wh`` is the index
    that brings the energy nearest to the usual one, ``NO_PROPOSAL`` where a factor was found but no index.

    Parameters
    ----------
    usual_wh
        What the period would usually take, 0 where that is not known. [Wh, meters]
    """
    old, new, factor = registers.index_wh[:, -2], registers.index_wh[:, -1], registers.multiplier
    read = registers.actual[:, -2] & registers.actual[:, -1]
    energy = (new - old) * factor
    low, high = parameters["digit_low_percent"], parameters["digit_high_percent"]
    plausible = _within(energy, usual_wh, low, high)
    suspect = read & (usual_wh > 0) & ~plausible
    proposed = np.full(new.shape, NO_PROPOSAL, dtype=np.int64)
    nearest = np.full(new.shape, np.iinfo(np.int64).max)
    for candidate in _slips(new, registers.unit_wh, int(registers.digits.max(initial=0))):
        meant = (candidate - old) * factor
        distance = np.abs(meant - usual_wh)
        better = suspect & (candidate != new) & _within(meant, usual_wh, low, high) & (distance < nearest)
        proposed = np.where(better, candidate, proposed)
        nearest = np.where(better, distance, nearest)
    ten = _within(energy, usual_wh * 10, low, high) | _within(energy * 10, usual_wh, low, high)
    mask = suspect & ((proposed != NO_PROPOSAL) | ten)
    return found("V37", mask, energy_wh=energy, usual_wh=usual_wh, proposed_wh=proposed)


def _within(energy: Int64Array, usual: Int64Array, low: Int64Array, high: Int64Array) -> BoolArray:
    return (energy > 0) & (energy * 100 >= low * usual) & (energy * 100 <= high * usual)


def _slips(index_wh: Int64Array, unit_wh: Int64Array, digits: int) -> list[Int64Array]:
    """Return what was meant if two neighbouring digits were transposed or one was written twice or left out."""
    shown, rest = np.divmod(index_wh, unit_wh)
    candidates = []
    for place in range(max(0, digits - 1)):
        unit = 10**place
        right, left = shown // unit % 10, shown // (10 * unit) % 10
        candidates.append(shown + (right - left) * 9 * unit)
    candidates.extend((shown // 10, shown * 10))
    return [candidate * unit_wh + rest for candidate in candidates]


def v39_hours_of_use(energy_wh: Int64Array, peak_w: Int64Array, hours: Int64Array) -> Finding:
    """Energy over maximum demand gives more hours than the period has. [Wh, W, h; meters]"""
    mask = (energy_wh > peak_w * hours) & (peak_w > 0)
    return found("V39", mask, energy_wh=energy_wh, most_wh=peak_w * hours)


def v40_reactive(active_wh: Int64Array, reactive_varh: Int64Array, parameters: Columns) -> Finding:
    r"""Reactive without active energy, or a power factor below the least. [Wh, varh; meters]

    .. math:: \cos\varphi = P / \sqrt{P^2 + Q^2} < c \iff P^2 (1 - c^2) < c^2 Q^2
    """
    floor = parameters["power_factor_low_permille"]
    active, reactive = active_wh.astype(np.float64), reactive_varh.astype(np.float64)
    share = (floor / 1000.0) ** 2
    mask = (reactive_varh > 0) & ((active_wh <= 0) | (active**2 * (1 - share) < share * reactive**2))
    return found("V40", mask, active_wh=active_wh, reactive_varh=reactive_varh)


def v41_check_meter(
    main_wh: Int64Array, check_wh: Int64Array, main_class: Int64Array, check_class: Int64Array
) -> Finding:
    r"""Main and check meter differ by more than their accuracy classes allow.

    .. math:: |E_m - E_c| \le \sqrt{c_m^2 + c_c^2} E

    Parameters
    ----------
    main_class, check_class
        Accuracy classes in thousandths of a per cent: class 0.5 is 500. [meters]
    """
    pairs: NDArray[np.int64] = main_class**2 + check_class**2
    class_of = {int(pair): isqrt(int(pair)) for pair in np.unique(pairs)}
    together = np.array([class_of[int(pair)] for pair in pairs], dtype=np.int64)
    allowed = np.abs(check_wh) // 100_000 * together + np.abs(check_wh) % 100_000 * together // 100_000
    return found("V41", np.abs(main_wh - check_wh) > allowed, main_wh=main_wh, check_wh=check_wh, allowed_wh=allowed)
