"""The profiles every simulated meter keeps: load profile, daily and monthly registers, event logs.

Source: DLMS UA 1000-1 (Blue Book), 6.2 for the logical names; the event codes are those of IDIS package 2, table 30.
"""

import struct
from bisect import insort
from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import itemgetter

from protocols.dlms.control import MAXIMUM_DEMANDS
from protocols.dlms.data import Tag
from protocols.dlms.selective import CLOCK, CaptureObject
from protocols.dlms.xdlms.references import Attribute
from protocols.meters.model import CosemAttribute, Group
from protocols.obis import Obis
from simulators.chance import below, key_of
from simulators.dlms.counting import Counting
from simulators.dlms.profile_buffer import DATE_TIME_HEAD, DAY_MS, Grid, Moments, Periods, ProfileBuffer, clock_octets
from simulators.meter import SimulatedMeter

DAYS_KEPT, DAILY_ROWS_MAX, BILLING_ROWS_MAX, EVENTS_MAX = 60, 100, 24, 200
EXTENDED_REGISTER, CAPTURE_TIME = 4, 5  # class and attribute, Blue Book 4.3.3
DAILY, BILLING = Obis(1, 0, 99, 2, 0), Obis(0, 0, 98, 1, 0)
STATUS = CaptureObject(1, Obis(0, 0, 96, 10, 1), 2)  # the status register of profile 1 (Blue Book 6.2.46)
STANDARD, FRAUD, DISCONNECTS, POWER_QUALITY = 0, 1, 2, 4  # value group E of 0.0.99.98.e and 0.0.96.11.e

POWER_DOWN, POWER_UP, CLOCK_OLD, CLOCK_NEW = 1, 2, 4, 5
COVER_REMOVED, COVER_CLOSED = 40, 41
REMOTE_DISCONNECTION, REMOTE_CONNECTION = 62, 63
SAG, SWELL = 77, 80

_STATUS_GOOD = bytes((Tag.UNSIGNED, 0))
_NUMBER = struct.Struct(">BI")  # double-long-unsigned with its tag


def log_obis(group_e: int) -> Obis:
    """Return the logical name of an event log."""
    return Obis(0, 0, 99, 98, group_e)


def event_code(group_e: int) -> Attribute:
    """Return what holds the newest code of an event log."""
    return Attribute(1, Obis(0, 0, 96, 11, group_e), 2)


