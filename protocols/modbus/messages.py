"""What a Modbus master asks and what it can be told. Nothing here writes: no such request can be built.

A question knows how the reply to it begins and how long it is, so that a line master needs to know no function:
``pdu()`` are its octets without unit and check, ``reply_head`` what every reply to it begins with after the unit,
``reply_length(pdu)`` its length as far as that follows from the octets received so far, ``parse(pdu)`` the reply.

Source: Modbus Application Protocol V1.1b3, sections 6.1 to 6.4 (functions 1 to 4), 6.21 (function 43 / 14) and 7
(exceptions).
"""

import struct
from dataclasses import dataclass
from enum import IntEnum

from protocols.errors import LocalProtocolError, RemoteProtocolError
from protocols.meters.model import REGISTERS_PER_READ_MAX

UNIT_MIN, UNIT_MAX = 1, 247  # Modbus over Serial Line V1.02, section 2.2: 0 is broadcast, 248–255 reserved
EXCEPTION_BIT = 0x80
PDU_OCTETS_MAX = 253  # section 4.1
BITS_PER_READ_MAX = 2000  # sections 6.1 and 6.2


class Function(IntEnum):
    """The function codes that a reading master needs; none of them writes."""

    READ_COILS = 1
    READ_DISCRETE = 2
    READ_HOLDING = 3
    READ_INPUT = 4
    ENCAPSULATED = 0x2B


MEI_IDENTIFICATION = 0x0E  # section 6.20: the kind of encapsulated interface
IDENTIFICATION_HEAD = 7  # function, MEI type, category, conformity, more follows, next object, number of objects


class IdentificationCategory(IntEnum):
    """Which identification objects are asked for, as a stream; asking for single ones (4) is not needed."""

    BASIC = 1
    REGULAR = 2
    EXTENDED = 3


IDENTIFICATION_OBJECTS = (
    "vendor name",
    "product code",
    "revision",
    "vendor url",
    "product name",
    "model name",
    "user application name",
)


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
        _check_unit(self.unit)
        if self.function not in FUNCTION_OF_TABLE.values():
            raise LocalProtocolError(f"function {self.function} reads no registers")
        _check_span("registers", self.address, self.count, REGISTERS_PER_READ_MAX)

    def __str__(self) -> str:
        return f"registers {self.address} to {self.address + self.count - 1}"

    @property
    def shape(self) -> tuple[int, Function, int]:
        """What a reply shows of its question: unit, function, length. It does not show the address."""
        return (self.unit, self.function, self.count)

    @property
    def reply_head(self) -> bytes:
        """How every reply begins."""
        return bytes((self.function, 2 * self.count))

    @property
    def reply_octets_max(self) -> int:
        """How long the reply's data unit may be."""
        return 2 + 2 * self.count

    def pdu(self) -> bytes:
        """Return the question's data unit."""
        return struct.pack(">BHH", self.function, self.address, self.count)

    def reply_length(self, _pdu: bytes) -> int:
        """Return the length of the reply's data unit."""
        return self.reply_octets_max

    def parse(self, pdu: bytes) -> "RegistersReply":
        """Return the reply in ``pdu``, which begins and is as long as it should."""
        return RegistersReply(self, pdu[2:])


@dataclass(frozen=True, slots=True)
class RegistersReply:
    """The registers that were asked for, two octets each, the high one first."""

    request: ReadRegisters
    data: bytes

    def pdu(self) -> bytes:
        """Return the data unit."""
        return bytes((self.request.function, len(self.data))) + self.data


