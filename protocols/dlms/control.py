"""Acting on a meter: its relay and its clock, as requests and what the answers say (Blue Book 4.5.1 and 4.5.8).

A relay is switched by a method and believed only when its state was read back.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from protocols.dlms.cosem_time import date_time_data, encode_date_time
from protocols.dlms.data import Data, Tag, integer, integer_of
from protocols.dlms.selective import CLOCK_OBIS
from protocols.dlms.services import Act, DataAccessError, Get, GetResult, Set
from protocols.dlms.xdlms.references import Attribute
from protocols.errors import LocalProtocolError, RemoteProtocolError
from protocols.obis import Obis

RELAY_OBIS = Obis(0, 0, 96, 3, 10)
RELAY_CLASS, CLOCK_CLASS = 70, 8
SHIFT_S_MAX = 900  # Blue Book 4.5.1, shift_time: -900 to 900 s


class ControlState(IntEnum):
    """Control_state of disconnect control (Blue Book 4.5.8)."""

    DISCONNECTED = 0
    CONNECTED = 1
    READY_FOR_RECONNECTION = 2


@dataclass(frozen=True, slots=True)
class RelayState:
    """The relay as read back: whether it conducts, and what the state machine says."""

    conducts: bool
    control: ControlState


def switch(*, connect: bool, obis: Obis = RELAY_OBIS) -> Act:
    """Return the request that disconnects or reconnects the supply.

    After a reconnection the state may be READY_FOR_RECONNECTION: then a hand at the meter closes the relay.
    """
    return Act(Attribute(RELAY_CLASS, obis, 2 if connect else 1), integer(0))


def read_relay(obis: Obis = RELAY_OBIS) -> tuple[Get, Get]:
    """Return the requests that read the relay back: output state and control state."""
    return Get(Attribute(RELAY_CLASS, obis, 2)), Get(Attribute(RELAY_CLASS, obis, 3))


def relay_state_of(results: Sequence[GetResult | DataAccessError]) -> RelayState:
    """Return the state in the answers to :func:`read_relay`; RemoteProtocolError when the meter does not tell it."""
    values: list[Data] = []
    for result in results:
        if isinstance(result, DataAccessError):
            raise RemoteProtocolError(f"the meter does not tell {result.attribute}: {result.code.word}")
        values.append(result.value)
    if len(values) != 2 or values[0].tag is not Tag.BOOLEAN:
        raise RemoteProtocolError("expected the relay's output state (boolean) and control state (enum)")
    number = integer_of(values[1])
    if number not in ControlState._value2member_map_:
        raise RemoteProtocolError(f"control state {number}, expected 0, 1 or 2")
    return RelayState(values[0].content is True, ControlState(number))


def set_clock(at: datetime, *, deviation_minutes: int = -420, obis: Obis = CLOCK_OBIS) -> Set:
    """Return the request that sets the clock to the instant ``at``; the deviation leads from local time to UTC."""
    return Set(Attribute(CLOCK_CLASS, obis, 2), date_time_data(encode_date_time(at, deviation_minutes)))


def shift_clock(seconds: int, *, obis: Obis = CLOCK_OBIS) -> Act:
    """Return the request that shifts the clock by ``seconds``; LocalProtocolError beyond ±900 s."""
    if abs(seconds) > SHIFT_S_MAX:
        raise LocalProtocolError(f"a shift of {seconds} s, the standard allows -{SHIFT_S_MAX} to {SHIFT_S_MAX}")
    return Act(Attribute(CLOCK_CLASS, obis, 6), Data(Tag.LONG, seconds))
