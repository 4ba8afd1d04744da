"""Tariff files become values: parsing is pure, from text; :func:`load_tariffs` alone reads the package's own files.

Refused, with file, key and cure: a key nobody knows, a key that is missing, a source that is missing, two acts of one
day, rates of tax that overlap or leave a gap, tiers and prices that differ in number.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from functools import cache
from importlib import resources
from itertools import pairwise
from typing import Protocol, TypeVar

from billing_core.codes import Category, Certainty, Voltage
from billing_core.rounding import PRICE_MAX
from billing_core.tariff import (
    BY_RATE,
    TIERED,
    WHOLESALE,
    Act,
    Percentages,
    RatePrices,
    Tariffs,
    TierStructure,
    WaitingStructure,
)
from billing_core.tariff_entries import (
    refusal,
    take_decimal,
    take_integers,
    take_member,
    take_rates,
    take_source,
    take_text,
)
from billing_core.tariff_tables import (
    holidays_of,
    power_factor_of,
    schedules_of,
    solar_of,
    two_component_of,
    vat_of,
)
from protocols.errors import UsageError
from protocols.strict_toml import Table, parse_toml
from protocols.utf8 import decode_text

RATE_CLASSES = {
    Category.PRODUCTION: (Voltage.LT6, Voltage.KV6_22, Voltage.KV22_110, Voltage.GE110),
    Category.BUSINESS: (Voltage.LT6, Voltage.KV6_22, Voltage.GE22),
}
SINGLE_CLASSES = {
    Category.HOSPITAL_SCHOOL: (Voltage.LT6, Voltage.GE6),
    Category.LIGHTING_ADMIN: (Voltage.LT6, Voltage.GE6),
}
"""Classes of voltage of the acts up to 2025."""
_ABOVE_1_KV = (Voltage.LE1, Voltage.GT1)
RATE_CLASSES_2025 = {
    Category.PRODUCTION: (Voltage.LE1, Voltage.KV1_35, Voltage.KV35_220, Voltage.GE220),
    Category.BUSINESS: _ABOVE_1_KV,
    Category.TOURISM: _ABOVE_1_KV,
    Category.CHARGING: _ABOVE_1_KV,
}
SINGLE_CLASSES_2025 = {Category.HOSPITAL_SCHOOL: _ABOVE_1_KV, Category.LIGHTING_ADMIN: _ABOVE_1_KV}
"""Classes of voltage of acts after Decision 14/2025, which are told by ``production.le1``."""
TIERS_MAX = 12
PERCENT_MAX = 1000
ONE_OF_A_KIND = frozenset(
    f"{name}.toml" for name in ("structure", "vat", "power_factor", "solar", "time_of_use", "holidays", "two_component")
)


class Dated(Protocol):
    """What is in force from a day on."""

    @property
    def effective_on(self) -> date:
        """The first day."""


Item = TypeVar("Item", bound=Dated)


@cache
def load_tariffs() -> Tariffs:
    """Return the tariffs that come with the package. The files are read once."""
    return parse_tariffs(package_files())


def package_files() -> dict[str, str]:
    """Return the texts of the package's own tariff files, by name; raise :class:`UsageError` if one is not UTF-8."""
    folder = resources.files("billing_core") / "tariffs"
    files = sorted((item for item in folder.iterdir() if item.name.endswith(".toml")), key=lambda item: item.name)
    return {item.name: decode_text(item.read_bytes(), item.name) for item in files}


def parse_tariffs(files: Mapping[str, str]) -> Tariffs:
    """Make tariffs of the texts of their files, by name.

    ``act_*.toml`` is a price act each; the files of :data:`ONE_OF_A_KIND` are there once.

    Raises
    ------
    UsageError
        If a file is wrong, naming file, key, and cure.
    """
    for name in sorted(ONE_OF_A_KIND - files.keys()):
        raise UsageError(f"{name}: found no such file, expected it among the tariff files; put it back")
    tables = {name: parse_toml(text, name) for name, text in files.items()}
    for name in tables:
        if name not in ONE_OF_A_KIND and not name.startswith("act_"):
            raise UsageError(f"{name}: found a file of unknown kind; name a price act act_YEAR_NUMBER.toml")
    acts = [(name, _act(table)) for name, table in tables.items() if name.startswith("act_")]
    structures, percentages, waiting = _structure(tables["structure.toml"])
    rules, exchange_rates = solar_of(tables["solar.toml"])
    tariffs = Tariffs(
        acts=_in_order(acts),
        structures=_in_order([("structure.toml", item) for item in structures]),
        percentages=_in_order([("structure.toml", item) for item in percentages]),
        waiting=waiting,
        vat=vat_of(tables["vat.toml"]),
        power_factor=_in_order([("power_factor.toml", item) for item in power_factor_of(tables["power_factor.toml"])]),
        solar=rules,
        exchange_rates=exchange_rates,
        schedules=schedules_of(tables["time_of_use.toml"]),
        holidays=holidays_of(tables["holidays.toml"]),
        two_component=_in_order(
            [("two_component.toml", item) for item in two_component_of(tables["two_component.toml"])]
        ),
    )
    for table in tables.values():
        table.finish()
    _check_acts(acts)
    _check_tiers(tariffs, {act.name: name for name, act in acts})
    return tariffs


