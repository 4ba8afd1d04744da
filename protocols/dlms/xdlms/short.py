"""Services by short names: READ and WRITE (IEC 62056-5-3).

A variable is named by sixteen bits. Reads of several variables come back in order; what is too long for a PDU comes
back in blocks, numbered from 1, whose octets together are the list of results. A WRITE too long for a PDU goes out in
blocks, too: each is a WRITE of one octet-string, and the octets together are the lists of variables and of values.
"""

from dataclasses import dataclass
from typing import TypeAlias

from protocols.dlms import axdr
from protocols.dlms.codes import DataAccessResult
from protocols.dlms.data import octets, octets_of
from protocols.dlms.octets import Cursor
from protocols.dlms.xdlms.get import OneResult
from protocols.dlms.xdlms.references import (
    Block,
    Selection,
    decode_access_result,
    decode_list_count,
    decode_value,
    decode_values,
    encode_list_count,
    encode_values,
)
from protocols.errors import LocalProtocolError, RemoteProtocolError

READ_REQUEST, WRITE_REQUEST, READ_RESPONSE, WRITE_RESPONSE = 0x05, 0x06, 0x0C, 0x0D
_VARIABLE, _PARAMETERIZED, _NEXT_BLOCK, _WRITE_BLOCK = 2, 4, 5, 7
_BLOCK_RESULT = _BLOCK_NUMBER = 2


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable by its short name, perhaps with selective access."""

    name: int
    selection: Selection | None = None

    def encode(self) -> bytes:
        """Return the variable-access-specification."""
        if not 0 <= self.name <= 0xFFFF:
            raise LocalProtocolError(f"short name {self.name:#x} does not fit into sixteen bits")
        name = self.name.to_bytes(2, "big")
        if self.selection is None:
            return bytes((_VARIABLE,)) + name
        return bytes((_PARAMETERIZED,)) + name + self.selection.encode()


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """Read variables."""

    variables: tuple[Variable, ...]

    def encode(self) -> bytes:
        """Return the APDU."""
        return bytes((READ_REQUEST,)) + _encode_variables(self.variables)


@dataclass(frozen=True, slots=True)
class ReadNext:
    """Acknowledge block ``number`` and ask for the next one."""

    number: int

    def encode(self) -> bytes:
        """Return the APDU."""
        return bytes((READ_REQUEST, 1, _NEXT_BLOCK)) + self.number.to_bytes(2, "big")


@dataclass(frozen=True, slots=True)
class ReadResponse:
    """The values, or why there are none, in order."""

    results: tuple[OneResult, ...]

    def encode(self) -> bytes:
        """Return the APDU."""
        return bytes((READ_RESPONSE,)) + encode_results(self.results)


@dataclass(frozen=True, slots=True)
class ReadResponseBlock:
    """A block of the list of results."""

    block: Block

    def encode(self) -> bytes:
        """Return the APDU."""
        head = bytes((READ_RESPONSE, 1, _BLOCK_RESULT, self.block.last)) + self.block.number.to_bytes(2, "big")
        return head + axdr.encode_length(len(self.block.octets)) + self.block.octets


@dataclass(frozen=True, slots=True)
class WriteRequest:
    """Write variables; ``values`` are A-XDR octets, one for each."""

    variables: tuple[Variable, ...]
    values: tuple[bytes, ...]

    def encode(self) -> bytes:
        """Return the APDU."""
        return bytes((WRITE_REQUEST,)) + _encode_variables(self.variables) + encode_values(self.values)


@dataclass(frozen=True, slots=True)
class WriteRequestBlock:
    """A block of a long WRITE."""

    block: Block

    def encode(self) -> bytes:
        """Return the APDU."""
        head = bytes((WRITE_REQUEST, 1, _WRITE_BLOCK, self.block.last)) + self.block.number.to_bytes(2, "big")
        return head + b"\1" + axdr.encode(octets(self.block.octets))


@dataclass(frozen=True, slots=True)
class WriteResponseNext:
    """Block ``number`` of a long WRITE arrived; send the next one."""

    number: int

    def encode(self) -> bytes:
        """Return the APDU."""
        return bytes((WRITE_RESPONSE, 1, _BLOCK_NUMBER)) + self.number.to_bytes(2, "big")


@dataclass(frozen=True, slots=True)
class WriteResponse:
    """How writing ended, in order."""

    results: tuple[DataAccessResult, ...]

    def encode(self) -> bytes:
        """Return the APDU."""
        parts = [b"\0" if result is DataAccessResult.SUCCESS else bytes((1, result)) for result in self.results]
        return bytes((WRITE_RESPONSE,)) + encode_list_count(len(parts)) + b"".join(parts)


ShortRequest: TypeAlias = ReadRequest | ReadNext | WriteRequest | WriteRequestBlock
ShortResponse: TypeAlias = ReadResponse | ReadResponseBlock | WriteResponse | WriteResponseNext


def encode_results(results: tuple[OneResult, ...]) -> bytes:
    """Return the list of results, which is also what blocks hold."""
    parts = [bytes((1, one)) if isinstance(one, DataAccessResult) else b"\0" + one for one in results]
    return encode_list_count(len(parts)) + b"".join(parts)


def decode_results(cursor: Cursor) -> tuple[OneResult, ...]:
    """Decode a list of results without blocks in it."""
    return tuple(_one(cursor) for _ in range(decode_list_count(cursor, "a list of results")))


def _one(cursor: Cursor) -> OneResult:
    kind = cursor.u8("a result")
    if kind == 1:
        return decode_access_result(cursor)
    if kind != 0:
        raise RemoteProtocolError(f"result of kind {kind}, expected 0 or 1", offset=cursor.at - 1)
    return decode_value(cursor)


def _encode_variables(variables: tuple[Variable, ...]) -> bytes:
    return encode_list_count(len(variables)) + b"".join(variable.encode() for variable in variables)


def _variable(cursor: Cursor) -> Variable:
    kind = cursor.u8("a variable-access-specification")
    if kind == _VARIABLE:
        return Variable(cursor.u16("a short name"))
    if kind == _PARAMETERIZED:
        return Variable(cursor.u16("a short name"), Selection(cursor.u8("a selector"), cursor.data()))
    raise RemoteProtocolError(f"variable-access-specification {kind}, expected 2 or 4", offset=cursor.at - 1)


def decode_read_request(cursor: Cursor) -> ReadRequest | ReadNext:
    """Decode what follows the tag."""
    count = decode_list_count(cursor, "a list of variables")
    request: ReadRequest | ReadNext
    if count == 1 and cursor.left and cursor.octets[cursor.at] == _NEXT_BLOCK:
        cursor.u8("a variable-access-specification")
        request = ReadNext(cursor.u16("a block number"))
    else:
        request = ReadRequest(tuple(_variable(cursor) for _ in range(count)))
    cursor.end("the read-request")
    return request


def decode_read_response(cursor: Cursor) -> ReadResponse | ReadResponseBlock:
    """Decode what follows the tag."""
    start = cursor.at
    count = decode_list_count(cursor, "a list of results")
    response: ReadResponse | ReadResponseBlock
    if count == 1 and cursor.left and cursor.octets[cursor.at] == _BLOCK_RESULT:
        cursor.u8("a result")
        last, number = cursor.flag("last-block"), cursor.u16("a block number")
        response = ReadResponseBlock(Block(number, cursor.counted("a block"), last))
    else:
        cursor.at = start
        response = ReadResponse(decode_results(cursor))
    cursor.end("the read-response")
    return response


def decode_write_request(cursor: Cursor) -> WriteRequest | WriteRequestBlock:
    """Decode what follows the tag."""
    count = decode_list_count(cursor, "a list of variables")
    request: WriteRequest | WriteRequestBlock
    if count == 1 and cursor.left and cursor.octets[cursor.at] == _WRITE_BLOCK:
        cursor.u8("a variable-access-specification")
        last, number = cursor.flag("last-block"), cursor.u16("a block number")
        (piece,) = decode_values(cursor, 1, "variables")
        request = WriteRequestBlock(Block(number, octets_of(axdr.decode(piece)), last))
    else:
        variables = tuple(_variable(cursor) for _ in range(count))
        request = WriteRequest(variables, decode_values(cursor, count, "variables"))
    cursor.end("the write-request")
    return request


def decode_write_response(cursor: Cursor) -> WriteResponse | WriteResponseNext:
    """Decode what follows the tag."""
    count = decode_list_count(cursor, "a list of results")
    if count == 1 and cursor.left and cursor.octets[cursor.at] == _BLOCK_NUMBER:
        cursor.u8("a result")
        awaited = WriteResponseNext(cursor.u16("a block number"))
        cursor.end("the write-response")
        return awaited
    results = []
    for _ in range(count):
        failed = cursor.choice("a result")
        results.append(decode_access_result(cursor) if failed else DataAccessResult.SUCCESS)
    cursor.end("the write-response")
    return WriteResponse(tuple(results))
