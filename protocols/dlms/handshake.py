"""How an association is opened, on the client's side: AARQ, AARE, and for the HIGH mechanisms the two proofs.

Pure but for the counters that protection uses up.
"""

from protocols.dlms import acse, axdr
from protocols.dlms.acse import Mechanism
from protocols.dlms.association import Association
from protocols.dlms.codes import ActionResult, DataAccessResult
from protocols.dlms.data import octets, octets_of
from protocols.dlms.hls import Proof
from protocols.dlms.octets import Cursor
from protocols.dlms.protection import Protection
from protocols.dlms.quirks import Quirks
from protocols.dlms.services import Associated
from protocols.dlms.short_names import PARAMETER, REPLY_TO_HLS_NAME
from protocols.dlms.xdlms.action import ActionRequestNormal, ActionResponseNormal
from protocols.dlms.xdlms.initiate import InitiateRequest, InitiateResponse, decode_initiate_response
from protocols.dlms.xdlms.references import Attribute, Invoke, Selection
from protocols.dlms.xdlms.refusals import CONFIRMED_SERVICE_ERROR, ConfirmedServiceError
from protocols.dlms.xdlms.short import ReadRequest, ReadResponse, Variable
from protocols.errors import RemoteProtocolError
from protocols.obis import Obis

REPLY_TO_HLS = Attribute(15, Obis(0, 0, 40, 0, 0), 1)  # Blue Book 4.4.4: reply_to_HLS_authentication


class Handshake:
    """One client's way to an association."""

    def __init__(self, association: Association, protection: Protection | None, quirks: Quirks) -> None:
        self._association = association
        self._protection = protection
        self._quirks = quirks
        self._server_challenge = b""

    def request(self) -> bytes:
        """Return the AARQ."""
        association, ciphering = self._association, self._association.ciphering
        if self._protection is not None:
            self._protection.restart()
        value = association.secret if association.mechanism is Mechanism.LOW else association.challenge
        return acse.AssociationRequest(
            context=association.context,
            user_information=self._initiate(),
            mechanism=association.mechanism,
            authentication_value=None if association.mechanism is Mechanism.NONE else value,
            calling_ap_title=None if ciphering is None else ciphering.title,
        ).encode()

    def release(self) -> bytes:
        """Return the RLRQ; in a ciphered association it proves who asks (IEC 62056-5-3)."""
        return acse.ReleaseRequest(0, self._initiate() if self._association.is_ciphered else None).encode()

    def _initiate(self) -> bytes:
        association = self._association
        key = association.ciphering.dedicated_key if association.ciphering and association.is_ciphered else None
        initiate = InitiateRequest(association.conformance, association.pdu_octets_max, key).encode()
        if association.is_ciphered and self._protection is not None:
            return self._protection.seal(initiate)
        return initiate

    def accept(self, response: acse.AssociationResponse) -> Associated:
        """Return what an accepting AARE grants; RemoteProtocolError when it is not what was asked for."""
        association = self._association
        if response.context is not association.context and not self._quirks.any_context_in_aare:
            raise RemoteProtocolError(f"AARE grants {response.context.name}, expected {association.context.name}")
        needs_title = association.is_ciphered or association.mechanism >= Mechanism.HIGH_GMAC
        if self._protection is not None and (needs_title or response.responding_ap_title is not None):
            self._protection.learn_title(response.responding_ap_title)
        granted = self._granted(response)
        if association.mechanism >= Mechanism.HIGH:
            self._server_challenge = response.authentication_value or b""
            if not self._server_challenge or self._server_challenge == association.challenge:
                raise RemoteProtocolError("AARE brings no challenge of the meter's own")
        return Associated(
            conformance=granted.conformance & association.conformance,
            pdu_octets_max=granted.pdu_octets_max or 0xFFFF,
            mechanism=association.mechanism,
            server_title=response.responding_ap_title,
        )

    def _granted(self, response: acse.AssociationResponse) -> InitiateResponse:
        information = response.user_information or b""
        if self._association.is_ciphered and self._protection is not None:
            information = self._protection.open(information)
            if self._association.ciphering and self._association.ciphering.dedicated_key is not None:
                self._protection.use_dedicated_key(self._association.ciphering.dedicated_key)
        if information[:1] != bytes((InitiateResponse.TAG,)):
            raise RemoteProtocolError("an accepting AARE without an initiate-response")
        return decode_initiate_response(Cursor(information, 1))

    def prove(self) -> bytes:
        """Return pass 3: the action that proves the secret to the meter, not yet protected."""
        counter = 0
        if self._association.mechanism is Mechanism.HIGH_GMAC and self._protection is not None:
            counter = self._protection.take_counter()
        proof = self._proof(ours=True).make(counter, self._association.signer)
        if self._association.uses_short_names:
            return ReadRequest((Variable(REPLY_TO_HLS_NAME, Selection(PARAMETER, octets(proof))),)).encode()
        return ActionRequestNormal(Invoke(1), REPLY_TO_HLS, axdr.encode(octets(proof))).encode()

    def verify(self, response: ActionResponseNormal | ReadResponse) -> str | None:
        """Take pass 4; return None when the meter took our proof and proved itself, else why not, in words."""
        returned: object
        if isinstance(response, ReadResponse):
            returned = response.results[0] if len(response.results) == 1 else None
            refused = isinstance(returned, DataAccessResult)
            words = returned.word if isinstance(returned, DataAccessResult) else ""
        else:
            returned, refused = response.returned, response.result is not ActionResult.SUCCESS
            words = response.result.word
        if refused:
            return f"the meter refused the proof: {words}"
        if not isinstance(returned, bytes):
            return "the meter proved nothing itself"
        try:
            self._proof(ours=False).verify(octets_of(axdr.decode(returned)), self._association.signer)
        except RemoteProtocolError as error:
            return str(error)
        return None

    def _proof(self, *, ours: bool) -> Proof:
        """Return what our proof (pass 3) or the meter's (pass 4) is made from."""
        association, ciphering = self._association, self._association.ciphering
        client, server = association.challenge, self._server_challenge
        our_title = ciphering.title if ciphering is not None else b""
        their_title = (self._protection.peer_title if self._protection is not None else None) or b""
        return Proof(
            mechanism=association.mechanism,
            received=server if ours else client,
            sent=client if ours else server,
            prover_title=our_title if ours else their_title,
            verifier_title=their_title if ours else our_title,
            secret=association.secret,
            keys=ciphering.keys if ciphering is not None else None,
            suite=ciphering.control.suite if ciphering is not None else 0,
        )


def service_error_of(response: acse.AssociationResponse) -> str:
    """Return what a confirmed-service-error inside a rejecting AARE says more, in brackets; empty without one."""
    information = response.user_information or b""
    if len(information) == 4 and information[0] == CONFIRMED_SERVICE_ERROR:
        return f" ({ConfirmedServiceError(*information[1:]).words})"
    return ""
