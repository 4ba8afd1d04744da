"""ACCESS: reading, writing and acting in one request, each with its own outcome (IEC 62056-5-3)."""

from dataclasses import dataclass
from enum import IntEnum

from protocols.dlms import axdr
from protocols.dlms.codes import ActionResult, DataAccessResult
from protocols.dlms.data import Data
from protocols.dlms.octets import Cursor
from protocols.dlms.xdlms.references import (
    Attribute,
    Selection,
    decode_access_result,
    decode_attribute,
    decode_list_count,
    encode_list_count,
)
from protocols.errors import RemoteProtocolError

REQUEST, RESPONSE = 0xD9, 0xDA


class AccessKind(IntEnum):
    """What one specification asks for."""

    GET = 1
    SET = 2
    ACTION = 3
    GET_WITH_SELECTION = 4
    SET_WITH_SELECTION = 5


@dataclass(frozen=True, slots=True)
class AccessItem:
    """One thing to do; ``data`` is the value to write or the parameter, null-data when there is none."""

    kind: AccessKind
    attribute: Attribute
    data: Data
    selection: Selection | None = None


@dataclass(frozen=True, slots=True)
class AccessRequest:
    """Do ``items`` in order; of the long invoke-id 24 bits count, the highest two are response and priority."""

    long_invoke: int
    items: tuple[AccessItem, ...]
    date_time: bytes = b""

    def encode(self) -> bytes:
        """Return the APDU."""
        head = bytes((REQUEST,)) + self.long_invoke.to_bytes(4, "big")
        parts = [head, axdr.encode_length(len(self.date_time)), self.date_time, encode_list_count(len(self.items))]
        for item in self.items:
            selection = b"" if item.selection is None else item.selection.encode()
            parts.append(bytes((item.kind,)) + item.attribute.encode() + selection)
        parts.append(encode_list_count(len(self.items)))
        parts += [axdr.encode(item.data) for item in self.items]
        return b"".join(parts)


@dataclass(frozen=True, slots=True)
class AccessOutcome:
    """How one item ended: what came back (null-data for nothing), and the result's code."""

    kind: AccessKind
    data: Data
    result: DataAccessResult | ActionResult


@dataclass(frozen=True, slots=True)
class AccessResponse:
    """The outcomes in order."""

    long_invoke: int
    outcomes: tuple[AccessOutcome, ...]
    date_time: bytes = b""

    def encode(self) -> bytes:
        """Return the APDU; the specifications of the request are not repeated."""
        head = bytes((RESPONSE,)) + self.long_invoke.to_bytes(4, "big")
        count = encode_list_count(len(self.outcomes))
        parts = [head, axdr.encode_length(len(self.date_time)), self.date_time, b"\0", count]
        parts += [axdr.encode(outcome.data) for outcome in self.outcomes]
        parts.append(count)
        parts += [bytes((outcome.kind, outcome.result)) for outcome in self.outcomes]
        return b"".join(parts)


def _specification(cursor: Cursor) -> tuple[AccessKind, Attribute, Selection | None]:
    number = cursor.u8("an access-request-specification")
    if number not in AccessKind._value2member_map_:
        raise RemoteProtocolError(f"access-request-specification {number}, expected 1 to 5", offset=cursor.at - 1)
    kind = AccessKind(number)
    attribute = decode_attribute(cursor)
    if kind in (AccessKind.GET_WITH_SELECTION, AccessKind.SET_WITH_SELECTION):
        return kind, attribute, Selection(cursor.u8("a selector"), cursor.data())
    return kind, attribute, None


def decode_request(cursor: Cursor) -> AccessRequest:
    """Decode what follows the tag of an access-request."""
    long_invoke, date_time = cursor.u32("a long invoke-id"), cursor.counted("a date-time")
    count = decode_list_count(cursor, "a list of specifications")
    asked = [_specification(cursor) for _ in range(count)]
    values = _values(cursor, count)
    cursor.end("the access-request")
    items = (
        AccessItem(kind, attribute, data, selection)
        for (kind, attribute, selection), data in zip(asked, values, strict=True)
    )
    return AccessRequest(long_invoke, tuple(items), date_time)


def decode_response(cursor: Cursor) -> AccessResponse:
    """Decode what follows the tag of an access-response; a repeated request is read and dropped."""
    long_invoke, date_time = cursor.u32("a long invoke-id"), cursor.counted("a date-time")
    repeated = None
    if cursor.flag("the specifications' presence"):
        repeated = decode_list_count(cursor, "a list of specifications")
        for _ in range(repeated):
            _specification(cursor)
    count = decode_list_count(cursor, "a list of values")
    if repeated not in (None, count):
        raise RemoteProtocolError(f"{repeated} specifications to {count} values", offset=cursor.at)
    values = [cursor.data() for _ in range(count)]
    found = decode_list_count(cursor, "a list of results")
    if found != count:
        raise RemoteProtocolError(f"{found} results to {count} values", offset=cursor.at)
    outcomes = []
    for data in values:
        number = cursor.u8("an access-response-specification")
        if number not in (AccessKind.GET, AccessKind.SET, AccessKind.ACTION):
            raise RemoteProtocolError(f"access-response-specification {number}, expected 1 to 3", offset=cursor.at - 1)
        kind = AccessKind(number)
        result = _action_result(cursor) if kind is AccessKind.ACTION else decode_access_result(cursor)
        outcomes.append(AccessOutcome(kind, data, result))
    cursor.end("the access-response")
    return AccessResponse(long_invoke, tuple(outcomes), date_time)


def _values(cursor: Cursor, count: int) -> list[Data]:
    found = decode_list_count(cursor, "a list of values")
    if found != count:
        raise RemoteProtocolError(f"{found} values to {count} specifications", offset=cursor.at)
    return [cursor.data() for _ in range(count)]


def _action_result(cursor: Cursor) -> ActionResult:
    code = cursor.u8("an action-result")
    result = ActionResult.lookup(code)
    if result is None:
        raise RemoteProtocolError(f"action-result {code} is not in the standard", offset=cursor.at - 1)
    return result
