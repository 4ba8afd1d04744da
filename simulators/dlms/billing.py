"""Maximum demand registers, the end of a billing period and script tables of a simulated meter.

Source: DLMS UA 1000-1 (Blue Book), classes 4 (extended register) and 9 (script table); 6.2 names.
"""

from collections.abc import Callable, Mapping

from protocols.dlms.codes import ActionResult
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
from simulators.dlms.profiles import BILLING

DISCONNECT_SCRIPTS = Obis(0, 0, 10, 0, 106)
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
