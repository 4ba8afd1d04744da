"""The meter: the same vocabulary from the other side. It answers by itself; its events tell what went on.

::

    server = DlmsServer(HdlcServerParameters(server_logical=1, server_physical=17), policies, objects)
    server.receive_data(data)
    while (event := server.next_event()) is not NEED_DATA:
        ...                                  # for a log, or nothing
    write(server.data_to_send())

``next_event`` raises RemoteProtocolError for octets that break the rules; a meter leaves them unanswered. What the
meter measures is behind :class:`~protocols.dlms.responder.Objects`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hmac import compare_digest
from typing import TypeAlias

from protocols.dlms import acse
from protocols.dlms.acse import Mechanism
from protocols.dlms.apdu import Apdu, decode_apdu
from protocols.dlms.association import SERVER_TRANSITIONS, Policy, ServerState, ServerStep
from protocols.dlms.codes import AssociationResult, ServiceError, ServiceUserDiagnostic, StateError
from protocols.dlms.hdlc.secondary import HdlcSecondary, HdlcServerParameters
from protocols.dlms.link import NEED_DATA, ClientApdu, ClientLink, NeedData, ServerLink
from protocols.dlms.octets import Cursor
from protocols.dlms.responder import Objects, Responder
from protocols.dlms.wrapper import WrapperServer, WrapperServerParameters
from protocols.dlms.xdlms.initiate import (
    DLMS_VERSION,
    PDU_OCTETS_MIN,
    InitiateRequest,
    InitiateResponse,
    decode_initiate_request,
)
from protocols.dlms.xdlms.notifications import DataNotification
from protocols.dlms.xdlms.refusals import ConfirmedServiceError, ExceptionResponse
from protocols.errors import RemoteProtocolError


@dataclass(frozen=True, slots=True)
class AssociationOpened:
    """A client is associated."""

    client_sap: int
    mechanism: Mechanism


@dataclass(frozen=True, slots=True)
class AssociationDenied:
    """A client was refused, for the reason given in the standard's words."""

    client_sap: int
    words: str


@dataclass(frozen=True, slots=True)
class AssociationClosed:
    """A client released its association."""

    client_sap: int


@dataclass(frozen=True, slots=True)
class Served:
    """A request was answered, if only by a refusal."""

    client_sap: int
    request: Apdu


ServerEvent: TypeAlias = ClientLink | AssociationOpened | AssociationDenied | AssociationClosed | Served
_U = ServiceUserDiagnostic


@dataclass(slots=True)
class _Peer:
    """One client: its association and what answers it."""

    state: ServerState = ServerState.CLOSED
    responder: Responder | None = None


