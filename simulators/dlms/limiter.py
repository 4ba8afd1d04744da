"""The limiter of a simulated meter: it opens the relay when power is above a threshold for long enough.

It is off until a threshold is written. In an emergency another threshold holds: while an emergency profile runs that
belongs to one of the meter's groups, from its activation for its duration. What opened the relay does not close it.

Source: DLMS UA 1000-1 (Blue Book), class 71.
"""

from collections.abc import Callable
from dataclasses import dataclass

from protocols.dlms.codes import ActionResult, DataAccessResult
from protocols.dlms.cosem_time import date_time_of
from protocols.dlms.data import (
    Data,
    Tag,
    array,
    double_long_unsigned,
    integer,
    integer_of,
    items_of,
    long_unsigned,
    octets,
    structure,
)
from protocols.dlms.objects import ClassId
from protocols.errors import RemoteProtocolError
from protocols.obis import Obis
from simulators.dlms.billing import DISCONNECT_SCRIPTS
from simulators.dlms.cosem import CosemObject, at_time, fixed
from simulators.dlms.counting import Counting
from simulators.dlms.profile_buffer import DEVIATION_MINUTES
from simulators.dlms.profiles import EventLog
from simulators.vietnam_days import SLOT_MS

LIMITER, ACTIVE_POWER = Obis(0, 0, 17, 0, 0), Obis(1, 0, 1, 7, 0)
NO_LIMIT_W = 0xFFFF_FFFF
LIMIT_EXCEEDED = 65  # IDIS package 2, table 30
GROUPS_MAX = 20  # emergency profiles that a meter may belong to
NO_GROUPS = array()
NO_EMERGENCY = structure(long_unsigned(0), octets(b"\xff" * 9 + b"\x80\x00\xff"), double_long_unsigned(0))


@dataclass(slots=True)
class Limiter:
    """The state machine. ``ahead_ms`` tells how far the meter's clock is ahead.

    A half-hour has one power, so what happened since the last question is found by going through the half-hours, and
    through the times at which an emergency begins and ends.
    """

    counting: Counting
    relay: CosemObject
    conducts: Callable[[], bool]
    log: EventLog
    ahead_ms: Callable[[], int] = lambda: 0
    limit_w: int = NO_LIMIT_W
    emergency_w: int = NO_LIMIT_W
    over_s: int = 0
    under_s: int = 0
    emergency: Data = NO_EMERGENCY
    groups: Data = NO_GROUPS
    _seen_ms: int = 0
    _over_since_ms: int | None = None

    def advance(self, at_ms: int) -> None:
        """Do what was due until a time."""
        edges = self._emergency_ms()
        while {self.limit_w, self.emergency_w} != {NO_LIMIT_W} and self._seen_ms < at_ms:
            if not self.conducts():
                self._over_since_ms = None
                break
            next_slot_ms = (self._seen_ms // SLOT_MS + 1) * SLOT_MS
            until_ms = min(at_ms, next_slot_ms, *(edge for edge in edges if edge > self._seen_ms))
            if self.counting.value(ACTIVE_POWER, self._seen_ms) <= self.threshold_w(self._seen_ms):
                self._over_since_ms = None
            else:
                since_ms = self._seen_ms if self._over_since_ms is None else self._over_since_ms
                self._over_since_ms = since_ms
                due_ms = max(since_ms + self.over_s * 1000, self._seen_ms)
                if due_ms <= until_ms:
                    self._disconnect(due_ms)
            self._seen_ms = until_ms
        self._seen_ms = max(self._seen_ms, at_ms)

    def in_emergency(self, at_ms: int) -> bool:
        """Tell whether an emergency profile of this meter runs."""
        edges = self._emergency_ms()
        return bool(edges) and edges[0] <= at_ms < edges[1]

    def threshold_w(self, at_ms: int) -> int:
        """Return the threshold that holds. [W]"""
        return self.emergency_w if self.in_emergency(at_ms) else self.limit_w

    def _emergency_ms(self) -> tuple[int, ...]:
        """Return begin and end of the emergency, nothing when there is none or it is not this meter's."""
        group, activation, duration = items_of(self.emergency)
        if integer_of(group) not in map(integer_of, items_of(self.groups)):
            return ()
        try:
            begin_s = int(date_time_of(activation).at(DEVIATION_MINUTES).timestamp())
        except RemoteProtocolError:  # no instant: it never begins
            return ()
        begin_ms = begin_s * 1000 - self.ahead_ms()
        return begin_ms, begin_ms + integer_of(duration) * 1000

    def _disconnect(self, at_ms: int) -> None:
        if self.relay.act(1, integer(0), at_ms)[0] is ActionResult.SUCCESS:
            self.log.add(at_ms, LIMIT_EXCEEDED)
        self._over_since_ms = None

    def to_object(self) -> CosemObject:
        """Return the COSEM object."""
        monitored = structure(long_unsigned(ClassId.REGISTER), octets(ACTIVE_POWER.to_octets()), integer(2))
        script = octets(DISCONNECT_SCRIPTS.to_octets())
        actions = structure(structure(script, long_unsigned(1)), structure(script, long_unsigned(0)))
        return CosemObject(
            class_id=ClassId.LIMITER,
            version=0,
            obis=LIMITER,
            reads={
                2: fixed(monitored),
                3: at_time(lambda at_ms: double_long_unsigned(self.threshold_w(at_ms))),
                4: at_time(lambda _at_ms: double_long_unsigned(self.limit_w)),
                5: at_time(lambda _at_ms: double_long_unsigned(self.emergency_w)),
                6: at_time(lambda _at_ms: double_long_unsigned(self.over_s)),
                7: at_time(lambda _at_ms: double_long_unsigned(self.under_s)),
                8: at_time(lambda _at_ms: self.emergency),
                9: at_time(lambda _at_ms: self.groups),
                10: at_time(lambda at_ms: Data(Tag.BOOLEAN, self.in_emergency(at_ms))),
                11: fixed(actions),
            },
            writes={4: self._write("limit_w"), 5: self._write("emergency_w"), 6: self._write("over_s"),
                    7: self._write("under_s"), 8: self._set_emergency, 9: self._set_groups},
        )  # fmt: skip

    def _write(self, name: str) -> Callable[[Data, int], DataAccessResult]:
        def write(value: Data, _at_ms: int) -> DataAccessResult:
            if value.tag is not Tag.DOUBLE_LONG_UNSIGNED:
                return DataAccessResult.TYPE_UNMATCHED
            setattr(self, name, integer_of(value))
            self._over_since_ms = None
            return DataAccessResult.SUCCESS

        return write

    def _set_emergency(self, value: Data, _at_ms: int) -> DataAccessResult:
        try:
            group, activation, duration = items_of(value, 3)
            date_time_of(activation)
        except RemoteProtocolError:
            return DataAccessResult.TYPE_UNMATCHED
        if (group.tag, duration.tag) != (Tag.LONG_UNSIGNED, Tag.DOUBLE_LONG_UNSIGNED):
            return DataAccessResult.TYPE_UNMATCHED
        self.emergency = value
        return DataAccessResult.SUCCESS

    def _set_groups(self, value: Data, _at_ms: int) -> DataAccessResult:
        groups = items_of(value) if value.tag is Tag.ARRAY else ()
        if value.tag is not Tag.ARRAY or any(each.tag is not Tag.LONG_UNSIGNED for each in groups):
            return DataAccessResult.TYPE_UNMATCHED
        if len(groups) > GROUPS_MAX:
            return DataAccessResult.OTHER_REASON
        self.groups = value
        return DataAccessResult.SUCCESS
