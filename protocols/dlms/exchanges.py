"""One service from question to answer, with blocks in between (IEC 62056-5-3): pure, for the client's half.

``start`` gives the first APDU; ``receive`` takes an answer and gives either the next APDU to send or the outcome.
"""

from collections.abc import Callable
from typing import Protocol, TypeAlias, TypeVar

from protocols.dlms import axdr
from protocols.dlms.codes import ActionResult, DataAccessResult
from protocols.dlms.octets import Cursor
from protocols.dlms.services import (
    Act,
    ActionDone,
    ActionRefused,
    Answer,
    BufferResult,
    DataAccessError,
    Get,
    GetBuffer,
    GetList,
    GetResult,
    ListResult,
    Set,
    SetDone,
    SetList,
    SetListResult,
)
from protocols.dlms.xdlms import action, get
from protocols.dlms.xdlms import set as set_service
from protocols.dlms.xdlms.references import Attribute, Block, Invoke, encode_values
from protocols.errors import LocalProtocolError, RemoteProtocolError

Simple: TypeAlias = Get | GetBuffer | GetList | Set | SetList | Act
"""The services of GET, SET and ACTION but for several methods at once."""
LONG_OCTETS_MAX = 1 << 24  # 10,000 profile rows of 200 columns; what blocks may add up to
BLOCK_HEAD_OCTETS = 24  # more than any head of a block: tags, invoke-id, descriptor, flags, number, length


class LateAnswerError(RemoteProtocolError):
    """An answer to an earlier question; the one to ours may still come."""


class Exchange(Protocol):
    """A service under way."""

    def start(self) -> bytes:
        """Return the first APDU."""

    def receive(self, response: object) -> bytes | Answer:
        """Take an answer; return the next APDU or the outcome. RemoteProtocolError when it answers another question."""


class Assembly:
    """Blocks, joined in order: each must have the next number."""

    def __init__(self) -> None:
        self._octets = bytearray()
        self.number = 0

    def add(self, block: Block) -> None:
        """Add ``block``; RemoteProtocolError when it is out of order or too much."""
        if block.number != self.number + 1:
            raise RemoteProtocolError(f"block {block.number} came where {self.number + 1} was expected")
        if len(self._octets) + len(block.octets) > LONG_OCTETS_MAX:
            raise RemoteProtocolError(f"blocks of more than {LONG_OCTETS_MAX} octets")
        self._octets += block.octets
        self.number = block.number

    def whole(self) -> bytes:
        """Return all octets."""
        return bytes(self._octets)


def cut(octets: bytes, size: int) -> list[Block]:
    """Cut ``octets`` into numbered blocks of at most ``size`` octets; at least one block."""
    starts = range(0, max(len(octets), 1), size)
    return [Block(place + 1, octets[at : at + size], at + size >= len(octets)) for place, at in enumerate(starts)]


_T = TypeVar("_T")


def _expect(response: object, kind: type[_T], invoke: Invoke, found: Callable[[_T], Invoke]) -> _T:
    """Return ``response`` if it is of ``kind`` and answers ``invoke``."""
    if not isinstance(response, kind):
        raise RemoteProtocolError(f"found {type(response).__name__}, expected {kind.__name__}")
    if found(response).id != invoke.id:
        raise LateAnswerError(f"an answer to invoke-id {found(response).id}, expected {invoke.id}: it is late")
    return response


class GetExchange:
    """GET of one attribute or a list."""

    def __init__(self, request: Get | GetBuffer | GetList, invoke: Invoke) -> None:
        self._request = request
        self._invoke = invoke
        self._blocks = Assembly()

    def start(self) -> bytes:
        """Return the first APDU."""
        if isinstance(self._request, GetList):
            items = tuple((item.attribute, item.selection) for item in self._request.items)
            return get.GetRequestList(self._invoke, items).encode()
        return get.GetRequestNormal(self._invoke, self._request.attribute, self._request.selection).encode()

    def receive(self, response: object) -> bytes | Answer:
        """Take a get-response."""
        if isinstance(response, get.GetResponseBlock):
            response = _expect(response, get.GetResponseBlock, self._invoke, lambda r: r.invoke)
            if not isinstance(response.block, Block):
                return self._refused(response.block[1])
            self._blocks.add(response.block)
            if not response.block.last:
                return get.GetRequestNext(self._invoke, self._blocks.number).encode()
            whole = self._blocks.whole()
            if isinstance(self._request, GetList):
                cursor = Cursor(whole)
                results = get.decode_results(cursor)
                cursor.end("the list of results")
                return self._listed(self._request, results)
            return outcome(self._request, whole)
        if isinstance(self._request, GetList):
            listed = _expect(response, get.GetResponseList, self._invoke, lambda r: r.invoke)
            return self._listed(self._request, listed.results)
        one = _expect(response, get.GetResponseNormal, self._invoke, lambda r: r.invoke)
        return outcome(self._request, one.result)

    def _refused(self, code: DataAccessResult) -> Answer:
        if isinstance(self._request, GetList):
            return ListResult(tuple(DataAccessError(item.attribute, code) for item in self._request.items))
        return DataAccessError(self._request.attribute, code)

    @staticmethod
    def _listed(request: GetList, results: tuple[get.OneResult, ...]) -> ListResult:
        if len(results) != len(request.items):
            raise RemoteProtocolError(f"{len(results)} answers to a list of {len(request.items)}")
        pairs = zip(request.items, results, strict=True)
        return ListResult(tuple(value_or_refusal(item.attribute, result) for item, result in pairs))


