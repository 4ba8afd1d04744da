"""How a meter answers READ and WRITE; the objects behind it are the same as with logical names."""

from protocols.dlms import axdr
from protocols.dlms.codes import ActionResult, DataAccessResult, ServiceError, StateError
from protocols.dlms.conformance import Conformance
from protocols.dlms.data import Data
from protocols.dlms.exchanges import BLOCK_HEAD_OCTETS, cut
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
    WriteResponse,
    encode_results,
)
from protocols.errors import RemoteProtocolError

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

    def answer(self, request: object) -> bytes:
        """Return the APDU that answers ``request``."""
        if isinstance(request, ReadNext):
            return self._next(request.number)
        if isinstance(request, ReadRequest) and self._allows(Conformance.READ, request.variables):
            return self._read(request)
        if isinstance(request, WriteRequest) and self._allows(Conformance.WRITE, request.variables):
            pairs = zip(request.variables, request.values, strict=True)
            return WriteResponse(tuple(self._write(variable, value) for variable, value in pairs)).encode()
        return _UNSUPPORTED

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
