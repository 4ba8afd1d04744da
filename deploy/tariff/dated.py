"""What is dated beside the prices: cosφ, rooftop solar, exchange rates, schedules, holidays, the two-component pilot.

Each with its source and certainty: as tables in either language, or as JSON. Without a day all there is; with one what
is in force on it, the schedules that wait for something, and the holidays of its year.
"""

from datetime import date
from fractions import Fraction
from typing import Any

from rich.console import Console
from rich.table import Table

from billing_core.codes import RATES, Category, Certainty
from billing_core.explain import Language, act_in, format_number
from billing_core.explain_names import CATEGORIES, CERTAINTIES
from billing_core.solar import price_in
from billing_core.tariff import SolarRule, Tariffs, TimeOfUse, TwoComponent
from deploy.tariff.show_words import HOLIDAYS, METHODS, WORDS


def print_dated(console: Console, tariffs: Tariffs, language: Language, day: date | None) -> None:
    """Print a table of each kind of figures."""
    found, words = dated_json(tariffs, day), WORDS[language]
    _print_schedules(console, found["schedules"], language)
    table = Table(*(words[name] for name in ("from", "cosφ", "from kW", "exempt", "certainty")), title=words["cosφ of"])
    for each in found["power_factor"]:
        exempt = ", ".join(CATEGORIES[language][Category(name)] for name in each["exempt"])
        surcharge = format_number(Fraction(str(each["floor_surcharge_percent"])), language)
        below = words["below"].format_map(each | {"surcharge": surcharge})
        table.add_row(each["from"], below, str(each["from_kw"]), exempt, _sure(each, language))
    console.print(table)
    table = Table(
        *(words[name] for name in ("regime", "act", "from", "how", "price", "certainty")), title=words["solar"]
    )
    for each in found["solar"]:
        how = METHODS[language][each["method"]].format_map(each)
        certainty = _sure(each, language)
        table.add_row(
            each["regime"], act_in(each["act"], language), each["from"], how, _bought(each, language), certainty
        )
    console.print(table)
    table = Table(*(words[name] for name in ("year", "đ a dollar", "source", "certainty")), title=words["exchange"])
    for each in found["exchange_rates"]:
        rate, certainty = format_number(each["vnd_per_usd"], language), _sure(each, language)
        table.add_row(str(each["year"]), rate, each["source"], certainty)
    if table.row_count:
        console.print(table)
    else:
        console.print(f"{words['exchange']}: {words['not known']}")
    table = Table(*(words[name] for name in ("act", "from", "voltage", "capacity", "energy")), title=words["pilot"])
    for each in found["two_component"]:
        for voltage, prices in each["prices"].items():
            energy = ", ".join(f"{rate.value} {format_number(prices[rate.value], language)}" for rate in RATES)
            capacity = format_number(prices["capacity"], language)
            table.add_row(act_in(each["act"], language), each["from"], voltage, capacity, energy)
    if table.row_count:
        console.print(table)
    table = Table(*(words[name] for name in ("holiday", "days", "certainty")), title=words["holidays"])
    for each in found["holidays"]:
        name = HOLIDAYS.get(each["name"], each["name"]) if language is Language.VI else each["name"]
        table.add_row(name, ", ".join(each["days"]), _sure(each, language))
    console.print(table)


def _print_schedules(console: Console, schedules: list[dict[str, Any]], language: Language) -> None:
    words = WORDS[language]
    for each in schedules:
        kind = words["waiting schedule"] if each["waits"] else words["schedule"]
        peak, off_peak = (", ".join(each[name]).replace("-", "–") for name in ("peak", "off_peak"))
        days = "" if each["sunday_peak"] else words["but Sunday"]
        days += words["holidays too"] if each["holidays_as_sunday"] else ""
        since = "" if each["from"] is None else words["since"].format(day=each["from"])
        console.print(
            words["hours"].format(kind=kind, name=each["name"], since=since, peak=peak, days=days, off_peak=off_peak),
            soft_wrap=True,
        )
        console.print(f"  {each['source']} ({_sure(each, language)})", soft_wrap=True)


def _sure(each: dict[str, Any], language: Language) -> str:
    return CERTAINTIES[language][Certainty(each["certainty"])]


def _bought(each: dict[str, Any], language: Language) -> str:
    """Return at what prices energy is bought: that of the day's year, or all that are known and the cents."""
    words = WORDS[language]
    if "year_price" in each:
        known = each["year_price"]
        return words["not known"] if known is None else f"{format_number(known['price'], language)} đ"
    listed = [f"{year}: {format_number(price, language)} đ" for year, price in each["prices"].items()]
    cents = [] if each["cents"] is None else [words["cents"].format(cents=each["cents"])]
    return "; ".join([*listed, *cents]) or words["not known"]


