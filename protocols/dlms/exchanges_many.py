"""Several methods in one ACTION, and ACCESS, from question to answer, for the client's half.

See :mod:`protocols.dlms.exchanges`.
"""

from protocols.dlms import axdr
from protocols.dlms.codes import ActionResult, DataAccessResult
from protocols.dlms.data import NULL
from protocols.dlms.exchanges import Assembly, LateAnswerError, action_outcome, block_after, blocks_for, written
from protocols.dlms.octets import Cursor
from protocols.dlms.services import (
    Access,
    AccessResult,
    Act,
    ActionDone,
    ActionRefused,
    ActList,
    ActListResult,
    Answer,
    DataAccessError,
    Get,
    GetResult,
    Set,
    SetDone,
)
from protocols.dlms.xdlms import access, action
from protocols.dlms.xdlms.access import AccessItem, AccessKind
from protocols.dlms.xdlms.references import Block, Invoke, encode_values
from protocols.errors import LocalProtocolError, RemoteProtocolError

CONFIRMED_AND_URGENT = 0xC000_0000  # the two highest bits of a long invoke-id: response wanted, high priority


class ActListExchange:
    """ACTION of several methods; their parameters and the answer may go in blocks."""

    def __init__(self, request: ActList, invoke: Invoke, pdu_octets: int, blocks: bool) -> None:
        self._request = request
        self._invoke = invoke
        self._blocks = Assembly()
        self._waiting: list[Block] = []
        methods = tuple(item.method for item in request.items)
        parameters = tuple(axdr.encode(item.parameter or NULL) for item in request.items)
        self._apdu = action.ActionRequestList(invoke, methods, parameters).encode()
        if len(self._apdu) > pdu_octets:
            joined = encode_values(parameters)
            self._waiting = blocks_for(joined, pdu_octets, len(self._apdu) - len(joined), blocks)
            self._apdu = action.ActionRequestListFirstBlock(invoke, methods, self._waiting.pop(0)).encode()

    def start(self) -> bytes:
        """Return the first APDU."""
        return self._apdu

    def receive(self, response: object) -> bytes | Answer:
        """Take an action-response."""
        if not isinstance(
            response,
            action.ActionResponseList
            | action.ActionResponseBlock
            | action.ActionResponseNext
            | action.ActionResponseNormal,
        ):
            raise RemoteProtocolError(f"found {type(response).__name__}, expected ActionResponseList")
        if response.invoke.id != self._invoke.id:
            raise LateAnswerError(f"an answer to invoke-id {response.invoke.id}, expected {self._invoke.id}")
        if isinstance(response, action.ActionResponseNext):
            if not self._waiting:
                raise RemoteProtocolError(f"block {response.number} acknowledged, nothing was left to send")
            return action.ActionRequestBlock(self._invoke, block_after(self._waiting, response.number)).encode()
        if isinstance(response, action.ActionResponseNormal):
            if response.result is ActionResult.SUCCESS:
                raise RemoteProtocolError("one success, expected an answer for each method")
            return ActListResult(tuple(ActionRefused(item.method, response.result) for item in self._request.items))
        if self._waiting:
            raise RemoteProtocolError("the meter answers before the last block")
        if isinstance(response, action.ActionResponseBlock):
            self._blocks.add(response.block)
            if not response.block.last:
                return action.ActionRequestNext(self._invoke, self._blocks.number).encode()
            cursor = Cursor(self._blocks.whole())
            outcomes = action.decode_outcomes(cursor)
            cursor.end("the list of outcomes")
        else:
            outcomes = response.outcomes
        if len(outcomes) != len(self._request.items):
            raise RemoteProtocolError(f"{len(outcomes)} answers to a list of {len(self._request.items)}")
        pairs = zip(self._request.items, outcomes, strict=True)
        return ActListResult(tuple(action_outcome(item.method, *outcome) for item, outcome in pairs))


class AccessExchange:
    """ACCESS: what is read, written and acted upon in one APDU."""

    def __init__(self, request: Access, number: int, pdu_octets: int) -> None:
        self._request = request
        self._number = number
        items = tuple(map(_item, request.items))
        self._apdu = access.AccessRequest(CONFIRMED_AND_URGENT | number, items).encode()
        if len(self._apdu) > pdu_octets:
            raise LocalProtocolError(f"an ACCESS of {len(self._apdu)} octets, the meter takes {pdu_octets}; ask less")

    def start(self) -> bytes:
        """Return the APDU."""
        return self._apdu

    def receive(self, response: object) -> bytes | Answer:
        """Take an access-response."""
        if not isinstance(response, access.AccessResponse):
            raise RemoteProtocolError(f"found {type(response).__name__}, expected AccessResponse")
        if response.long_invoke & 0xFF_FFFF != self._number:
            raise LateAnswerError(f"an answer to invoke-id {response.long_invoke & 0xFF_FFFF}, expected {self._number}")
        if len(response.outcomes) != len(self._request.items):
            raise RemoteProtocolError(f"{len(response.outcomes)} outcomes of {len(self._request.items)} items")
        pairs = zip(self._request.items, response.outcomes, strict=True)
        return AccessResult(tuple(_outcome(item, found) for item, found in pairs))


def _item(item: Get | Set | Act) -> AccessItem:
    if isinstance(item, Act):
        return AccessItem(AccessKind.ACTION, item.method, item.parameter or NULL)
    selected = item.selection is not None
    if isinstance(item, Set):
        kind = AccessKind.SET_WITH_SELECTION if selected else AccessKind.SET
        return AccessItem(kind, item.attribute, item.value, item.selection)
    kind = AccessKind.GET_WITH_SELECTION if selected else AccessKind.GET
    return AccessItem(kind, item.attribute, NULL, item.selection)


def _outcome(
    item: Get | Set | Act, found: access.AccessOutcome
) -> GetResult | SetDone | DataAccessError | ActionDone | ActionRefused:
    expected = {Get: AccessKind.GET, Set: AccessKind.SET, Act: AccessKind.ACTION}[type(item)]
    if found.kind is not expected:
        raise RemoteProtocolError(f"the outcome of {found.kind.name} where that of {expected.name} was expected")
    if isinstance(item, Act):
        done = found.result == ActionResult.SUCCESS
        return ActionDone(item.method, None if found.data == NULL else found.data) if done else ActionRefused(
            item.method, found.result
        )  # fmt: skip
    assert isinstance(found.result, DataAccessResult)  # Of GET and SET the decoder takes nothing else.
    if isinstance(item, Set):
        return written(item.attribute, found.result)
    if found.result is DataAccessResult.SUCCESS:
        return GetResult(item.attribute, found.data)
    return DataAccessError(item.attribute, found.result)
