"""The rules of bill control, judged over whole columns: which of them speak, and whose signature a bill needs.

Every rule looks at computed bills that are otherwise in order; what cannot be computed never gets here, it is held by
the engine. A bill may be spoken of by several rules: the highest signature counts, and each rule keeps its evidence.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from billing_core.codes import Coded
from billing_core.control.expectation import UNKNOWN, Expected, expect
from billing_core.control.thresholds import Signer, Step, Thresholds
from billing_core.rounding import Int64Array

BoolArray = NDArray[np.bool_]


class ControlRule(Coded):
    """Why a bill is looked at before it is issued."""

    GROWTH = "growth"
    HISTORY = "history"
    LAST_YEAR = "last_year"
    ZERO = "zero"
    AMOUNT = "amount"
    NEGATIVE = "negative"
    ESTIMATED = "estimated"
    FIRST = "first"
    SOLAR_NEW = "solar_new"
    TERMS_CHANGED = "terms_changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Controlled:
    """Bills to judge, one row each.

    Parameters
    ----------
    energy_wh, days, total
        Of the bill. [Wh, days, đ; n]
    history_wh, history_days
        Of the periods before, the newest first, the same periods for all; ``UNKNOWN`` where there was no bill. [n × k]
    last_year_wh, last_year_days
        Of the same season a year ago, or ``UNKNOWN``. [Wh, days; n]
    peers
        The group each is compared within, from 0: as a rule its reading book. [n]
    estimated, first, solar_new, terms_changed
        Whether a reading was estimated, it is the point's first bill, its first with solar, or the contract's category,
        voltage or households differ from those of the bill before. [n]
    """

    energy_wh: Int64Array
    days: Int64Array
    total: Int64Array
    history_wh: Int64Array
    history_days: Int64Array
    last_year_wh: Int64Array
    last_year_days: Int64Array
    peers: Int64Array
    estimated: BoolArray
    first: BoolArray
    solar_new: BoolArray
    terms_changed: BoolArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What control says of each bill.

    Parameters
    ----------
    rules
        Bit ``ControlRule.code`` is set where the rule speaks. [uint16, n]
    signer
        Code of the highest :class:`Signer` needed; 0 for nobody: the bill may be issued. [int8, n]
    expected_wh
        What the history let expect of the period, ``UNKNOWN`` where it says nothing. [Wh, n]
    before_wh
        Energy of the newest period before, made as long as this one; ``UNKNOWN`` if there was none. [Wh, n]
    """

    rules: NDArray[np.uint16]
    signer: NDArray[np.int8]
    expected_wh: Int64Array
    before_wh: Int64Array

    def spoke(self, rule: ControlRule) -> BoolArray:
        """Return where ``rule`` speaks. [n]"""
        return np.asarray((self.rules >> rule.code) & 1 == 1)

    def reasons(self, row: int) -> tuple[ControlRule, ...]:
        """Return the rules that speak of one bill."""
        return tuple(rule for rule in ControlRule if int(self.rules[row]) >> rule.code & 1)


def judge(bills: Controlled, thresholds: Thresholds) -> Judgement:
    """Judge bills by a company's thresholds."""
    expected = expect(
        bills.energy_wh,
        bills.days,
        bills.history_wh,
        bills.history_days,
        bills.peers,
        periods_min=thresholds.history_periods_min,
    )
    if bills.history_wh.shape[1]:
        before_wh = _as_long(bills.history_wh[:, 0], bills.history_days[:, 0], bills.days)
    else:
        before_wh = np.full(bills.energy_wh.shape, UNKNOWN, dtype=np.int64)
    signers = _signers(bills, thresholds, expected, before_wh)
    rules = np.zeros(bills.energy_wh.shape, dtype=np.uint16)
    signer = np.zeros(bills.energy_wh.shape, dtype=np.int8)
    for rule, needed in signers.items():
        rules |= np.where(needed > 0, np.uint16(1 << rule.code), np.uint16(0))
        np.maximum(signer, needed, out=signer)
    known = np.isfinite(expected.daily_wh)
    expected_wh = np.where(known, np.rint(np.where(known, expected.daily_wh, 0.0) * bills.days), UNKNOWN)
    return Judgement(rules=rules, signer=signer, expected_wh=expected_wh.astype(np.int64), before_wh=before_wh)


def _signers(
    bills: Controlled, thresholds: Thresholds, expected: Expected, before_wh: Int64Array
) -> Mapping[ControlRule, NDArray[np.int8]]:
    """Return of each rule whose signature each bill needs for it."""
    usual_wh = np.where(np.isfinite(expected.daily_wh), expected.daily_wh, 0.0) * bills.days
    off = np.abs(expected.score) * 100 >= thresholds.score_percent
    off &= np.abs(bills.energy_wh - usual_wh) >= thresholds.history_floor_wh
    a_year_ago = _as_long(bills.last_year_wh, bills.last_year_days, bills.days)
    low, high = thresholds.last_year_percent
    changed = (bills.energy_wh * 100 < low * a_year_ago) | (bills.energy_wh * 100 > high * a_year_ago)
    changed &= (a_year_ago > 0) & (np.abs(bills.energy_wh - a_year_ago) >= thresholds.last_year_floor_wh)
    grown = (before_wh > 0) & (bills.energy_wh - before_wh >= thresholds.growth_floor_wh)
    times = np.where(grown, bills.energy_wh // np.where(grown, before_wh, 1), 0)
    had_some = np.maximum(before_wh, usual_wh) >= thresholds.zero_history_floor_wh
    found = {
        ControlRule.GROWTH: _by_steps(times, thresholds.growth),
        ControlRule.HISTORY: _where(off, thresholds.history_signer),
        ControlRule.LAST_YEAR: _where(changed, thresholds.last_year_signer),
        ControlRule.ZERO: _where((bills.energy_wh == 0) & had_some, thresholds.zero_signer),
        ControlRule.AMOUNT: _by_steps(bills.total, thresholds.amount),
        ControlRule.NEGATIVE: _where(bills.total < 0, thresholds.negative),
    }
    for rule in (ControlRule.ESTIMATED, ControlRule.FIRST, ControlRule.SOLAR_NEW, ControlRule.TERMS_CHANGED):
        found[rule] = _where(getattr(bills, rule.value), getattr(thresholds, rule.value))
    return found


def _as_long(energy_wh: Int64Array, period_days: Int64Array, days: Int64Array) -> Int64Array:
    """Return the energy of another period as if it had been as long as this one; ``UNKNOWN`` stays."""
    known = (energy_wh >= 0) & (period_days > 0)
    return np.where(known, energy_wh * days // np.where(period_days > 0, period_days, 1), UNKNOWN)


def _by_steps(values: Int64Array, steps: tuple[Step, ...]) -> NDArray[np.int8]:
    signer = np.zeros(values.shape, dtype=np.int8)
    for step in steps:
        signer[values >= step.at_least] = step.signer.code
    return signer


def _where(mask: BoolArray, signer: Signer) -> NDArray[np.int8]:
    return np.where(mask, np.int8(signer.code), np.int8(0))