def dated_json(tariffs: Tariffs, day: date | None) -> dict[str, list[dict[str, Any]]]:
    """Return the figures as what JSON can hold. [đ, kW, hundredths]"""
    factors = tariffs.power_factor
    pilots: tuple[TwoComponent | None, ...] = tariffs.two_component
    schedules, solar, rates = tariffs.schedules, tariffs.solar, tariffs.exchange_rates
    if day is not None:
        factors = tuple(each for each in (tariffs.power_factor_on(day),) if each is not None)
        pilots, known = (tariffs.two_component_on(day),), tariffs.schedule_on(day)
        schedules = tuple(each for each in schedules if each is known or each.effective_on is None)
        solar = tuple(each for each in solar if each.effective_on <= day)
        rates = tuple(each for each in rates if each.year == day.year)
    return {
        "power_factor": [
            {
                "act": each.act,
                "from": str(each.effective_on),
                "required_percent": each.required_percent,
                "floor_percent": each.floor_percent,
                "floor_surcharge_percent": each.floor_surcharge_bp / 100,
                "from_kw": each.from_kw,
                "exempt": [category.value for category in each.exempt],
                "source": each.source,
                "certainty": each.certainty.value,
            }
            for each in factors
        ],
        "solar": [_solar(rule, tariffs, day) for rule in solar],
        "exchange_rates": [
            {"year": e.year, "vnd_per_usd": e.vnd_per_usd, "source": e.source, "certainty": e.certainty.value}
            for e in rates
        ],
        "schedules": [_schedule(each) for each in schedules],
        "two_component": [_pilot(each) for each in pilots if each is not None],
        "holidays": _holidays(tariffs, day),
    }


def _solar(rule: SolarRule, tariffs: Tariffs, day: date | None) -> dict[str, Any]:
    found: dict[str, Any] = {
        "regime": rule.regime.value,
        "act": rule.act,
        "from": str(rule.effective_on),
        "method": rule.method,
        "cap_percent": rule.cap_percent,
        "cents": None if rule.cents_hundredths is None else rule.cents_hundredths / 100,
        "prices": {str(each.year): each.price for each in rule.prices},
        "source": rule.source,
        "certainty": rule.certainty.value,
    }
    if rule.net_by_rate_source:
        found["net_by_rate"] = {"source": rule.net_by_rate_source, "certainty": rule.net_by_rate_certainty.value}
    if day is not None:
        price = price_in(rule, day.year, tariffs.exchange_rates)
        found["year_price"] = (
            None
            if price is None
            else {
                "year": price.year,
                "price": price.price,
                "source": price.source,
                "certainty": price.certainty.value,
            }
        )
    return found


def _schedule(each: TimeOfUse) -> dict[str, Any]:
    return {
        "name": each.name,
        "from": None if each.effective_on is None else str(each.effective_on),
        "waits": each.effective_on is None,
        "peak": [_window(window) for window in each.peak],
        "off_peak": [_window(window) for window in each.off_peak],
        "sunday_peak": each.sunday_peak,
        "holidays_as_sunday": each.holidays_as_sunday,
        "source": each.source,
        "certainty": each.certainty.value,
    }


def _pilot(each: TwoComponent) -> dict[str, Any]:
    prices = {
        voltage.value: {"capacity": capacity}
        | {rate.value: price for rate, price in zip(RATES, each.energy[voltage], strict=True)}
        for voltage, capacity in each.capacity.items()
    }
    named = {"act": each.act, "category": each.category.value, "from": str(each.effective_on)}
    return named | {"prices": prices, "source": each.source, "certainty": each.certainty.value}


def _holidays(tariffs: Tariffs, day: date | None) -> list[dict[str, Any]]:
    found = []
    for each in tariffs.holidays:
        if each.yearly is not None:
            days = [f"{each.yearly[0]:02}-{each.yearly[1]:02}" if day is None else str(date(day.year, *each.yearly))]
        else:
            days = [str(one) for one in each.days if day is None or one.year == day.year]
        named = {"name": each.name, "days": days}
        found.append(named | {"source": each.source, "certainty": each.certainty.value})
    return found


def _window(window: tuple[int, int]) -> str:
    return "-".join(f"{minute // 60:02}:{minute % 60:02}" for minute in window)
