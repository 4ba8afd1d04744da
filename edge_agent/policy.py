"""The agent's decisions: when a meter is due, how its reading is stamped, when a silent one is tried again.

Pure: no clock, no port. Times are milliseconds since 1970 UTC by the agent's clock.

**Slots.** A meter read every 30 minutes has the slots hh:00 and hh:30. A reading taken within :data:`PUNCTUAL_MS` of
its slot's beginning is stamped with the beginning; a later one with the second in which it was taken, which lies
strictly between this slot and the next. Each slot is read at most once, so one sample never gets two keys.

**Silent meters.** A meter whose reading failed is not waited for beyond its reply timeout the next time, and comes
after those that answer. After :data:`SILENT_AFTER` failures in a row it is silent: it is only probed, once, without a
second try, not before a pause has passed that doubles from one minute to half an hour, and within the budget of
:mod:`edge_agent.schedule`. So a meter read every half hour is still tried at every slot, and one read every ten seconds
costs the bus next to nothing.
"""

from dataclasses import dataclass
from random import Random

DAY_MS = 86_400_000
PUNCTUAL_MS = 60_000
SILENT_AFTER = 3
PROBE_PAUSE_MIN_MS = 60_000
PROBE_PAUSE_MAX_MS = 1_800_000
CLOCK_SANE_FROM_MS = 1_577_836_800_000  # 2020-01-01: before this the clock has not been set since power-on
CLOCK_SANE_UNTIL_MS = 4_102_444_800_000 - DAY_MS  # a day before 2100: what is stamped later breaks the contract
SLOT_AHEAD_MAX_MS = DAY_MS  # a slot that lies further ahead was written when the clock was wrong
RECONNECT_MIN_S = 0.2
CLOCK_TOLERANCE_MS = 2000  # a meter tells whole seconds, and its answer takes its time
CLOCK_GUARD_MS = 5000  # how far from a slot's ends a clock must stand before and after it is shifted
CLOCK_TOLD_S = 60  # IEC 62054-21, 7.5: a clock drifts half a second a day; a minute is months of it, or a dead battery
LOG_DAYS_FIRST = 7  # of an event log that was never read
LOG_AHEAD_MS = DAY_MS  # the meter's clock may be ahead of ours
TENDED_AT_ONCE_MAX = 1  # meters, before it is looked whether a reading is due


@dataclass(frozen=True, slots=True)
class Stamp:
    """Which slot a reading belongs to, the time that it carries, and whether that is the slot's beginning."""

    slot_ms: int
    at_ms: int
    punctual: bool


@dataclass(frozen=True, slots=True)
class Health:
    """How a meter has answered lately."""

    failures: int = 0
    probe_from_ms: int = 0

    @property
    def silent(self) -> bool:
        """Whether the meter is only probed."""
        return self.failures >= SILENT_AFTER


def is_set(now_ms: int) -> bool:
    """Return whether a clock that says this can be believed; no reading is stamped by one that can't."""
    return CLOCK_SANE_FROM_MS <= now_ms < CLOCK_SANE_UNTIL_MS


def slot_of(now_ms: int, every_ms: int) -> int:
    """Return the beginning of the slot in which ``now_ms`` lies."""
    return now_ms - now_ms % every_ms


def stamp(now_ms: int, every_ms: int) -> Stamp:
    """Return the slot and time of a reading that is taken now."""
    slot_ms = slot_of(now_ms, every_ms)
    if now_ms - slot_ms <= PUNCTUAL_MS:
        return Stamp(slot_ms, slot_ms, punctual=True)
    return Stamp(slot_ms, now_ms - now_ms % 1000, punctual=False)


def time_in(slot_ms: int, every_ms: int, now_ms: int) -> int:
    """Return the time that a value carries which is asked for now, for the slot at ``slot_ms``.

    The slot's beginning, or the second in which it is taken; never a time that is another slot's.
    """
    if now_ms - slot_ms <= min(PUNCTUAL_MS, every_ms - 1):
        return slot_ms
    return min(now_ms - now_ms % 1000, slot_ms + every_ms - 1)


