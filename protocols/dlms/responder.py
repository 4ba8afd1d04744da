"""How a meter answers services inside an open association: pure, for the server's half.

It holds what spans several APDUs: the blocks of a long answer under way, the blocks of a long value coming in.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from protocols.dlms import axdr
from protocols.dlms.codes import ActionResult, DataAccessResult, ServiceError, StateError
from protocols.dlms.conformance import Conformance
from protocols.dlms.data import NULL, Data
from protocols.dlms.exchanges import BLOCK_HEAD_OCTETS, Assembly, cut
from protocols.dlms.octets import Cursor
from protocols.dlms.xdlms import access, action, get
from protocols.dlms.xdlms import set as set_service
from protocols.dlms.xdlms.references import Attribute, Block, Invoke, Selection, decode_values
from protocols.dlms.xdlms.refusals import ExceptionResponse
from protocols.errors import RemoteProtocolError

Found: TypeAlias = Data | bytes | DataAccessResult
"""What an object says to GET: a value, or its A-XDR octets, or why not."""


class Objects(Protocol):
    """The meter behind the server. Methods are pure but for what SET and ACTION mean; none raises."""

    def get(self, client_sap: int, attribute: Attribute, selection: Selection | None) -> Found:
        """Return the attribute's value, a value already encoded, or why not."""

    def set(self, client_sap: int, attribute: Attribute, value: Data, selection: Selection | None) -> DataAccessResult:
        """Write the attribute; say how it went."""

    def act(self, client_sap: int, method: Attribute, parameter: Data | None) -> tuple[ActionResult, Data | None]:
        """Invoke the method; say how it went and what it returns."""


@dataclass(slots=True)
class _Incoming:
    """A long SET or ACTION coming in, of one target or a list."""

    targets: tuple[tuple[Attribute, Selection | None], ...]
    is_list: bool
    blocks: Assembly = field(default_factory=Assembly)


