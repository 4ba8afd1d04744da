"""Services by short names from question to answer, for the client's half; see :mod:`protocols.dlms.exchanges`.

The requests are the same as with logical names: an attribute's short name is looked up. Answers have no invoke-id, so
a late one cannot be told from the right one but by what it answers; over HDLC the link's numbers keep them apart.
"""

from protocols.dlms import axdr
from protocols.dlms.codes import ActionResult, DataAccessResult
from protocols.dlms.data import integer
from protocols.dlms.exchanges import Assembly, Exchange, block_after, blocks_for, outcome, value_or_refusal, written
from protocols.dlms.octets import Cursor
from protocols.dlms.services import (
    Access,
    Act,
    ActionDone,
    ActionRefused,
    ActList,
    Answer,
    Get,
    GetBuffer,
    GetList,
    ListResult,
    Service,
    Set,
    SetList,
    SetListResult,
)
from protocols.dlms.short_names import ShortNames
from protocols.dlms.xdlms.get import OneResult
from protocols.dlms.xdlms.references import Block
from protocols.dlms.xdlms.short import (
    ReadNext,
    ReadRequest,
    ReadResponse,
    ReadResponseBlock,
    Variable,
    WriteRequest,
    WriteRequestBlock,
    WriteResponse,
    WriteResponseNext,
    decode_results,
)
from protocols.errors import LocalProtocolError, RemoteProtocolError


class ReadExchange:
    """READ of one variable or several."""

    def __init__(self, request: Get | GetBuffer | GetList, names: ShortNames) -> None:
        self._request = request
        items = request.items if isinstance(request, GetList) else (request,)
        self._variables = tuple(Variable(names.name(item.attribute), item.selection) for item in items)
        self._blocks = Assembly()

    def start(self) -> bytes:
        """Return the first APDU."""
        return ReadRequest(self._variables).encode()

    def receive(self, response: object) -> bytes | Answer:
        """Take a read-response."""
        if isinstance(response, ReadResponseBlock):
            self._blocks.add(response.block)
            if not response.block.last:
                return ReadNext(self._blocks.number).encode()
            cursor = Cursor(self._blocks.whole())
            results = decode_results(cursor)
            cursor.end("the list of results")
            return self._answer(results)
        if not isinstance(response, ReadResponse):
            raise RemoteProtocolError(f"found {type(response).__name__}, expected ReadResponse")
        return self._answer(response.results)

    def _answer(self, results: tuple[OneResult, ...]) -> Answer:
        if len(results) != len(self._variables):
            raise RemoteProtocolError(f"{len(results)} answers to {len(self._variables)} variables")
        if isinstance(self._request, GetList):
            pairs = zip(self._request.items, results, strict=True)
            return ListResult(tuple(value_or_refusal(item.attribute, result) for item, result in pairs))
        return outcome(self._request, results[0])


class _Outgoing:
    """A WRITE on its way, in blocks when it is longer than ``pdu_octets``."""

    def __init__(self, request: WriteRequest, pdu_octets: int, blocks: bool) -> None:
        self.first = request.encode()
        self._waiting: list[Block] = []
        if len(self.first) > pdu_octets:
            self._waiting = blocks_for(self.first[1:], pdu_octets, 0, blocks)
            self.first = WriteRequestBlock(self._waiting.pop(0)).encode()

    def receive(self, response: object, wanted: int) -> bytes | tuple[DataAccessResult, ...]:
        """Take a write-response; return the next block or the ``wanted`` results."""
        if isinstance(response, WriteResponseNext) and self._waiting:
            return WriteRequestBlock(block_after(self._waiting, response.number)).encode()
        if not isinstance(response, WriteResponse):
            raise RemoteProtocolError(f"found {type(response).__name__}, expected WriteResponse")
        results = response.results
        if self._waiting:
            if DataAccessResult.SUCCESS in results or len(results) != 1:
                raise RemoteProtocolError("the meter reports results before the last block")
            return results * wanted  # One refusal of the block is one of all that was to be written.
        if len(results) != wanted:
            raise RemoteProtocolError(f"{len(results)} results of {wanted} variables")
        return results


class WriteListExchange:
    """WRITE of several variables."""

    def __init__(self, request: SetList, names: ShortNames, pdu_octets: int, blocks: bool) -> None:
        self._request = request
        variables = tuple(Variable(names.name(item.attribute), item.selection) for item in request.items)
        values = tuple(axdr.encode(item.value) for item in request.items)
        self._outgoing = _Outgoing(WriteRequest(variables, values), pdu_octets, blocks)

    def start(self) -> bytes:
        """Return the first APDU."""
        return self._outgoing.first

    def receive(self, response: object) -> bytes | Answer:
        """Take a write-response."""
        results = self._outgoing.receive(response, len(self._request.items))
        if isinstance(results, bytes):
            return results
        pairs = zip(self._request.items, results, strict=True)
        return SetListResult(tuple(written(item.attribute, result) for item, result in pairs))


class WriteExchange:
    """WRITE of one variable: an attribute's value, or a method's parameter."""

    def __init__(self, request: Set | Act, names: ShortNames, pdu_octets: int, blocks: bool) -> None:
        self._request = request
        if isinstance(request, Set):
            variable, value = Variable(names.name(request.attribute), request.selection), request.value
        else:
            variable, value = Variable(names.method_name(request.method)), request.parameter or integer(0)
        self._outgoing = _Outgoing(WriteRequest((variable,), (axdr.encode(value),)), pdu_octets, blocks)

    def start(self) -> bytes:
        """Return the first APDU."""
        return self._outgoing.first

    def receive(self, response: object) -> bytes | Answer:
        """Take a write-response."""
        results = self._outgoing.receive(response, 1)
        if isinstance(results, bytes):
            return results
        (result,) = results
        if isinstance(self._request, Set):
            return written(self._request.attribute, result)
        if result is DataAccessResult.SUCCESS:
            return ActionDone(self._request.method, None)
        return ActionRefused(self._request.method, ActionResult.lookup(int(result)) or ActionResult.OTHER_REASON)


def begin_short(request: Service, names: ShortNames, pdu_octets: int, blocks: bool) -> Exchange:
    """Return the exchange that carries out ``request`` by short names; LocalProtocolError for what they lack."""
    if isinstance(request, ActList | Access):
        raise LocalProtocolError(f"short names have no {type(request).__name__}: ask for one thing at a time")
    if isinstance(request, SetList):
        return WriteListExchange(request, names, pdu_octets, blocks)
    if isinstance(request, Set | Act):
        return WriteExchange(request, names, pdu_octets, blocks)
    return ReadExchange(request, names)
