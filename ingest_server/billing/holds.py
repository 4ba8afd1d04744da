"""Why a point is not billed: the checks before the engine's own, each naming what is wrong and its cure.

The checks run in this order and the first reason of a point is the one told:

1. the contract: none, several that can't be told apart, or a term nobody knows;
2. a bill for other days that was issued, or is of a run of another period;
3. the meter: none hung there for a part of the days;
4. the registers at both ends of each part: missing, received with two values, or suspect;
5. the surplus of net metering, or the demand of a ratchet, where days before were under contract and not billed;
6. registers that fell, and whose readings in between say that it was not by rolling over;
7. findings of validation that nobody has decided on (:mod:`ingest_server.billing.findings`).
"""

import numpy as np
from numpy.typing import NDArray

from billing_core.codes import Solar
from billing_core.explain import Language
from billing_core.registers import FallKind
from ingest_server.billing.columns import MISSING, NONE, REGISTERS, Int64Array, Parts, Points, chosen_parts, day_of
from ingest_server.billing.documents import Hold, HoldReason, instant_text
from ingest_server.billing.period import civil_text, instant_of
from ingest_server.billing.sentences import Sentence, text_of
from ingest_server.billing.terms import BilledTerms
from protocols.telemetry.reading import Quality

EXCHANGE_GAP_MAX_US = (
    86_400_000_000  # one day: an exchange is done within a working day; what flows meanwhile is not metered
)
PLACES_TOLD_MAX = 3  # of a held point's readings; the rest are of the same kind


class Holds:
    """The reasons found so far; of each row the first counts, and a point is billed whole or not at all."""

    def __init__(self, points: Points) -> None:
        self._ids = points.metering_point_id
        self._point = points.spans.point
        self._found: dict[int, Hold] = {}

    def add(self, row: int, reason: str, *sentences: Sentence) -> None:
        """Hold the point in ``row``, unless it is held already."""
        if row not in self._found:
            detail = text_of(sentences, Language.EN)
            self._found[row] = Hold(
                metering_point_id=self._ids[row], reason=reason, detail=detail, sentences=tuple(sentences)
            )

    def free(self) -> NDArray[np.bool_]:
        """Say of each row whether neither it nor another of its point is held. [n]"""
        held = self._point[list(self._found)]
        return np.asarray(~np.isin(self._point, held))

    def listed(self) -> list[Hold]:
        """Return the holds in order of points, one of each."""
        of_point: dict[str, Hold] = {}
        for row in sorted(self._found):
            of_point.setdefault(self._ids[row], self._found[row])
        return list(of_point.values())


def hold_contracts(points: Points, unknown: dict[int, Sentence], holds: Holds) -> None:
    """Hold points without a contract, with several that can't be told apart, or with one whose terms nobody knows."""
    spans = points.spans
    for row in np.flatnonzero(spans.several).tolist():
        holds.add(row, HoldReason.SEVERAL_CONTRACTS.value, {"say": "several_contracts"})
    for row in np.flatnonzero(spans.place == NONE).tolist():
        holds.add(row, HoldReason.NO_CONTRACT.value, {"say": "no_contract"})
    for row, sentence in unknown.items():
        holds.add(row, HoldReason.UNKNOWN_CONTRACT_TERM.value, sentence)


def hold_issued(points: Points, holds: Holds) -> None:
    """Hold rows for whose days, and for others, a bill was issued or another period's run made one: paid twice."""
    for row in np.flatnonzero(points.issued.in_the_way).tolist():
        first, last = (day_of(int(days[row])).isoformat() for days in (points.first_day, points.last_day))
        bill = int(points.issued.in_the_way[row])
        sentence = {"say": "issued_otherwise", "bill": bill, "first": first, "last": last}
        holds.add(row, HoldReason.ISSUED_OTHERWISE.value, sentence)
    for row in np.flatnonzero(points.issued.other_period).tolist():
        first_on, last_on = (day_of(int(days[row])) for days in (points.first_day, points.last_day))
        bill = int(points.issued.other_period[row])
        sentence = {"say": "other_period", "bill": bill, "first": f"{first_on:%d/%m/%Y}", "last": f"{last_on:%d/%m/%Y}"}
        holds.add(row, HoldReason.ISSUED_OTHERWISE.value, sentence)


def hold_unmetered(points: Points, holds: Holds) -> None:
    """Hold points at which for a part of the billed days no meter hung, or two at once.

    Between two meters the time an exchange takes may pass.
    """
    parts, n = without_generation(points.parts), len(points)
    first, after = np.searchsorted(parts.point, np.arange(n)), np.searchsorted(parts.point, np.arange(n), side="right")
    bad = ~covered(parts, points.start_us, points.end_us)
    for row in np.flatnonzero(bad).tolist():
        spans = ", ".join(
            f"{parts.meter_id[part]} {_civil(parts.start_us[part])} – {_civil(parts.end_us[part])}"
            for part in range(first[row], after[row])
        )
        start, end = _civil(points.start_us[row]), _civil(points.end_us[row])
        holds.add(row, HoldReason.NO_METER.value, {"say": "meters", "start": start, "end": end, "found": spans or "0"})


def without_generation(parts: Parts) -> Parts:
    """Return the parts of meters that bill."""
    return chosen_parts(parts, np.flatnonzero(~parts.generation)) if parts.generation.any() else parts


