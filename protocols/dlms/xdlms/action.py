"""ACTION: invoke a method, with parameters and return value perhaps in blocks (IEC 62056-5-3)."""

from dataclasses import dataclass
from typing import TypeAlias

from protocols.dlms.codes import ActionResult
from protocols.dlms.octets import Cursor
from protocols.dlms.xdlms.get import OneResult, decode_one, encode_one
from protocols.dlms.xdlms.references import (
    Attribute,
    Block,
    Invoke,
    decode_access_result,
    decode_attribute,
    decode_block,
    decode_invoke,
    decode_list_count,
    decode_values,
    encode_list_count,
    encode_values,
)
from protocols.errors import RemoteProtocolError

REQUEST, RESPONSE = 0xC3, 0xC7


@dataclass(frozen=True, slots=True)
class ActionRequestNormal:
    """Invoke ``method`` with ``parameter`` (A-XDR octets) or without."""

    invoke: Invoke
    method: Attribute
    parameter: bytes | None = None

    def encode(self) -> bytes:
        """Return the APDU."""
        parameter = b"\0" if self.parameter is None else b"\1" + self.parameter
        return bytes((REQUEST, 1, self.invoke.octet)) + self.method.encode() + parameter


@dataclass(frozen=True, slots=True)
class ActionRequestNext:
    """Acknowledge block ``number`` of the return value and ask for the next one."""

    invoke: Invoke
    number: int

    def encode(self) -> bytes:
        """Return the APDU."""
        return bytes((REQUEST, 2, self.invoke.octet)) + self.number.to_bytes(4, "big")


@dataclass(frozen=True, slots=True)
class ActionRequestFirstBlock:
    """Begin to send the parameter in blocks."""

    invoke: Invoke
    method: Attribute
    block: Block

    def encode(self) -> bytes:
        """Return the APDU."""
        return bytes((REQUEST, 4, self.invoke.octet)) + self.method.encode() + self.block.encode()


@dataclass(frozen=True, slots=True)
class ActionRequestBlock:
    """Go on sending the parameter in blocks."""

    invoke: Invoke
    block: Block

    def encode(self) -> bytes:
        """Return the APDU."""
        return bytes((REQUEST, 6, self.invoke.octet)) + self.block.encode()


@dataclass(frozen=True, slots=True)
class ActionResponseNormal:
    """How the method ended, and what it returned (A-XDR octets), or why it returned nothing."""

    invoke: Invoke
    result: ActionResult
    returned: OneResult | None = None

    def encode(self) -> bytes:
        """Return the APDU."""
        return bytes((RESPONSE, 1, self.invoke.octet)) + encode_outcome(self.result, self.returned)


@dataclass(frozen=True, slots=True)
class ActionResponseBlock:
    """A block of a long answer; joined, the blocks are result and return value."""

    invoke: Invoke
    block: Block

    def encode(self) -> bytes:
        """Return the APDU."""
        return bytes((RESPONSE, 2, self.invoke.octet)) + self.block.encode()


@dataclass(frozen=True, slots=True)
class ActionResponseNext:
    """Block ``number`` of the parameter arrived; send the next one."""

    invoke: Invoke
    number: int

    def encode(self) -> bytes:
        """Return the APDU."""
        return bytes((RESPONSE, 4, self.invoke.octet)) + self.number.to_bytes(4, "big")


@dataclass(frozen=True, slots=True)
class ActionRequestList:
    """Invoke several methods, each with a parameter in A-XDR (null-data for none)."""

    invoke: Invoke
    methods: tuple[Attribute, ...]
    parameters: tuple[bytes, ...]

    def encode(self) -> bytes:
        """Return the APDU."""
        return bytes((REQUEST, 3, self.invoke.octet)) + encode_methods(self.methods) + encode_values(self.parameters)


@dataclass(frozen=True, slots=True)
class ActionRequestListFirstBlock:
    """Begin to invoke several methods, their parameters in blocks; joined, the blocks are the list of parameters."""

    invoke: Invoke
    methods: tuple[Attribute, ...]
    block: Block

    def encode(self) -> bytes:
        """Return the APDU."""
        return bytes((REQUEST, 5, self.invoke.octet)) + encode_methods(self.methods) + self.block.encode()


@dataclass(frozen=True, slots=True)
class ActionResponseList:
    """How several methods ended, in order."""

    invoke: Invoke
    outcomes: tuple[tuple[ActionResult, OneResult | None], ...]

    def encode(self) -> bytes:
        """Return the APDU."""
        return bytes((RESPONSE, 3, self.invoke.octet)) + encode_outcomes(self.outcomes)


