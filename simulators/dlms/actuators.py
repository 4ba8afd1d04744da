"""What clients change in a meter: its clock and its relay, and the push it can be asked for.

Source: DLMS UA 1000-1 (Blue Book), classes 8 (clock), 70 (disconnect control) and 40 (push setup).
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from protocols.dlms.codes import ActionResult, DataAccessResult
from protocols.dlms.control import RELAY_OBIS, SHIFT_S_MAX, ControlState
from protocols.dlms.cosem_time import date_time_of
from protocols.dlms.data import Data, Tag, array, enum, integer, integer_of, octets, structure, unsigned
from protocols.dlms.selective import CLOCK_OBIS, CaptureObject
from protocols.errors import RemoteProtocolError
from protocols.obis import Obis
from simulators.dlms.cosem import CosemObject, at_time, fixed
from simulators.dlms.counting import Counting
from simulators.dlms.image_transfer import ImageTransfer
from simulators.dlms.profile_buffer import DEVIATION_MINUTES, clock_value
from simulators.dlms.profiles import (
    CLOCK_NEW,
    CLOCK_OLD,
    DISCONNECTS,
    REMOTE_CONNECTION,
    REMOTE_DISCONNECTION,
    STANDARD,
    EventLog,
)

PUSH_SETUP = Obis(0, 0, 25, 9, 0)
MODES = range(7)  # control modes, Blue Book 4.5.8
DIRECT_MODES = (2, 4)  # a remote reconnection closes the relay; in the others a hand does


@dataclass(slots=True)
class MeterState:
    """What outlives connections. ``clock_ms`` is how far the meter's clock is ahead."""

    logs: dict[int, EventLog]
    counting: Counting
    image: ImageTransfer = field(default_factory=ImageTransfer)
    clock_ms: int = 0
    relay: ControlState = ControlState.CONNECTED
    relay_mode: int = 4
    pushed: Callable[[int], None] | None = None
    """What sends a push when a client asks for one; None: there is nobody to push to."""

    def local(self, at_ms: int) -> int:
        """Return what the meter takes for the time. [ms]"""
        return at_ms + self.clock_ms


# -- clock ------------------------------------------------------------------------------------------------------------


def clock_object(state: MeterState) -> CosemObject:
    """Return the clock: no summer time, driven by its crystal; it can be set and shifted."""
    never = octets(b"\xff\xff" + b"\xff" * 7 + b"\x80\x00\xff")

    def move(at_ms: int, by_ms: int) -> None:
        state.logs[STANDARD].add(at_ms, CLOCK_OLD)
        state.clock_ms += by_ms
        state.logs[STANDARD].add(at_ms, CLOCK_NEW)

    def set_time(value: Data, at_ms: int) -> DataAccessResult:
        try:
            wanted_ms = int(date_time_of(value).at(DEVIATION_MINUTES).timestamp()) * 1000
        except RemoteProtocolError:
            return DataAccessResult.TYPE_UNMATCHED
        move(at_ms, wanted_ms - state.local(at_ms))
        return DataAccessResult.SUCCESS

    def shift(parameter: Data | None, at_ms: int) -> tuple[ActionResult, Data | None]:
        if parameter is None or parameter.tag is not Tag.LONG or abs(integer_of(parameter)) > SHIFT_S_MAX:
            return ActionResult.TYPE_UNMATCHED, None
        move(at_ms, integer_of(parameter) * 1000)
        return ActionResult.SUCCESS, None

    return CosemObject(
        class_id=8,
        version=0,
        obis=CLOCK_OBIS,
        reads={
            2: at_time(lambda at_ms: clock_value(state.local(at_ms))),
            3: fixed(Data(Tag.LONG, DEVIATION_MINUTES)),
            4: fixed(unsigned(0)),  # status: good
            5: fixed(never),
            6: fixed(never),
            7: fixed(integer(0)),
            8: fixed(Data(Tag.BOOLEAN, False)),
            9: fixed(enum(1)),  # clock base: internal crystal
        },
        writes={2: set_time},
        methods={6: shift},
        public=True,
    )


# -- relay ------------------------------------------------------------------------------------------------------------


def relay_object(state: MeterState, obis: Obis = RELAY_OBIS) -> CosemObject:
    """Return the disconnect control."""

    def disconnect(_parameter: Data | None, at_ms: int) -> tuple[ActionResult, Data | None]:
        if state.relay_mode == 0:
            return ActionResult.READ_WRITE_DENIED, None
        if state.relay is not ControlState.DISCONNECTED:
            state.relay = ControlState.DISCONNECTED
            state.counting.open(at_ms)
            state.logs[DISCONNECTS].add(at_ms, REMOTE_DISCONNECTION)
        return ActionResult.SUCCESS, None

    def reconnect(_parameter: Data | None, at_ms: int) -> tuple[ActionResult, Data | None]:
        if state.relay is ControlState.DISCONNECTED:
            direct = state.relay_mode in DIRECT_MODES
            state.relay = ControlState.CONNECTED if direct else ControlState.READY_FOR_RECONNECTION
            if direct:
                state.counting.close(at_ms)
            state.logs[DISCONNECTS].add(at_ms, REMOTE_CONNECTION)
        return ActionResult.SUCCESS, None

    def set_mode(value: Data, _at_ms: int) -> DataAccessResult:
        if value.tag is not Tag.ENUM or integer_of(value) not in MODES:
            return DataAccessResult.TYPE_UNMATCHED
        state.relay_mode = integer_of(value)
        return DataAccessResult.SUCCESS

    return CosemObject(
        class_id=70,
        version=0,
        obis=obis,
        reads={
            2: at_time(lambda _at_ms: Data(Tag.BOOLEAN, state.relay is ControlState.CONNECTED)),
            3: at_time(lambda _at_ms: enum(state.relay)),
            4: at_time(lambda _at_ms: enum(state.relay_mode)),
        },
        writes={4: set_mode},
        methods={1: disconnect, 2: reconnect},
    )


# -- push -------------------------------------------------------------------------------------------------------------


def push_object(state: MeterState, objects: tuple[CaptureObject, ...]) -> CosemObject:
    """Return the push setup; its method 1 pushes now."""

    def push(_parameter: Data | None, at_ms: int) -> tuple[ActionResult, Data | None]:
        if state.pushed is None:
            return ActionResult.TEMPORARY_FAILURE, None
        state.pushed(at_ms)
        return ActionResult.SUCCESS, None

    destination = structure(enum(0), octets(b""), enum(0))  # TCP, to where the simulator was told, A-XDR
    return CosemObject(
        class_id=40,
        version=0,
        obis=PUSH_SETUP,
        reads={2: fixed(array(*(each.to_data() for each in objects))), 3: fixed(destination), 4: fixed(array())},
        methods={1: push},
    )