def _in_order(items: Sequence[tuple[str, Item]]) -> tuple[Item, ...]:
    ordered = sorted(items, key=lambda item: item[1].effective_on)
    for (first, one), (second, other) in pairwise(ordered):
        if one.effective_on == other.effective_on:
            raise UsageError(
                f"{second}: effective_on: found {other.effective_on}, as in {first}; expected a day of its own; "
                "correct one of the dates"
            )
    return tuple(item for _, item in ordered)


def _check_acts(acts: Sequence[tuple[str, Act]]) -> None:
    """Refuse an act that is in two files, and one that was in force before it was signed."""
    files: dict[str, str] = {}
    for name, act in acts:
        first = files.setdefault(act.name, name)
        if first != name:
            raise UsageError(
                f"{name}: act: found {act.name!r}, as in {first}; expected each act in one file; correct the name, or "
                "take one of the files out"
            )
        if act.signed_on > act.effective_on:
            raise UsageError(
                f"{name}: signed_on: found {act.signed_on}, after effective_on {act.effective_on}; expected an act "
                "that was signed by its first day; correct one of the dates"
            )


def _check_tiers(tariffs: Tariffs, files: Mapping[str, str]) -> None:
    """Refuse an act whose residential prices are not as many as the tiers in force with it."""
    for act in tariffs.acts:
        structure = tariffs.structure_on(act.effective_on)
        expected = "a tier structure in force" if structure is None else f"{len(structure.widths) + 1} prices"
        for category, tiers in act.tiered.items():
            if structure is None or len(tiers) != len(structure.widths) + 1:
                key = "residential.tiers" if category is Category.RESIDENTIAL else category.value.replace("_", ".", 1)
                raise UsageError(
                    f"{files[act.name]}: {key}: found {len(tiers)} prices, expected {expected} on "
                    f"{act.effective_on}; correct the prices, or date the structure in structure.toml"
                )
    begins = {act.effective_on for act in tariffs.acts}
    for item in tariffs.structures:
        if item.effective_on > tariffs.acts[0].effective_on and item.effective_on not in begins:
            raise UsageError(
                f"structure.toml: {item.name}: found effective_on {item.effective_on}, expected the first day of an "
                "act, as prices and tiers change together; correct the date, or add the act"
            )


def _act(table: Table) -> Act:
    residential, production = table.table("residential"), table.table(Category.PRODUCTION.value)
    after_2025 = Voltage.LE1.value in production
    rates = {}
    for category, classes in (RATE_CLASSES_2025 if after_2025 else RATE_CLASSES).items():
        by_voltage = production if category is Category.PRODUCTION else table.table(category.value)
        for voltage in classes:
            rates[category, voltage] = take_rates(by_voltage.table(voltage.value), PRICE_MAX)
        by_voltage.finish()
    single = {}
    for category, classes in (SINGLE_CLASSES_2025 if after_2025 else SINGLE_CLASSES).items():
        by_voltage = table.table(category.value)
        for voltage in classes:
            single[category, voltage] = by_voltage.integer(voltage.value, 1, PRICE_MAX)
        by_voltage.finish()
    retail = {Category.RESIDENTIAL, Category.PREPAID, *(category for category, _ in (*rates, *single))}
    finer = {f"{category.value}.{voltage.value}" for category, voltage in (*rates, *single)}
    tiered = {Category.RESIDENTIAL: _rising(residential, "tiers")}
    if "wholesale" in table:
        _wholesale(table.table("wholesale"), tiered, rates, single)
    act = Act(
        name=take_text(table, "act"),
        signed_on=table.take("signed_on", date),
        effective_on=table.take("effective_on", date),
        average=take_decimal(table, "average"),
        source=take_text(table, "source"),
        certainty=_certainties(table.table("certainty"), retail, finer, wholesale="wholesale" in table),
        tiered=tiered,
        prepaid=residential.integer("prepaid", 1, PRICE_MAX),
        rates=rates,
        single=single,
    )
    residential.finish()
    return act


