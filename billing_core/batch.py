"""What the engine is given: one row per bill, one array per fact.

The columns come from a database or from a single quote alike; :func:`batch_of` fills in what a customer without solar,
reactive energy or a second household has, and checks shapes. What a *value* may be is not checked here: a row that
cannot be billed is held by the engine with its reason, and the others go on.
"""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from billing_core.codes import Category, Solar, Voltage
from billing_core.rounding import Int64Array

NOT_MEASURED = -1
"""Stands in ``generation_wh`` and ``reactive_varh`` for a meter that does not measure it."""

NO_PLAN = -1
"""Stands in ``rate_plan`` for a contract that is billed by the acts alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Bills to compute, as columns of n rows.

    Parameters
    ----------
    start_on, end_on
        First and last day of the period, both billed. [datetime64[D], n]
    nominal_days
        Length of the nominal reading cycle, T; 0 for the calendar's (:func:`billing_core.period.cycle_days`). [days, n]
    category, voltage, solar
        Codes of :mod:`billing_core.codes`. [int8, n]
    energy_wh
        Imported energy at the normal, peak and off-peak rate; a meter without three rates has all of it in the first
        column. [Wh, n × 3]
    three_rates
        Whether the meter tells the three rates apart. [bool, n]
    households, households_parts
        Households behind the meter as an exact fraction: numerator and denominator. [n]
    share_by_days
        Whether the energy may be shared out by days where the price changes inside the period (residential meters read
        by hand, which is the default); a meter read on that day is billed as two periods. [bool, n]
    export_wh, generation_wh, carry_in_wh
        Exported and generated solar energy, and the surplus carried over from the cycle before. ``generation_wh`` is
        ``NOT_MEASURED`` without a meter for it. [Wh, n]
    export_rates_wh, carry_in_rates_wh
        The same by rate, for net metering of three rates: what each rate exported, ``NOT_MEASURED`` in the first column
        where it was not read by rate, and the surplus of each; ``carry_in_wh`` comes off the normal rate. [Wh, n × 3]
    settle_carry
        Whether the surplus is bought now (year end, contract end) and not carried further. [bool, n]
    solar_price
        Price of exported energy where it is agreed or published elsewhere; 0 for the dated one. [đ/kWh, n]
    reactive_varh
        Reactive energy where the contract makes it chargeable (from 40 kW), else ``NOT_MEASURED``. [varh, n]
    power_factor_percent
        The power factor where it is known without the reactive energy, else ``NOT_MEASURED``. [1/100, n]
    exempt_surcharged
        Whether exempt uses bear the surcharge too, as households in a mixed use did in bills of before. [bool, n]
    undeclared_rental
        Tenants under a contract shorter than 12 months whose number was not declared: one price for all. [bool, n]
    refused_three_rates
        Whether the customer refused a three-rate meter that is mandatory: then all is at the peak price. [bool, n]
    households_changed_on, households_after, households_after_parts
        The first days of other numbers of households inside the period, in order, and these numbers; ``NaT`` for none,
        and behind the last. [datetime64[D], n × k; n × k; n × k]
    before_change_wh
        Energy from the first day up to each change of price, in order, where the meter was read on these days, else
        ``NOT_MEASURED`` in the first rate, as behind the last. [Wh, n × k × 3]
    export_before_change_wh
        Exported energy up to then, which net metering asks for, likewise; by rate for three rates. [Wh, n × k × 3]
    two_component, demand_w
        Whether the contract is one of the two-component pilot, and the highest half hour of the month. [bool, n; W, n]
    rate_plan
        Place in the list of rate plans that the engine is given, ``NO_PLAN`` for none. [n]
    demand_before_w
        Highest demand of the months before, as far back as the plan's ratchet goes; ``NOT_MEASURED`` for none. [W, n]
    """

    start_on: NDArray[np.datetime64]
    end_on: NDArray[np.datetime64]
    nominal_days: Int64Array
    category: NDArray[np.int8]
    voltage: NDArray[np.int8]
    energy_wh: Int64Array
    three_rates: NDArray[np.bool_]
    households: Int64Array
    households_parts: Int64Array
    share_by_days: NDArray[np.bool_]
    export_wh: Int64Array
    generation_wh: Int64Array
    carry_in_wh: Int64Array
    export_rates_wh: Int64Array
    carry_in_rates_wh: Int64Array
    settle_carry: NDArray[np.bool_]
    solar: NDArray[np.int8]
    solar_price: Int64Array
    reactive_varh: Int64Array
    power_factor_percent: Int64Array
    exempt_surcharged: NDArray[np.bool_]
    undeclared_rental: NDArray[np.bool_]
    refused_three_rates: NDArray[np.bool_]
    households_changed_on: NDArray[np.datetime64]
    households_after: Int64Array
    households_after_parts: Int64Array
    before_change_wh: Int64Array
    export_before_change_wh: Int64Array
    two_component: NDArray[np.bool_]
    demand_w: Int64Array
    rate_plan: Int64Array
    demand_before_w: Int64Array

    def __len__(self) -> int:
        return int(self.energy_wh.shape[0])


