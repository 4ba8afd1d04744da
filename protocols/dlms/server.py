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

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from protocols.dlms import acse
from protocols.dlms.acse import Mechanism
from protocols.dlms.admission import Admitted, Denied, admit, answer_proof, deny
from protocols.dlms.apdu import Apdu, decode_apdu
from protocols.dlms.association import SERVER_TRANSITIONS, Policy, ServerState, ServerStep
from protocols.dlms.ciphering import COUNTER_MAX
from protocols.dlms.codes import ServiceError, ServiceUserDiagnostic, StateError
from protocols.dlms.conformance import Conformance
from protocols.dlms.exchanges import LONG_OCTETS_MAX
from protocols.dlms.general_transfer import GeneralTransfer
from protocols.dlms.hdlc.secondary import HdlcSecondary, HdlcServerParameters
from protocols.dlms.link import NEED_DATA, ClientApdu, ClientLink, LinkUp, NeedData, ServerLink
from protocols.dlms.octets import Cursor
from protocols.dlms.protection import CIPHERING_OCTETS, ENVELOPE_OCTETS, CounterError, Protection
from protocols.dlms.responder import Objects, Responder
from protocols.dlms.responder_short import ShortResponder
from protocols.dlms.short_names import ShortNames
from protocols.dlms.wrapper import WrapperServer, WrapperServerParameters
from protocols.dlms.xdlms.general_block import GENERAL_BLOCK, decode_general_block
from protocols.dlms.xdlms.notifications import DataNotification, EventNotification
from protocols.dlms.xdlms.refusals import EXCEPTION, ExceptionResponse
from protocols.errors import LocalProtocolError, RemoteProtocolError


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


@dataclass(frozen=True, slots=True)
class AssociationPending:
    """A client was challenged and has to prove its secret."""

    client_sap: int


ServerEvent: TypeAlias = (
    ClientLink | AssociationPending | AssociationOpened | AssociationDenied | AssociationClosed | Served
)
CHALLENGE_OCTETS = 16  # IEC 62056-5-3: 8 to 64


Chance: TypeAlias = Callable[[int], bytes]
"""Returns so many octets of chance: ``secrets.token_bytes``, or a seeded generator's."""


@dataclass(slots=True)
class _Peer:
    """One client: its association and what answers it. Counters of ``protection`` outlive associations."""

    state: ServerState = ServerState.CLOSED
    policy: Policy | None = None
    protection: Protection | None = None
    admitted: Admitted | None = None
    responder: Responder | ShortResponder | None = None
    transfer: GeneralTransfer | None = None
    pdu_octets: int = 0xFFFF


