"""How a meter answers READ and WRITE; the objects behind it are the same as with logical names."""

from protocols.dlms import axdr
from protocols.dlms.codes import ActionResult, DataAccessResult, ServiceError, StateError
from protocols.dlms.conformance import Conformance
from protocols.dlms.data import Data
from protocols.dlms.exchanges import BLOCK_HEAD_OCTETS, Assembly, cut
from protocols.dlms.octets import Cursor
from protocols.dlms.responder import Objects
from protocols.dlms.short_names import ShortNames
from protocols.dlms.xdlms.get import OneResult
from protocols.dlms.xdlms.references import Block
from protocols.dlms.xdlms.refusals import ExceptionResponse
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
    decode_write_request,
    encode_results,
)
from protocols.errors import RemoteProtocolError

_WRITE_BLOCKS = Conformance.WRITE | Conformance.BLOCK_TRANSFER_WITH_SET_OR_WRITE
_UNSUPPORTED = ExceptionResponse(StateError.SERVICE_UNKNOWN, ServiceError.SERVICE_NOT_SUPPORTED).encode()


class ShortResponder:
    """Answers one client's services by short names."""

    def __init__(
        self, objects: Objects, client_sap: int, conformance: Conformance, pdu_octets: int, names: ShortNames
    ) -> None:
        self._objects = objects
        self._client_sap = client_sap
        self._conformance = conformance
        self._pdu_octets = pdu_octets
        self._names = names
        self._outgoing: list[Block] = []
        self._incoming: Assembly | None = None

    def answer(self, request: object) -> bytes:
        """Return the APDU that answers ``request``."""
        if isinstance(request, ReadNext):
            return self._next(request.number)
        if isinstance(request, ReadRequest) and self._allows(Conformance.READ, request.variables):
            return self._read(request)
        if isinstance(request, WriteRequest):
            self._incoming = None
            return self._write_all(request)
        if isinstance(request, WriteRequestBlock) and _WRITE_BLOCKS in self._conformance:
            return self._take(request.block)
        return _UNSUPPORTED

    def _write_all(self, request: WriteRequest) -> bytes:
        if not self._allows(Conformance.WRITE, request.variables):
            return _UNSUPPORTED
        pairs = zip(request.variables, request.values, strict=True)
        return WriteResponse(tuple(self._write(variable, value) for variable, value in pairs)).encode()

    def _take(self, block: Block) -> bytes:
        """Take a block of a long WRITE; the first begins anew, the last is answered as the whole."""
        if block.number == 1 or self._incoming is None:
            self._incoming = Assembly()
        incoming = self._incoming
        try:
            incoming.add(block)
        except RemoteProtocolError:
            self._incoming = None
            return WriteResponse((DataAccessResult.DATA_BLOCK_NUMBER_INVALID,)).encode()
        if not block.last:
            return WriteResponseNext(block.number).encode()
        self._incoming = None
        try:
            request = decode_write_request(Cursor(incoming.whole()))
        except RemoteProtocolError:
            request = None
        if not isinstance(request, WriteRequest):
            return WriteResponse((DataAccessResult.LONG_SET_ABORTED,)).encode()
        return self._write_all(request)

    def _allows(self, service: Conformance, variables: tuple[Variable, ...]) -> bool:
        return service in self._conformance and (
            len(variables) < 2 or Conformance.MULTIPLE_REFERENCES in self._conformance
        )

    def _read(self, request: ReadRequest) -> bytes:
        self._outgoing.clear()
        results = tuple(self._look_up(variable) for variable in request.variables)
        whole = ReadResponse(results).encode()
        if len(whole) <= self._pdu_octets:
            return whole
        if Conformance.BLOCK_TRANSFER_WITH_GET_OR_READ not in self._conformance:
            refused = tuple(DataAccessResult.DATA_BLOCK_UNAVAILABLE for _ in results)
            return ReadResponse(refused).encode()
        self._outgoing = cut(encode_results(results), max(1, self._pdu_octets - BLOCK_HEAD_OCTETS))
        return ReadResponseBlock(self._outgoing[0]).encode()

    def _next(self, number: int) -> bytes:
        if len(self._outgoing) < 2 or number != self._outgoing[0].number:
            failed = DataAccessResult.DATA_BLOCK_NUMBER_INVALID if self._outgoing else _NO_READ
            self._outgoing.clear()
            return ReadResponse((failed,)).encode()
        del self._outgoing[0]
        return ReadResponseBlock(self._outgoing[0]).encode()

    def _look_up(self, variable: Variable) -> OneResult:
        found = self._names.find(variable.name)
        if found is None or found[1]:
            return DataAccessResult.OBJECT_UNDEFINED
        if variable.selection is not None and Conformance.PARAMETERIZED_ACCESS not in self._conformance:
            return DataAccessResult.SCOPE_OF_ACCESS_VIOLATED
        value = self._objects.get(self._client_sap, found[0], variable.selection)
        return axdr.encode(value) if isinstance(value, Data) else value

    def _write(self, variable: Variable, octets: bytes) -> DataAccessResult:
        found = self._names.find(variable.name)
        if found is None:
            return DataAccessResult.OBJECT_UNDEFINED
        try:
            value = axdr.decode(octets)
        except RemoteProtocolError:
            return DataAccessResult.TYPE_UNMATCHED
        target, is_method = found
        if not is_method:
            return self._objects.set(self._client_sap, target, value, variable.selection)
        result, _ = self._objects.act(self._client_sap, target, value)
        if result is ActionResult.SUCCESS:
            return DataAccessResult.SUCCESS
        return DataAccessResult.lookup(int(result)) or DataAccessResult.OTHER_REASON


_NO_READ = DataAccessResult.NO_LONG_GET_IN_PROGRESS
