"""Contracts of the registry's file: what a point's energy is charged by, refused where no act prices it."""

import json
from datetime import date, timedelta
from functools import cache, lru_cache
from typing import NamedTuple

from billing_core.codes import Category, Solar, Voltage
from billing_core.tariff import VOLTAGE_CLASSES, Tariffs
from billing_core.tariff_files import load_tariffs
from protocols.strict_toml import Table

HOUSEHOLDS_MAX = 1_000_000
CONTRACTED_KW_MAX = 10_000_000
KINDS_KEPT_MAX = 4_096  # of category and days, of which a file's millions of contracts have few
SHARES_MAX = 99  # of other uses together; the rest is the contract's own
WITHOUT_VOLTAGE = (Category.RESIDENTIAL, Category.PREPAID)  # their price list does not ask for it


class Days(NamedTuple):
    """From when until when a contract is in force, both inclusive; ``None`` while it lasts."""

    first_on: date
    last_on: date | None

    def __str__(self) -> str:
        return f"from {self.first_on} on" if self.last_on is None else f"from {self.first_on} to {self.last_on}"


ALWAYS = Days(date.min, None)


class Contract(NamedTuple):
    """What a metering point's energy is charged by, from when until when (inclusive)."""

    metering_point_id: str
    valid_from: date
    valid_to: date | None
    category: str
    voltage: str | None
    households: int
    three_rates: bool
    solar_regime: str | None
    contracted_kw: int | None
    tenants: int | None
    undeclared_rental: bool
    refused_three_rates: bool
    two_component: bool
    uses: str | None
    rate_plan: str | None = None
    customer_id: str | None = None  # none: as it was, and of a new one the point's


def parse_contract(table: Table, metering_point_id: str) -> Contract:
    """Return the contract of a point that ``table`` holds.

    Raises
    ------
    UsageError
        If a key is missing or wrong, two contradict one another, or no act prices the category at the voltage.
    """
    category = Category(table.take("category", str, choices=[each.value for each in Category]))
    days = Days(table.take("valid_from", date), table.take("valid_to", date) if "valid_to" in table else None)
    regimes = [each.value for each in Solar if each is not Solar.NONE]
    contract = Contract(
        metering_point_id=metering_point_id,
        valid_from=days.first_on,
        valid_to=days.last_on,
        category=category.value,
        voltage=_voltage(table, category, days),
        households=table.integer("households", 1, HOUSEHOLDS_MAX, default=1),
        three_rates=table.take("three_rates", bool, default=False),
        solar_regime=table.take("solar_regime", str, choices=regimes) if "solar_regime" in table else None,
        contracted_kw=table.integer("contracted_kw", 1, CONTRACTED_KW_MAX) if "contracted_kw" in table else None,
        tenants=table.integer("tenants", 1, HOUSEHOLDS_MAX) if "tenants" in table else None,
        undeclared_rental=table.take("undeclared_rental", bool, default=False),
        refused_three_rates=table.take("refused_three_rates", bool, default=False),
        two_component=table.take("two_component", bool, default=False),
        uses=_uses(table, category, days),
        rate_plan=table.take("rate_plan", str) if "rate_plan" in table else None,
        customer_id=table.take("customer", str) if "customer" in table else None,
    )
    _refuse_contradictions(table, contract, category)
    return contract


def _refuse_contradictions(table: Table, contract: Contract, category: Category) -> None:
    if contract.valid_to is not None and contract.valid_to < contract.valid_from:
        raise table.error("valid_to", f"{contract.valid_to} is before valid_from")
    combined = Combined(
        category=category.value,
        households="households" in table,
        tenants=contract.tenants is not None,
        three_rates=contract.three_rates,
        undeclared_rental=contract.undeclared_rental,
        refused_three_rates=contract.refused_three_rates,
        two_component=contract.two_component,
        uses=contract.uses is not None,
        rate_plan=contract.rate_plan is not None,
    )
    if found := contradiction(combined):
        raise table.error(*found)


