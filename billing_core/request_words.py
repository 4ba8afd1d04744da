"""Words as values: one function for each kind of word; a wrong one is refused by its name."""

import re
from datetime import date
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import TypeVar

from billing_core.codes import Coded
from billing_core.rounding import ENERGY_WH_MAX, HOUSEHOLDS_MAX
from protocols.errors import UsageError

Member = TypeVar("Member", bound=Coded)


def member_in(name: str, text: str, kind: type[Member]) -> Member:
    """Return the member of a closed set by its text."""
    for member in kind:
        if member.value == text:
            return member
    known = ", ".join(member.value for member in kind)
    raise UsageError(f"{name}: found {text!r}, expected one of {known}; use one of them")


def day_in(name: str, text: str) -> date:
    """Return a day of the calendar."""
    try:
        if not re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII):
            raise ValueError
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"{name}: found {text!r}, expected a day of the calendar like 2025-12-31; correct it"
        ) from None


def whole_in(name: str, text: str, least: int, most: int) -> int:
    """Return a whole number within its closed bounds."""
    if not re.fullmatch(r"\d{1,12}", text, re.ASCII) or not least <= int(text) <= most:
        raise UsageError(f"{name}: found {text!r}, expected a whole number from {least} to {most}; correct it")
    return int(text)


def flag_in(name: str, text: str) -> bool:
    """Return whether the word is true."""
    if text not in ("true", "false"):
        raise UsageError(f"{name}: found {text!r}, expected true or false; use one of them")
    return text == "true"


def energy_in(name: str, text: str) -> int:
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


def fraction_in(name: str, text: str) -> Fraction:
    """Return a number of households: whole, decimal or a fraction."""
    try:
        value = Fraction(text) if re.fullmatch(r"\d{1,7}([./]\d{1,7})?", text, re.ASCII) else Fraction(0)
    except ZeroDivisionError:
        value = Fraction(0)
    if not 0 < value.numerator <= HOUSEHOLDS_MAX or value.denominator > HOUSEHOLDS_MAX:
        raise UsageError(f"{name}: found {text!r}, expected a positive number like 2, 1.25 or 5/4; correct it")
    return value


def hundredths_in(name: str, text: str, expected: str) -> int:
    """Return a number from 0.01 on with at most two decimals, in hundredths."""
    value = int(Decimal(text) * 100) if re.fullmatch(r"\d{1,3}(\.\d{1,2})?", text, re.ASCII) else 0
    if value < 1:
        raise UsageError(f"{name}: found {text!r}, expected {expected}; correct it")
    return value