class DlmsServer:
    """One meter at one address, for all its clients."""

    def __init__(
        self,
        link: HdlcServerParameters | WrapperServerParameters,
        policies: Mapping[int, Policy],
        objects: Objects,
        chance: Chance | None = None,
        protections: dict[int, Protection] | None = None,
    ) -> None:
        self._link: ServerLink = HdlcSecondary(link) if isinstance(link, HdlcServerParameters) else WrapperServer(link)
        self._policies = policies
        self._objects = objects
        self._chance = chance
        self._peers: dict[int, _Peer] = {}
        self._protections = {} if protections is None else protections
        """By client: counters outlive associations and, where the caller keeps the dictionary, connections."""

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
        return self.push_apdu(client_sap, notification.encode())

    def push_apdu(self, client_sap: int, apdu: bytes) -> bytes:
        """Return the octets of a push that is encoded already, and perhaps ciphered."""
        self._link.send_unconfirmed(client_sap, apdu)
        return self.data_to_send()

    @property
    def associated(self) -> tuple[int, ...]:
        """The clients, by SAP, that are associated now."""
        return tuple(sap for sap, peer in self._peers.items() if peer.state is ServerState.OPEN)

    def send_event(self, client_sap: int, event: EventNotification) -> bytes:
        """Return the octets that tell an associated client of ``event``, protected as all else; to be written now.

        LocalProtocolError when the client is not associated: only :meth:`push` needs no association.
        """
        peer = self._peers.get(client_sap)
        if peer is None or peer.state is not ServerState.OPEN or peer.policy is None:
            raise LocalProtocolError(f"cannot tell client {client_sap} of an event: it is not associated")
        protection = peer.protection if peer.policy.is_ciphered else None
        apdu = event.encode()
        return self.push_apdu(client_sap, apdu if protection is None else protection.seal(apdu))

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
            peer = self._peers.setdefault(happened.client_sap, _Peer())
            self._step(peer, ServerStep.LINK_CHANGE)
            policy = self._policies.get(happened.client_sap)
            if policy is not None and policy.pre_established and isinstance(happened.change, LinkUp):
                peer.policy = policy
                self._open_association(
                    happened.client_sap, peer, Admitted(b"", policy.conformance, 0xFFFF), ServerStep.ACCEPT
                )
            return happened
        return self._serve(happened)

    def protection(self, client_sap: int) -> Protection | None:
        """Return the counters kept for a client that was ever admitted with ciphering."""
        peer = self._peers.get(client_sap)
        return None if peer is None else peer.protection

    def _serve(self, received: ClientApdu) -> ServerEvent:
        sap = received.client_sap
        peer = self._peers.setdefault(sap, _Peer())
        if received.confirmed and received.octets[:1] == bytes((GENERAL_BLOCK,)) and peer.transfer is not None:
            block = decode_general_block(Cursor(received.octets, 1))
            whole, blocks = peer.transfer.receive(block)
            for octets in blocks:
                self._link.send_apdu(sap, octets)
            if whole is None or whole[:1] == bytes((GENERAL_BLOCK,)):
                return Served(sap, block)
            received = ClientApdu(sap, whole)
        try:
            apdu = decode_apdu(self._opened(peer, received.octets))
        except RemoteProtocolError as error:
            if received.confirmed:
                self._link.send_apdu(sap, _complaint(peer, error))
            raise
        if not received.confirmed:
            raise RemoteProtocolError(f"an unconfirmed {type(apdu).__name__}: none is served")
        if isinstance(apdu, acse.AssociationRequest):
            return self._associate(sap, peer, apdu)
        if isinstance(apdu, acse.ReleaseRequest):
            self._check_release(sap, peer, apdu)
            self._step(peer, ServerStep.RELEASE)
            self._link.send_apdu(sap, acse.ReleaseResponse().encode())
            return AssociationClosed(sap)
        if peer.state is ServerState.PENDING and peer.policy is not None and peer.admitted is not None:
            return self._take_proof(sap, peer, peer.policy, peer.admitted, apdu)
        if peer.responder is None or peer.state is not ServerState.OPEN:
            self._link.send_apdu(sap, _NOT_ALLOWED)
        else:
            self._send(sap, peer, peer.responder.answer(apdu))
        return Served(sap, apdu)

    def _check_release(self, sap: int, peer: _Peer, request: acse.ReleaseRequest) -> None:
        """In a ciphered association only who has the key may release it (IEC 62056-5-3)."""
        policy, protection = peer.policy, peer.protection
        if peer.state is not ServerState.OPEN or policy is None or protection is None or policy.plain_release:
            return
        if policy.is_ciphered:
            try:
                protection.open(request.user_information or b"")
            except RemoteProtocolError as error:
                self._link.send_apdu(sap, _complaint(peer, error))
                raise

    def _opened(self, peer: _Peer, octets: bytes) -> bytes:
        """Return the plain APDU; on a ciphered association the gate sees everything but ACSE's APDUs."""
        closed = peer.state is ServerState.CLOSED or peer.policy is None or not peer.policy.is_ciphered
        if closed or peer.protection is None or octets[:1] in (b"\x60", b"\x62"):
            return octets
        return peer.protection.open(octets)

    def _send(self, sap: int, peer: _Peer, apdu: bytes) -> None:
        ciphered = peer.policy is not None and peer.policy.is_ciphered
        protection = peer.protection if ciphered and apdu[:1] != bytes((EXCEPTION,)) else None
        octets = apdu if protection is None else protection.seal(apdu)
        if peer.transfer is None or len(octets) <= peer.pdu_octets:
            self._link.send_apdu(sap, octets)
            return
        for block in peer.transfer.send(octets, peer.pdu_octets):
            self._link.send_apdu(sap, block)

    # -- association --------------------------------------------------------------------------------------------------

    def _associate(self, sap: int, peer: _Peer, request: acse.AssociationRequest) -> ServerEvent:
        policy = self._policies.get(sap)
        if policy is None:
            return self._denied(sap, peer, deny(request, ServiceUserDiagnostic.NO_REASON_GIVEN))
        if policy.ciphering is not None:
            peer.protection = self._protections.setdefault(sap, Protection(policy.ciphering))
        peer.policy = policy
        high = policy.mechanism >= Mechanism.HIGH
        if high and self._chance is None:
            raise LocalProtocolError("a policy with high-level authentication needs a source of chance")
        challenge = self._chance(CHALLENGE_OCTETS) if high and self._chance is not None else b""
        admitted = admit(request, policy, peer.protection, challenge)
        if isinstance(admitted, Denied):
            return self._denied(sap, peer, admitted)
        self._link.send_apdu(sap, admitted.aare)
        if high:
            self._step(peer, ServerStep.CHALLENGE)
            peer.admitted = admitted
            return AssociationPending(sap)
        return self._open_association(sap, peer, admitted, ServerStep.ACCEPT)

    def _take_proof(self, sap: int, peer: _Peer, policy: Policy, admitted: Admitted, apdu: Apdu) -> ServerEvent:
        answer, trouble = answer_proof(apdu, policy, peer.protection, admitted)
        if answer is None:
            self._link.send_apdu(sap, _NOT_ALLOWED)
            return Served(sap, apdu)
        self._send(sap, peer, answer)
        if trouble:
            self._step(peer, ServerStep.REFUSE)
            return AssociationDenied(sap, f"{ServiceUserDiagnostic.AUTHENTICATION_FAILURE.word}: {trouble}")
        return self._open_association(sap, peer, admitted, ServerStep.PROVE)

    def _open_association(self, sap: int, peer: _Peer, admitted: Admitted, step: ServerStep) -> AssociationOpened:
        self._step(peer, step)
        ciphered = peer.policy is not None and peer.policy.is_ciphered
        enveloped = Conformance.GENERAL_PROTECTION in admitted.conformance
        octets = admitted.pdu_octets - ((ENVELOPE_OCTETS if enveloped else CIPHERING_OCTETS) if ciphered else 0)
        peer.pdu_octets = admitted.pdu_octets
        if Conformance.GENERAL_BLOCK_TRANSFER in admitted.conformance and peer.policy is not None:
            hdlc = isinstance(self._link, HdlcSecondary)
            peer.transfer = GeneralTransfer(1, 1) if hdlc else GeneralTransfer(peer.policy.general_block_window)
            octets = LONG_OCTETS_MAX
        if peer.policy is not None and peer.policy.uses_short_names:
            names = ShortNames(peer.policy.short_names)
            peer.responder = ShortResponder(self._objects, sap, admitted.conformance, octets, names)
        else:
            peer.responder = Responder(self._objects, sap, admitted.conformance, octets)
        return AssociationOpened(sap, peer.policy.mechanism if peer.policy is not None else Mechanism.NONE)

    def _denied(self, sap: int, peer: _Peer, denied: Denied) -> AssociationDenied:
        self._step(peer, ServerStep.REFUSE)
        self._link.send_apdu(sap, denied.aare)
        return AssociationDenied(sap, denied.words)

    @staticmethod
    def _step(peer: _Peer, step: ServerStep) -> None:
        """Move the association; whatever it was, what answered in it is gone."""
        peer.state = SERVER_TRANSITIONS[peer.state, step]
        peer.responder = peer.admitted = peer.transfer = None


_NOT_ALLOWED = ExceptionResponse(StateError.SERVICE_NOT_ALLOWED, ServiceError.OPERATION_NOT_POSSIBLE).encode()


def _complaint(peer: _Peer, error: RemoteProtocolError) -> bytes:
    """Return the exception-response to octets that cannot be served."""
    ciphered = peer.policy is not None and peer.policy.is_ciphered and peer.state is not ServerState.CLOSED
    if isinstance(error, CounterError):
        expected = min(error.last + 1, COUNTER_MAX)
        return ExceptionResponse(StateError.SERVICE_UNKNOWN, ServiceError.INVOCATION_COUNTER_ERROR, expected).encode()
    wrong = ServiceError.DECIPHERING_ERROR if ciphered else ServiceError.OPERATION_NOT_POSSIBLE
    return ExceptionResponse(StateError.SERVICE_UNKNOWN, wrong).encode()
