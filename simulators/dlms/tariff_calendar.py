"""The activity calendar of a simulated meter: which rate runs when, on special days too; a passive one can be written.

Seasons name weeks, weeks name days, a day lists from when on which script runs; script n stands for rate n. What is
written goes to the passive calendar, which becomes the active one when its time has come or a client says so; one whose
parts do not fit together never does. A special day goes before the week. The calendar tells the rate that runs; the
rate registers follow the law's hours (:mod:`simulators.vietnam_days`), which the first calendar is made from.

Source: DLMS UA 1000-1 (Blue Book), classes 20 (activity calendar) and 11 (special days table).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial

import numpy as np

from protocols.dlms.codes import ActionResult, DataAccessResult
from protocols.dlms.cosem_time import CosemDateTime, date_time_of
from protocols.dlms.data import Data, array, integer_of, items_of, long_unsigned, octets, octets_of, structure, unsigned
from protocols.errors import RemoteProtocolError
from protocols.obis import Obis
from simulators.dlms.cosem import CosemObject, at_time, fixed
from simulators.dlms.profile_buffer import DEVIATION_MINUTES, LOCAL_MS
from simulators.vietnam_days import SLOT_MS, rates

CALENDAR, SPECIAL_DAYS, ACTIVE_RATE = Obis(0, 0, 13, 0, 0), Obis(0, 0, 11, 0, 0), Obis(0, 0, 96, 14, 0)
RATE_SCRIPTS, RATES = Obis(0, 0, 10, 0, 100), (1, 2, 3)
ENTRIES_MAX = 100  # seasons, weeks, days, switches of a day, special days
NEVER = b"\xff" * 9 + b"\x80\x00\xff"
SUNDAY, MONDAY_SLOT = 6, 4 * 48  # 1970-01-01 was a Thursday, so four days later a Monday began
Check = Callable[[Data], object]


@dataclass(slots=True)
class Tables:
    """One calendar, as attributes 2 to 5 or 6 to 9 hold it: its name, seasons, weeks, days."""

    parts: list[Data]

    def script(self, local: datetime, day_id: int | None) -> int | None:
        """Return the script that runs at a local time, on a day with its own profile or else by the week."""
        if day_id is None:
            week_name = self._season(local)
            week = next((items_of(each) for each in items_of(self.parts[2]) if items_of(each)[0] == week_name), None)
            if week is None:
                return None
            day_id = integer_of(week[1 + local.weekday()])
        days = {integer_of(number): schedule for number, schedule in map(items_of, items_of(self.parts[3]))}
        if day_id not in days:
            return None
        minutes = local.hour * 60 + local.minute
        begun = [(_minutes(items_of(each)[0]), integer_of(items_of(each)[2])) for each in items_of(days[day_id])]
        return max((each for each in begun if each[0] <= minutes), default=(0, None))[1]

    def _season(self, local: datetime) -> Data | None:
        """Return the week's name of the season that began last; one without a year begins each year."""
        begun: list[tuple[datetime, Data]] = []
        for _name, start, week in map(items_of, items_of(self.parts[1])):
            at = date_time_of(start)
            years = (local.year, local.year - 1) if at.year is None else (at.year,)
            begun += [(begin, week) for year in years if (begin := _begin(at, year)) <= local]
        return max(begun, key=lambda each: each[0])[1] if begun else None

    def fits(self) -> bool:
        """Tell whether each season's week and each week's days are there, and each day begins at midnight."""
        weeks = {items_of(each)[0]: [integer_of(day) for day in items_of(each)[1:]] for each in items_of(self.parts[2])}
        days = {integer_of(number): items_of(schedule) for number, schedule in map(items_of, items_of(self.parts[3]))}
        named = [items_of(each)[2] for each in items_of(self.parts[1])]
        return (
            bool(named)
            and all(week in weeks for week in named)
            and all(day in days for week in weeks.values() for day in week)
            and all(any(_minutes(items_of(each)[0]) == 0 for each in schedule) for schedule in days.values())
        )


