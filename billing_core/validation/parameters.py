"""Parameters of the rules: dated sets per customer class, and exceptions for single customers that expire.

A set stays in force until the next begins. An exception says whose, which parameter, what value, from when until when,
why, and who approved it; after its last day the class's value is in force again, without anybody having to remember.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from importlib import resources
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from billing_core.estimation.provenance import METHOD_VERSIONS
from billing_core.rounding import Int64Array
from billing_core.tariff_entries import take_text
from billing_core.validation.catalogue import RULES
from billing_core.validation.series import METER_CLASSES
from protocols.errors import UsageError
from protocols.strict_toml import Table, parse_toml
from protocols.utf8 import decode_text

FILE = "parameters.toml"
VALUE_MAX = 10**9
FOR_ALL = (
    "clock_warn_s", "clock_fail_part", "limit_percent", "contract_percent", "spike_percent", "spike_floor_w",
    "jump_percent", "jump_floor_w", "history_high_percent", "history_low_percent", "stuck_exponent",
    "stuck_exponent_sum_ok", "stuck_exponent_burst", "copied_percent", "load_factor_low_permille",
    "load_factor_high_permille", "sum_permille", "sum_resolutions", "solar_night_resolutions", "inverter_percent",
    "digit_low_percent", "digit_high_percent", "power_factor_low_permille", "idle_periods", "robust_z",
    "robust_intervals",
)  # fmt: skip
PER_CLASS = ("zero_hours", "low_percent", "high_percent", "high_low_floor_wh", "estimates_in_a_row")
NAMES = FOR_ALL + PER_CLASS
RISING = (
    ("low_percent", "high_percent"),
    ("history_low_percent", "history_high_percent"),
    ("load_factor_low_permille", "load_factor_high_permille"),
    ("digit_low_percent", "digit_high_percent"),
    ("stuck_exponent", "stuck_exponent_sum_ok", "stuck_exponent_burst"),
)
"""Bounds of one kind, none of which may be above the next: what lies between them would be minded by both."""
Columns = Mapping[str, Int64Array]
"""Each parameter's value per meter. [meters]"""


@dataclass(frozen=True, slots=True)
class ParameterSet:
    """The parameters in force from a day on, by name, a value per class."""

    effective_on: date
    source: str
    values: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterException:
    """Another value of one parameter for one customer's meter, in force on the days from ``start_on`` to ``end_on``."""

    meter: int  # its row
    name: str
    value: int
    start_on: date
    end_on: date
    reason: str
    approved_by: str

    def __post_init__(self) -> None:
        where = f"exception for meter {self.meter}"
        if self.name not in NAMES:
            raise UsageError(f"{where}: found parameter {self.name!r}; expected one of {', '.join(NAMES)}")
        if not 0 <= self.value <= VALUE_MAX:
            raise UsageError(f"{where}: {self.name}: found {self.value}; expected 0 to {VALUE_MAX}")
        if self.end_on < self.start_on:
            raise UsageError(f"{where}: ends {self.end_on} before it begins {self.start_on}; correct one of them")
        if not self.reason.strip() or not self.approved_by.strip():
            raise UsageError(f"{where}: found no reason or approver; say why, and who approved it")


def load_parameters() -> tuple[ParameterSet, ...]:
    """Return the sets that come with the package, the oldest first."""
    return parse_parameters(decode_text((resources.files("billing_core.validation") / FILE).read_bytes(), FILE))


def parse_parameters(text: str, name: str = FILE) -> tuple[ParameterSet, ...]:
    """Read sets strictly; refuse unknown and missing keys, a set without a source, two of one day."""
    table = parse_toml(text, name)
    sets = [_set(item) for item in table.tables("set")]
    table.finish()
    days = [each.effective_on for each in sets]
    if not sets or days != sorted(set(days)):
        raise UsageError(f"{name}: effective_on: found {[str(day) for day in days]}; expected one or more rising days")
    return tuple(sets)


def _set(item: Table) -> ParameterSet:
    effective_on, source = item.take("effective_on", date), take_text(item, "source")
    shared = item.table("all")
    values = {name: (shared.integer(name, 0, VALUE_MAX),) * len(METER_CLASSES) for name in FOR_ALL}
    shared.finish()
    by_class = [item.table(each) for each in METER_CLASSES]
    for name in PER_CLASS:
        values[name] = tuple(table.integer(name, 0, VALUE_MAX) for table in by_class)
    for table in (*by_class, item):
        table.finish()
    for place, meter_class in enumerate(METER_CLASSES):
        for lower, upper in (pair for row in RISING for pair in pairwise(row)):
            low, high = values[lower][place], values[upper][place]
            if low > high:
                whose = meter_class if lower in PER_CLASS else "all"
                raise item.error(
                    f"{whose}.{lower}", f"found {low}, above {upper} = {high}; lower this one or raise the other"
                )
    return ParameterSet(effective_on, source, values)


def columns_on(
    sets: Sequence[ParameterSet],
    day: date,
    meter_class: NDArray[np.int8],
    exceptions: Iterable[ParameterException] = (),
) -> dict[str, Int64Array]:
    """Return each parameter's value per meter on ``day``.

    Parameters
    ----------
    meter_class
        Code of the customer class, the place in ``METER_CLASSES``. [meters]
    """
    in_force = [each for each in sets if each.effective_on <= day]
    if not in_force:
        raise UsageError(f"validation parameters: found none in force on {day}; add a set that begins by then")
    codes = np.asarray(meter_class)
    if codes.size and not 0 <= int(codes.min()) <= int(codes.max()) < len(METER_CLASSES):
        raise UsageError(
            f"meter_class: found codes {np.unique(codes).tolist()}; expected 0 to {len(METER_CLASSES) - 1}"
        )
    columns = {name: np.array(values, dtype=np.int64)[codes] for name, values in in_force[-1].values.items()}
    for each in exceptions:
        if not 0 <= each.meter < codes.shape[0]:
            raise UsageError(f"exception for meter {each.meter}: expected a row from 0 to {codes.shape[0] - 1}")
        if each.start_on <= day <= each.end_on:
            columns[each.name][each.meter] = each.value
    return columns


def rule_set_hash(sets: Sequence[ParameterSet], day: date) -> str:
    """Return what names the rules, methods and parameters in force on a day: versions of a series carry it."""
    in_force = max((each for each in sets if each.effective_on <= day), key=lambda each: each.effective_on)
    text = repr([(rule.id, rule.version) for rule in RULES.values()]) + repr(sorted(in_force.values.items()))
    text += repr([(method.name, version) for method, version in METHOD_VERSIONS.items()])
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
