"""Tariff files become values: parsing is pure, from text; :func:`load_tariffs` alone reads the package's own files.

Refused, with file, key and cure: a key nobody knows, a key that is missing, a source that is missing, two acts of one
day, rates of tax that overlap or leave a gap, tiers and prices that differ in number.
"""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from functools import cache
from importlib import resources
from itertools import pairwise
from typing import Protocol, TypeVar

from billing_core.codes import RATES, Category, Certainty, Solar, Voltage
from billing_core.rounding import PRICE_MAX
from billing_core.tariff import (
    Act,
    ExchangeRate,
    Percentages,
    PowerFactorTable,
    RatePrices,
    SolarPrice,
    SolarRule,
    Tariffs,
    TierStructure,
    TimeOfUse,
    VatRate,
)
from billing_core.tariff_entries import (
    refusal,
    take_decimal,
    take_integers,
    take_member,
    take_source,
    take_text,
    take_texts,
)
from protocols.errors import UsageError
from protocols.strict_toml import Table, parse_toml

RATE_CLASSES = {
    Category.PRODUCTION: (Voltage.LT6, Voltage.KV6_22, Voltage.KV22_110, Voltage.GE110),
    Category.BUSINESS: (Voltage.LT6, Voltage.KV6_22, Voltage.GE22),
}
SINGLE_CLASSES = {
    Category.HOSPITAL_SCHOOL: (Voltage.LT6, Voltage.GE6),
    Category.LIGHTING_ADMIN: (Voltage.LT6, Voltage.GE6),
}
SOLAR_METHODS = ("net", "separate", "surplus")
TIERS_MAX = 12
PERCENT_MAX = 1000
SURCHARGE_BP_MAX = 10_000  # reactive energy at most doubles a bill, so that it cannot leave 64 bits


class Dated(Protocol):
    """What is in force from a day on."""

    @property
    def effective_on(self) -> date:
        """The first day."""


Item = TypeVar("Item", bound=Dated)


@cache
def load_tariffs() -> Tariffs:
    """Return the tariffs that come with the package. The files are read once."""
    folder = resources.files("billing_core") / "tariffs"
    files = sorted((item for item in folder.iterdir() if item.name.endswith(".toml")), key=lambda item: item.name)
    return parse_tariffs({item.name: item.read_text(encoding="utf-8") for item in files})


def parse_tariffs(files: Mapping[str, str]) -> Tariffs:
    """Make tariffs of the texts of their files, by name.

    ``act_*.toml`` is a price act each; ``structure.toml``, ``vat.toml``, ``power_factor.toml``, ``solar.toml`` and
    ``time_of_use.toml`` are one of a kind.

    Raises
    ------
    UsageError
        If a file is wrong, naming file, key, and cure.
    """
    wanted = {"structure.toml", "vat.toml", "power_factor.toml", "solar.toml", "time_of_use.toml"}
    for name in wanted - files.keys():
        raise UsageError(f"{name}: found no such file, expected it among the tariff files; put it back")
    tables = {name: parse_toml(text, name) for name, text in files.items()}
    for name in tables:
        if name not in wanted and not name.startswith("act_"):
            raise UsageError(f"{name}: found a file of unknown kind; name a price act act_YEAR_NUMBER.toml")
    acts = [(name, _act(table)) for name, table in tables.items() if name.startswith("act_")]
    structures, percentages = _structure(tables["structure.toml"])
    rules, exchange_rates = _solar(tables["solar.toml"])
    tariffs = Tariffs(
        acts=_in_order(acts),
        structures=_in_order([("structure.toml", item) for item in structures]),
        percentages=_in_order([("structure.toml", item) for item in percentages]),
        vat=_vat(tables["vat.toml"]),
        power_factor=_in_order([("power_factor.toml", item) for item in _power_factor(tables["power_factor.toml"])]),
        solar=rules,
        exchange_rates=exchange_rates,
        schedules=_schedules(tables["time_of_use.toml"]),
    )
    for table in tables.values():
        table.finish()
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


def _check_tiers(tariffs: Tariffs, files: Mapping[str, str]) -> None:
    """Refuse an act whose residential prices are not as many as the tiers in force with it."""
    for act in tariffs.acts:
        structure = tariffs.structure_on(act.effective_on)
        expected = "a tier structure in force" if structure is None else f"{len(structure.widths) + 1} prices"
        if structure is None or len(act.tiers) != len(structure.widths) + 1:
            raise UsageError(
                f"{files[act.name]}: residential.tiers: found {len(act.tiers)} prices, expected {expected} on "
                f"{act.effective_on}; correct the prices, or date the structure in structure.toml"
            )