@dataclass(slots=True)
class TariffCalendar:
    """Both calendars and the special days; ``ahead_ms`` tells how far the meter's clock is ahead."""

    ahead_ms: Callable[[], int] = lambda: 0
    active: Tables = field(default_factory=lambda: Tables(_of_the_law()))
    passive: Tables = field(default_factory=lambda: Tables([octets(b""), array(), array(), array()]))
    activates: Data = field(default_factory=lambda: octets(NEVER))
    special: dict[int, tuple[Data, int]] = field(default_factory=dict)

    def advance(self, at_ms: int) -> None:
        """Activate the passive calendar when its time has come."""
        try:
            due_ms = int(date_time_of(self.activates).at(DEVIATION_MINUTES).timestamp() * 1000)
        except RemoteProtocolError:  # no instant: never
            return
        if due_ms <= at_ms + self.ahead_ms():
            self.activates = octets(NEVER)
            self.activate()

    def activate(self) -> bool:
        """Make the passive calendar the active one; say whether it fits together and so was made it."""
        if not self.passive.fits():
            return False
        self.active = Tables(list(self.passive.parts))
        return True

    def rate(self, at_ms: int) -> int:
        """Return the rate that runs, 0 when the calendar does not tell."""
        local = datetime.fromtimestamp((at_ms + self.ahead_ms() + LOCAL_MS) / 1000, UTC)
        day_id = next((day for _, (on, day) in sorted(self.special.items()) if _is_on(octets_of(on), local)), None)
        return self.active.script(local, day_id) or 0

    # -- objects ------------------------------------------------------------------------------------------------------

    def to_objects(self) -> list[CosemObject]:
        """Return calendar, special days, scripts and the rate that runs."""
        attributes = {2 + place: partial(self._part, "active", place) for place in range(4)}
        attributes |= {6 + place: partial(self._part, "passive", place) for place in range(4)}
        writes = {6 + place: partial(self._write, place) for place in range(4)}
        calendar = CosemObject(
            class_id=20,
            version=0,
            obis=CALENDAR,
            reads={**{i: at_time(each) for i, each in attributes.items()}, 10: at_time(lambda _at_ms: self.activates)},
            writes={**writes, 10: self._set_time},
            methods={1: lambda _parameter, _at_ms: (_done(self.activate()), None)},
        )
        special = CosemObject(
            class_id=11,
            version=0,
            obis=SPECIAL_DAYS,
            reads={2: at_time(self._entries)},
            writes={2: self._set_special},
            methods={1: self._insert, 2: self._delete},
        )
        scripts = fixed(array(*(structure(long_unsigned(rate), array()) for rate in RATES)))
        return [
            calendar,
            special,
            CosemObject(9, 0, RATE_SCRIPTS, {2: scripts}),
            CosemObject(1, 0, ACTIVE_RATE, {2: at_time(lambda at_ms: unsigned(self.rate(at_ms)))}),
        ]

    def _part(self, which: str, place: int, _at_ms: int) -> Data:
        tables: Tables = getattr(self, which)
        return tables.parts[place]

    def _write(self, place: int, value: Data, _at_ms: int) -> DataAccessResult:
        try:
            _CHECKS[place](value)
        except RemoteProtocolError:
            return DataAccessResult.TYPE_UNMATCHED
        self.passive.parts[place] = value
        return DataAccessResult.SUCCESS

    def _set_time(self, value: Data, _at_ms: int) -> DataAccessResult:
        try:
            date_time_of(value)
        except RemoteProtocolError:
            return DataAccessResult.TYPE_UNMATCHED
        self.activates = value
        return DataAccessResult.SUCCESS

    def _entries(self, _at_ms: int) -> Data:
        listed = sorted(self.special.items())
        return array(*(structure(long_unsigned(index), on, unsigned(day)) for index, (on, day) in listed))

    def _set_special(self, value: Data, _at_ms: int) -> DataAccessResult:
        try:
            self.special = dict(map(_special, _few(value)))
        except RemoteProtocolError:
            return DataAccessResult.TYPE_UNMATCHED
        return DataAccessResult.SUCCESS

    def _insert(self, parameter: Data | None, _at_ms: int) -> tuple[ActionResult, Data | None]:
        try:
            index, entry = _special(parameter or array())
        except RemoteProtocolError:
            return ActionResult.TYPE_UNMATCHED, None
        if index not in self.special and len(self.special) >= ENTRIES_MAX:
            return ActionResult.TEMPORARY_FAILURE, None
        self.special[index] = entry
        return ActionResult.SUCCESS, None

    def _delete(self, parameter: Data | None, _at_ms: int) -> tuple[ActionResult, Data | None]:
        try:
            index = integer_of(parameter or array())
        except RemoteProtocolError:
            return ActionResult.TYPE_UNMATCHED, None
        return (_done(self.special.pop(index, None) is not None)), None


def _done(done: bool) -> ActionResult:
    return ActionResult.SUCCESS if done else ActionResult.OTHER_REASON


