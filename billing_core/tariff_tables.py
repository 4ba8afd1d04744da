"""Tariff files that are tables of dated figures: tax, power factor, solar regimes, schedules, holidays, the pilot."""

from dataclasses import replace
from datetime import date, timedelta

from billing_core.codes import Category, Certainty, Solar, Voltage
from billing_core.rounding import PRICE_MAX
from billing_core.tariff import (
    ExchangeRate,
    Holiday,
    PowerFactorTable,
    RatePrices,
    SolarPrice,
    SolarRule,
    TimeOfUse,
    TwoComponent,
    VatRate,
)
from billing_core.tariff_entries import (
    refusal,
    take_decimal,
    take_member,
    take_rates,
    take_source,
    take_text,
    take_texts,
)
from protocols.strict_toml import Table

SOLAR_METHODS = ("net", "separate", "surplus")
SURCHARGE_BP_MAX = 10_000  # reactive energy at most doubles a bill, so that it cannot leave 64 bits
CAPACITY_PRICE_MAX = 10_000_000  # đ/kW; forty times the pilot's, and 10 GW × it stays within 64 bits
PILOT_CLASSES = (Voltage.LT6, Voltage.KV6_22, Voltage.KV22_110, Voltage.GE110)


def vat_of(table: Table) -> tuple[VatRate, ...]:
    """Return the rates of value-added tax, each following the one before."""
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


def power_factor_of(table: Table) -> list[PowerFactorTable]:
    """Return the tables of surcharges for reactive energy."""
    found = []
    for item in table.tables("table"):
        effective_on = item.take("effective_on", date)
        required, floor = item.integer("required_percent", 50, 100), item.integer("floor_percent", 50, 100)
        surcharge, from_kw = (
            item.integer("floor_surcharge_bp", 0, SURCHARGE_BP_MAX),
            item.integer("from_kw", 0, 1_000_000),
        )
        exempt = item.take("exempt", list)
        names = [each.value for each in Category]
        if unknown := [name for name in exempt if name not in names]:
            raise refusal(item, "exempt", f"{unknown[0]!r}", f"categories: {', '.join(names)}", "correct it")
        source, certainty = take_source(item)
        found.append(
            PowerFactorTable(
                act=take_text(item, "act"),
                effective_on=effective_on,
                required_percent=required,
                floor_percent=floor,
                floor_surcharge_bp=surcharge,
                from_kw=from_kw,
                exempt=tuple(Category(name) for name in exempt),
                source=source,
                certainty=certainty,
            )
        )
        item.finish()
    return found


def solar_of(table: Table) -> tuple[tuple[SolarRule, ...], tuple[ExchangeRate, ...]]:
    """Return the solar regimes and the exchange rates."""
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
    if "net_by_rate_source" in item:
        why, sure = take_text(item, "net_by_rate_source"), take_member(item, "net_by_rate_certainty", Certainty)
        rule = replace(rule, net_by_rate_source=why, net_by_rate_certainty=sure)
        if "net_by_rate_source_vi" in item:
            rule = replace(rule, net_by_rate_source_vi=take_text(item, "net_by_rate_source_vi"))
    item.finish()
    if rule.method not in SOLAR_METHODS:
        raise refusal(item, "method", repr(rule.method), " or ".join(SOLAR_METHODS), "use one of them")
    if (rule.method == "surplus") != (rule.cap_percent is not None):
        raise refusal(
            item, "cap_percent", rule.cap_percent, "a cap with the method surplus, and only there", "correct it"
        )
    if (rule.method == "net") != bool(rule.net_by_rate_source):
        found = rule.net_by_rate_source or "nothing"
        expected = "why three rates are netted each by itself, with the method net and only there"
        raise refusal(item, "net_by_rate_source", found, expected, "correct it")
    return rule


def schedules_of(table: Table) -> tuple[TimeOfUse, ...]:
    """Return the schedules of the three rates."""
    found = []
    for item in table.tables("schedule"):
        name, sunday_peak = take_text(item, "name"), item.take("sunday_peak", bool)
        holidays = item.take("holidays_as_sunday", bool, default=False)
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
                holidays_as_sunday=holidays,
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


def holidays_of(table: Table) -> tuple[Holiday, ...]:
    """Return the public holidays, those of every year and those of the lunar calendar."""
    found = []
    for item in table.tables("yearly"):
        name, month, day = take_text(item, "name"), item.integer("month", 1, 12), item.integer("day", 1, 31)
        source, certainty = take_source(item)
        item.finish()
        try:
            date(2000, month, day)
        except ValueError:
            raise refusal(item, "day", day, f"a day of month {month}", "correct it from the source") from None
        found.append(Holiday(name=name, yearly=(month, day), days=(), source=source, certainty=certainty))
    for item in table.tables("lunar"):
        name, days = take_text(item, "name"), item.take("days", list)
        source, certainty = take_source(item)
        item.finish()
        if not all(type(day) is date for day in days):
            raise refusal(item, "days", days, "a list of dates like 2026-02-17", "write them without quotes")
        found.append(Holiday(name=name, yearly=None, days=tuple(days), source=source, certainty=certainty))
    return tuple(found)


def two_component_of(table: Table) -> list[TwoComponent]:
    """Return the price lists of the two-component pilot: a price of capacity and three of energy, by voltage."""
    found = []
    for item in table.tables("pilot"):
        capacity: dict[Voltage, int] = {}
        energy: dict[Voltage, RatePrices] = {}
        for voltage in PILOT_CLASSES:
            by_voltage = item.table(voltage.value)
            capacity[voltage] = by_voltage.integer("capacity", 1, CAPACITY_PRICE_MAX)
            energy[voltage] = take_rates(by_voltage, PRICE_MAX)
        source, certainty = take_source(item)
        found.append(
            TwoComponent(
                act=take_text(item, "act"),
                category=take_member(item, "category", Category),
                effective_on=item.take("effective_on", date),
                capacity=capacity,
                energy=energy,
                source=source,
                certainty=certainty,
            )
        )
        item.finish()
    return found