def outcome(request: Get | GetBuffer, result: get.OneResult) -> GetResult | BufferResult | DataAccessError:
    """Return the event that tells ``result`` to who asked ``request``."""
    if isinstance(request, GetBuffer) and isinstance(result, bytes):
        return BufferResult(request.attribute, result)
    return value_or_refusal(request.attribute, result)


def value_or_refusal(attribute: Attribute, result: get.OneResult) -> GetResult | DataAccessError:
    """Return the decoded value, or the refusal; RemoteProtocolError when the value is broken."""
    if isinstance(result, DataAccessResult):
        return DataAccessError(attribute, result)
    return GetResult(attribute, axdr.decode(result))


class SetExchange:
    """SET of one attribute, in blocks when the value is longer than ``pdu_octets``."""

    def __init__(self, request: Set, invoke: Invoke, pdu_octets: int, blocks: bool) -> None:
        self._request = request
        self._invoke = invoke
        self._octets = axdr.encode(request.value)
        self._pdu_octets = pdu_octets
        self._may_block = blocks
        self._waiting: list[Block] = []

    def start(self) -> bytes:
        """Return the first APDU."""
        request = self._request
        whole = set_service.SetRequestNormal(self._invoke, request.attribute, self._octets, request.selection).encode()
        if len(whole) <= self._pdu_octets:
            return whole
        head = len(whole) - len(self._octets)
        self._waiting = blocks_for(self._octets, self._pdu_octets, head, self._may_block)
        first = self._waiting.pop(0)
        return set_service.SetRequestFirstBlock(self._invoke, request.attribute, request.selection, first).encode()

    def receive(self, response: object) -> bytes | Answer:
        """Take a set-response."""
        if isinstance(response, set_service.SetResponseBlock) and self._waiting:
            _expect(response, set_service.SetResponseBlock, self._invoke, lambda r: r.invoke)
            return set_service.SetRequestBlock(self._invoke, block_after(self._waiting, response.number)).encode()
        done = _expect(response, set_service.SetResponseNormal, self._invoke, lambda r: r.invoke)
        if done.result is DataAccessResult.SUCCESS and not self._waiting:
            return SetDone(self._request.attribute)
        if done.result is DataAccessResult.SUCCESS:
            raise RemoteProtocolError("the meter reports success before the last block")
        return DataAccessError(self._request.attribute, done.result)


class SetListExchange:
    """SET of several attributes, in blocks when the values are longer than ``pdu_octets``."""

    def __init__(self, request: SetList, invoke: Invoke, pdu_octets: int, blocks: bool) -> None:
        self._request = request
        self._invoke = invoke
        self._waiting: list[Block] = []
        items = tuple((item.attribute, item.selection) for item in request.items)
        values = tuple(axdr.encode(item.value) for item in request.items)
        self._apdu = set_service.SetRequestList(invoke, items, values).encode()
        if len(self._apdu) > pdu_octets:
            joined = encode_values(values)
            self._waiting = blocks_for(joined, pdu_octets, len(self._apdu) - len(joined), blocks)
            self._apdu = set_service.SetRequestListFirstBlock(invoke, items, self._waiting.pop(0)).encode()

    def start(self) -> bytes:
        """Return the first APDU."""
        return self._apdu

    def receive(self, response: object) -> bytes | Answer:
        """Take a set-response."""
        if isinstance(response, set_service.SetResponseBlock) and self._waiting:
            _expect(response, set_service.SetResponseBlock, self._invoke, lambda r: r.invoke)
            return set_service.SetRequestBlock(self._invoke, block_after(self._waiting, response.number)).encode()
        if isinstance(response, set_service.SetResponseNormal) and response.result is not DataAccessResult.SUCCESS:
            _expect(response, set_service.SetResponseNormal, self._invoke, lambda r: r.invoke)
            return SetListResult(tuple(written(item.attribute, response.result) for item in self._request.items))
        listed = _expect(response, set_service.SetResponseList, self._invoke, lambda r: r.invoke)
        if self._waiting and DataAccessResult.SUCCESS in listed.results:
            raise RemoteProtocolError("the meter reports success before the last block")
        if len(listed.results) != len(self._request.items):
            raise RemoteProtocolError(f"{len(listed.results)} answers to a list of {len(self._request.items)}")
        pairs = zip(self._request.items, listed.results, strict=True)
        return SetListResult(tuple(written(item.attribute, result) for item, result in pairs))