class Responder:
    """Answers one client's services."""

    def __init__(self, objects: Objects, client_sap: int, conformance: Conformance, pdu_octets: int) -> None:
        self._objects = objects
        self._client_sap = client_sap
        self._conformance = conformance
        self._pdu_octets = pdu_octets  # what the client can take
        self._outgoing: list[Block] = []
        self._incoming: _Incoming | None = None

    def answer(self, request: object) -> bytes:
        """Return the APDU that answers ``request``."""
        needed = _NEEDED.get(type(request))
        if needed is None or needed not in self._conformance:
            return _UNSUPPORTED
        if isinstance(request, get.GetRequestNormal | get.GetRequestNext | get.GetRequestList):
            return self._get(request)
        if isinstance(request, access.AccessRequest):
            return self._access(request)
        if isinstance(request, set_service.SetRequest):
            return self._set(request)
        assert isinstance(request, action.ActionRequest)  # Nothing else is in the table.
        return self._act(request)

    # -- GET ----------------------------------------------------------------------------------------------------------

    def _get(self, request: get.GetRequest) -> bytes:
        invoke = request.invoke
        if isinstance(request, get.GetRequestNext):
            return self._next(invoke, request.number)
        self._outgoing.clear()
        if isinstance(request, get.GetRequestNormal):
            result = self._look_up(request.attribute, request.selection)
            whole = get.GetResponseNormal(invoke, result).encode()
            if len(whole) <= self._pdu_octets or isinstance(result, DataAccessResult):
                return whole
            return self._first_block(invoke, result, whole)
        results = tuple(self._look_up(attribute, selection) for attribute, selection in request.items)
        whole = get.GetResponseList(invoke, results).encode()
        if len(whole) <= self._pdu_octets:
            return whole
        return self._first_block(invoke, get.encode_results(results), whole)

    def _look_up(self, attribute: Attribute, selection: Selection | None) -> get.OneResult:
        if selection is not None and Conformance.SELECTIVE_ACCESS not in self._conformance:
            return DataAccessResult.SCOPE_OF_ACCESS_VIOLATED
        found = self._objects.get(self._client_sap, attribute, selection)
        return axdr.encode(found) if isinstance(found, Data) else found

    def _first_block(self, invoke: Invoke, octets: bytes, whole: bytes) -> bytes:
        if Conformance.BLOCK_TRANSFER_WITH_GET_OR_READ not in self._conformance:
            return get.GetResponseNormal(invoke, DataAccessResult.DATA_BLOCK_UNAVAILABLE).encode()
        self._outgoing = cut(octets, self._block_octets(len(whole)))
        return get.GetResponseBlock(invoke, self._outgoing[0]).encode()

    def _block_octets(self, wanted: int) -> int:
        return max(1, min(self._pdu_octets - BLOCK_HEAD_OCTETS, wanted))

    def _next(self, invoke: Invoke, number: int) -> bytes:
        if not self._outgoing:
            return get.GetResponseBlock(invoke, (number, DataAccessResult.NO_LONG_GET_IN_PROGRESS)).encode()
        if number == self._outgoing[0].number - 1:  # The client repeats: our block was lost above the link.
            return get.GetResponseBlock(invoke, self._outgoing[0]).encode()
        if number != self._outgoing[0].number or len(self._outgoing) == 1:
            self._outgoing.clear()
            return get.GetResponseBlock(invoke, (number, DataAccessResult.DATA_BLOCK_NUMBER_INVALID)).encode()
        del self._outgoing[0]
        return get.GetResponseBlock(invoke, self._outgoing[0]).encode()

    # -- SET ----------------------------------------------------------------------------------------------------------

    def _set(self, request: set_service.SetRequest) -> bytes:
        invoke = request.invoke
        if isinstance(request, set_service.SetRequestNormal):
            result = self._write(request.attribute, request.octets, request.selection)
            return set_service.SetResponseNormal(invoke, result).encode()
        if isinstance(request, set_service.SetRequestList):
            pairs = zip(request.items, request.values, strict=True)
            results = tuple(self._write(attribute, value, selection) for (attribute, selection), value in pairs)
            return set_service.SetResponseList(invoke, results).encode()
        if isinstance(request, set_service.SetRequestFirstBlock):
            self._incoming = _Incoming(((request.attribute, request.selection),), is_list=False)
        elif isinstance(request, set_service.SetRequestListFirstBlock):
            self._incoming = _Incoming(request.items, is_list=True)
        incoming, number = self._incoming, request.block.number
        if incoming is None:
            return set_service.SetResponseNormal(invoke, DataAccessResult.NO_LONG_SET_IN_PROGRESS).encode()
        try:
            incoming.blocks.add(request.block)
        except RemoteProtocolError:
            self._incoming = None
            failed = DataAccessResult.DATA_BLOCK_NUMBER_INVALID
            return set_service.SetResponseNormal(invoke, failed, number).encode()
        if not request.block.last:
            return set_service.SetResponseBlock(invoke, number).encode()
        self._incoming = None
        if not incoming.is_list:
            ((attribute, selection),) = incoming.targets
            result = self._write(attribute, incoming.blocks.whole(), selection)
            return set_service.SetResponseNormal(invoke, result, number).encode()
        values = _values_in(incoming)
        if values is None:
            results = (DataAccessResult.TYPE_UNMATCHED,) * len(incoming.targets)
        else:
            pairs = zip(incoming.targets, values, strict=True)
            results = tuple(self._write(attribute, value, selection) for (attribute, selection), value in pairs)
        return set_service.SetResponseList(invoke, results, number).encode()

    def _write(self, attribute: Attribute, octets: bytes, selection: Selection | None) -> DataAccessResult:
        try:
            value = axdr.decode(octets)
        except RemoteProtocolError:
            return DataAccessResult.TYPE_UNMATCHED
        return self._objects.set(self._client_sap, attribute, value, selection)

    # -- ACTION -------------------------------------------------------------------------------------------------------

    def _act(self, request: action.ActionRequest) -> bytes:
        invoke = request.invoke
        if isinstance(request, action.ActionRequestNext):
            if len(self._outgoing) < 2 or request.number != self._outgoing[0].number:
                self._outgoing.clear()
                failed = ActionResult.NO_LONG_ACTION_IN_PROGRESS
                return action.ActionResponseNormal(invoke, failed).encode()
            del self._outgoing[0]
            return action.ActionResponseBlock(invoke, self._outgoing[0]).encode()
        self._outgoing.clear()
        if isinstance(request, action.ActionRequestList):
            return self._act_list(request)
        if isinstance(request, action.ActionRequestNormal):
            return self._invoke(invoke, request.method, request.parameter)
        if isinstance(request, action.ActionRequestFirstBlock):
            self._incoming = _Incoming(((request.method, None),), is_list=False)
        elif isinstance(request, action.ActionRequestListFirstBlock):
            self._incoming = _Incoming(tuple((method, None) for method in request.methods), is_list=True)
        incoming = self._incoming
        if incoming is None:
            return action.ActionResponseNormal(invoke, ActionResult.NO_LONG_ACTION_IN_PROGRESS).encode()
        try:
            incoming.blocks.add(request.block)
        except RemoteProtocolError:
            self._incoming = None
            return action.ActionResponseNormal(invoke, ActionResult.LONG_ACTION_ABORTED).encode()
        if not request.block.last:
            return action.ActionResponseNext(invoke, request.block.number).encode()
        self._incoming = None
        methods = tuple(method for method, _ in incoming.targets)
        if not incoming.is_list:
            return self._invoke(invoke, methods[0], incoming.blocks.whole())
        values = _values_in(incoming)
        if values is None:
            return action.ActionResponseNormal(invoke, ActionResult.TYPE_UNMATCHED).encode()
        return self._act_list(action.ActionRequestList(invoke, methods, values))

    def _invoke(self, invoke: Invoke, method: Attribute, parameter: bytes | None) -> bytes:
        result, octets = self._outcome(method, parameter)
        whole = action.ActionResponseNormal(invoke, result, octets).encode()
        if len(whole) > self._pdu_octets and Conformance.BLOCK_TRANSFER_WITH_ACTION not in self._conformance:
            return action.ActionResponseNormal(invoke, result, DataAccessResult.DATA_BLOCK_UNAVAILABLE).encode()
        return self._acted(invoke, whole, action.encode_outcome(result, octets))

    def _act_list(self, request: action.ActionRequestList) -> bytes:
        pairs = zip(request.methods, request.parameters, strict=True)
        outcomes = tuple(self._outcome(method, None if octets == b"\0" else octets) for method, octets in pairs)
        whole = action.ActionResponseList(request.invoke, outcomes).encode()
        if len(whole) > self._pdu_octets and Conformance.BLOCK_TRANSFER_WITH_ACTION not in self._conformance:
            untold = tuple((result, DataAccessResult.DATA_BLOCK_UNAVAILABLE) for result, _ in outcomes)
            return action.ActionResponseList(request.invoke, untold).encode()
        return self._acted(request.invoke, whole, action.encode_outcomes(outcomes))

    def _outcome(self, method: Attribute, parameter: bytes | None) -> tuple[ActionResult, bytes | None]:
        try:
            value = None if parameter is None else axdr.decode(parameter)
        except RemoteProtocolError:
            return ActionResult.TYPE_UNMATCHED, None
        result, returned = self._objects.act(self._client_sap, method, value)
        return result, None if returned is None else axdr.encode(returned)

    def _acted(self, invoke: Invoke, whole: bytes, outcome: bytes) -> bytes:
        """Return the answer ``whole``, or the first block of the ``outcome`` in it when it is too long."""
        if len(whole) <= self._pdu_octets:
            return whole
        self._outgoing = cut(outcome, self._block_octets(len(outcome)))
        return action.ActionResponseBlock(invoke, self._outgoing[0]).encode()

    # -- ACCESS -------------------------------------------------------------------------------------------------------

    def _access(self, request: access.AccessRequest) -> bytes:
        outcomes = tuple(self._access_one(item) for item in request.items)
        whole = access.AccessResponse(request.long_invoke, outcomes).encode()
        if len(whole) > self._pdu_octets:
            return ExceptionResponse(StateError.SERVICE_UNKNOWN, ServiceError.PDU_TOO_LONG).encode()
        return whole

    def _access_one(self, item: access.AccessItem) -> access.AccessOutcome:
        kind = access.AccessKind
        if item.kind is kind.ACTION:
            octets = None if item.data == NULL else axdr.encode(item.data)
            result, returned = self._outcome(item.attribute, octets)
            return access.AccessOutcome(kind.ACTION, NULL if returned is None else axdr.decode(returned), result)
        if item.kind in (kind.SET, kind.SET_WITH_SELECTION):
            written = self._objects.set(self._client_sap, item.attribute, item.data, item.selection)
            return access.AccessOutcome(kind.SET, NULL, written)
        found = self._look_up(item.attribute, item.selection)
        if isinstance(found, DataAccessResult):
            return access.AccessOutcome(kind.GET, NULL, found)
        return access.AccessOutcome(kind.GET, axdr.decode(found), DataAccessResult.SUCCESS)