def _rising(table: Table, key: str) -> tuple[int, ...]:
    prices = take_integers(table, key, 1, PRICE_MAX)
    if len(prices) > TIERS_MAX or list(prices) != sorted(prices):
        raise refusal(
            table, key, list(prices), f"at most {TIERS_MAX} prices that rise from tier to tier", "correct them"
        )
    return prices


def _wholesale(
    table: Table,
    tiered: dict[Category, tuple[int, ...]],
    rates: dict[tuple[Category, Voltage], RatePrices],
    single: dict[tuple[Category, Voltage], int],
) -> None:
    """Take the prices of those who sell on; they depend on the place and its transformer, not on the voltage."""
    for category in Category:
        if category not in WHOLESALE:
            continue
        key = category.value.removeprefix("wholesale_")
        if category in TIERED:
            tiered[category] = _rising(table, key)
        elif category in BY_RATE:
            rates[category, Voltage.LT6] = take_rates(table.table(key), PRICE_MAX)
        else:
            single[category, Voltage.LT6] = table.integer(key, 1, PRICE_MAX)
    table.finish()


def _certainties(table: Table, retail: set[Category], finer: set[str], *, wholesale: bool) -> dict[str, Certainty]:
    """Take how sure the prices of each category are, and where given those of one class of voltage."""
    found = {
        key: take_member(table, key, Certainty) for key in ("average", *(c.value for c in Category if c in retail))
    }
    if wholesale:
        certainty = take_member(table, "wholesale", Certainty)
        found |= {category.value: certainty for category in WHOLESALE}
    found |= {key: take_member(table, key, Certainty) for key in table.names() if key in finer}
    table.finish()
    return found


def _percentages(item: Table) -> Percentages:
    """Take the percentages of tiers, prepaid and business, and of each other category that is given."""
    effective_on = item.take("effective_on", date)
    tiers, prepaid = take_integers(item, "tiers", 1, PERCENT_MAX), item.integer("prepaid", 1, PERCENT_MAX)
    after_2025 = Voltage.LE1.value in item.table(Category.BUSINESS.value)
    rates: dict[tuple[Category, Voltage], RatePrices] = {}
    for category, classes in (RATE_CLASSES_2025 if after_2025 else RATE_CLASSES).items():
        if category is Category.BUSINESS or category.value in item:
            by_voltage = item.table(category.value)
            rates |= {(category, v): take_rates(by_voltage.table(v.value), PERCENT_MAX) for v in classes}
            by_voltage.finish()
    single: dict[tuple[Category, Voltage], int] = {}
    for category, classes in (SINGLE_CLASSES_2025 if after_2025 else SINGLE_CLASSES).items():
        if category.value in item:
            by_voltage = item.table(category.value)
            single |= {(category, v): by_voltage.integer(v.value, 1, PERCENT_MAX) for v in classes}
            by_voltage.finish()
    source, certainty = take_source(item)
    item.finish()
    return Percentages(
        effective_on=effective_on,
        tiers=tiers,
        prepaid=prepaid,
        rates=rates,
        single=single,
        source=source,
        certainty=certainty,
    )


def _structure(table: Table) -> tuple[list[TierStructure], list[Percentages], tuple[WaitingStructure, ...]]:
    structures, waiting = [], []
    for item in table.tables("tiers"):
        name, effective_on = take_text(item, "name"), item.take("effective_on", date)
        widths = take_integers(item, "widths", 1, 10_000)
        undeclared_tier = item.integer("undeclared_tier", 1, len(widths) + 1)
        source, certainty = take_source(item)
        structures.append(
            TierStructure(
                name=name,
                effective_on=effective_on,
                widths=widths,
                undeclared_tier=undeclared_tier,
                source=source,
                certainty=certainty,
            )
        )
        item.finish()
    percentages = [_percentages(item) for item in table.tables("percent")]
    for item in table.tables("waiting"):
        name, signed_on, waits_for = take_text(item, "name"), item.take("signed_on", date), take_text(item, "waits_for")
        widths, percent = take_integers(item, "widths", 1, 10_000), take_integers(item, "percent", 1, PERCENT_MAX)
        if len(percent) != len(widths) + 1 or list(percent) != sorted(percent):
            raise refusal(item, "percent", list(percent), f"{len(widths) + 1} that rise", "correct them")
        source, certainty = take_source(item)
        others = item.table("others", required=False)
        waiting.append(
            WaitingStructure(
                name=name,
                signed_on=signed_on,
                waits_for=waits_for,
                widths=widths,
                percent=percent,
                others={key: take_integers(others, key, 1, PERCENT_MAX) for key in others.names()},
                source=source,
                certainty=certainty,
            )
        )
        item.finish()
    return structures, percentages, tuple(waiting)