def _rate_prices(table: Table, most: int) -> RatePrices:
    normal, peak, off_peak = (table.integer(rate.value, 1, most) for rate in RATES)
    table.finish()
    return normal, peak, off_peak


def _act(table: Table) -> Act:
    residential = table.table("residential")
    rates = {}
    for category, classes in RATE_CLASSES.items():
        by_voltage = table.table(category.value)
        for voltage in classes:
            rates[category, voltage] = _rate_prices(by_voltage.table(voltage.value), PRICE_MAX)
        by_voltage.finish()
    single = {}
    for category, classes in SINGLE_CLASSES.items():
        by_voltage = table.table(category.value)
        for voltage in classes:
            single[category, voltage] = by_voltage.integer(voltage.value, 1, PRICE_MAX)
        by_voltage.finish()
    act = Act(
        name=take_text(table, "act"),
        signed_on=table.take("signed_on", date),
        effective_on=table.take("effective_on", date),
        average=take_decimal(table, "average"),
        source=take_text(table, "source"),
        certainty=_certainties(table.table("certainty")),
        tiers=take_integers(residential, "tiers", 1, PRICE_MAX),
        prepaid=residential.integer("prepaid", 1, PRICE_MAX),
        rates=rates,
        single=single,
    )
    residential.finish()
    if list(act.tiers) != sorted(act.tiers):
        raise refusal(residential, "tiers", list(act.tiers), "prices that rise from tier to tier", "correct them")
    return act


def _certainties(table: Table) -> dict[str, Certainty]:
    found = {key: take_member(table, key, Certainty) for key in ("average", *(category.value for category in Category))}
    finer = {f"{c.value}.{v.value}" for c, vs in (RATE_CLASSES | SINGLE_CLASSES).items() for v in vs}
    found |= {key: take_member(table, key, Certainty) for key in table.names() if key in finer}
    table.finish()
    return found


def _structure(table: Table) -> tuple[list[TierStructure], list[Percentages]]:
    structures, percentages = [], []
    for item in table.tables("tiers"):
        name, effective_on = take_text(item, "name"), item.take("effective_on", date)
        widths = take_integers(item, "widths", 1, 10_000)
        source, certainty = take_source(item)
        structures.append(
            TierStructure(name=name, effective_on=effective_on, widths=widths, source=source, certainty=certainty)
        )
        item.finish()
    for item in table.tables("percent"):
        effective_on = item.take("effective_on", date)
        tiers, prepaid = take_integers(item, "tiers", 1, PERCENT_MAX), item.integer("prepaid", 1, PERCENT_MAX)
        by_voltage = item.table("business")
        business = {v: _rate_prices(by_voltage.table(v.value), PERCENT_MAX) for v in RATE_CLASSES[Category.BUSINESS]}
        by_voltage.finish()
        source, certainty = take_source(item)
        percentages.append(
            Percentages(
                effective_on=effective_on,
                tiers=tiers,
                prepaid=prepaid,
                business=business,
                source=source,
                certainty=certainty,
            )
        )
        item.finish()
    for item in table.tables("waiting"):
        take_text(item, "name"), item.take("signed_on", date), take_text(item, "waits_for"), take_source(item)
        take_integers(item, "widths", 1, 10_000), take_integers(item, "percent", 1, PERCENT_MAX)
        item.finish()
    return structures, percentages


def _vat(table: Table) -> tuple[VatRate, ...]:
    rates: list[VatRate] = []
    for item in table.tables("rate"):
        act = take_text(item, "act")
        start_on, end_on = item.take("start_on", date), item.take("end_on", date)
        permille = item.integer("permille", 0, 1000)
        source, certainty = take_source(item)
        item.finish()
        if end_on < start_on:
            raise refusal(item, "end_on", end_on, f"a day not before {start_on}", "correct one of the dates")
        if rates and start_on != rates[-1].end_on + timedelta(days=1):
            raise refusal(
                item,
                "start_on",
                start_on,
                f"{rates[-1].end_on + timedelta(days=1)}, the day after the rate before it ends",
                "rates of tax must neither overlap nor leave a gap: correct the dates",
            )
        rates.append(
            VatRate(act=act, start_on=start_on, end_on=end_on, permille=permille, source=source, certainty=certainty)
        )
    return tuple(rates)