def _values_in(incoming: _Incoming) -> tuple[bytes, ...] | None:
    """Return the list of values that came in blocks, None when it is none or of another length."""
    cursor = Cursor(incoming.blocks.whole())
    try:
        values = decode_values(cursor, len(incoming.targets), "targets")
        cursor.end("the list of values")
    except RemoteProtocolError:
        return None
    return values


_C = Conformance
_LONG_SET = _C.SET | _C.BLOCK_TRANSFER_WITH_SET_OR_WRITE
_LONG_ACTION = _C.ACTION | _C.BLOCK_TRANSFER_WITH_ACTION
_NEEDED: Mapping[type, Conformance] = {
    get.GetRequestNormal: _C.GET,
    get.GetRequestNext: _C.GET,
    get.GetRequestList: _C.GET | _C.MULTIPLE_REFERENCES,
    set_service.SetRequestNormal: _C.SET,
    set_service.SetRequestList: _C.SET | _C.MULTIPLE_REFERENCES,
    set_service.SetRequestFirstBlock: _LONG_SET,
    set_service.SetRequestBlock: _LONG_SET,
    set_service.SetRequestListFirstBlock: _LONG_SET | _C.MULTIPLE_REFERENCES,
    action.ActionRequestNormal: _C.ACTION,
    action.ActionRequestNext: _C.ACTION,
    action.ActionRequestList: _C.ACTION | _C.MULTIPLE_REFERENCES,
    action.ActionRequestFirstBlock: _LONG_ACTION,
    action.ActionRequestBlock: _LONG_ACTION,
    action.ActionRequestListFirstBlock: _LONG_ACTION | _C.MULTIPLE_REFERENCES,
    access.AccessRequest: _C.ACCESS,
}
"""What must have been granted for a request to be answered."""
_UNSUPPORTED = ExceptionResponse(StateError.SERVICE_UNKNOWN, ServiceError.SERVICE_NOT_SUPPORTED).encode()