class DlmsServer:
    """One meter at one address, for all its clients."""

    def __init__(
        self,
        link: HdlcServerParameters | WrapperServerParameters,
        policies: Mapping[int, Policy],
        objects: Objects,
    ) -> None:
        self._link: ServerLink = HdlcSecondary(link) if isinstance(link, HdlcServerParameters) else WrapperServer(link)
        self._policies = policies
        self._objects = objects
        self._peers: dict[int, _Peer] = {}

    def receive_data(self, data: bytes) -> None:
        """Store octets as they come; :meth:`next_event` looks at them."""
        self._link.receive_data(data)

    def receive_silence(self) -> None:
        """Hear that the line fell silent: an incomplete frame is dropped."""
        self._link.receive_silence()

    def data_to_send(self) -> bytes:
        """Return the octets to write, each of them once."""
        return self._link.data_to_send()

    def push(self, client_sap: int, notification: DataNotification) -> bytes:
        """Return the octets of a push to ``client_sap``, to be written now."""
        self._link.send_unconfirmed(client_sap, notification.encode())
        return self.data_to_send()

    def next_event(self) -> ServerEvent | NeedData:
        """Answer what came next and tell what it was; NEED_DATA when nothing is left.

        Raises
        ------
        RemoteProtocolError
            Octets broke the rules; they are dropped, unanswered, and the server stays usable.
        """
        happened = self._link.next_event()
        if isinstance(happened, NeedData):
            return NEED_DATA
        if isinstance(happened, ClientLink):
            self._peers[happened.client_sap] = _Peer()
            return happened
        return self._serve(happened)

    def _serve(self, received: ClientApdu) -> ServerEvent:
        sap = received.client_sap
        peer = self._peers.setdefault(sap, _Peer())
        try:
            apdu = decode_apdu(received.octets)
        except RemoteProtocolError:
            if received.confirmed:
                self._link.send_apdu(sap, _EXCEPTION)
            raise
        if not received.confirmed:
            raise RemoteProtocolError(f"an unconfirmed {type(apdu).__name__}: none is served")
        if isinstance(apdu, acse.AssociationRequest):
            return self._associate(sap, peer, apdu)
        if isinstance(apdu, acse.ReleaseRequest):
            self._step(peer, ServerStep.RELEASE)
            peer.responder = None
            self._link.send_apdu(sap, acse.ReleaseResponse().encode())
            return AssociationClosed(sap)
        if peer.responder is None or peer.state is not ServerState.OPEN:
            self._link.send_apdu(sap, _NOT_ALLOWED)
        else:
            self._link.send_apdu(sap, peer.responder.answer(apdu))
        return Served(sap, apdu)

    # -- association --------------------------------------------------------------------------------------------------

    def _associate(self, sap: int, peer: _Peer, request: acse.AssociationRequest) -> ServerEvent:
        peer.responder = None
        policy = self._policies.get(sap)
        if policy is None:
            return self._deny(sap, peer, request, _U.NO_REASON_GIVEN)
        refusal = _check(request, policy)
        if refusal is not None:
            return self._deny(sap, peer, request, refusal)
        octets = request.user_information or b""
        if octets[:1] != bytes((InitiateRequest.TAG,)):
            return self._deny(sap, peer, request, _U.NO_REASON_GIVEN)
        initiate = decode_initiate_request(Cursor(octets, 1))
        conformance = initiate.conformance & policy.conformance
        trouble = _trouble(initiate, conformance != 0)
        if trouble is not None:
            return self._deny(sap, peer, request, _U.NO_REASON_GIVEN, trouble.encode())
        self._step(peer, ServerStep.ACCEPT)
        peer.responder = Responder(self._objects, sap, conformance, initiate.pdu_octets_max or 0xFFFF)
        granted = InitiateResponse(conformance, policy.pdu_octets_max)
        response = acse.AssociationResponse(request.context, AssociationResult.ACCEPTED, _U.NULL, granted.encode())
        self._link.send_apdu(sap, response.encode())
        return AssociationOpened(sap, policy.mechanism)

    def _deny(
        self,
        sap: int,
        peer: _Peer,
        request: acse.AssociationRequest,
        diagnostic: ServiceUserDiagnostic,
        user_information: bytes | None = None,
    ) -> AssociationDenied:
        self._step(peer, ServerStep.REFUSE)
        response = acse.AssociationResponse(
            request.context, AssociationResult.REJECTED_PERMANENT, diagnostic, user_information
        )
        self._link.send_apdu(sap, response.encode())
        return AssociationDenied(sap, diagnostic.word)

    @staticmethod
    def _step(peer: _Peer, step: ServerStep) -> None:
        peer.state = SERVER_TRANSITIONS[peer.state, step]


_EXCEPTION = ExceptionResponse(StateError.SERVICE_UNKNOWN, ServiceError.OPERATION_NOT_POSSIBLE).encode()
_NOT_ALLOWED = ExceptionResponse(StateError.SERVICE_NOT_ALLOWED, ServiceError.OPERATION_NOT_POSSIBLE).encode()


def _check(request: acse.AssociationRequest, policy: Policy) -> ServiceUserDiagnostic | None:
    """Return why ``policy`` refuses ``request``, or None."""
    if request.context is not policy.context:
        return _U.APPLICATION_CONTEXT_NAME_NOT_SUPPORTED
    if policy.mechanism is not Mechanism.NONE and request.mechanism is Mechanism.NONE:
        return _U.AUTHENTICATION_REQUIRED
    if request.mechanism is not policy.mechanism:
        return _U.AUTHENTICATION_MECHANISM_NAME_NOT_RECOGNISED
    if policy.mechanism is Mechanism.LOW and not compare_digest(request.authentication_value or b"", policy.secret):
        return _U.AUTHENTICATION_FAILURE
    return None


def _trouble(initiate: InitiateRequest, common: bool) -> ConfirmedServiceError | None:
    """Return what is wrong with a proposal, as the service error of initiate (service 1, class 6)."""
    if initiate.version < DLMS_VERSION:
        return ConfirmedServiceError(1, 6, 1)
    if not common:
        return ConfirmedServiceError(1, 6, 2)
    if 0 < initiate.pdu_octets_max < PDU_OCTETS_MIN:
        return ConfirmedServiceError(1, 6, 3)
    return None