# -- what may be written: each raises RemoteProtocolError for what is none ---------------------------------------------


def _few(value: Data) -> Sequence[Data]:
    items = items_of(value)
    if len(items) > ENTRIES_MAX:
        raise RemoteProtocolError(f"{len(items)} entries, at most {ENTRIES_MAX} are kept")
    return items


def _season(value: Data) -> None:
    name, start, week = items_of(value, 3)
    octets_of(name), octets_of(week)
    at = date_time_of(start)
    _begin(at, 2001 if at.year is None else at.year)  # Not on 29 February of each year.


def _begin(at: CosemDateTime, year: int) -> datetime:
    """Return when a season begins in a year; what is not specified is the first that it can be."""
    month, day = 1 if at.month is None else at.month, 1 if at.day is None else at.day
    try:
        return datetime(year, month, day, at.hour or 0, at.minute or 0, tzinfo=UTC)
    except ValueError as error:
        raise RemoteProtocolError(f"{at} begins no season: {error}") from error


def _week(value: Data) -> None:
    name, *days = items_of(value, 8)
    octets_of(name)
    for day in days:
        integer_of(day)


def _day(value: Data) -> None:
    number, schedule = items_of(value, 2)
    integer_of(number)
    for each in _few(schedule):
        start, script, selector = items_of(each, 3)
        _minutes(start), integer_of(selector)
        if octets_of(script) != RATE_SCRIPTS.to_octets() or integer_of(selector) not in RATES:
            raise RemoteProtocolError(f"a script that is not one of {RATE_SCRIPTS}, 1 to {len(RATES)}")


def _each(check: Check, value: Data) -> None:
    for item in _few(value):
        check(item)


_CHECKS: Mapping[int, Check] = {
    0: octets_of,
    1: partial(_each, _season),
    2: partial(_each, _week),
    3: partial(_each, _day),
}


def _special(value: Data) -> tuple[int, tuple[Data, int]]:
    index, on, day = items_of(value, 3)
    if len(octets_of(on)) != 5:
        raise RemoteProtocolError(f"a date of {len(octets_of(on))} octets, expected 5")
    return integer_of(index), (on, integer_of(day))


def _minutes(start: Data) -> int:
    time = octets_of(start)
    if len(time) != 4 or time[0] > 23 or time[1] > 59:
        raise RemoteProtocolError(f"{time.hex()} is no time of day")
    return time[0] * 60 + time[1]


def _is_on(pattern: bytes, local: datetime) -> bool:
    """Tell whether a date of five octets, perhaps with wildcards, is a day (Blue Book 4.1.6.1)."""
    year, (month, day, weekday) = int.from_bytes(pattern[:2], "big"), pattern[2:]
    after = local.date() + timedelta(days=1)
    last = after.day == 1 if day == 0xFE else (after + timedelta(days=1)).day == 1 if day == 0xFD else None
    return (
        year in (0xFFFF, local.year)
        and month in (0xFF, local.month)
        and (day in (0xFF, local.day) if last is None else last)
        and weekday in (0xFF, local.isoweekday())
    )


def _of_the_law() -> list[Data]:
    """Return the calendar of the law's hours: one season, one week, a day each for workdays and Sundays."""
    week = rates(np.arange(MONDAY_SLOT, MONDAY_SLOT + 7 * 48) - LOCAL_MS // SLOT_MS)

    def schedule(weekday: int) -> Data:
        of_day = [int(each) for each in week[48 * weekday : 48 * weekday + 48]]
        switches = [slot for slot in range(48) if not slot or of_day[slot] != of_day[slot - 1]]
        script = octets(RATE_SCRIPTS.to_octets())
        times = (octets(bytes((slot // 2, slot % 2 * 30, 0, 0))) for slot in switches)
        return array(
            *(
                structure(time, script, long_unsigned(of_day[slot] + 1))
                for time, slot in zip(times, switches, strict=True)
            )
        )

    new_year = octets(b"\xff\xff\x01\x01\xff\x00\x00\x00\x00\x80\x00\xff")
    days = array(structure(unsigned(1), schedule(0)), structure(unsigned(2), schedule(SUNDAY)))
    weekdays = (unsigned(2 if weekday == SUNDAY else 1) for weekday in range(7))
    return [
        octets(b"law"),
        array(structure(octets(b"year"), new_year, octets(b"week"))),
        array(structure(octets(b"week"), *weekdays)),
        days,
    ]
