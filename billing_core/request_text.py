"""A quote request from words, as a command line or a query string has them; a wrong word is refused by its name."""

import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any, TypeVar

from billing_core.codes import (
    HOLD_TEXTS,
    RATES,
    Category,
    Coded,
    Hold,
    QuotaRounding,
    Register,
    Solar,
    Voltage,
    member_of,
)
from billing_core.consumption import DIGITS_MAX, MULTIPLIER_MAX, consume
from billing_core.line import wh_as_kwh
from billing_core.quote import QuoteRequest
from billing_core.rounding import DAYS_MAX, ENERGY_WH_MAX, HOUSEHOLDS_MAX, PRICE_MAX
from billing_core.tariff import BY_RATE, TIERED
from protocols.errors import UsageError

Member = TypeVar("Member", bound=Coded)

REGISTER_WORDS = ("old_index", "new_index", "digits", "multiplier")
PEOPLE_PER_HOUSEHOLD = 4  # tenants: four people make one household (Circular 60/2025/TT-BCT, article 12(5))


def request_from_text(words: Mapping[str, str | None]) -> QuoteRequest:
    """Make a request of words.

    Parameters
    ----------
    words
        By the names of the options of ``congto quote``, with ``_`` for ``-``: ``category``, ``from``, ``to``, ``kwh``,
        ``rates``, ``old_index``, ``new_index``, ``digits``, ``multiplier``, ``voltage``, ``households``, ``tenants``,
        ``person_days``, ``nominal_days``, ``price_change_date``, ``export_kwh``, ``generation_kwh``, ``solar_regime``,
        ``solar_price``, ``carry_in_kwh``, ``settle_carry``, ``reactive_kvarh``, ``quota_rounding``. What is absent or
        ``None`` has its default.

    Raises
    ------
    UsageError
        Naming the word, what was found, what was expected, and the cure.
    """
    category = _member("category", _needed(words, "category"), Category)
    start_on, end_on = _day("from", _needed(words, "from")), _day("to", _needed(words, "to"))
    if end_on < start_on:
        raise UsageError(f"from and to: found {start_on} and {end_on}, expected the first day first; exchange them")
    given: dict[str, Any] = {}
    if (text := words.get("voltage")) is not None:
        given["voltage"] = _member("voltage", text, Voltage)
    if (text := words.get("nominal_days")) is not None:
        given["nominal_days"] = _whole("nominal-days", text, 1, DAYS_MAX)
    if (text := words.get("price_change_date")) is not None:
        given["price_change_on"] = _day("price-change-date", text)
    for name, option in (
        ("export_wh", "export_kwh"),
        ("generation_wh", "generation_kwh"),
        ("carry_in_wh", "carry_in_kwh"),
    ):
        if (text := words.get(option)) is not None:
            given[name] = _energy(option.replace("_", "-"), text)
    if (text := words.get("reactive_kvarh")) is not None:
        given["reactive_varh"] = _energy("reactive-kvarh", text)
    if (text := words.get("solar_price")) is not None:
        given["solar_price"] = _whole("solar-price", text, 1, PRICE_MAX)
    if (text := words.get("quota_rounding")) is not None:
        given["quota_rounding"] = _member("quota-rounding", text, QuotaRounding)
    if (text := words.get("settle_carry")) is not None:
        given["settle_carry"] = _flag("settle-carry", text)
    return QuoteRequest(
        category=category,
        start_on=start_on,
        end_on=end_on,
        energy_wh=_energies(words, category),
        households=_households(words, category, (end_on - start_on).days + 1),
        solar=_solar(words),
        **given,
    )


def _needed(words: Mapping[str, str | None], name: str) -> str:
    text = words.get(name)
    if text is None:
        raise UsageError(f"{name}: found nothing; give it")
    return text


def _member(name: str, text: str, kind: type[Member]) -> Member:
    for member in kind:
        if member.value == text:
            return member
    known = ", ".join(member.value for member in kind)
    raise UsageError(f"{name}: found {text!r}, expected one of {known}; use one of them")


def _day(name: str, text: str) -> date:
    try:
        if not re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII):
            raise ValueError
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"{name}: found {text!r}, expected a day of the calendar like 2025-12-31; correct it"
        ) from None


def _whole(name: str, text: str, least: int, most: int) -> int:
    if not re.fullmatch(r"\d{1,12}", text, re.ASCII) or not least <= int(text) <= most:
        raise UsageError(f"{name}: found {text!r}, expected a whole number from {least} to {most}; correct it")
    return int(text)


def _flag(name: str, text: str) -> bool:
    if text not in ("true", "false"):
        raise UsageError(f"{name}: found {text!r}, expected true or false; use one of them")
    return text == "true"