@dataclass(slots=True)
class EventLog:
    """What happened to a meter: seeded events since its installation, and those that clients cause."""

    meter: SimulatedMeter
    group_e: int
    seeded: tuple[tuple[int, int], ...] = ()  # pairs of codes that follow one another within minutes
    days_between: int = 20
    _events: list[tuple[int, int]] = field(default_factory=list)
    _until_day: int = -1

    def add(self, at_ms: int, code: int) -> None:
        """Write an event."""
        insort(self._events, (at_ms, code), key=itemgetter(0))

    def events(self, until_ms: int) -> list[tuple[int, int]]:
        """Return times and codes in order, of at least all that happened until a time."""
        last = min(until_ms // DAY_MS, self.meter.installed_at_ms // DAY_MS + 12 * 366)
        first = max(self._until_day + 1, self.meter.installed_at_ms // DAY_MS)
        if self.seeded and last >= first:
            key = key_of(self.meter.serial, "events", self.group_e)
            for day in range(first, last + 1):
                if not below(key, 4 * day, self.days_between):
                    at_ms = day * DAY_MS + below(key, 4 * day + 1, 82_000_000)
                    begins, ends = self.seeded[below(key, 4 * day + 2, len(self.seeded))]
                    if at_ms > self.meter.installed_at_ms:
                        self.add(at_ms, begins)
                        self.add(at_ms + 1000 * (1 + below(key, 4 * day + 3, 3600)), ends)
            self._until_day = last
        return self._events

    def buffer(self) -> ProfileBuffer:
        """Return the log as a profile of clock and event code."""
        newest = event_code(self.group_e)
        code = CaptureObject(newest.class_id, newest.obis, newest.index)

        def cell(_column: CaptureObject, number: int, _at_ms: int) -> bytes:
            return bytes((Tag.UNSIGNED, self._events[number][1]))

        def times(until_ms: int) -> list[int]:
            return [at_ms for at_ms, _ in (self._events if until_ms >> 61 else self.events(until_ms))]

        return ProfileBuffer(log_obis(self.group_e), (CLOCK, code), Moments(times), cell, EVENTS_MAX)

    def count(self, code: int, at_ms: int) -> int:
        """Return how often a code was written until a time."""
        return sum(when <= at_ms and each == code for when, each in self.events(at_ms))

    def last_code(self, at_ms: int) -> int:
        """Return the newest code, 255 when nothing happened yet."""
        codes = [code for when, code in self.events(at_ms) if when <= at_ms]
        return codes[-1] if codes else 255


def event_logs(meter: SimulatedMeter) -> dict[int, EventLog]:
    """Return the logs of a meter by value group E."""
    return {
        STANDARD: EventLog(meter, STANDARD, ((POWER_DOWN, POWER_UP),), 15),
        FRAUD: EventLog(meter, FRAUD, ((COVER_REMOVED, COVER_CLOSED),), 120),
        DISCONNECTS: EventLog(meter, DISCONNECTS),
        POWER_QUALITY: EventLog(meter, POWER_QUALITY, ((SAG, SAG), (SWELL, SWELL)), 10),
    }


def energy_profiles(counting: Counting, *, ignores_selection: bool = False) -> list[ProfileBuffer]:
    """Return load profile (if the model has one), daily registers, those at the end of each billing period."""
    meter = counting.meter
    registers = [
        CaptureObject(each.at.class_id, each.obis, each.at.attribute)
        for each in meter.model.measurements
        if each.group is Group.BILLING and isinstance(each.at, CosemAttribute)
    ]

    def cell(column: CaptureObject, _number: int, at_ms: int) -> bytes:
        if column == STATUS:
            return _STATUS_GOOD
        if column.class_id == EXTENDED_REGISTER:
            watts, ended_ms = counting.ended_demand(MAXIMUM_DEMANDS[column.obis], at_ms)
            if column.index == CAPTURE_TIME:
                return DATE_TIME_HEAD + clock_octets(ended_ms)
            return _NUMBER.pack(Tag.DOUBLE_LONG_UNSIGNED, watts)
        value = counting.value(column.obis, at_ms) & 0xFFFF_FFFF  # a register of 32 bits rolls over
        return _NUMBER.pack(Tag.DOUBLE_LONG_UNSIGNED, value)

    def profile(obis: Obis, columns: Iterable[CaptureObject], grid: Grid, rows: int, period_s: int) -> ProfileBuffer:
        captured = (CLOCK, *columns)
        return ProfileBuffer(obis, captured, grid, cell, rows, meter.installed_at_ms, period_s, ignores_selection)

    found = [
        profile(DAILY, registers, Periods(DAY_MS), DAILY_ROWS_MAX, DAY_MS // 1000),
        profile(BILLING, [*registers, *_demands(counting)], counting.billing, BILLING_ROWS_MAX, 0),
    ]
    load = meter.model.profile
    if load is not None:
        rows = DAYS_KEPT * DAY_MS // load.interval_ms
        period_s = load.interval_ms // 1000
        found.insert(0, profile(load.obis, (STATUS, *registers), Periods(load.interval_ms), rows, period_s))
    return found


def demand_registers(meter: SimulatedMeter) -> tuple[Obis, ...]:
    """Return the registers of the highest demand that a meter has: of what its model counts."""
    return tuple(obis for obis, energy in MAXIMUM_DEMANDS.items() if meter.model.measurement(energy) is not None)


def _demands(counting: Counting) -> list[CaptureObject]:
    return [
        CaptureObject(EXTENDED_REGISTER, obis, index)
        for obis in demand_registers(counting.meter)
        for index in (2, CAPTURE_TIME)
    ]
