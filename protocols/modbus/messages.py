"""What a Modbus master asks and what it can be told. Nothing here writes: no such request can be built.

Source: Modbus Application Protocol V1.1b3, sections 6.3 (function 3), 6.4 (function 4) and 7 (exceptions).
"""

from dataclasses import dataclass
from enum import IntEnum

from protocols.errors import LocalProtocolError
from protocols.meters.model import REGISTERS_PER_READ_MAX

UNIT_MIN, UNIT_MAX = 1, 247  # Modbus over Serial Line V1.02, section 2.2: 0 is broadcast, 248–255 reserved
EXCEPTION_BIT = 0x80


class Function(IntEnum):
    """The function codes that a reading master needs."""

    READ_HOLDING = 3
    READ_INPUT = 4


class ExceptionCode(IntEnum):
    """Why a unit refuses, as far as the standard names it; a unit may answer other numbers."""

    ILLEGAL_FUNCTION = 1
    ILLEGAL_DATA_ADDRESS = 2
    ILLEGAL_DATA_VALUE = 3
    SERVER_DEVICE_FAILURE = 4
    ACKNOWLEDGE = 5
    SERVER_DEVICE_BUSY = 6
    MEMORY_PARITY_ERROR = 8
    GATEWAY_PATH_UNAVAILABLE = 10
    GATEWAY_TARGET_FAILED = 11


FUNCTION_OF_TABLE = {"holding": Function.READ_HOLDING, "input": Function.READ_INPUT}


@dataclass(frozen=True, slots=True)
class ReadRegisters:
    """A question for ``count`` 16-bit registers from ``address`` (counted from 0) of ``unit``."""

    unit: int
    function: Function
    address: int
    count: int

    def __post_init__(self) -> None:
        if not UNIT_MIN <= self.unit <= UNIT_MAX:
            raise LocalProtocolError(f"unit {self.unit}: expected {UNIT_MIN} to {UNIT_MAX}")
        if not 1 <= self.count <= REGISTERS_PER_READ_MAX:
            raise LocalProtocolError(f"{self.count} registers: expected 1 to {REGISTERS_PER_READ_MAX}")
        if not 0 <= self.address <= 0x10000 - self.count:
            raise LocalProtocolError(f"registers {self.address} to {self.address + self.count - 1}: beyond 0xFFFF")

    @property
    def shape(self) -> tuple[int, Function, int]:
        """What a reply shows of its question: unit, function, length. It does not show the address."""
        return (self.unit, self.function, self.count)


@dataclass(frozen=True, slots=True)
class RegistersReply:
    """The registers that were asked for, two octets each, the high one first."""

    request: ReadRegisters
    data: bytes


@dataclass(frozen=True, slots=True)
class ExceptionReply:
    """The unit understood the question and refuses to answer it."""

    request: ReadRegisters
    code: int

    def __str__(self) -> str:
        try:
            return f"{ExceptionCode(self.code).name.lower()} ({self.code})"
        except ValueError:
            return f"exception {self.code}"


Reply = RegistersReply | ExceptionReply
