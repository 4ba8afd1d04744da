"""Why a point is not billed: the checks before the engine's own, each naming what is wrong and its cure.

The checks run in this order and the first reason of a point is the one told:

1. the contract: none, several, or a term nobody knows;
2. the meter: none hung there for a part of the days;
3. the registers at both ends of each part: missing, received with two values, or suspect;
4. the surplus of net metering, where the period before was not billed.
"""

import numpy as np
from numpy.typing import NDArray

from billing_core.codes import Solar
from ingest_server.billing.columns import MISSING, REGISTERS, Parts, Points, day_of
from ingest_server.billing.documents import Hold, HoldReason, instant_text
from ingest_server.billing.period import civil_text, instant_of
from ingest_server.billing.terms import BilledTerms
from protocols.telemetry.reading import Quality

EXCHANGE_GAP_MAX_US = (
    86_400_000_000  # one day: an exchange is done within a working day; what flows meanwhile is not metered
)
PLACES_TOLD_MAX = 3  # of a held point's readings; the rest are of the same kind


class Holds:
    """The reasons found so far; of each point the first counts."""

    def __init__(self, points: Points) -> None:
        self._ids = points.metering_point_id
        self._found: dict[int, Hold] = {}

    def add(self, row: int, reason: str, detail: str) -> None:
        """Hold the point in ``row``, unless it is held already."""
        if row not in self._found:
            self._found[row] = Hold(metering_point_id=self._ids[row], reason=reason, detail=detail)

    def free(self) -> NDArray[np.bool_]:
        """Say of each row whether it is not held. [n]"""
        free = np.ones(len(self._ids), dtype=np.bool_)
        free[list(self._found)] = False
        return free

    def listed(self) -> list[Hold]:
        """Return the holds in order of points."""
        return [self._found[row] for row in sorted(self._found)]


def hold_contracts(points: Points, terms: BilledTerms, unknown: dict[int, str], holds: Holds) -> None:
    """Hold points without exactly one contract whose terms are known."""
    for row in np.flatnonzero(terms.contracts == 0).tolist():
        detail = "a meter hangs there, but no contract is in force on any day of the period: enter the contract"
        holds.add(row, HoldReason.NO_CONTRACT.value, detail)
    for row in np.flatnonzero(terms.contracts > 1).tolist():
        found = points.contracts.first_day[points.contracts.point == row].tolist()
        days = ", ".join(day_of(day).isoformat() for day in found)
        detail = f"contracts from {days} are in force in one period: bill each part apart, by hand for now"
        holds.add(row, HoldReason.SEVERAL_CONTRACTS.value, detail)
    for row, detail in unknown.items():
        holds.add(row, HoldReason.UNKNOWN_CONTRACT_TERM.value, detail)


def hold_unmetered(points: Points, holds: Holds) -> None:
    """Hold points at which for a part of the billed days no meter hung, or two at once.

    Between two meters the time an exchange takes may pass.
    """
    parts, n = points.parts, len(points)
    first, after = np.searchsorted(parts.point, np.arange(n)), np.searchsorted(parts.point, np.arange(n), side="right")
    bad = first == after
    there = np.flatnonzero(~bad)
    bad[there] = (parts.start_us[first[there]] > points.start_us[there]) | (
        parts.end_us[after[there] - 1] < points.end_us[there]
    )
    same = parts.point[1:] == parts.point[:-1]
    gap = parts.start_us[1:] - parts.end_us[:-1]
    bad[parts.point[1:][same & ((gap < 0) | (gap > EXCHANGE_GAP_MAX_US))]] = True
    for row in np.flatnonzero(bad).tolist():
        spans = ", ".join(
            f"{parts.meter_id[part]} {civil_text(instant_of(int(parts.start_us[part])))} to "
            f"{civil_text(instant_of(int(parts.end_us[part])))}"
            for part in range(first[row], after[row])
        )
        detail = (
            f"meters must follow one another from {civil_text(instant_of(int(points.start_us[row])))} to "
            f"{civil_text(instant_of(int(points.end_us[row])))}, found {spans or 'none'}: correct the installations"
        )
        holds.add(row, HoldReason.NO_METER.value, detail)


def hold_unread(points: Points, needed: NDArray[np.bool_], holds: Holds) -> None:
    """Hold points of which a needed register was not read at an end of a part, or not without reservation."""
    parts = points.parts
    asked = needed[parts.point][:, :, np.newaxis]
    missing = asked & (parts.quality == MISSING)
    suspect = asked & (parts.quality != MISSING) & ((parts.quality & int(Quality.SUSPECT)) != 0)
    for wrong, reason, text in (
        (missing, HoldReason.MISSING_READING, _missing_text),
        (asked & parts.conflict, HoldReason.CONFLICTING_READINGS, _conflict_text),
        (suspect, HoldReason.SUSPECT_READING, _suspect_text),
    ):
        for row, places in _by_point(parts, wrong).items():
            told = "; ".join(text(parts, *place) for place in places[:PLACES_TOLD_MAX])
            more = f"; and {len(places) - PLACES_TOLD_MAX} more" if len(places) > PLACES_TOLD_MAX else ""
            holds.add(row, reason.value, told + more)


def hold_uncarried(points: Points, terms: BilledTerms, holds: Holds) -> None:
    """Hold points of net metering whose surplus is not known, because the period before them was not billed."""
    previous = points.previous
    late = (previous.bill_id != 0) & (previous.last_day != points.first_day - 1)
    for row in np.flatnonzero(late & (terms.solar == Solar.NET_2017.code)).tolist():
        last_on, first_on = day_of(int(previous.last_day[row])), day_of(int(points.first_day[row]))
        detail = (
            f"the last bill ends on {last_on:%d/%m/%Y}, this one begins on {first_on:%d/%m/%Y}: "
            "bill the days between first, their surplus is carried into this bill"
        )
        holds.add(row, HoldReason.PREVIOUS_NOT_BILLED.value, detail)


Place = tuple[int, int, int]
"""Part, register, side: 0 the start, 1 the end."""


def _by_point(parts: Parts, wrong: NDArray[np.bool_]) -> dict[int, list[Place]]:
    places: dict[int, list[Place]] = {}
    for part, register, side in np.argwhere(wrong).tolist():
        places.setdefault(int(parts.point[part]), []).append((part, register, side))
    return places


def _place_text(parts: Parts, part: int, register: int, side: int) -> str:
    instant = instant_of(int((parts.start_us, parts.end_us)[side][part]))
    return (
        f"meter {parts.meter_id[part]}, register {REGISTERS[register].value} at {instant_text(instant)} "
        f"({civil_text(instant)} in Vietnam)"
    )


def _missing_text(parts: Parts, part: int, register: int, side: int) -> str:
    where = _place_text(parts, part, register, side)
    if parts.channel[part, register] == MISSING:
        return f"{where}: the meter has never sent this register: check its model, or the contract's rates and solar"
    return f"{where}: no reading is stored for that instant: let the gateway fill it, or enter the reading"


def _conflict_text(parts: Parts, part: int, register: int, side: int) -> str:
    where, stored = _place_text(parts, part, register, side), int(parts.value[part, register, side])
    return f"{where}: {stored} Wh is stored, but another value came too: find the right one"


def _suspect_text(parts: Parts, part: int, register: int, side: int) -> str:
    stored = int(parts.value[part, register, side])
    return f"{_place_text(parts, part, register, side)}: {stored} Wh failed a check at the gateway: read again"
