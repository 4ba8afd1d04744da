"""Entries of a tariff file that :mod:`protocols.strict_toml` does not know by itself.

A mistyped key in a price file is a wrong bill for millions, so each refusal names file and key, what was found, what
was expected, and the cure.
"""

from decimal import Decimal, InvalidOperation
from typing import TypeVar

from billing_core.codes import RATES, Certainty, Coded
from billing_core.tariff import RatePrices
from protocols.errors import UsageError
from protocols.strict_toml import Table

Member = TypeVar("Member", bound=Coded)


def refusal(table: Table, key: str, found: object, expected: str, cure: str) -> UsageError:
    """Return the error that says ``key`` of ``table`` is wrong."""
    return table.error(key, f"found {found}; expected {expected}; {cure}")


def take_text(table: Table, key: str) -> str:
    """Take a text that is not empty; white space within is one blank."""
    text = " ".join(table.take(key, str).split())
    if not text:
        raise refusal(table, key, "an empty text", "words", "say it in words")
    return text


def take_integers(table: Table, key: str, least: int, most: int) -> tuple[int, ...]:
    """Take a list of whole numbers from ``least`` to ``most``, not empty."""
    values = table.take(key, list)
    if not values or any(type(value) is not int or not least <= value <= most for value in values):
        raise refusal(table, key, values, f"whole numbers from {least} to {most}", "correct them from the source")
    return tuple(values)


def take_texts(table: Table, key: str) -> tuple[str, ...]:
    """Take a list of texts."""
    values = table.take(key, list)
    if not all(type(value) is str for value in values):
        raise refusal(table, key, values, "a list of texts", "put each in quotes")
    return tuple(values)


def take_decimal(table: Table, key: str) -> Decimal:
    """Take a positive decimal number, written as text so that no digit is lost."""
    text = take_text(table, key)
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal(0)
    if not value.is_finite() or value <= 0:
        raise refusal(table, key, repr(text), "a positive decimal number in quotes", "correct it from the source")
    return value


def take_rates(table: Table, most: int) -> RatePrices:
    """Take ``BT``, ``CD`` and ``TD``, off-peak cheapest and peak dearest; nothing else but what was taken before."""
    normal, peak, off_peak = (table.integer(rate.value, 1, most) for rate in RATES)
    table.finish()
    if not off_peak < normal < peak:
        found = f"BT {normal}, CD {peak}, TD {off_peak}"
        raise refusal(table, RATES[0].value, found, "TD (off-peak) < BT (normal) < CD (peak)", "read them again")
    return normal, peak, off_peak


def take_member(table: Table, key: str, kind: type[Member]) -> Member:
    """Take a member of a closed set, by its text."""
    text = take_text(table, key)
    for member in kind:
        if member.value == text:
            return member
    raise refusal(table, key, repr(text), " or ".join(repr(member.value) for member in kind), "use one of them")


def take_source(table: Table) -> tuple[str, Certainty]:
    """Take ``source`` and ``certainty``, which every figure has."""
    return take_text(table, "source"), take_member(table, "certainty", Certainty)
