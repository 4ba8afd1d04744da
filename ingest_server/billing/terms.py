"""Contracts as columns: the texts of the database become the codes of the engine, once for all that share them."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from billing_core.batch import NO_PLAN
from billing_core.codes import Category, Coded, Solar, Voltage, codes_of
from billing_core.rate_plan import RatePlan, rate_plan_from_json
from ingest_server.billing.columns import (
    DEMAND,
    EXPORT,
    EXPORT_RATES,
    RATES,
    REACTIVE,
    REGISTERS,
    TOTAL,
    BoolArray,
    Int64Array,
    Points,
    Terms,
)
from ingest_server.billing.sentences import Sentence

Use: TypeAlias = tuple[Coded, Coded, int]
"""Category, voltage, share in percent."""

PLANS_KEPT_MAX = 1_024  # figures of as many plans stay parsed from chunk to chunk; a company has a few dozen
SURPLUS = (Solar.SURPLUS_2024, Solar.SURPLUS_2026)  # buy up to a share of what the panels generate


@dataclass(frozen=True, slots=True, kw_only=True)
class BilledTerms:
    """What the contracts say, one row per point; a row without a known contract stands for nothing and is held.

    Parameters
    ----------
    place
        Place of the terms in the run's list, ``NONE`` where there is no contract. [n]
    category, voltage, solar
        Codes of :mod:`billing_core.codes`. [n]
    households, households_parts
        As a fraction, and those after each change within the days. [n; n × k]
    settle_carry
        Whether a surplus carried by net metering is bought now: the bill ends with the year (Decision 11/2017), or is
        the last cycle that does, or ends with the contract, and no other of the same customer goes on with net metering
        on the next day. [n]
    hands_on
        Whether the surplus goes into the next row instead: other terms of the same customer follow within the period.
        [n]
    uses
        Of each of the run's terms the other uses of a mixed one: category, voltage, share in percent.
    rate_plan
        Place in ``plans``, ``NO_PLAN`` for none. [n]
    """

    place: Int64Array
    category: NDArray[np.int8]
    voltage: NDArray[np.int8]
    solar: NDArray[np.int8]
    households: Int64Array
    households_parts: Int64Array
    changed_households: Int64Array
    changed_households_parts: Int64Array
    three_rates: BoolArray
    reactive: BoolArray
    undeclared_rental: BoolArray
    refused_three_rates: BoolArray
    two_component: BoolArray
    settle_carry: BoolArray
    hands_on: BoolArray
    uses: tuple[tuple[Use, ...], ...]
    rate_plan: Int64Array
    plans: tuple[RatePlan, ...]

    @property
    def needed(self) -> BoolArray:
        """The registers each bill needs: total or three rates, export where it is settled … [n, registers]"""
        needed = np.zeros((len(self.category), len(REGISTERS)), dtype=np.bool_)
        needed[:, TOTAL] = ~self.three_rates
        needed[:, RATES] = self.three_rates[:, np.newaxis]
        needed[:, EXPORT] = (self.solar != Solar.NONE.code) & ~self.netted_by_rate
        needed[:, EXPORT_RATES] = self.netted_by_rate[:, np.newaxis]
        needed[:, REACTIVE] = self.reactive
        needed[:, DEMAND] = self.two_component | self.planned(lambda plan: bool(plan.demand))
        return needed

    @property
    def netted_by_rate(self) -> BoolArray:
        """Which contracts net each of three rates by itself, and so need the export of each. [n]"""
        return np.asarray(self.three_rates & (self.solar == Solar.NET_2017.code))

    def planned(self, asked: Callable[[RatePlan], bool]) -> BoolArray:
        """Say of each bill whether it has a rate plan of which something is so. [n]"""
        return np.array([*(asked(plan) for plan in self.plans), False], dtype=np.bool_)[self.rate_plan]

    @property
    def mixed(self) -> BoolArray:
        """Which contracts have several uses. [n]"""
        return np.array([bool(uses) for uses in self.uses], dtype=np.bool_)[self.place]

    @property
    def surplus(self) -> BoolArray:
        """Which contracts ask what the panels generate. [n]"""
        return np.asarray(np.isin(self.solar, [regime.code for regime in SURPLUS]))


# What stands in rows that are held.
NOBODY = Terms(category=Category.RESIDENTIAL.value, voltage=None, households=1, three_rates=False, solar_regime=None)


def read_terms(points: Points) -> tuple[BilledTerms, dict[int, Sentence]]:
    """Return the contracts' terms, and of each row with a term nobody knows what that is.

    A missing voltage is the low voltage homes are served at, a missing regime none.
    """
    place, changed = points.spans.place, points.spans.changed_place
    listed = (*points.terms, NOBODY)  # a place of −1 is nobody's
    known = [_codes(each) for each in listed]
    codes = np.array([found for found, _ in known], dtype=np.int8).reshape(-1, 3)[place]
    unknown = {
        int(at): known[place[at]][1] for at in np.flatnonzero(np.isin(place, _wrong(known))).tolist()
    }  # few, if any: the registry refuses such contracts

    def column(name: str, kind: type, of: Int64Array = place) -> NDArray[Any]:
        return np.array([getattr(each, name) for each in listed], dtype=kind)[of]

    flags = ("reactive", "undeclared_rental", "refused_three_rates", "two_component")
    plans = [None if wrong else plan_of(each) for each, (_, wrong) in zip(listed, known, strict=True)]
    there = tuple(plan for plan in plans if plan is not None)
    numbers = np.cumsum([plan is not None for plan in plans]) - 1
    rate_plan = np.where([plan is not None for plan in plans], numbers, NO_PLAN)[place]
    # What reactive energy costs is the acts' to say, not where another utility's plan prices energy.
    own_price = np.array([*(plan.prices_energy for plan in there), False], dtype=np.bool_)[rate_plan]
    hands_on = _hands_on(points, codes[:, 2] == Solar.NET_2017.code)
    return (
        BilledTerms(
            place=place,
            category=codes[:, 0],
            voltage=codes[:, 1],
            solar=codes[:, 2],
            households=column("households", np.int64),
            households_parts=column("households_parts", np.int64),
            changed_households=column("households", np.int64, changed),
            changed_households_parts=column("households_parts", np.int64, changed),
            **{name: column(name, np.bool_) & ~own_price for name in flags},
            three_rates=column("three_rates", np.bool_),
            settle_carry=_year_ends(points.last_day) | (points.spans.ends & ~hands_on),
            hands_on=hands_on,
            uses=tuple(() if wrong else _uses(each)[0] for each, (_, wrong) in zip(listed, known, strict=True)),
            rate_plan=rate_plan,
            plans=there,
        ),
        unknown,
    )


def plan_of(terms: Terms) -> RatePlan | None:
    """Return the rate plan of a contract; none without one, or where none of its name is in force."""
    return None if terms.rate_plan is None else _parsed(terms.rate_plan)


@lru_cache(maxsize=PLANS_KEPT_MAX)
def _parsed(text: str) -> RatePlan | None:
    """Return a plan from its JSON; none where that is a name alone."""
    found = json.loads(text)
    return None if isinstance(found, str) else rate_plan_from_json(found)


def _uses(terms: Terms) -> tuple[tuple[Use, ...], Sentence]:
    """Return the other uses of a contract, and what is wrong with them: nothing, as a rule."""
    found: list[Use] = []
    for use in [] if terms.uses is None else json.loads(terms.uses):
        category, voltage = TEXTS[Category].get(use["category"]), TEXTS[Voltage].get(use.get("voltage", "lt6"))
        if category is None or voltage is None:
            return (), {"say": "unknown_use", "use": str(use)}
        found.append((category, voltage, int(use["share_percent"])))
    return tuple(found), {}


def _wrong(known: list[tuple[tuple[int, ...], Sentence]]) -> list[int]:
    return [place for place, (_, wrong) in enumerate(known) if wrong]


def _hands_on(points: Points, netted: BoolArray) -> BoolArray:
    """Say of each row whether the next is net metering of the same customer at the same point from the next day on."""
    spans, found = points.spans, np.zeros(len(points), dtype=np.bool_)
    same = (spans.point[1:] == spans.point[:-1]) & (spans.customer[1:] == spans.customer[:-1])
    found[:-1] = same & netted[1:] & netted[:-1] & (points.first_day[1:] == points.last_day[:-1] + 1)
    return found


def _year_ends(days: Int64Array) -> BoolArray:
    """Say of each day whether it is the last of its year."""
    years = days.astype("datetime64[D]").astype("datetime64[Y]")
    return np.asarray((days + 1).astype("datetime64[D]").astype("datetime64[Y]") != years)


def _codes(terms: Terms) -> tuple[tuple[int, ...], Sentence]:
    """Return category, voltage and solar regime as codes, and what is wrong with them: nothing, as a rule."""
    given = (terms.category, terms.voltage or Voltage.LT6.value, terms.solar_regime or Solar.NONE.value)
    members = tuple(TEXTS[kind].get(text) for kind, text in zip(TEXTS, given, strict=True))
    for text, kind, member in zip(given, TEXTS, members, strict=True):
        if member is None:
            known = ", ".join(TEXTS[kind])
            wrong = {"say": f"unknown_{kind.__name__.lower()}", "found": repr(text), "known": known}
            return (Category.RESIDENTIAL.code, Voltage.LT6.code, Solar.NONE.code), wrong
    found = _uses(terms)[1]
    if terms.rate_plan is not None and plan_of(terms) is None:
        found = {"say": "unknown_rate_plan", "name": json.loads(terms.rate_plan)}
    return tuple(codes_of(member for member in members if member is not None).tolist()), found


TEXTS: dict[type[Coded], dict[str, Coded]] = {
    kind: {member.value: member for member in kind} for kind in (Category, Voltage, Solar)
}