class Combined(NamedTuple):
    """What a contract says together: of each whether it says it, and its category."""

    category: str
    households: bool
    tenants: bool
    three_rates: bool
    undeclared_rental: bool
    refused_three_rates: bool
    two_component: bool
    uses: bool
    rate_plan: bool


def contradiction(said: Combined) -> tuple[str, str] | None:
    """Return what of a contract cannot stand beside the rest, and the cure; none where all can."""
    residential = said.category == Category.RESIDENTIAL.value
    if said.tenants and (not residential or said.households):
        return "tenants", "four tenants are one household of a residential contract; give one of the two"
    if said.undeclared_rental and (not residential or said.tenants or said.uses):
        return "undeclared_rental", "is of a residential contract whose tenants are not known; remove one"
    if said.refused_three_rates and said.three_rates:
        return "refused_three_rates", "the meter tells three rates apart; remove one of the two"
    if said.rate_plan and (said.two_component or said.uses):
        return "rate_plan", "a plan is for one use and has its own price of demand; remove one of the two"
    if said.two_component and said.category not in _piloted():
        return "two_component", f"the pilot is for {', '.join(_piloted())}; found {said.category}"
    return None


def _voltage(table: Table, category: Category, days: Days) -> str | None:
    """Return the voltage, at which some act in force on a day of the contract must price the category."""
    priced = priced_voltages(category, days)
    if not priced:
        known = ", ".join(each.value for each in Category if priced_voltages(each, days))
        when = "no act" if not priced_voltages(category, ALWAYS) else f"no act in force {days}"
        raise table.error("category", f"{when} has a price for {category.value}; priced are {known}")
    if category in WITHOUT_VOLTAGE:
        if "voltage" in table:
            raise table.error("voltage", f"remove it: {category.value} has no price by voltage")
        return None
    found = table.take("voltage", str, default=None)
    listed = ", ".join(each.value for each in priced)
    if found is None:
        raise table.error("voltage", f"missing; expected one of {listed}{table.near('voltage')}")
    if found not in [each.value for each in priced]:
        raise table.error("voltage", f"found {found!r}; no act prices {category.value} at it, only at {listed}")
    return found


def _uses(table: Table, category: Category, days: Days) -> str | None:
    """Return the other uses of a mixed contract as JSON; none if there are none."""
    categories, found, shares = [category.value], [], 0
    for use in table.tables("use"):
        other = Category(use.take("category", str, choices=[each.value for each in Category]))
        voltage = _voltage(use, other, days)
        share = use.integer("share_percent", 1, SHARES_MAX)
        use.finish()
        categories.append(other.value)
        shares += share
        own = {"category": other.value, "share_percent": share}
        found.append(own if voltage is None else own | {"voltage": voltage})
    if not found:
        return None
    if shares > SHARES_MAX:
        raise table.error("use", f"the shares sum to {shares} %; at most {SHARES_MAX}, the rest is {category.value}'s")
    if len(set(categories)) < len(categories):
        raise table.error("use", f"found {', '.join(categories)}; a category stands twice, give each once")
    return json.dumps(found)


@lru_cache(maxsize=KINDS_KEPT_MAX)
def priced_voltages(category: Category, days: Days) -> tuple[Voltage, ...]:
    """Return the voltages of delivery at which some act in force on one of the days prices a category."""
    classes, acts = VOLTAGE_CLASSES[category], _tariffs().acts
    ends = [*(later.effective_on - timedelta(days=1) for later in acts[1:]), date.max]
    inside = [
        act
        for act, end in zip(acts, ends, strict=True)
        if end >= days.first_on and (days.last_on is None or act.effective_on <= days.last_on)
    ]
    return tuple(
        voltage
        for voltage in Voltage
        if voltage in classes and any(act.has_price(category, classes[voltage]) for act in inside or acts)
    )


def _piloted() -> list[str]:
    return sorted({pilot.category.value for pilot in _tariffs().two_component})


@cache
def _tariffs() -> Tariffs:
    return load_tariffs()
