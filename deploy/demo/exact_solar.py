"""Rooftop solar in the exact recomputation: what is billed, bought and carried on, also where the price changes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from typing import Any

from deploy.demo.exact_values import NotBillableError, Use, half_up


def stretches_of(use: Use, kwh: Mapping[str, Fraction]) -> list[dict[str, Fraction]]:
    """Return what flowed in each stretch between the readings at changes of price; all of it without any."""
    readings = [dict.fromkeys(kwh, Fraction(0)), *use.before_changes_kwh, kwh]
    return [{name: late[name] - early[name] for name in kwh} for early, late in pairwise(readings)]


def added_up(stretches: Sequence[Mapping[str, Fraction]]) -> Iterator[dict[str, Fraction]]:
    """Yield what had flowed by the end of each stretch."""
    found = dict.fromkeys(stretches[0], Fraction(0))
    for stretch in stretches:
        found = {name: kwh + stretch[name] for name, kwh in found.items()}
        yield found


def netted(use: Use) -> tuple[dict[str, Fraction], ...]:
    """Return what is billed up to each change of price, walking the stretches like cycles of their own.

    A surplus goes on to the next stretch, as it would to the next cycle; what is left at the end goes back, the last
    stretch first. Each register is walked by itself.
    """
    exported = _exported(use)
    if len(use.export_before_changes_kwh) != len(use.before_changes_kwh):
        raise NotBillableError("net metering at a change of price asks for the export until then")
    sent = replace(use, before_changes_kwh=use.export_before_changes_kwh)
    stretches = zip(stretches_of(use, use.kwh), stretches_of(sent, exported), strict=True)
    own = [{name: taken[name] - given[name] for name in taken} for taken, given in stretches]
    kept = _carried_in(use)
    for stretch in [*own, *reversed(own)]:
        for name in kept:
            left = stretch[name] - kept[name]
            stretch[name], kept[name] = max(left, Fraction(0)), max(-left, Fraction(0))
    return tuple(added_up(own))[:-1]


def _exported(use: Use) -> Mapping[str, Fraction]:
    """Return what is netted at each register."""
    if set(use.kwh) == {"SG"}:
        return {"SG": use.export_kwh}
    if use.export_by_rate_kwh is None:
        raise NotBillableError("net metering of three rates asks for the export of each")
    return use.export_by_rate_kwh


def _carried_in(use: Use) -> dict[str, Fraction]:
    """Return the surplus of before by register; one without rates is of the normal rate."""
    if set(use.kwh) == {"SG"}:
        return {"SG": use.carry_in_kwh}
    kept = use.carry_in_by_rate_kwh or {}
    return {name: kept.get(name, Fraction(0)) + (use.carry_in_kwh if name == "BT" else 0) for name in use.kwh}


def settle(
    use: Use, table: dict[str, Any]
) -> tuple[Mapping[str, Fraction], Fraction, Mapping[str, Fraction], int | None]:
    """Return by register what is billed, what is bought, by register what is carried on, and the price of buying."""
    nothing = Fraction(0)
    if use.solar is None:
        return use.kwh, nothing, {}, None
    rule = next(rule for rule in table["regime"] if rule["code"] == use.solar)
    price = use.solar_price or _solar_price(rule, use.end_on.year, table)
    if rule["method"] == "separate":
        return use.kwh, use.export_kwh, {}, price
    if rule["method"] == "surplus":
        if use.generation_kwh is None:
            return use.kwh, use.export_kwh, {}, None
        # The engine counts whole Wh, and the cap is not passed: a part of a Wh above it is not bought.
        cap = Fraction((use.generation_kwh * 1000 * rule["cap_percent"] / 100).__floor__(), 1000)
        return use.kwh, min(use.export_kwh, cap), {}, price
    exported, kept = _exported(use), _carried_in(use)
    balance = {name: kwh - exported[name] - kept[name] for name, kwh in use.kwh.items()}
    billed = {name: max(nothing, left) for name, left in balance.items()}
    surplus = {name: max(nothing, -left) for name, left in balance.items()}
    if use.settle_carry:
        return billed, sum(surplus.values(), nothing), {}, price
    return billed, nothing, surplus, price


def _solar_price(rule: dict[str, Any], year: int, table: dict[str, Any]) -> int | None:
    published = [entry["price"] for entry in rule.get("price", []) if entry["year"] == year]
    rates = [entry["vnd_per_usd"] for entry in table["exchange_rate"] if entry["year"] == year]
    if published:
        return int(published[0])
    return half_up(Fraction(rule["cents"]) / 100 * rates[0]) if rates and "cents" in rule else None
