"""The thresholds of bill control: a TOML file per company, read strictly."""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from itertools import pairwise
from typing import Any

from billing_core.codes import Coded
from billing_core.tariff_entries import take_text
from protocols.errors import UsageError
from protocols.strict_toml import Table, parse_toml
from protocols.utf8 import decode_text

FILE = "thresholds.toml"
TIMES_MAX = 1000
PERCENT_MAX = 100_000
AMOUNT_MAX = 10**15
ENERGY_MAX = 10**12
STEPS_MAX = 20
PERIODS_MAX = 24


class Signer(Coded):
    """Who must sign before a bill is issued, each above the one before."""

    NOBODY = "nobody"
    CONTROLLER = "controller"
    HEAD = "head"
    DIRECTOR = "director"


@dataclass(frozen=True, slots=True)
class Step:
    """From ``at_least`` on ``signer`` must sign."""

    at_least: int
    signer: Signer


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """What a company has set.

    Parameters
    ----------
    growth, growth_floor_wh
        Steps of growth over the period before, as a multiple, and the growth in energy that is needed besides. [×; Wh]
    score_percent, history_floor_wh, history_signer, history_periods_min
        How far, in hundredths of the customer's usual spread, a bill may lie from what is expected, the energy that is
        needed besides, and of how many periods the spread must be known. [1/100; Wh; periods]
    last_year_percent, last_year_floor_wh, last_year_signer
        Bounds against the same season of last year. [(low, high) %; Wh]
    zero_signer, zero_history_floor_wh
        For no energy where the history has at least so much in a period. [Wh]
    amount
        Steps of the total. [đ]
    negative, estimated, first, solar_new, terms_changed
        Who signs such bills whatever their figures are.
    """

    source: str
    growth: tuple[Step, ...]
    growth_floor_wh: int
    score_percent: int
    history_floor_wh: int
    history_signer: Signer
    history_periods_min: int
    last_year_percent: tuple[int, int]
    last_year_floor_wh: int
    last_year_signer: Signer
    zero_signer: Signer
    zero_history_floor_wh: int
    amount: tuple[Step, ...]
    negative: Signer
    estimated: Signer
    first: Signer
    solar_new: Signer
    terms_changed: Signer


def load_thresholds() -> Thresholds:
    """Return the thresholds that come with the package."""
    return parse_thresholds(decode_text((resources.files("billing_core.control") / FILE).read_bytes(), FILE))


def parse_thresholds(text: str, name: str = FILE) -> Thresholds:
    """Read thresholds; refuse unknown and missing keys, steps that do not rise, a file without a source."""
    top = parse_toml(text, name)
    growth, history, last_year, zero, amount, always = (
        top.table(each) for each in ("growth", "history", "last_year", "zero", "amount", "always")
    )
    low, high = last_year.integer("low_percent", 0, 100), last_year.integer("high_percent", 100, PERCENT_MAX)
    found = Thresholds(
        source=take_text(top, "source"),
        growth=_steps(growth, "times", TIMES_MAX),
        growth_floor_wh=growth.integer("floor_wh", 0, ENERGY_MAX),
        score_percent=history.integer("score_percent", 1, PERCENT_MAX),
        history_floor_wh=history.integer("floor_wh", 0, ENERGY_MAX),
        history_signer=_signer(history, "signer"),
        history_periods_min=top.integer("history_periods_min", 1, PERIODS_MAX),
        last_year_percent=(low, high),
        last_year_floor_wh=last_year.integer("floor_wh", 0, ENERGY_MAX),
        last_year_signer=_signer(last_year, "signer"),
        zero_signer=_signer(zero, "signer"),
        zero_history_floor_wh=zero.integer("history_floor_wh", 0, ENERGY_MAX),
        amount=_steps(amount, "at_least", AMOUNT_MAX),
        **{key: _signer(always, key) for key in ("negative", "estimated", "first", "solar_new", "terms_changed")},
    )
    _finish((growth, history, last_year, zero, amount, always, top))
    return found


def _finish(tables: Iterable[Table]) -> None:
    for table in tables:
        table.finish()


def _signer(table: Table, key: str) -> Signer:
    return Signer(table.take(key, str, choices=[each.value for each in Signer]))


def _steps(table: Table, key: str, highest: int) -> tuple[Step, ...]:
    """Return the steps, which must rise, and whose signers may not sink."""
    given: list[Any] = table.take("steps", list)
    if len(given) > STEPS_MAX:
        raise table.error("steps", f"found {len(given)} steps; expected at most {STEPS_MAX}")
    steps = []
    for each in table.tables("steps"):
        steps.append(Step(each.integer(key, 1, highest), _signer(each, "signer")))
        each.finish()
    for lower, upper in pairwise(steps):
        if upper.at_least <= lower.at_least or upper.signer.code < lower.signer.code:
            raise UsageError(
                f"{table.place('steps')}: {key} {upper.at_least} signed by {upper.signer.value} follows "
                f"{lower.at_least} signed by {lower.signer.value}; steps must rise, and their signers may not sink"
            )
    return tuple(steps)