@dataclass(frozen=True, slots=True)
class ReadBits:
    """A question for ``count`` coils or discrete inputs from ``address``: states of relays and contacts."""

    unit: int
    function: Function
    address: int
    count: int

    def __post_init__(self) -> None:
        _check_unit(self.unit)
        if self.function not in (Function.READ_COILS, Function.READ_DISCRETE):
            raise LocalProtocolError(f"function {self.function} reads no bits")
        _check_span("bits", self.address, self.count, BITS_PER_READ_MAX)

    def __str__(self) -> str:
        return f"bits {self.address} to {self.address + self.count - 1}"

    @property
    def shape(self) -> tuple[int, Function, int]:
        """What a reply shows of its question."""
        return (self.unit, self.function, self.reply_octets_max - 2)

    @property
    def reply_head(self) -> bytes:
        """How every reply begins."""
        return bytes((self.function, self.reply_octets_max - 2))

    @property
    def reply_octets_max(self) -> int:
        """How long the reply's data unit may be."""
        return 2 + (self.count + 7) // 8

    def pdu(self) -> bytes:
        """Return the question's data unit."""
        return struct.pack(">BHH", self.function, self.address, self.count)

    def reply_length(self, _pdu: bytes) -> int:
        """Return the length of the reply's data unit."""
        return self.reply_octets_max

    def parse(self, pdu: bytes) -> "BitsReply":
        """Return the reply in ``pdu``: the first bit is the lowest of the first octet; bits beyond are padding."""
        return BitsReply(self, tuple(bool(pdu[2 + at // 8] >> at % 8 & 1) for at in range(self.count)))


@dataclass(frozen=True, slots=True)
class BitsReply:
    """The states that were asked for."""

    request: ReadBits
    bits: tuple[bool, ...]

    def pdu(self) -> bytes:
        """Return the data unit."""
        number = sum(bit << at for at, bit in enumerate(self.bits))
        size = self.request.reply_octets_max - 2
        return bytes((self.request.function, size)) + number.to_bytes(size, "little")


@dataclass(frozen=True, slots=True)
class ReadIdentification:
    """A question for a device's identification objects of ``category`` from ``first`` on (function 43, MEI type 14)."""

    unit: int
    category: IdentificationCategory = IdentificationCategory.BASIC
    first: int = 0

    def __post_init__(self) -> None:
        _check_unit(self.unit)
        if not 0 <= self.first <= 0xFF:
            raise LocalProtocolError(f"object {self.first}: expected 0 to 255")

    def __str__(self) -> str:
        return f"{self.category.name.lower()} identification from object {self.first}"

    @property
    def function(self) -> Function:
        """The function code."""
        return Function.ENCAPSULATED

    @property
    def shape(self) -> tuple[int, Function, int]:
        """What a reply shows of its question."""
        return (self.unit, self.function, self.category)

    @property
    def reply_head(self) -> bytes:
        """How every reply begins."""
        return bytes((self.function, MEI_IDENTIFICATION, self.category))

    @property
    def reply_octets_max(self) -> int:
        """How long the reply's data unit may be."""
        return PDU_OCTETS_MAX

    def pdu(self) -> bytes:
        """Return the question's data unit."""
        return bytes((self.function, MEI_IDENTIFICATION, self.category, self.first))

    def reply_length(self, pdu: bytes) -> int | None:
        """Return the length of the reply's data unit, ``None`` while not enough of it has come to say."""
        end = IDENTIFICATION_HEAD
        if len(pdu) < end:
            return None
        for _ in range(pdu[end - 1]):
            if len(pdu) < end + 2:
                return None
            end += 2 + pdu[end + 1]
            if end > PDU_OCTETS_MAX:
                raise RemoteProtocolError(f"objects of {end} octets and more: a data unit has {PDU_OCTETS_MAX}")
        return end

    def parse(self, pdu: bytes) -> "IdentificationReply":
        """Return the reply in ``pdu``, which begins and is as long as it should."""
        conformity, more, following, count = pdu[3:IDENTIFICATION_HEAD]
        if more not in (0x00, 0xFF):
            raise RemoteProtocolError(f"'more follows' is {more:#04x}: expected 0x00 or 0xff", offset=4)
        at, objects = IDENTIFICATION_HEAD, []
        for _ in range(count):
            objects.append((pdu[at], pdu[at + 2 : at + 2 + pdu[at + 1]]))
            at += 2 + pdu[at + 1]
        return IdentificationReply(self, conformity, following if more else None, tuple(objects))


@dataclass(frozen=True, slots=True)
class IdentificationReply:
    """Some of a device's identification objects: number and octets, which are ASCII for those below 0x80.

    ``following`` is the object to ask for next, ``None`` if these are all.
    """

    request: ReadIdentification
    conformity: int
    following: int | None
    objects: tuple[tuple[int, bytes], ...]

    def pdu(self) -> bytes:
        """Return the data unit."""
        more = (0x00, 0x00) if self.following is None else (0xFF, self.following)
        head = self.request.reply_head + bytes((self.conformity, *more, len(self.objects)))
        return head + b"".join(bytes((number, len(octets))) + octets for number, octets in self.objects)


Request = ReadRegisters | ReadBits | ReadIdentification


@dataclass(frozen=True, slots=True)
class ExceptionReply:
    """The unit understood the question and refuses to answer it."""

    request: Request
    code: int

    def __str__(self) -> str:
        try:
            return f"{ExceptionCode(self.code).name.lower()} ({self.code})"
        except ValueError:
            return f"exception {self.code}"

    def pdu(self) -> bytes:
        """Return the data unit."""
        return bytes((self.request.function | EXCEPTION_BIT, self.code))


Reply = RegistersReply | BitsReply | IdentificationReply | ExceptionReply


def _check_unit(unit: int) -> None:
    if not UNIT_MIN <= unit <= UNIT_MAX:
        raise LocalProtocolError(f"unit {unit}: expected {UNIT_MIN} to {UNIT_MAX}")


def _check_span(what: str, address: int, count: int, count_max: int) -> None:
    if not 1 <= count <= count_max:
        raise LocalProtocolError(f"{count} {what}: expected 1 to {count_max}")
    if not 0 <= address <= 0x10000 - count:
        raise LocalProtocolError(f"{what} {address} to {address + count - 1}: beyond 0xFFFF")
