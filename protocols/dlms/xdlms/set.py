"""SET: write attributes, one, several, or a value too long for a PDU in blocks (IEC 62056-5-3)."""

from dataclasses import dataclass
from typing import TypeAlias

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
    decode_block,
    decode_invoke,
    decode_list_count,
    decode_value,
    decode_values,
    encode_access,
    encode_list_count,
    encode_values,
)
from protocols.errors import RemoteProtocolError

REQUEST, RESPONSE = 0xC1, 0xC5


@dataclass(frozen=True, slots=True)
class SetRequestNormal:
    """Write one attribute; ``octets`` is the value in A-XDR."""

    invoke: Invoke
    attribute: Attribute
    octets: bytes
    selection: Selection | None = None

    def encode(self) -> bytes:
        """Return the APDU."""
        head = bytes((REQUEST, 1, self.invoke.octet)) + self.attribute.encode()
        return head + encode_access(self.selection) + self.octets


@dataclass(frozen=True, slots=True)
class SetRequestFirstBlock:
    """Begin to write one attribute in blocks."""

    invoke: Invoke
    attribute: Attribute
    selection: Selection | None
    block: Block

    def encode(self) -> bytes:
        """Return the APDU."""
        head = bytes((REQUEST, 2, self.invoke.octet)) + self.attribute.encode()
        return head + encode_access(self.selection) + self.block.encode()


@dataclass(frozen=True, slots=True)
class SetRequestBlock:
    """Go on writing in blocks."""

    invoke: Invoke
    block: Block

    def encode(self) -> bytes:
        """Return the APDU."""
        return bytes((REQUEST, 3, self.invoke.octet)) + self.block.encode()


@dataclass(frozen=True, slots=True)
class SetRequestList:
    """Write several attributes; ``values`` are in A-XDR, one for each, in order."""

    invoke: Invoke
    items: tuple[tuple[Attribute, Selection | None], ...]
    values: tuple[bytes, ...]

    def encode(self) -> bytes:
        """Return the APDU."""
        return bytes((REQUEST, 4, self.invoke.octet)) + encode_items(self.items) + encode_values(self.values)


@dataclass(frozen=True, slots=True)
class SetRequestListFirstBlock:
    """Begin to write several attributes in blocks; joined, they are the list of values."""

    invoke: Invoke
    items: tuple[tuple[Attribute, Selection | None], ...]
    block: Block

    def encode(self) -> bytes:
        """Return the APDU."""
        return bytes((REQUEST, 5, self.invoke.octet)) + encode_items(self.items) + self.block.encode()


@dataclass(frozen=True, slots=True)
class SetResponseNormal:
    """How writing one attribute ended; with ``number``, how a transfer in blocks ended, at its last block."""

    invoke: Invoke
    result: DataAccessResult
    number: int | None = None

    def encode(self) -> bytes:
        """Return the APDU."""
        if self.number is None:
            return bytes((RESPONSE, 1, self.invoke.octet, self.result))
        return bytes((RESPONSE, 3, self.invoke.octet, self.result)) + self.number.to_bytes(4, "big")


@dataclass(frozen=True, slots=True)
class SetResponseBlock:
    """Block ``number`` arrived; send the next one."""

    invoke: Invoke
    number: int

    def encode(self) -> bytes:
        """Return the APDU."""
        return bytes((RESPONSE, 2, self.invoke.octet)) + self.number.to_bytes(4, "big")


@dataclass(frozen=True, slots=True)
class SetResponseList:
    """How writing several attributes ended, in order; ``number`` of the last block when it went in blocks."""

    invoke: Invoke
    results: tuple[DataAccessResult, ...]
    number: int | None = None

    def encode(self) -> bytes:
        """Return the APDU."""
        results = encode_list_count(len(self.results)) + bytes(self.results)
        if self.number is None:
            return bytes((RESPONSE, 5, self.invoke.octet)) + results
        return bytes((RESPONSE, 4, self.invoke.octet)) + results + self.number.to_bytes(4, "big")


SetRequest: TypeAlias = (
    SetRequestNormal | SetRequestFirstBlock | SetRequestBlock | SetRequestList | SetRequestListFirstBlock
)
SetResponse: TypeAlias = SetResponseNormal | SetResponseBlock | SetResponseList


def encode_items(items: tuple[tuple[Attribute, Selection | None], ...]) -> bytes:
    """Return a list of attributes with their selections."""
    return encode_list_count(len(items)) + b"".join(one.encode() + encode_access(selection) for one, selection in items)


def decode_request(cursor: Cursor) -> SetRequest:
    """Decode what follows the tag of a set-request."""
    kind, invoke = cursor.u8("the kind of a set-request"), decode_invoke(cursor)
    request: SetRequest
    if kind in (1, 2):
        attribute, selection = decode_attribute(cursor), decode_access(cursor)
        if kind == 1:
            request = SetRequestNormal(invoke, attribute, decode_value(cursor), selection)
        else:
            request = SetRequestFirstBlock(invoke, attribute, selection, decode_block(cursor))
    elif kind == 3:
        request = SetRequestBlock(invoke, decode_block(cursor))
    elif kind in (4, 5):
        count = decode_list_count(cursor, "a list of attributes")
        items = tuple((decode_attribute(cursor), decode_access(cursor)) for _ in range(count))
        if kind == 4:
            request = SetRequestList(invoke, items, decode_values(cursor, count, "attributes"))
        else:
            request = SetRequestListFirstBlock(invoke, items, decode_block(cursor))
    else:
        raise RemoteProtocolError(f"set-request of kind {kind}, expected 1 to 5", offset=1)
    cursor.end("the set-request")
    return request


def decode_response(cursor: Cursor) -> SetResponse:
    """Decode what follows the tag of a set-response."""
    kind, invoke = cursor.u8("the kind of a set-response"), decode_invoke(cursor)
    response: SetResponse
    if kind == 1:
        response = SetResponseNormal(invoke, decode_access_result(cursor))
    elif kind == 2:
        response = SetResponseBlock(invoke, cursor.u32("a block number"))
    elif kind == 3:
        response = SetResponseNormal(invoke, decode_access_result(cursor), cursor.u32("a block number"))
    elif kind in (4, 5):
        count = decode_list_count(cursor, "a list of results")
        results = tuple(decode_access_result(cursor) for _ in range(count))
        response = SetResponseList(invoke, results, cursor.u32("a block number") if kind == 4 else None)
    else:
        raise RemoteProtocolError(f"set-response of kind {kind}, expected 1 to 5", offset=1)
    cursor.end("the set-response")
    return response