_TYPES: dict[str, tuple[Any, Any]] = {
    "start_on": ("datetime64[D]", None),
    "end_on": ("datetime64[D]", None),
    "nominal_days": (np.int64, 0),
    "category": (np.int8, None),
    "voltage": (np.int8, Voltage.LT6.code),
    "three_rates": (np.bool_, False),
    "households": (np.int64, 1),
    "households_parts": (np.int64, 1),
    "share_by_days": (np.bool_, False),
    "export_wh": (np.int64, 0),
    "generation_wh": (np.int64, NOT_MEASURED),
    "carry_in_wh": (np.int64, 0),
    "settle_carry": (np.bool_, False),
    "solar": (np.int8, Solar.NONE.code),
    "solar_price": (np.int64, 0),
    "reactive_varh": (np.int64, NOT_MEASURED),
    "power_factor_percent": (np.int64, NOT_MEASURED),
    "exempt_surcharged": (np.bool_, False),
    "undeclared_rental": (np.bool_, False),
    "refused_three_rates": (np.bool_, False),
    "households_changed_on": ("datetime64[D]", np.datetime64("NaT", "D")),
    "households_after": (np.int64, 1),
    "households_after_parts": (np.int64, 1),
    "two_component": (np.bool_, False),
    "demand_w": (np.int64, NOT_MEASURED),
    "rate_plan": (np.int64, NO_PLAN),
    "demand_before_w": (np.int64, NOT_MEASURED),
}
"""Type and default of each column but those of three rates; ``None``: must be given."""
SEVERAL = ("households_changed_on", "households_after", "households_after_parts")
"""Columns that may have several values a row; one value, or n, is one of each row."""
BY_RATE = {"export_rates_wh": NOT_MEASURED, "carry_in_rates_wh": 0}
"""Columns of three rates beside ``energy_wh``, and their defaults."""
AT_CHANGES = ("before_change_wh", "export_before_change_wh")
"""Columns of three rates at each change of price."""


def batch_of(*, energy_wh: Any, **columns: Any) -> Batch:
    """Return a batch; a column may be one value for all rows, and most have a default.

    Parameters
    ----------
    energy_wh
        n values (no three rates), or n × 3. [Wh]
    columns
        Any other field of :class:`Batch`. ``start_on``, ``end_on`` and ``category`` must be given. Those at changes of
        price may be n or n × 3 where the price changes once.

    Raises
    ------
    TypeError
        If a column is missing or unknown, or is of a type that would have to be rounded.
    ValueError
        If a column has another length than ``energy_wh``.
    """
    energy = _three_rates("energy_wh", energy_wh)
    by_rate = {name: _three_rates(name, columns.pop(name, [[least] * 3])) for name, least in BY_RATE.items()}
    at_changes = _at_changes({name: columns.pop(name, [[NOT_MEASURED] * 3]) for name in AT_CHANGES})
    unknown = columns.keys() - {field.name for field in fields(Batch)}
    missing = [name for name, (_, default) in _TYPES.items() if default is None and name not in columns]
    if unknown or missing:
        raise TypeError(f"found unknown columns {sorted(unknown)} and missed {missing}")
    if "share_by_days" not in columns:
        columns["share_by_days"] = np.asarray(columns["category"]) == Category.RESIDENTIAL.code
    typed = {name: _as_type(name, columns.get(name, default), kind) for name, (kind, default) in _TYPES.items()}
    typed |= {name: typed[name] if typed[name].ndim == 2 else typed[name].reshape(-1, 1) for name in SEVERAL}
    shapes = dict.fromkeys(typed, (energy.shape[0],)) | dict.fromkeys(
        SEVERAL, (energy.shape[0], max(typed[name].shape[1] for name in SEVERAL))
    )
    filled = {name: np.broadcast_to(column, shapes[name]) for name, column in typed.items()}
    filled |= {name: np.broadcast_to(column, energy.shape) for name, column in by_rate.items()}
    changes = at_changes[AT_CHANGES[0]].shape[1]
    filled |= {name: np.broadcast_to(each, (energy.shape[0], changes, 3)) for name, each in at_changes.items()}
    return Batch(energy_wh=energy, **filled)


def _at_changes(given: dict[str, Any]) -> dict[str, Int64Array]:
    """Return columns at changes of price as n × k × 3, with one k; behind the last they are not measured."""
    found = {}
    for name, values in given.items():
        column = np.atleast_1d(_as_type(name, values, np.int64))
        if column.ndim == 3 and column.shape[2] != 3:
            raise ValueError(f"{name}: found shape {column.shape}, expected n, n × 3 or n × k × 3")
        found[name] = column if column.ndim == 3 else _three_rates(name, column)[:, np.newaxis]
    most = max(column.shape[1] for column in found.values())
    widths = {name: ((0, 0), (0, most - column.shape[1]), (0, 0)) for name, column in found.items()}
    return {
        name: np.pad(column, widths[name], constant_values=NOT_MEASURED) if widths[name][1][1] else column
        for name, column in found.items()
    }


def _three_rates(name: str, values: Any) -> Int64Array:
    """Return ``values`` as n × 3; a column of its own is energy at the first rate."""
    energy: Int64Array = _as_type(name, values, np.int64)
    if energy.ndim == 1:
        rates = np.zeros((energy.shape[0], 3), dtype=np.int64)
        rates[:, 0] = energy
        return rates
    if energy.ndim != 2 or energy.shape[1] != 3:
        raise ValueError(f"{name}: found shape {energy.shape}, expected n or n × 3")
    return energy


def _as_type(name: str, values: Any, kind: Any) -> NDArray[Any]:
    """Return ``values`` as an array of ``kind``; nothing is rounded, truncated or wrapped to make it fit."""
    array = np.asarray(values)
    if array.dtype.kind in "OU" and np.dtype(kind).kind == "M":
        array = array.astype("datetime64[D]")
    if array.dtype.kind in "iu" and np.dtype(kind).kind == "i":
        limits = np.iinfo(kind)
        if array.size and (int(array.max()) > limits.max or int(array.min()) < limits.min):
            raise TypeError(f"{name}: found {array.max()}, which {np.dtype(kind)} cannot hold")
        return array.astype(kind, copy=False)
    return array.astype(kind, casting="safe", copy=False)
