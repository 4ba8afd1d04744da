"""Contracts as columns: the texts of the database become the codes of the engine, once for all that share them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from billing_core.codes import Category, Coded, Solar, Voltage, codes_of
from ingest_server.billing.columns import (
    EXPORT,
    NONE,
    RATES,
    REGISTERS,
    TOTAL,
    BoolArray,
    Int64Array,
    Points,
    Terms,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BilledTerms:
    """What the contracts say, one row per point; a row without one known contract stands for nothing and is held.

    Parameters
    ----------
    contracts
        How many contracts are in force on a day of the period. [n]
    place
        Place of the terms in the run's list, ``NONE`` where there is not exactly one contract. [n]
    category, voltage, solar
        Codes of :mod:`billing_core.codes`. [n]
    settle_carry
        Whether a surplus carried by net metering is bought now: the bill ends with the year (Decision 11/2017) or with
        the contract. [n]
    """

    contracts: Int64Array
    place: Int64Array
    category: NDArray[np.int8]
    voltage: NDArray[np.int8]
    solar: NDArray[np.int8]
    households: Int64Array
    three_rates: BoolArray
    settle_carry: BoolArray

    @property
    def needed(self) -> BoolArray:
        """The registers each bill needs: total or three rates, and export where it is settled. [n, registers]"""
        needed = np.zeros((len(self.category), len(REGISTERS)), dtype=np.bool_)
        needed[:, TOTAL] = ~self.three_rates
        needed[:, RATES] = self.three_rates[:, np.newaxis]
        needed[:, EXPORT] = self.solar != Solar.NONE.code
        return needed


# What stands in rows that are held.
NOBODY = Terms(category=Category.RESIDENTIAL.value, voltage=None, households=1, three_rates=False, solar_regime=None)


def read_terms(points: Points) -> tuple[BilledTerms, dict[int, str]]:
    """Return the contracts' terms, and of each row with a term nobody knows what that is.

    A missing voltage is the low voltage homes are served at, a missing regime none.
    """
    n = len(points)
    counts = np.bincount(points.contracts.point, minlength=n)
    alone = counts[points.contracts.point] == 1
    row = points.contracts.point[alone]
    place = np.full(n, NONE, dtype=np.int64)
    place[row] = points.contracts.terms[alone]
    ends = np.zeros(n, dtype=np.bool_)
    ends[row] = points.contracts.last_day[alone] == points.last_day[row]
    listed = (*points.terms, NOBODY)  # a place of −1 is nobody's
    known = [_codes(each) for each in listed]
    codes = np.array([found for found, _ in known], dtype=np.int8).reshape(-1, 3)[place]
    unknown = {
        int(at): known[place[at]][1] for at in np.flatnonzero(np.isin(place, _wrong(known))).tolist()
    }  # few, if any: the registry refuses such contracts
    return (
        BilledTerms(
            contracts=counts,
            place=place,
            category=codes[:, 0],
            voltage=codes[:, 1],
            solar=codes[:, 2],
            households=np.array([each.households for each in listed], dtype=np.int64)[place],
            three_rates=np.array([each.three_rates for each in listed], dtype=np.bool_)[place],
            settle_carry=_year_ends(points.last_day) | ends,
        ),
        unknown,
    )


def _wrong(known: list[tuple[tuple[int, ...], str]]) -> list[int]:
    return [place for place, (_, wrong) in enumerate(known) if wrong]


def _year_ends(days: Int64Array) -> BoolArray:
    """Say of each day whether it is the last of its year."""
    years = days.astype("datetime64[D]").astype("datetime64[Y]")
    return np.asarray((days + 1).astype("datetime64[D]").astype("datetime64[Y]") != years)


def _codes(terms: Terms) -> tuple[tuple[int, ...], str]:
    """Return category, voltage and solar regime as codes, and what is wrong with them: nothing, as a rule."""
    given = (terms.category, terms.voltage or Voltage.LT6.value, terms.solar_regime or Solar.NONE.value)
    members = tuple(TEXTS[kind].get(text) for kind, text in zip(TEXTS, given, strict=True))
    for text, kind, member in zip(given, TEXTS, members, strict=True):
        if member is None:
            known = ", ".join(TEXTS[kind])
            wrong = f"the contract's {kind.__name__.lower()} is {text!r}, known are {known}: correct the contract"
            return (Category.RESIDENTIAL.code, Voltage.LT6.code, Solar.NONE.code), wrong
    return tuple(codes_of(member for member in members if member is not None).tolist()), ""


TEXTS: dict[type[Coded], dict[str, Coded]] = {
    kind: {member.value: member for member in kind} for kind in (Category, Voltage, Solar)
}
