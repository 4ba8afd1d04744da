"""The client: a value that eats octets and gives events; it knows neither sockets nor time.

::

    client = DlmsClient(HdlcParameters(client_sap=1, server_logical=1, server_physical=17, server_size=2),
                        Association(Mechanism.LOW, secret))
    write(client.send(Connect()))
    while (event := client.next_event()) is NEED_DATA:
        write(client.data_to_send())
        data = read(deadline)
        if data:
            client.receive_data(data)
        else:
            client.receive_silence()

``next_event`` raises RemoteProtocolError for octets that break the rules; the client stays usable, so the caller may
read on until its deadline and then say ``receive_silence``. At most one request is under way at a time.
"""

from collections import deque

from protocols.dlms import acse
from protocols.dlms.acse import Mechanism
from protocols.dlms.apdu import Apdu, decode_apdu
from protocols.dlms.association import CLIENT_TRANSITIONS, Association, ClientState, ClientStep
from protocols.dlms.codes import AssociationResult
from protocols.dlms.conformance import Conformance
from protocols.dlms.exchanges import LONG_OCTETS_MAX, Exchange, LateAnswerError, begin
from protocols.dlms.exchanges_many import AccessExchange, ActListExchange
from protocols.dlms.exchanges_short import begin_short
from protocols.dlms.general_transfer import GeneralTransfer
from protocols.dlms.handshake import Handshake, service_error_of
from protocols.dlms.hdlc.primary import HdlcParameters, HdlcPrimary
from protocols.dlms.link import NEED_DATA, ApduReceived, Link, LinkDown, LinkEvent, LinkUp, NeedData
from protocols.dlms.octets import Cursor
from protocols.dlms.protection import CIPHERING_OCTETS, ENVELOPE_OCTETS, Protection
from protocols.dlms.quirks import STRICT, Quirks
from protocols.dlms.services import (
    Access,
    ActList,
    Associated,
    AssociationRefused,
    Connect,
    Event,
    Notified,
    Release,
    Released,
    Request,
    Service,
)
from protocols.dlms.short_names import ShortNames
from protocols.dlms.wrapper import WrapperLink, WrapperParameters
from protocols.dlms.xdlms.action import ActionResponseNormal
from protocols.dlms.xdlms.general_block import GENERAL_BLOCK, BlockAssembly, GeneralBlock, decode_general_block
from protocols.dlms.xdlms.notifications import DataNotification, EventNotification
from protocols.dlms.xdlms.references import Invoke
from protocols.dlms.xdlms.refusals import CONFIRMED_SERVICE_ERROR, EXCEPTION, ConfirmedServiceError, ExceptionResponse
from protocols.dlms.xdlms.short import ReadResponse
from protocols.errors import LocalProtocolError, RemoteProtocolError

_GENERAL_BLOCK = bytes((GENERAL_BLOCK,))
_REFUSALS = frozenset({bytes((EXCEPTION,)), bytes((CONFIRMED_SERVICE_ERROR,))})
"""What may come in the clear on a ciphered association: refusals, which carry no value."""
_ACSE_ANSWERS = {
    ClientState.ASSOCIATING: frozenset({bytes((acse.AARE,))}),
    ClientState.RELEASING: frozenset({bytes((acse.RLRE,))}),
}
"""And what protects its user-information only."""