def _power_factor(table: Table) -> list[PowerFactorTable]:
    found = []
    for item in table.tables("table"):
        effective_on = item.take("effective_on", date)
        required, floor = item.integer("required_percent", 50, 100), item.integer("floor_percent", 50, 100)
        surcharge, from_kw = (
            item.integer("floor_surcharge_bp", 0, SURCHARGE_BP_MAX),
            item.integer("from_kw", 0, 1_000_000),
        )
        source, certainty = take_source(item)
        found.append(
            PowerFactorTable(
                act=take_text(item, "act"),
                effective_on=effective_on,
                required_percent=required,
                floor_percent=floor,
                floor_surcharge_bp=surcharge,
                from_kw=from_kw,
                source=source,
                certainty=certainty,
            )
        )
        item.finish()
    return found


def _solar(table: Table) -> tuple[tuple[SolarRule, ...], tuple[ExchangeRate, ...]]:
    rules = {}
    for item in table.tables("regime"):
        rule = _solar_rule(item)
        if rule.regime is Solar.NONE or rule.regime in rules:
            raise refusal(item, "code", repr(rule.regime.value), "each regime once", "take one of them out")
        rules[rule.regime] = rule
    for regime in Solar:
        if regime is not Solar.NONE and regime not in rules:
            raise refusal(table, "regime", f"no {regime.value}", "a rule for each regime", "add it with its source")
    rates: dict[int, ExchangeRate] = {}
    for item in table.tables("exchange_rate"):
        year, vnd = item.integer("year", 2000, 2100), item.integer("vnd_per_usd", 1, 10**6)
        source, certainty = take_source(item)
        item.finish()
        if year in rates:
            raise refusal(item, "year", year, "each year once", "take one of them out")
        rates[year] = ExchangeRate(year=year, vnd_per_usd=vnd, source=source, certainty=certainty)
    return tuple(rules.values()), tuple(rates.values())


def _solar_rule(item: Table) -> SolarRule:
    prices: dict[int, SolarPrice] = {}
    for entry in item.tables("price"):
        year, price = entry.integer("year", 2000, 2100), entry.integer("price", 1, PRICE_MAX)
        source, certainty = take_source(entry)
        entry.finish()
        if year in prices:
            raise refusal(entry, "year", year, "each year once", "take one of them out")
        prices[year] = SolarPrice(year=year, price=price, source=source, certainty=certainty)
    source, certainty = take_source(item)
    rule = SolarRule(
        regime=take_member(item, "code", Solar),
        method=take_text(item, "method"),
        act=take_text(item, "act"),
        effective_on=item.take("effective_on", date),
        cents_hundredths=int(take_decimal(item, "cents") * 100) if "cents" in item else None,
        cap_percent=item.integer("cap_percent", 1, 100) if "cap_percent" in item else None,
        prices=tuple(prices.values()),
        source=source,
        certainty=certainty,
    )
    item.finish()
    if rule.method not in SOLAR_METHODS:
        raise refusal(item, "method", repr(rule.method), " or ".join(SOLAR_METHODS), "use one of them")
    if (rule.method == "surplus") != (rule.cap_percent is not None):
        raise refusal(
            item, "cap_percent", rule.cap_percent, "a cap with the method surplus, and only there", "correct it"
        )
    return rule


def _schedules(table: Table) -> tuple[TimeOfUse, ...]:
    found = []
    for item in table.tables("schedule"):
        name, sunday_peak = take_text(item, "name"), item.take("sunday_peak", bool)
        waits_for = take_text(item, "waits_for") if "waits_for" in item else None
        effective_on = item.take("effective_on", date) if waits_for is None else None
        peak, off_peak = _windows(item, "peak"), _windows(item, "off_peak")
        source, certainty = take_source(item)
        item.finish()
        found.append(
            TimeOfUse(
                name=name,
                effective_on=effective_on,
                peak=peak,
                off_peak=off_peak,
                sunday_peak=sunday_peak,
                source=source if waits_for is None else f"{source}; waits for {waits_for}",
                certainty=certainty,
            )
        )
    return tuple(found)


def _windows(item: Table, key: str) -> tuple[tuple[int, int], ...]:
    return tuple(_window(item, key, text) for text in take_texts(item, key))


def _window(item: Table, key: str, text: str) -> tuple[int, int]:
    try:
        (start_h, start_m), (end_h, end_m) = (map(int, clock.split(":")) for clock in text.split("-"))
    except ValueError:
        start_h = start_m = end_h = end_m = -1
    if not (0 <= start_h < 24 and 0 <= start_m < 60 and 0 <= end_h < 24 and 0 <= end_m < 60):
        raise refusal(item, key, repr(text), "a window like 09:30-11:30", "write both times with minutes")
    return start_h * 60 + start_m, end_h * 60 + end_m
