"""GET: read attributes, one, several, or one too long for a PDU in blocks (IEC 62056-5-3)."""

from dataclasses import dataclass
from typing import TypeAlias

from protocols.dlms import axdr
from protocols.dlms.codes import DataAccessResult
from protocols.dlms.octets import Cursor
from protocols.dlms.xdlms.references import (
    Attribute,
    Block,
    Invoke,
    Selection,
    decode_access,
    decode_access_result,
    decode_attribute,
    decode_invoke,
    decode_list_count,
    encode_access,
    encode_list_count,
)
from protocols.errors import RemoteProtocolError

REQUEST, RESPONSE = 0xC0, 0xC4
OneResult: TypeAlias = bytes | DataAccessResult
"""Get-Data-Result: the value's A-XDR octets, or why there is none."""


@dataclass(frozen=True, slots=True)
class GetRequestNormal:
    """Ask for one attribute."""

    invoke: Invoke
    attribute: Attribute
    selection: Selection | None = None

    def encode(self) -> bytes:
        """Return the APDU."""
        return bytes((REQUEST, 1, self.invoke.octet)) + self.attribute.encode() + encode_access(self.selection)


@dataclass(frozen=True, slots=True)
class GetRequestNext:
    """Acknowledge block ``number`` and ask for the next one."""

    invoke: Invoke
    number: int

    def encode(self) -> bytes:
        """Return the APDU."""
        return bytes((REQUEST, 2, self.invoke.octet)) + self.number.to_bytes(4, "big")


@dataclass(frozen=True, slots=True)
class GetRequestList:
    """Ask for several attributes."""

    invoke: Invoke
    items: tuple[tuple[Attribute, Selection | None], ...]

    def encode(self) -> bytes:
        """Return the APDU."""
        items = b"".join(attribute.encode() + encode_access(selection) for attribute, selection in self.items)
        return bytes((REQUEST, 3, self.invoke.octet)) + encode_list_count(len(self.items)) + items


@dataclass(frozen=True, slots=True)
class GetResponseNormal:
    """The answer for one attribute."""

    invoke: Invoke
    result: OneResult

    def encode(self) -> bytes:
        """Return the APDU."""
        return bytes((RESPONSE, 1, self.invoke.octet)) + encode_one(self.result)


@dataclass(frozen=True, slots=True)
class GetResponseBlock:
    """A block of the answer, or why the transfer ends: the number then tells which block failed."""

    invoke: Invoke
    block: Block | tuple[int, DataAccessResult]

    def encode(self) -> bytes:
        """Return the APDU."""
        head = bytes((RESPONSE, 2, self.invoke.octet))
        if isinstance(self.block, Block):
            octets = self.block.octets
            numbers = bytes((self.block.last,)) + self.block.number.to_bytes(4, "big")
            return head + numbers + b"\0" + axdr.encode_length(len(octets)) + octets
        number, result = self.block
        return head + b"\1" + number.to_bytes(4, "big") + bytes((1, result))


@dataclass(frozen=True, slots=True)
class GetResponseList:
    """The answers for several attributes, in the order asked."""

    invoke: Invoke
    results: tuple[OneResult, ...]

    def encode(self) -> bytes:
        """Return the APDU."""
        return bytes((RESPONSE, 3, self.invoke.octet)) + encode_results(self.results)


GetRequest: TypeAlias = GetRequestNormal | GetRequestNext | GetRequestList
GetResponse: TypeAlias = GetResponseNormal | GetResponseBlock | GetResponseList


def encode_one(result: OneResult) -> bytes:
    """Return a Get-Data-Result."""
    return bytes((1, result)) if isinstance(result, DataAccessResult) else b"\0" + result


def encode_results(results: tuple[OneResult, ...]) -> bytes:
    """Return a SEQUENCE OF Get-Data-Result, which is also what the blocks of a long list hold."""
    return encode_list_count(len(results)) + b"".join(map(encode_one, results))


def decode_results(cursor: Cursor) -> tuple[OneResult, ...]:
    """Decode a SEQUENCE OF Get-Data-Result."""
    return tuple(decode_one(cursor) for _ in range(decode_list_count(cursor, "a list of results")))


def decode_one(cursor: Cursor) -> OneResult:
    """Decode a Get-Data-Result of a list: the value is walked through to find its end."""
    if cursor.choice("a result"):
        return decode_access_result(cursor)
    start = cursor.at
    cursor.data()
    return cursor.octets[start : cursor.at]


def decode_request(cursor: Cursor) -> GetRequest:
    """Decode what follows the tag of a get-request."""
    kind, invoke = cursor.u8("the kind of a get-request"), decode_invoke(cursor)
    request: GetRequest
    if kind == 1:
        request = GetRequestNormal(invoke, decode_attribute(cursor), decode_access(cursor))
    elif kind == 2:
        request = GetRequestNext(invoke, cursor.u32("a block number"))
    elif kind == 3:
        count = decode_list_count(cursor, "a list of attributes")
        items = tuple((decode_attribute(cursor), decode_access(cursor)) for _ in range(count))
        request = GetRequestList(invoke, items)
    else:
        raise RemoteProtocolError(f"get-request of kind {kind}, expected 1, 2 or 3", offset=1)
    cursor.end("the get-request")
    return request


def decode_response(cursor: Cursor) -> GetResponse:
    """Decode what follows the tag of a get-response.

    The value of a normal response stays undecoded octets up to the end of the APDU, for a load profile is better
    decoded by columns.
    """
    kind, invoke = cursor.u8("the kind of a get-response"), decode_invoke(cursor)
    response: GetResponse
    if kind == 1:
        if cursor.tolerates_trailing:
            response = GetResponseNormal(invoke, decode_one(cursor))
        else:
            failed = cursor.choice("a result")
            response = GetResponseNormal(invoke, decode_access_result(cursor) if failed else cursor.rest())
    elif kind == 2:
        last, number = cursor.flag("last-block"), cursor.u32("a block number")
        if cursor.choice("a block's result"):
            response = GetResponseBlock(invoke, (number, decode_access_result(cursor)))
        else:
            response = GetResponseBlock(invoke, Block(number, cursor.counted("a block"), last))
    elif kind == 3:
        response = GetResponseList(invoke, decode_results(cursor))
    else:
        raise RemoteProtocolError(f"get-response of kind {kind}, expected 1, 2 or 3", offset=1)
    cursor.end("the get-response")
    return response