def first_due(now_ms: int, every_ms: int, last_slot_ms: int | None) -> int:
    """Return when a meter is due after the start: in the slot that has just begun, if it was not read in it."""
    slot_ms = slot_of(now_ms, every_ms)
    if last_slot_ms is not None and last_slot_ms > now_ms + SLOT_AHEAD_MAX_MS:
        last_slot_ms = None
    if now_ms - slot_ms <= PUNCTUAL_MS and (last_slot_ms is None or last_slot_ms < slot_ms):
        return slot_ms
    return max(slot_ms, last_slot_ms or 0) + every_ms


def next_due(done_slot_ms: int, every_ms: int, health: Health) -> int:
    """Return when a meter is due again after its slot ``done_slot_ms``."""
    due_ms = done_slot_ms + every_ms
    if health.silent and due_ms < health.probe_from_ms:
        due_ms = slot_of(health.probe_from_ms + every_ms - 1, every_ms)
    return due_ms


def after_failure(health: Health, now_ms: int) -> Health:
    """Return how a meter stands after it could not be read."""
    failures = health.failures + 1
    doublings = min(max(failures - SILENT_AFTER, 0), 16)
    return Health(failures, now_ms + min(PROBE_PAUSE_MIN_MS << doublings, PROBE_PAUSE_MAX_MS))


def missed_slots(last_slot_ms: int | None, read: Stamp, every_ms: int) -> tuple[int, int] | None:
    """Return the first and last slot since the last stored one of which no value at the beginning was read, if any."""
    first_ms = read.slot_ms if last_slot_ms is None else last_slot_ms + every_ms
    last_ms = read.slot_ms - every_ms if read.punctual else read.slot_ms
    return (first_ms, last_ms) if first_ms <= last_ms else None


def heal_chunk(from_ms: int, to_ms: int, every_ms: int = DAY_MS, rows_max: int = 1) -> tuple[int, int]:
    """Return the piece of a hole to ask for next.

    Up to the end of its first UTC day, for some meters give no more, and no more than ``rows_max`` (at least 1) slots.
    """
    day_end_ms = slot_of(from_ms, DAY_MS) + DAY_MS - 1
    return (from_ms, min(to_ms, day_end_ms, slot_of(from_ms + every_ms - 1, every_ms) + rows_max * every_ms - 1))


def tend_due(now_ms: int, slot_ms: int) -> int:
    """Return the next middle of a slot: there a clock may be shifted, and no reading is due."""
    middle_ms = slot_of(now_ms, slot_ms) + slot_ms // 2
    return middle_ms if middle_ms > now_ms else middle_ms + slot_ms


def clock_difference(said_ms: int, before_ms: int, after_ms: int) -> int:
    """Return by how many ms a meter's clock is ahead, in whole seconds: 0 for one that shows the second we are in.

    It said the second ``said_ms`` to a question that was asked between the two other times.
    """
    return -(((before_ms + after_ms) // 2 - said_ms) // 1000) * 1000


def clock_shift(difference_ms: int, limit_s: int | None, now_ms: int, slot_ms: int) -> int:
    """Return by how many seconds to shift a meter's clock now, 0 for not at all.

    Not without a limit or beyond it, and not when the clock would stand in another slot after than before: a row of
    the load profile would be lost or come twice.
    """
    if limit_s is None or not CLOCK_TOLERANCE_MS <= abs(difference_ms) <= limit_s * 1000:
        return 0
    before_ms, after_ms = now_ms + difference_ms, now_ms
    begin_ms = slot_of(after_ms, slot_ms)
    inside = (begin_ms + CLOCK_GUARD_MS, begin_ms + slot_ms - CLOCK_GUARD_MS)
    if not all(inside[0] <= at_ms <= inside[1] for at_ms in (before_ms, after_ms)):
        return 0
    return -difference_ms // 1000


def reconnect_delay_s(failures: int, longest_s: float, chance: Random) -> float:
    """Return how long to wait before connecting again after ``failures`` tries in a row: doubling, with full jitter."""
    bound_s = min(RECONNECT_MIN_S * (1 << min(failures, 16)), longest_s)
    return max(RECONNECT_MIN_S / 2, bound_s * chance.random())