def _energy(name: str, text: str) -> int:
    """Return kWh as Wh, exactly."""
    try:
        wh = Decimal(text) * 1000 if re.fullmatch(r"[-+]?\d{1,20}(\.\d{1,20})?", text, re.ASCII) else Decimal("NaN")
    except InvalidOperation:
        wh = Decimal("NaN")
    if not wh.is_finite():
        raise UsageError(f"{name}: found {text!r}, expected a number of kWh like 165 or 165.25; correct it")
    if wh < 0:
        raise UsageError(f"{name}: found {text}, expected no negative energy; check the readings")
    if wh != wh.to_integral_value():
        raise UsageError(
            f"{name}: found {text}, expected at most three decimals (whole Wh); round it as the meter does"
        )
    if wh > ENERGY_WH_MAX // 3:
        raise UsageError(
            f"{name}: found {text}, expected at most {ENERGY_WH_MAX // 3000} kWh; check digits and multiplier"
        )
    return int(wh)


def _energies(words: Mapping[str, str | None], category: Category) -> int | tuple[int, int, int]:
    total, rates = words.get("kwh"), words.get("rates")
    if rates is None:
        read = _register(words)
        if total is None and read is None:
            raise UsageError("kwh: found nothing; give kwh, rates for a three-rate meter, or old-index and new-index")
        energy = _energy("kwh", total) if total is not None else read
        assert energy is not None
        if read is not None and energy != read:
            raise UsageError(
                f"kwh: found {total}, but the register says {wh_as_kwh(read)} kWh; correct one, or leave kwh out"
            )
        return energy
    if any(words.get(name) is not None for name in REGISTER_WORDS):
        raise UsageError("rates: found an index too, expected one of them; leave the other out")
    if category not in BY_RATE:
        raise UsageError(f"rates: {category.value} has no prices by time of use; give kwh instead")
    found: dict[Register, int] = {}
    for pair in rates.split(","):
        name, equals, text = pair.partition("=")
        register = _member("rates", name.strip(), Register)
        if not equals or register not in RATES or register in found:
            raise UsageError(f"rates: found {pair!r}, expected BT=…,CD=…,TD=… in kWh, each once; correct it")
        found[register] = _energy(f"rates, {name.strip()}", text.strip())
    normal, peak, off_peak = (found.get(rate, 0) for rate in RATES)
    if total is not None and _energy("kwh", total) != normal + peak + off_peak:
        raise UsageError(
            f"kwh: found {total}, but the rates sum to {wh_as_kwh(normal + peak + off_peak)} kWh; "
            "correct one, or leave kwh out"
        )
    return normal, peak, off_peak


def _register(words: Mapping[str, str | None]) -> int | None:
    """Return what a register counted between two readings. [Wh]"""
    old, new, digits, multiplier = (words.get(name) for name in REGISTER_WORDS)
    if old is None and new is None and digits is None and multiplier is None:
        return None
    if old is None or new is None:
        raise UsageError("old-index and new-index: found one of them; give both")
    found = consume(
        [_energy("old-index", old)],
        [_energy("new-index", new)],
        digits=0 if digits is None else _whole("digits", digits, 1, DIGITS_MAX),
        multiplier=1 if multiplier is None else _whole("multiplier", multiplier, 1, MULTIPLIER_MAX),
    )
    if found.hold[0]:
        reason = HOLD_TEXTS[member_of(Hold, int(found.hold[0]))]
        raise UsageError(f"old-index and new-index: found {old} and {new}: {reason}")
    return int(found.energy_wh[0])


def _households(words: Mapping[str, str | None], category: Category, days: int) -> Fraction:
    ways = [name for name in ("households", "tenants", "person_days") if words.get(name) is not None]
    if not ways:
        return Fraction(1)
    way = ways[0].replace("_", "-")
    if len(ways) > 1:
        raise UsageError(f"{way}: found {ways[1].replace('_', '-')} too, expected one of them; leave the other out")
    if category not in TIERED:
        raise UsageError(f"{way}: {category.value} has no tiers that households widen; leave it out")
    text = words[ways[0]] or ""
    if way == "tenants":
        return Fraction(_whole(way, text, 1, HOUSEHOLDS_MAX), PEOPLE_PER_HOUSEHOLD)
    if way == "person-days":
        return Fraction(_whole(way, text, 1, HOUSEHOLDS_MAX), PEOPLE_PER_HOUSEHOLD * days)
    try:
        households = Fraction(text) if re.fullmatch(r"\d{1,7}([./]\d{1,7})?", text, re.ASCII) else Fraction(0)
    except ZeroDivisionError:
        households = Fraction(0)
    if not 0 < households.numerator <= HOUSEHOLDS_MAX or households.denominator > HOUSEHOLDS_MAX:
        raise UsageError(f"{way}: found {text!r}, expected a positive number like 2, 1.25 or 5/4; correct it")
    return households


def _solar(words: Mapping[str, str | None]) -> Solar:
    text = words.get("solar_regime")
    if text is None:
        asked = [name for name in ("export_kwh", "carry_in_kwh", "generation_kwh") if words.get(name) is not None]
        return Solar.SEPARATE_2020 if asked else Solar.NONE
    return _member("solar-regime", text, Solar)
