"""Maximum demand registers, script tables and the limiter of a simulated meter.

Source: DLMS UA 1000-1 (Blue Book), 4.3.3 extended register, 4.3.9 script table, 4.5.9 limiter; 6.2 names.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from protocols.dlms.codes import ActionResult, DataAccessResult
from protocols.dlms.control import BILLING_SCRIPTS, MAXIMUM_DEMANDS
from protocols.dlms.data import (
    Data,
    Tag,
    array,
    double_long_unsigned,
    enum,
    integer,
    integer_of,
    long_unsigned,
    octets,
    structure,
)
from protocols.dlms.objects import ClassId, ScalerUnit
from protocols.obis import Obis
from simulators.dlms.cosem import CosemObject, Method, at_time, fixed
from simulators.dlms.counting import Counting
from simulators.dlms.profile_buffer import clock_octets
from simulators.dlms.profiles import BILLING, EventLog
from simulators.vietnam_days import SLOT_MS

LIMITER, DISCONNECT_SCRIPTS = Obis(0, 0, 17, 0, 0), Obis(0, 0, 10, 0, 106)
ACTIVE_POWER = Obis(1, 0, 1, 7, 0)
NO_LIMIT_W = 0xFFFF_FFFF
LIMIT_EXCEEDED = 65  # IDIS package 2, table 30
EXECUTE = 2  # service_id of a script's action
_DONE = (ActionResult.SUCCESS, None)


def demand_object(obis: Obis, counting: Counting) -> CosemObject:
    """Return the register of the highest demand of the period, class 4; its method 1 begins another period."""
    energy = MAXIMUM_DEMANDS[obis]

    def status_and_value(place: int) -> Callable[[int], int]:
        return lambda at_ms: counting.highest_demand(energy, at_ms)[place]

    watts, captured_ms = status_and_value(0), status_and_value(1)
    return CosemObject(
        class_id=ClassId.EXTENDED_REGISTER,
        version=0,
        obis=obis,
        reads={
            2: at_time(lambda at_ms: double_long_unsigned(watts(at_ms))),
            3: fixed(ScalerUnit(0, 27).to_data()),
            4: fixed(Data(Tag.NULL_DATA, None)),
            5: at_time(lambda at_ms: octets(clock_octets(captured_ms(at_ms)))),
        },
        methods={1: lambda _parameter, at_ms: _reset(counting, at_ms)},
    )


def _reset(counting: Counting, at_ms: int) -> tuple[ActionResult, Data | None]:
    return _DONE if counting.demand.end(at_ms) else (ActionResult.TEMPORARY_FAILURE, None)


def capture(counting: Counting) -> Method:
    """Return the method of the billing profile that captures a row now."""
    return lambda _parameter, at_ms: _DONE if counting.billing.end(at_ms) else (ActionResult.TEMPORARY_FAILURE, None)


def billing_scripts(counting: Counting, demands: tuple[Obis, ...]) -> CosemObject:
    """Return the script table whose script 1 ends the billing period: a row in the profile, demand from zero."""
    actions = [(ClassId.PROFILE_GENERIC, BILLING, 2), *((ClassId.EXTENDED_REGISTER, obis, 1) for obis in demands)]

    def end(at_ms: int) -> ActionResult:
        if not counting.billing.end(at_ms):
            return ActionResult.TEMPORARY_FAILURE
        counting.demand.end(at_ms)
        return ActionResult.SUCCESS

    return _script_table(BILLING_SCRIPTS, {1: actions}, {1: end})


def disconnect_scripts(relay: CosemObject) -> CosemObject:
    """Return the script table whose scripts 1 and 2 open and close the relay."""

    def run(method: int) -> Callable[[int], ActionResult]:
        return lambda at_ms: relay.act(method, integer(0), at_ms)[0]

    actions = {number: [(ClassId.DISCONNECT_CONTROL, relay.obis, number)] for number in (1, 2)}
    return _script_table(DISCONNECT_SCRIPTS, actions, {number: run(number) for number in (1, 2)})


def _script_table(
    obis: Obis,
    actions: Mapping[int, list[tuple[ClassId, Obis, int]]],
    scripts: Mapping[int, Callable[[int], ActionResult]],
) -> CosemObject:
    listed = (
        structure(
            long_unsigned(number),
            array(
                *(
                    structure(
                        enum(EXECUTE), long_unsigned(class_id), octets(of.to_octets()), integer(index), integer(0)
                    )
                    for class_id, of, index in steps
                )
            ),
        )
        for number, steps in actions.items()
    )

    def execute(parameter: Data | None, at_ms: int) -> tuple[ActionResult, Data | None]:
        if parameter is None or parameter.tag is not Tag.LONG_UNSIGNED:
            return ActionResult.TYPE_UNMATCHED, None
        script = scripts.get(integer_of(parameter))
        return (ActionResult.OBJECT_UNAVAILABLE if script is None else script(at_ms)), None

    return CosemObject(ClassId.SCRIPT_TABLE, 0, obis, {2: fixed(array(*listed))}, methods={1: execute})


@dataclass(slots=True)
class Limiter:
    """Opens the relay when power is above a limit for long enough. Off until a limit is written.

    A half-hour has one power, so what happened since the last question is found by going through the half-hours. The
    emergency profile is not there; what opened the relay does not close it.
    """

    counting: Counting
    relay: CosemObject
    conducts: Callable[[], bool]
    log: EventLog
    limit_w: int = NO_LIMIT_W
    emergency_w: int = NO_LIMIT_W
    over_s: int = 0
    under_s: int = 0
    _seen_ms: int = 0
    _over_since_ms: int | None = None

    def advance(self, at_ms: int) -> None:
        """Do what was due until a time."""
        while self.limit_w != NO_LIMIT_W and self._seen_ms < at_ms:
            if not self.conducts():
                self._over_since_ms = None
                break
            until_ms = min(at_ms, (self._seen_ms // SLOT_MS + 1) * SLOT_MS)
            if self.counting.value(ACTIVE_POWER, self._seen_ms) <= self.limit_w:
                self._over_since_ms = None
            else:
                since_ms = self._seen_ms if self._over_since_ms is None else self._over_since_ms
                self._over_since_ms = since_ms
                due_ms = max(since_ms + self.over_s * 1000, self._seen_ms)
                if due_ms <= until_ms:
                    self._disconnect(due_ms)
            self._seen_ms = until_ms
        self._seen_ms = max(self._seen_ms, at_ms)

    def _disconnect(self, at_ms: int) -> None:
        if self.relay.act(1, integer(0), at_ms)[0] is ActionResult.SUCCESS:
            self.log.add(at_ms, LIMIT_EXCEEDED)
        self._over_since_ms = None

    def to_object(self) -> CosemObject:
        """Return the COSEM object."""
        monitored = structure(long_unsigned(ClassId.REGISTER), octets(ACTIVE_POWER.to_octets()), integer(2))
        script = octets(DISCONNECT_SCRIPTS.to_octets())
        actions = structure(structure(script, long_unsigned(1)), structure(script, long_unsigned(0)))
        nothing = structure(long_unsigned(0), octets(b"\xff" * 12), double_long_unsigned(0))
        return CosemObject(
            class_id=ClassId.LIMITER,
            version=0,
            obis=LIMITER,
            reads={
                2: fixed(monitored),
                3: at_time(lambda _at_ms: double_long_unsigned(self.limit_w)),
                4: at_time(lambda _at_ms: double_long_unsigned(self.limit_w)),
                5: at_time(lambda _at_ms: double_long_unsigned(self.emergency_w)),
                6: at_time(lambda _at_ms: double_long_unsigned(self.over_s)),
                7: at_time(lambda _at_ms: double_long_unsigned(self.under_s)),
                8: fixed(nothing),
                9: fixed(array()),
                10: fixed(Data(Tag.BOOLEAN, False)),
                11: fixed(actions),
            },
            writes={4: self._write("limit_w"), 5: self._write("emergency_w"), 6: self._write("over_s"),
                    7: self._write("under_s")},
        )  # fmt: skip

    def _write(self, name: str) -> Callable[[Data, int], DataAccessResult]:
        def write(value: Data, _at_ms: int) -> DataAccessResult:
            if value.tag is not Tag.DOUBLE_LONG_UNSIGNED:
                return DataAccessResult.TYPE_UNMATCHED
            setattr(self, name, integer_of(value))
            self._over_since_ms = None
            return DataAccessResult.SUCCESS

        return write