def covered(parts: Parts, start_us: Int64Array, end_us: Int64Array) -> NDArray[np.bool_]:
    """Say of each row whether its meters follow one another, with no more between than an exchange takes. [n]"""
    rows = np.arange(len(start_us))
    first, after = np.searchsorted(parts.point, rows), np.searchsorted(parts.point, rows, side="right")
    good = first < after
    there = np.flatnonzero(good)
    good[there] = (parts.start_us[first[there]] <= start_us[there]) & (parts.end_us[after[there] - 1] >= end_us[there])
    same = parts.point[1:] == parts.point[:-1]
    gap = parts.start_us[1:] - parts.end_us[:-1]
    good[parts.point[1:][same & ((gap < 0) | (gap > EXCHANGE_GAP_MAX_US))]] = False
    return good


def _civil(us: np.int64) -> str:
    return civil_text(instant_of(int(us)))


def hold_unread(points: Points, asked: NDArray[np.bool_], holds: Holds) -> None:
    """Hold points of which a register asked for was not read at an end of a part, or not without reservation.

    Parameters
    ----------
    asked
        What each part must have. [parts × registers × sides]
    """
    parts = points.parts
    missing = asked & (parts.quality == MISSING)
    suspect = asked & (parts.quality != MISSING) & ((parts.quality & int(Quality.SUSPECT)) != 0)
    for wrong, reason, say in (
        (missing, HoldReason.MISSING_READING, "missing"),
        (asked & parts.conflict, HoldReason.CONFLICTING_READINGS, "conflict"),
        (suspect, HoldReason.SUSPECT_READING, "suspect"),
    ):
        for row, places in _by_point(parts, wrong).items():
            told: list[Sentence] = [_place_sentence(parts, *place, say) for place in places[:PLACES_TOLD_MAX]]
            if len(places) > PLACES_TOLD_MAX:
                told.append({"say": "more", "count": len(places) - PLACES_TOLD_MAX})
            holds.add(row, reason.value, *told)


def doubted_readings(parts: Parts, rows: Int64Array, register: int) -> NDArray[np.bool_]:
    """Say of parts whether a register was not read at both ends, or not without reservation. [rows]"""
    quality = parts.quality[rows, register]
    doubted = (quality == MISSING) | ((quality & int(Quality.SUSPECT)) != 0) | parts.conflict[rows, register]
    return np.asarray(doubted.any(axis=1))


def hold_uncarried(points: Points, terms: BilledTerms, holds: Holds) -> None:
    """Hold points whose surplus of net metering, or highest demand, is not known: days before were not billed."""
    previous = points.previous
    netted = terms.solar == Solar.NET_2017.code
    for row in np.flatnonzero(previous.unbilled_first != NONE).tolist():
        first_on, last_on = (day_of(int(days[row])) for days in (previous.unbilled_first, previous.unbilled_last))
        say = "unbilled_surplus" if netted[row] else "unbilled_demand"
        sentence = {"say": say, "first": f"{first_on:%d/%m/%Y}", "last": f"{last_on:%d/%m/%Y}"}
        holds.add(row, HoldReason.PREVIOUS_NOT_BILLED.value, sentence)


def hold_falls(points: Points, asked: NDArray[np.bool_], holds: Holds) -> None:
    """Hold points of which a register asked for was set back, or ran backwards, and nobody has entered it."""
    for part, us in points.said_set:
        if asked[part].any():
            said = {"say": "said_set", "meter": points.parts.meter_id[part], "civil": civil_text(instant_of(us))}
            holds.add(int(points.parts.point[part]), HoldReason.SET_BACK.value, said)
    reasons = {FallKind.SET_BACK: HoldReason.SET_BACK, FallKind.BACKWARDS: HoldReason.BACKWARDS}
    for fall in points.falls:
        if fall.kind in reasons and asked[fall.part, fall.register]:
            reason = reasons[fall.kind]
            sentence = {
                "say": reason.value,
                "meter": points.parts.meter_id[fall.part],
                "register": REGISTERS[fall.register].value,
                "steps": fall.steps,
                "before": fall.before,
                "since": civil_text(instant_of(fall.before_us)),
                "after": fall.after,
                "until": civil_text(instant_of(fall.after_us)),
                "unit": REGISTERS[fall.register].unit,
            }
            holds.add(int(points.parts.point[fall.part]), reason.value, sentence)


Place = tuple[int, int, int]
"""Part, register, side: 0 the start, 1 the end."""


def _by_point(parts: Parts, wrong: NDArray[np.bool_]) -> dict[int, list[Place]]:
    places: dict[int, list[Place]] = {}
    for part, register, side in np.argwhere(wrong).tolist():
        places.setdefault(int(parts.point[part]), []).append((part, register, side))
    return places


def _place_sentence(parts: Parts, part: int, register: int, side: int, say: str) -> Sentence:
    instant = instant_of(int((parts.start_us, parts.end_us)[side][part]))
    never = say == "missing" and parts.channel[part, register] == MISSING
    return {
        "say": "never_sent" if never else say,
        "meter": parts.meter_id[part],
        "register": REGISTERS[register].value,
        "at": instant_text(instant),
        "civil": civil_text(instant),
        "stored": int(parts.value[part, register, side]),
        "unit": REGISTERS[register].unit,
    }
