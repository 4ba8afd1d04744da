"""What a reader asks and hears, and the states of its session as a table (IEC 62056-21, 6.4)."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from protocols.iec62056_21.messages import Command, Identification, Mode
from protocols.iec62056_21.readout import DataSet, Readout


class State(Enum):
    """Where the session stands, seen from the reader."""

    SIGNED_OFF = "signed off"
    AWAITING_IDENTIFICATION = "awaiting the identification"
    IDENTIFIED = "identified"
    AWAITING_READOUT = "awaiting the readout"
    AWAITING_OPERAND = "awaiting the password's operand"
    PROGRAMMING = "in programming mode"
    AWAITING_ANSWER = "awaiting an answer"
    AWAITING_HDLC = "awaiting the switch to HDLC"
    HDLC = "handed over to HDLC"


class Step(Enum):
    """What moves the session."""

    SIGN_ON = "sign on"
    IDENTIFIED = "the meter identified itself"
    IDENTIFIED_AND_READS = "the meter identified itself and goes on by itself"
    SELECT_READOUT = "select the readout"
    SELECT_PROGRAMMING = "select programming mode"
    SELECT_HDLC = "select HDLC"
    COMPLETE = "the readout is complete"
    OPERAND = "the meter asks for the password"
    COMMAND = "send a command"
    ANSWER = "the meter answered"
    SWITCHED = "the line speaks HDLC"
    END = "the session ends"


_S, _T = State, Step
TRANSITIONS: Mapping[tuple[State, Step], State] = {
    (_S.SIGNED_OFF, _T.SIGN_ON): _S.AWAITING_IDENTIFICATION,
    (_S.AWAITING_IDENTIFICATION, _T.IDENTIFIED): _S.IDENTIFIED,
    (_S.AWAITING_IDENTIFICATION, _T.IDENTIFIED_AND_READS): _S.AWAITING_READOUT,
    (_S.IDENTIFIED, _T.SELECT_READOUT): _S.AWAITING_READOUT,
    (_S.IDENTIFIED, _T.SELECT_PROGRAMMING): _S.AWAITING_OPERAND,
    (_S.IDENTIFIED, _T.SELECT_HDLC): _S.AWAITING_HDLC,
    (_S.AWAITING_READOUT, _T.COMPLETE): _S.SIGNED_OFF,
    (_S.AWAITING_OPERAND, _T.OPERAND): _S.PROGRAMMING,
    (_S.PROGRAMMING, _T.COMMAND): _S.AWAITING_ANSWER,
    (_S.AWAITING_ANSWER, _T.ANSWER): _S.PROGRAMMING,
    (_S.AWAITING_HDLC, _T.SWITCHED): _S.HDLC,
    **{(state, _T.END): _S.SIGNED_OFF for state in State},
}


@dataclass(frozen=True, slots=True)
class SignOn:
    """Wake the meter ``address``, or whichever is there. Event: Identified."""

    address: str = ""


@dataclass(frozen=True, slots=True)
class Select:
    """Choose what follows, at the meter's speed or one that is not above ``baud_max``."""

    mode: Mode
    baud_max: int = 19200


@dataclass(frozen=True, slots=True)
class Ask:
    """Send a command in programming mode: ``Ask(Command("R5", "1.8.0()"))``. Event: Answered, Done or Refused."""

    command: Command


@dataclass(frozen=True, slots=True)
class SignOff:
    """End the session: B0."""


Request: TypeAlias = SignOn | Select | Ask | SignOff


@dataclass(frozen=True, slots=True)
class Identified:
    """The meter said who it is."""

    identification: Identification


@dataclass(frozen=True, slots=True)
class ReadoutDone:
    """The readout, its block check right."""

    readout: Readout


@dataclass(frozen=True, slots=True)
class PasswordAsked:
    """The meter is in programming mode; ``operand`` goes into the maker's password algorithm, if there is one."""

    operand: str


@dataclass(frozen=True, slots=True)
class Answered:
    """The data sets that answer a command; ``last`` is False when more blocks follow on ACK (R3)."""

    data_sets: tuple[DataSet, ...]
    last: bool = True


@dataclass(frozen=True, slots=True)
class Done:
    """The meter acknowledged a command."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The meter says no: NAK, an error message, or it broke the session off (B0)."""

    words: str


@dataclass(frozen=True, slots=True)
class HdlcBegins:
    """The line speaks HDLC now, at ``baud`` of the client."""


@dataclass(frozen=True, slots=True)
class Silent:
    """The deadline passed; the session is over."""

    reason: str


Event: TypeAlias = Identified | ReadoutDone | PasswordAsked | Answered | Done | Refused | HdlcBegins | Silent