ActionRequest: TypeAlias = (
    ActionRequestNormal
    | ActionRequestNext
    | ActionRequestList
    | ActionRequestFirstBlock
    | ActionRequestListFirstBlock
    | ActionRequestBlock
)
ActionResponse: TypeAlias = ActionResponseNormal | ActionResponseBlock | ActionResponseList | ActionResponseNext


def encode_methods(methods: tuple[Attribute, ...]) -> bytes:
    """Return a list of methods."""
    return encode_list_count(len(methods)) + b"".join(method.encode() for method in methods)


def encode_outcomes(outcomes: tuple[tuple[ActionResult, OneResult | None], ...]) -> bytes:
    """Return a list of outcomes, which is also what the blocks of a long one hold."""
    return encode_list_count(len(outcomes)) + b"".join(encode_outcome(*outcome) for outcome in outcomes)


def decode_outcomes(cursor: Cursor) -> tuple[tuple[ActionResult, OneResult | None], ...]:
    """Decode a list of outcomes; values are walked through to find their ends."""
    outcomes = []
    for _ in range(decode_list_count(cursor, "a list of outcomes")):
        result = _action_result(cursor)
        returned = decode_one(cursor) if cursor.flag("the return value's presence") else None
        outcomes.append((result, returned))
    return tuple(outcomes)


def encode_outcome(result: ActionResult, returned: OneResult | None) -> bytes:
    """Return an Action-Response-With-Optional-Data."""
    return bytes((result,)) + (b"\0" if returned is None else b"\1" + encode_one(returned))


def decode_outcome(cursor: Cursor) -> tuple[ActionResult, OneResult | None]:
    """Decode an Action-Response-With-Optional-Data; the value runs to the end."""
    result = _action_result(cursor)
    if not cursor.flag("the return value's presence"):
        cursor.end("the action-response")
        return result, None
    if cursor.choice("the return value"):
        refused = decode_access_result(cursor)
        cursor.end("the action-response")
        return result, refused
    return result, cursor.rest()


def _action_result(cursor: Cursor) -> ActionResult:
    code = cursor.u8("an action-result")
    result = ActionResult.lookup(code)
    if result is None:
        raise RemoteProtocolError(f"action-result {code} is not in the standard", offset=cursor.at - 1)
    return result


def decode_request(cursor: Cursor) -> ActionRequest:
    """Decode what follows the tag of an action-request."""
    kind, invoke = cursor.u8("the kind of an action-request"), decode_invoke(cursor)
    request: ActionRequest
    if kind == 1:
        method = decode_attribute(cursor)
        if cursor.flag("a parameter's presence"):
            return ActionRequestNormal(invoke, method, cursor.rest())
        request = ActionRequestNormal(invoke, method)
    elif kind == 2:
        request = ActionRequestNext(invoke, cursor.u32("a block number"))
    elif kind in (3, 5):
        methods = tuple(decode_attribute(cursor) for _ in range(decode_list_count(cursor, "a list of methods")))
        if kind == 3:
            request = ActionRequestList(invoke, methods, decode_values(cursor, len(methods), "methods"))
        else:
            request = ActionRequestListFirstBlock(invoke, methods, decode_block(cursor))
    elif kind == 4:
        request = ActionRequestFirstBlock(invoke, decode_attribute(cursor), decode_block(cursor))
    elif kind == 6:
        request = ActionRequestBlock(invoke, decode_block(cursor))
    else:
        raise RemoteProtocolError(f"action-request of kind {kind}, expected 1 to 6", offset=1)
    cursor.end("the action-request")
    return request


def decode_response(cursor: Cursor) -> ActionResponse:
    """Decode what follows the tag of an action-response."""
    kind, invoke = cursor.u8("the kind of an action-response"), decode_invoke(cursor)
    response: ActionResponse
    if kind == 1:
        return ActionResponseNormal(invoke, *decode_outcome(cursor))
    if kind == 2:
        response = ActionResponseBlock(invoke, decode_block(cursor))
    elif kind == 3:
        response = ActionResponseList(invoke, decode_outcomes(cursor))
    elif kind == 4:
        response = ActionResponseNext(invoke, cursor.u32("a block number"))
    else:
        raise RemoteProtocolError(f"action-response of kind {kind}, expected 1 to 4", offset=1)
    cursor.end("the action-response")
    return response