def written(attribute: Attribute, result: DataAccessResult) -> SetDone | DataAccessError:
    """Return the event that tells how writing ``attribute`` ended."""
    return SetDone(attribute) if result is DataAccessResult.SUCCESS else DataAccessError(attribute, result)


class ActionExchange:
    """ACTION of one method, in blocks when the parameter or the return value is long."""

    def __init__(self, request: Act, invoke: Invoke, pdu_octets: int, blocks: bool) -> None:
        self._request = request
        self._invoke = invoke
        self._octets = None if request.parameter is None else axdr.encode(request.parameter)
        self._pdu_octets = pdu_octets
        self._may_block = blocks
        self._waiting: list[Block] = []
        self._blocks = Assembly()

    def start(self) -> bytes:
        """Return the first APDU."""
        whole = action.ActionRequestNormal(self._invoke, self._request.method, self._octets).encode()
        if len(whole) <= self._pdu_octets or self._octets is None:
            return whole
        head = len(whole) - len(self._octets)
        self._waiting = blocks_for(self._octets, self._pdu_octets, head, self._may_block)
        return action.ActionRequestFirstBlock(self._invoke, self._request.method, self._waiting.pop(0)).encode()

    def receive(self, response: object) -> bytes | Answer:
        """Take an action-response."""
        if isinstance(response, action.ActionResponseNext) and self._waiting:
            _expect(response, action.ActionResponseNext, self._invoke, lambda r: r.invoke)
            return action.ActionRequestBlock(self._invoke, block_after(self._waiting, response.number)).encode()
        if isinstance(response, action.ActionResponseBlock):
            _expect(response, action.ActionResponseBlock, self._invoke, lambda r: r.invoke)
            self._blocks.add(response.block)
            if not response.block.last:
                return action.ActionRequestNext(self._invoke, self._blocks.number).encode()
            return action_outcome(self._request.method, *action.decode_outcome(Cursor(self._blocks.whole())))
        done = _expect(response, action.ActionResponseNormal, self._invoke, lambda r: r.invoke)
        return action_outcome(self._request.method, done.result, done.returned)


def action_outcome(
    method: Attribute, result: ActionResult, returned: get.OneResult | None
) -> ActionDone | ActionRefused:
    """Return the event that tells how invoking ``method`` ended."""
    if result is not ActionResult.SUCCESS:
        return ActionRefused(method, result)
    if isinstance(returned, DataAccessResult):
        refused = returned is not DataAccessResult.SUCCESS
        return ActionRefused(method, returned) if refused else ActionDone(method, None)
    return ActionDone(method, None if returned is None else axdr.decode(returned))


def blocks_for(octets: bytes, pdu_octets: int, head_octets: int, allowed: bool) -> list[Block]:
    """Return what is longer than the meter's PDU in blocks, before the first of which ``head_octets`` go.

    LocalProtocolError when blocks were not agreed, or the head leaves them no room.
    """
    size = pdu_octets - head_octets - BLOCK_HEAD_OCTETS
    if not allowed:
        raise LocalProtocolError(
            f"{len(octets)} octets of values, the meter takes {pdu_octets} and no block transfer was agreed; "
            "ask in parts"
        )
    if size < 1:
        raise LocalProtocolError(f"{head_octets} octets of names, the meter takes {pdu_octets}; ask in parts")
    return cut(octets, size)


def block_after(waiting: list[Block], number: int) -> Block:
    """Take the next of the ``waiting`` blocks; RemoteProtocolError when another was acknowledged than went before."""
    if number != waiting[0].number - 1:
        raise RemoteProtocolError(f"block {number} acknowledged, expected {waiting[0].number - 1}")
    return waiting.pop(0)


def begin(request: Simple, invoke: Invoke, pdu_octets: int, set_blocks: bool, action_blocks: bool) -> Exchange:
    """Return the exchange that carries out ``request``; ``pdu_octets`` is what the meter can take."""
    if isinstance(request, Set):
        return SetExchange(request, invoke, pdu_octets, set_blocks)
    if isinstance(request, SetList):
        return SetListExchange(request, invoke, pdu_octets, set_blocks)
    if isinstance(request, Act):
        return ActionExchange(request, invoke, pdu_octets, action_blocks)
    return GetExchange(request, invoke)