class DlmsClient:
    """A client's session with one meter."""

    def __init__(
        self,
        link: HdlcParameters | WrapperParameters,
        association: Association,
        quirks: Quirks = STRICT,
    ) -> None:
        self._link: Link = HdlcPrimary(link, quirks) if isinstance(link, HdlcParameters) else WrapperLink(link)
        self._association = association
        self._quirks = quirks
        ciphering = association.ciphering
        self._protection = Protection(ciphering, quirks) if ciphering is not None else None
        self._handshake = Handshake(association, self._protection, quirks)
        self.short_names = ShortNames(association.short_names)
        """Base names, with context SN; ``short_names.learn(value)`` takes the object list (``OBJECT_LIST``)."""
        self._proposed: Associated | None = None
        self._events: deque[Event] = deque()
        self._exchange: Exchange | None = None
        self._invoke_id = 0
        self._pushed = BlockAssembly()
        hdlc = isinstance(link, HdlcParameters)
        self._transfer = GeneralTransfer(1, 1) if hdlc else GeneralTransfer(association.general_block_window)
        self.state = ClientState.DISCONNECTED
        self.granted: Associated | None = None
        """What the meter granted, while associated."""

    # -- the caller's side --------------------------------------------------------------------------------------------

    def send(self, request: Request) -> bytes:
        """Begin ``request``; return the octets to write now.

        Raises
        ------
        LocalProtocolError
            When the state does not allow it: no association, or a request is under way already.
        """
        if isinstance(request, Connect):
            self._step(ClientStep.CONNECT)
            self._link.open()
        elif isinstance(request, Release):
            self._release()
        else:
            self._request(request)
        return self.data_to_send()

    def receive_data(self, data: bytes) -> None:
        """Store octets as they come; :meth:`next_event` looks at them."""
        self._link.receive_data(data)

    def receive_silence(self) -> bytes:
        """Hear that the deadline passed; return what to write now: the question again, or nothing.

        Without a request under way only an incomplete frame is dropped. When the repetitions are used up, the next
        event is LinkDown.
        """
        if self.state is ClientState.ASSOCIATED:
            self._link.forget()
        elif blocks := self._transfer.receive_silence() if isinstance(self._link, WrapperLink) else []:
            for block in blocks:
                self._link.send_apdu(block)
        else:
            self._link.receive_silence()
        return self.data_to_send()

    def data_to_send(self) -> bytes:
        """Return the octets to write, each of them once: acknowledgements and next blocks among them."""
        return self._link.data_to_send()

    def next_event(self) -> Event | NeedData:
        """Return what happened next, or NEED_DATA; write :meth:`data_to_send` after each call.

        Raises
        ------
        RemoteProtocolError
            Octets broke the rules; they are dropped and the client stays usable.
        """
        while not self._events:
            happened = self._link.next_event()
            if happened is NEED_DATA:
                return NEED_DATA
            assert not isinstance(happened, NeedData)
            self._take(happened)
        return self._events.popleft()

    @property
    def protection(self) -> Protection | None:
        """The counters of a ciphered association: ``next_counter``, ``received_counter``, ``reserve``."""
        return self._protection

    # -- the link's side ----------------------------------------------------------------------------------------------

    def _take(self, happened: LinkEvent) -> None:
        if isinstance(happened, LinkUp):
            self._events.append(happened)
            if self._association.pre_established:
                self._accept(Associated(self._association.conformance, 0xFFFF, self._association.mechanism))
                return
            self._step(ClientStep.LINK_UP)
            self._link.send_apdu(self._handshake.request())
        elif isinstance(happened, LinkDown):
            self._step(ClientStep.LINK_DOWN)
            self.granted = None
            self._exchange = None
            self._events.append(happened)
        else:
            self._take_apdu(happened)

    def _take_apdu(self, received: ApduReceived) -> None:
        if received.confirmed and received.octets[:1] == _GENERAL_BLOCK:
            self._take_general_block(received.octets)
            return
        apdu = self._opened(received.octets)
        if isinstance(apdu, GeneralBlock) and not received.confirmed:
            whole = self._pushed.add(apdu)
            if whole is not None:
                self._take_apdu(ApduReceived(whole, confirmed=False))
        elif isinstance(apdu, DataNotification | EventNotification):
            self._events.append(Notified(apdu))
        elif not received.confirmed:
            raise RemoteProtocolError(f"{type(apdu).__name__} came unasked; only notifications may")
        else:
            self._take_answer(apdu)

    def _opened(self, octets: bytes) -> Apdu:
        """Return the APDU, after the gate of a ciphered association."""
        ciphered = self._association.is_ciphered and self._protection is not None
        plain = not ciphered or octets[:1] in (_REFUSALS | _ACSE_ANSWERS.get(self.state, frozenset()))
        if not plain and self._protection is not None:
            octets = self._protection.open(octets)  # A refusal leaves the request under way: its answer may still come.
        try:
            return decode_apdu(octets, self._quirks)
        except RemoteProtocolError:
            if not (ciphered and plain):
                self._abandon()
            raise

    def _take_answer(self, apdu: Apdu) -> None:
        if self.state is ClientState.ASSOCIATING:
            self._take_association(apdu)
        elif self.state is ClientState.AUTHENTICATING:
            self._take_proof(apdu)
        elif self.state is ClientState.RELEASING:
            self._take_release(apdu)
        elif self.state is ClientState.AWAITING_REPLY and self._exchange is not None:
            self._take_reply(self._exchange, apdu)
        else:
            raise RemoteProtocolError(f"{type(apdu).__name__} while {self.state.value}")

    def _take_general_block(self, octets: bytes) -> None:
        """Take a block of an answer; its content comes to :meth:`_take_apdu`, and so to the gate, when it is whole."""
        if self.state is not ClientState.AWAITING_REPLY:
            raise RemoteProtocolError(f"a general block while {self.state.value}")
        whole, blocks = self._transfer.receive(decode_general_block(Cursor(octets, 1)))
        for block in blocks:
            self._link.send_apdu(block)
        if whole is not None:
            if whole[:1] == _GENERAL_BLOCK:
                raise RemoteProtocolError("general blocks inside general blocks")
            self._take_apdu(ApduReceived(whole))

    def _send_apdu(self, apdu: bytes) -> None:
        """Send an APDU as the association wants it: ciphered, and in general blocks when it is long."""
        if self._association.is_ciphered and self._protection is not None:
            apdu = self._protection.seal(apdu)
        self._transfer.reset()
        granted = self.granted
        if granted is not None and self._uses_general_blocks and len(apdu) > granted.pdu_octets_max:
            for block in self._transfer.send(apdu, granted.pdu_octets_max):
                self._link.send_apdu(block)
        else:
            self._link.send_apdu(apdu)

    @property
    def _protection_octets(self) -> int:
        """How many octets protection adds to an APDU at most."""
        ciphering = self._association.ciphering
        if ciphering is None or not self._association.is_ciphered:
            return 0
        return ENVELOPE_OCTETS if ciphering.enveloped else CIPHERING_OCTETS

    @property
    def _uses_general_blocks(self) -> bool:
        return self.granted is not None and Conformance.GENERAL_BLOCK_TRANSFER in self.granted.conformance

    # -- association --------------------------------------------------------------------------------------------------

    def _take_association(self, apdu: Apdu) -> None:
        if isinstance(apdu, ExceptionResponse | ConfirmedServiceError):
            self._refuse(AssociationResult.REJECTED_PERMANENT, apdu.words)
            return
        if not isinstance(apdu, acse.AssociationResponse):
            raise RemoteProtocolError(f"found {type(apdu).__name__}, expected AARE")
        if apdu.result is not AssociationResult.ACCEPTED:
            self._refuse(apdu.result, f"{apdu.result.word}: {apdu.diagnostic_word}{service_error_of(apdu)}")
            return
        granted = self._handshake.accept(apdu)
        if self._association.mechanism < Mechanism.HIGH:
            self._accept(granted)
            return
        self._step(ClientStep.CHALLENGED)
        self._proposed = granted
        self._send_apdu(self._handshake.prove())

    def _take_proof(self, apdu: Apdu) -> None:
        if isinstance(apdu, ExceptionResponse | ConfirmedServiceError):
            self._refuse(AssociationResult.REJECTED_PERMANENT, apdu.words)
            return
        if not isinstance(apdu, ActionResponseNormal | ReadResponse) or self._proposed is None:
            raise RemoteProtocolError(f"found {type(apdu).__name__}, expected the meter's proof")
        trouble = self._handshake.verify(apdu)
        if trouble is not None:
            self._refuse(AssociationResult.REJECTED_PERMANENT, f"authentication-failure: {trouble}")
        else:
            self._accept(self._proposed)

    def _accept(self, granted: Associated) -> None:
        self._step(ClientStep.ACCEPTED)
        self.granted = granted
        self._events.append(granted)

    def _refuse(self, result: AssociationResult, words: str) -> None:
        self._step(ClientStep.REFUSED)
        self._events.append(AssociationRefused(result, words))
        self._link.close()

    def _release(self) -> None:
        without = self._quirks.release_without_rlrq or self._association.pre_established
        if self.state is ClientState.ASSOCIATED and not without:
            self._step(ClientStep.RELEASE)
            self._link.send_apdu(self._handshake.release())
        else:
            self._step(ClientStep.CLOSE)
            self._link.close()

    def _take_release(self, apdu: Apdu) -> None:
        if isinstance(apdu, acse.ReleaseResponse):
            self._events.append(Released(apdu.reason))
        elif isinstance(apdu, ExceptionResponse | ConfirmedServiceError):
            self._events.append(apdu)  # The meter does not know RLRQ; the link is closed all the same.
        else:
            raise RemoteProtocolError(f"found {type(apdu).__name__}, expected RLRE")
        self._step(ClientStep.RELEASED)
        self._link.close()

    # -- services -----------------------------------------------------------------------------------------------------

    def _request(self, request: Service) -> None:
        granted = self.granted
        if granted is None or self.state is not ClientState.ASSOCIATED:
            raise LocalProtocolError(f"cannot send {type(request).__name__} while {self.state.value}")
        self._invoke_id = self._invoke_id % 15 + 1
        fixed = self._quirks.fixed_invoke_id
        octets = granted.pdu_octets_max - self._protection_octets
        if self._uses_general_blocks:
            octets = LONG_OCTETS_MAX  # What is longer than the meter's PDU goes in general blocks, whatever it is.
        invoke = Invoke(self._invoke_id if fixed is None else fixed)
        set_blocks = Conformance.BLOCK_TRANSFER_WITH_SET_OR_WRITE in granted.conformance
        action_blocks = Conformance.BLOCK_TRANSFER_WITH_ACTION in granted.conformance
        exchange: Exchange
        if self._association.uses_short_names:
            exchange = begin_short(request, self.short_names, octets, set_blocks)
        elif isinstance(request, ActList):
            exchange = ActListExchange(request, invoke, octets, action_blocks)
        elif isinstance(request, Access):
            exchange = AccessExchange(request, invoke.id, octets)
        else:
            exchange = begin(request, invoke, octets, set_blocks, action_blocks)
        first = exchange.start()
        self._step(ClientStep.REQUEST)
        self._exchange = exchange
        self._send_apdu(first)

    def _take_reply(self, exchange: Exchange, apdu: Apdu) -> None:
        if isinstance(apdu, ExceptionResponse | ConfirmedServiceError):
            self._finish(apdu)
            return
        try:
            outcome = exchange.receive(apdu)
        except LateAnswerError:
            raise
        except RemoteProtocolError:
            self._abandon()
            raise
        if isinstance(outcome, bytes):
            self._send_apdu(outcome)
        else:
            self._finish(outcome)

    def _abandon(self) -> None:
        """The answer came and was wrong: no other one will come, so the next request may be sent."""
        if self.state is ClientState.AWAITING_REPLY:
            self._step(ClientStep.REPLY)
            self._exchange = None

    def _finish(self, outcome: Event) -> None:
        self._step(ClientStep.REPLY)
        self._exchange = None
        self._events.append(outcome)

    def _step(self, step: ClientStep) -> None:
        try:
            self.state = CLIENT_TRANSITIONS[self.state, step]
        except KeyError:
            raise LocalProtocolError(f"{step.value} is impossible while {self.state.value}") from None
