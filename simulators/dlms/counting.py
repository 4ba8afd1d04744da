"""What a DLMS meter shows of its consumer's energy: registers, the highest demand of a billing period, its end.

Where an open relay stops the consumer, what would have been counted behind it is taken away again: registers stay
exact for any time. Demand is the mean power of a whole half-hour; a period ends with the month in Vietnam, or when a
client ends it.
"""

from bisect import bisect_right
from dataclasses import dataclass, field

from protocols.obis import Obis, base_unit
from simulators.dlms.profile_buffer import Months
from simulators.meter import SimulatedMeter
from simulators.vietnam_days import SLOT_MS

RESET_LOCK_MS = 60_000  # a period is not ended twice by a client that asks again because an answer was lost
STILL_OPEN = 1 << 62
HIGHEST_KEPT_MAX = 100  # four registers' billing profile
_FLOWS = frozenset({"W", "VA", "var", "mA"})  # what is zero behind an open relay


@dataclass(slots=True)
class Billings:
    """The moments at which billing periods end: the first of each month, and those that clients ask for."""

    asked: list[int] = field(default_factory=list)
    _months: Months = field(default_factory=Months)

    def number(self, at_ms: int) -> int:
        """Return the number of the newest moment not after a time."""
        return self._months.number(at_ms) + bisect_right(self.asked, at_ms)

    def time(self, number: int) -> int:
        """Return a moment. [ms]"""
        for count in range(len(self.asked), -1, -1):
            month_ms = self._months.time(number - count)
            if self.number(month_ms) == number:
                return month_ms
            if count and self.number(self.asked[count - 1]) == number:
                return self.asked[count - 1]
        raise AssertionError(f"no moment has the number {number}")

    def begin(self, at_ms: int) -> int:
        """Return when the period that a time is in began."""
        return self.time(self.number(at_ms))

    def end(self, at_ms: int) -> bool:
        """End the period; say whether that was done, for it is not within a minute of its begin."""
        if at_ms - self.begin(at_ms) < RESET_LOCK_MS:
            return False
        self.asked.append(at_ms)
        return True


@dataclass(slots=True)
class Counting:
    """A meter's registers. ``stops``: what is behind an open relay is not counted."""

    meter: SimulatedMeter
    stops: bool = False
    billing: Billings = field(default_factory=Billings)  # rows of the billing profile
    demand: Billings = field(default_factory=Billings)  # periods of the highest demand
    _openings: list[tuple[int, int]] = field(default_factory=list)
    _highest: dict[tuple[Obis, int, int], tuple[int, int]] = field(default_factory=dict)

    def open(self, at_ms: int) -> None:
        """Note that the relay opened."""
        if self.stops and (not self._openings or self._openings[-1][1] <= at_ms):
            self._openings.append((at_ms, STILL_OPEN))

    def close(self, at_ms: int) -> None:
        """Note that the relay closed."""
        if self._openings and self._openings[-1][1] == STILL_OPEN:
            self._openings[-1] = (self._openings[-1][0], at_ms)

    def value(self, obis: Obis, at_ms: int) -> int:
        """Return a register or an instantaneous value at a time, in the base unit of ``obis``."""
        value = self.meter.value(obis, at_ms)
        if obis.d != 8:
            stopped = any(opened <= at_ms < closed for opened, closed in self._openings)
            return 0 if stopped and base_unit(obis) in _FLOWS else value
        for opened, closed in self._openings:
            if opened < at_ms:
                value -= self.meter.value(obis, min(closed, at_ms)) - self.meter.value(obis, opened)
        return value

    def highest_demand(self, energy: Obis, at_ms: int) -> tuple[int, int]:
        """Return the highest demand of the period up to a time and when its half-hour ended. [W, ms]

        Half-hours count that lie wholly in the period; before the first has ended it is zero, since the begin.
        """
        begin_ms = max(self.demand.begin(at_ms), self.meter.installed_at_ms)
        return self._demand(energy, begin_ms, at_ms)

    def ended_demand(self, energy: Obis, ended_ms: int) -> tuple[int, int]:
        """Return the highest demand of the period that ended at ``ended_ms``. [W, ms]"""
        begin_ms = max(self.billing.begin(ended_ms - 1), self.meter.installed_at_ms)
        return self._demand(energy, begin_ms, ended_ms)

    def _demand(self, energy: Obis, begin_ms: int, end_ms: int) -> tuple[int, int]:
        first, last = -(-begin_ms // SLOT_MS), end_ms // SLOT_MS
        key = (energy, begin_ms, last)
        if key not in self._highest:
            if len(self._highest) > HIGHEST_KEPT_MAX:
                self._highest.clear()
            edges = [self.value(energy, slot * SLOT_MS) for slot in range(first, last + 1)]
            found = (0, begin_ms)
            for place in range(1, len(edges)):
                watts = (edges[place] - edges[place - 1]) * 3_600_000 // SLOT_MS
                if watts > found[0]:
                    found = (watts, (first + place) * SLOT_MS)
            self._highest[key] = found
        return self._highest[key]
