"""What services are about: attributes and methods of COSEM objects, selections, blocks, invoke-ids."""

from dataclasses import dataclass

from protocols.dlms import axdr
from protocols.dlms.codes import DataAccessResult
from protocols.dlms.data import Data
from protocols.dlms.octets import Cursor
from protocols.errors import LocalProtocolError, RemoteProtocolError
from protocols.obis import Obis

ITEMS_MAX = 255  # elements of one request with list; meters take 5 to 30, the agent asks for fewer

SECRET_CLASSES = frozenset({12, 15, 64})  # associations and security setup: secrets are set and keys handed over


@dataclass(frozen=True, slots=True)
class Attribute:
    """Attribute ``index`` of the object with logical name ``obis`` of class ``class_id``; also names a method."""

    class_id: int
    obis: Obis
    index: int

    def encode(self) -> bytes:
        """Return the descriptor's nine octets."""
        try:
            head, index = self.class_id.to_bytes(2, "big"), self.index.to_bytes(1, "big", signed=True)
        except OverflowError as error:
            raise LocalProtocolError(f"{self}: the class has 16 bits, the index 8 with a sign") from error
        return head + self.obis.to_octets() + index

    def __str__(self) -> str:
        return f"{self.class_id}:{self.obis}:{self.index}"


@dataclass(frozen=True, slots=True)
class Selection:
    """Selective access: selector 1 by range, 2 by entry, with parameters by class (Blue Book 4.3.6)."""

    selector: int
    parameters: Data

    def encode(self) -> bytes:
        """Return selector and parameters."""
        return bytes((self.selector,)) + axdr.encode(self.parameters)


@dataclass(frozen=True, slots=True)
class Invoke:
    """Invoke-id-and-priority: which question, whether an answer is wanted, whether it is urgent."""

    id: int
    confirmed: bool = True
    high_priority: bool = True

    @property
    def octet(self) -> int:
        """The octet on the wire."""
        return self.high_priority << 7 | self.confirmed << 6 | self.id & 0x0F


@dataclass(frozen=True, slots=True)
class Block:
    """One block of a long transfer, numbered from 1."""

    number: int
    octets: bytes
    last: bool

    def encode(self) -> bytes:
        """Return a DataBlock-SA: last-block, number, octets."""
        head = bytes((self.last,)) + self.number.to_bytes(4, "big")
        return head + axdr.encode_length(len(self.octets)) + self.octets


def decode_invoke(cursor: Cursor) -> Invoke:
    """Decode invoke-id-and-priority."""
    octet = cursor.u8("the invoke-id")
    return Invoke(octet & 0x0F, bool(octet & 0x40), bool(octet & 0x80))


def decode_attribute(cursor: Cursor) -> Attribute:
    """Decode an attribute or method descriptor."""
    class_id = cursor.u16("a class")
    return Attribute(class_id, Obis.from_octets(cursor.take(6, "a logical name")), cursor.i8("an index"))


def encode_access(selection: Selection | None) -> bytes:
    """Return the optional selection."""
    return b"\0" if selection is None else b"\1" + selection.encode()


def decode_access(cursor: Cursor) -> Selection | None:
    """Decode an optional selection."""
    if not cursor.flag("a selection's presence"):
        return None
    selector = cursor.u8("a selector")
    return Selection(selector, cursor.data())


def decode_block(cursor: Cursor) -> Block:
    """Decode a DataBlock-SA."""
    last, number = cursor.flag("last-block"), cursor.u32("a block number")
    return Block(number, cursor.counted("a block"), last)


def decode_access_result(cursor: Cursor) -> DataAccessResult:
    """Decode a data-access-result; RemoteProtocolError for a code the standard does not have."""
    code = cursor.u8("a data-access-result")
    result = DataAccessResult.lookup(code)
    if result is None:
        raise RemoteProtocolError(f"data-access-result {code} is not in the standard", offset=cursor.at - 1)
    return result


def decode_list_count(cursor: Cursor, what: str) -> int:
    """Decode how many elements follow, at most ITEMS_MAX."""
    count = cursor.count(what)
    if count > ITEMS_MAX:
        raise RemoteProtocolError(f"{count} elements in one list, at most {ITEMS_MAX} are taken", offset=cursor.at)
    return count


def decode_values(cursor: Cursor, wanted: int, what: str) -> tuple[bytes, ...]:
    """Decode a list of values, one for each of ``wanted`` things; return the octets of each."""
    count = decode_list_count(cursor, "a list of values")
    if count != wanted:
        raise RemoteProtocolError(f"{count} values for {wanted} {what}", offset=cursor.at)
    return tuple(decode_value(cursor) for _ in range(count))


def decode_value(cursor: Cursor) -> bytes:
    """Walk through one value; return its octets."""
    start = cursor.at
    cursor.data()
    return cursor.octets[start : cursor.at]


def encode_values(values: tuple[bytes, ...]) -> bytes:
    """Return a list of values."""
    return encode_list_count(len(values)) + b"".join(values)


def encode_list_count(count: int) -> bytes:
    """Return how many elements follow."""
    if count > ITEMS_MAX:
        raise LocalProtocolError(f"{count} elements in one list, at most {ITEMS_MAX} are sent")
    return axdr.encode_length(count)
