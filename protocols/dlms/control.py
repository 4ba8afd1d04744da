"""Acting on a meter: its relay, its clock, the end of its billing period, as requests and what the answers say.

Source: DLMS UA 1000-1 (Blue Book), classes 8 (clock), 70 (disconnect control) and 9 (script table).

A relay is switched by a method and believed only when its state was read back.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from protocols.dlms.cosem_time import date_time_data, encode_date_time
from protocols.dlms.data import Data, Tag, integer, integer_of, long_unsigned
from protocols.dlms.selective import CLOCK_OBIS
from protocols.dlms.services import Act, DataAccessError, Get, GetResult, Set
from protocols.dlms.xdlms.references import Attribute
from protocols.errors import LocalProtocolError, RemoteProtocolError
from protocols.obis import Obis

RELAY_OBIS = Obis(0, 0, 96, 3, 10)
RELAY_CLASS, CLOCK_CLASS, SCRIPT_CLASS = 70, 8, 9
BILLING_SCRIPTS, END_OF_BILLING = Obis(0, 0, 10, 0, 1), 1
MAXIMUM_DEMANDS = {Obis(1, 0, 1, 6, 0): Obis(1, 0, 1, 8, 0), Obis(1, 0, 2, 6, 0): Obis(1, 0, 2, 8, 0)}
"""Registers of the highest demand, active import and export, and the energy each is the power of."""
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


def set_clock(
    at: datetime,
    *,
    deviation_minutes: int = -420,
    said_deviation_minutes: int | None = None,
    status: int = 0,
    obis: Obis = CLOCK_OBIS,
) -> Set:
    """Return the request that sets the clock to the instant ``at``; the deviation leads from local time to UTC.

    A meter with a quirk about its deviation is told ``said_deviation_minutes`` and ``status``, in its own way.
    """
    octets = encode_date_time(at, deviation_minutes, status=status)
    said = deviation_minutes if said_deviation_minutes is None else said_deviation_minutes
    octets = octets[:9] + said.to_bytes(2, "big", signed=True) + octets[11:]
    return Set(Attribute(CLOCK_CLASS, obis, 2), date_time_data(octets))


def shift_clock(seconds: int, *, obis: Obis = CLOCK_OBIS) -> Act:
    """Return the request that shifts the clock by ``seconds``; LocalProtocolError beyond ±900 s."""
    if abs(seconds) > SHIFT_S_MAX:
        raise LocalProtocolError(f"a shift of {seconds} s, the standard allows -{SHIFT_S_MAX} to {SHIFT_S_MAX}")
    return Act(Attribute(CLOCK_CLASS, obis, 6), Data(Tag.LONG, seconds))


def end_billing(*, script: int = END_OF_BILLING, obis: Obis = BILLING_SCRIPTS) -> Act:
    """Return the request that ends the billing period: the meter keeps its registers, the demand begins at zero."""
    return Act(Attribute(SCRIPT_CLASS, obis, 1), long_unsigned(script))
