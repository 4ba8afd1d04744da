"""How a meter admits a client: AARQ judged by a policy, AARE, and for the HIGH mechanisms the two proofs."""

from dataclasses import dataclass, field
from hmac import compare_digest

from protocols.dlms import acse, axdr
from protocols.dlms.acse import Mechanism
from protocols.dlms.association import CHALLENGE_OCTETS_MAX, CHALLENGE_OCTETS_MIN, Policy
from protocols.dlms.ciphering import KEY_OCTETS
from protocols.dlms.codes import ActionResult, AssociationResult, DataAccessResult, ServiceUserDiagnostic
from protocols.dlms.conformance import Conformance
from protocols.dlms.data import octets, octets_of
from protocols.dlms.handshake import REPLY_TO_HLS
from protocols.dlms.hls import Proof
from protocols.dlms.octets import Cursor
from protocols.dlms.protection import Protection
from protocols.dlms.short_names import REPLY_TO_HLS_NAME
from protocols.dlms.xdlms.action import ActionRequestNormal, ActionResponseNormal
from protocols.dlms.xdlms.initiate import (
    DLMS_VERSION,
    PDU_OCTETS_MIN,
    VAA_LOGICAL_NAMES,
    VAA_SHORT_NAMES,
    InitiateRequest,
    InitiateResponse,
    decode_initiate_request,
)
from protocols.dlms.xdlms.refusals import ConfirmedServiceError
from protocols.dlms.xdlms.short import ReadRequest, ReadResponse
from protocols.errors import RemoteProtocolError

_U = ServiceUserDiagnostic


@dataclass(frozen=True, slots=True)
class Denied:
    """The AARE that refuses, and why in the standard's words."""

    aare: bytes
    words: str


@dataclass(frozen=True, slots=True)
class Admitted:
    """The AARE that accepts, what was agreed, and, for HIGH mechanisms, the challenges still to be answered."""

    aare: bytes
    conformance: Conformance
    pdu_octets: int
    client_challenge: bytes = field(default=b"", repr=False)
    server_challenge: bytes = field(default=b"", repr=False)


def admit(
    request: acse.AssociationRequest, policy: Policy, protection: Protection | None, challenge: bytes
) -> Admitted | Denied:
    """Judge an AARQ. ``challenge`` is fresh chance for the HIGH mechanisms."""
    refusal = _check(request, policy)
    if refusal is not None:
        return deny(request, refusal)
    try:
        initiate = _initiate(request, policy, protection)
    except RemoteProtocolError:
        return deny(request, _U.AUTHENTICATION_FAILURE if policy.is_ciphered else _U.NO_REASON_GIVEN)
    conformance = initiate.conformance & policy.conformance
    trouble = _trouble(initiate, conformance)
    if trouble is not None:
        return deny(request, _U.NO_REASON_GIVEN, trouble.encode())
    vaa = VAA_SHORT_NAMES if policy.uses_short_names else VAA_LOGICAL_NAMES
    granted = InitiateResponse(conformance, policy.pdu_octets_max, vaa).encode()
    if policy.is_ciphered and protection is not None:
        granted = protection.seal(granted)
        if initiate.dedicated_key is not None:
            protection.use_dedicated_key(initiate.dedicated_key)
    high = policy.mechanism >= Mechanism.HIGH
    response = acse.AssociationResponse(
        context=request.context,
        result=AssociationResult.ACCEPTED,
        diagnostic=_U.AUTHENTICATION_REQUIRED if high else _U.NULL,
        user_information=granted,
        mechanism=policy.mechanism if high else Mechanism.NONE,
        authentication_value=challenge if high else None,
        responding_ap_title=policy.ciphering.title if policy.ciphering is not None else None,
    )
    return Admitted(
        aare=response.encode(),
        conformance=conformance,
        pdu_octets=initiate.pdu_octets_max or 0xFFFF,
        client_challenge=(request.authentication_value or b"") if high else b"",
        server_challenge=challenge if high else b"",
    )


def deny(
    request: acse.AssociationRequest, diagnostic: ServiceUserDiagnostic, user_information: bytes | None = None
) -> Denied:
    """Refuse an AARQ for ``diagnostic``."""
    rejected = AssociationResult.REJECTED_PERMANENT
    response = acse.AssociationResponse(request.context, rejected, diagnostic, user_information)
    return Denied(response.encode(), diagnostic.word)


def answer_proof(
    request: object, policy: Policy, protection: Protection | None, admitted: Admitted
) -> tuple[bytes | None, str]:
    """Judge pass 3; return pass 4 and no words, or a refusal and why. No answer when it is no proof at all."""
    found = _proof_in(request)
    if found is None:
        return None, "anything but the proof"
    keys = policy.ciphering.keys if policy.ciphering is not None else None
    ours = policy.ciphering.title if policy.ciphering is not None else b""
    theirs = (protection.peer_title if protection is not None else None) or b""
    suite = policy.ciphering.control.suite if policy.ciphering is not None else 0
    client, server = admitted.client_challenge, admitted.server_challenge
    theirs_proof = Proof(policy.mechanism, server, client, theirs, ours, policy.secret, keys, suite)
    try:
        theirs_proof.verify(octets_of(axdr.decode(found)), policy.signer)
    except RemoteProtocolError as error:
        if isinstance(request, ActionRequestNormal):
            return ActionResponseNormal(request.invoke, ActionResult.OTHER_REASON).encode(), str(error)
        return ReadResponse((DataAccessResult.OTHER_REASON,)).encode(), str(error)
    high_gmac = policy.mechanism is Mechanism.HIGH_GMAC and protection is not None
    counter = protection.take_counter() if high_gmac and protection is not None else 0
    proof = Proof(policy.mechanism, client, server, ours, theirs, policy.secret, keys, suite).make(
        counter, policy.signer
    )
    returned = axdr.encode(octets(proof))
    if isinstance(request, ActionRequestNormal):
        return ActionResponseNormal(request.invoke, ActionResult.SUCCESS, returned).encode(), ""
    return ReadResponse((returned,)).encode(), ""


def _proof_in(request: object) -> bytes | None:
    """Return the A-XDR octets of the proof that pass 3 brings, by logical or short name; None if it brings none."""
    if isinstance(request, ActionRequestNormal) and request.method == REPLY_TO_HLS:
        return request.parameter
    if isinstance(request, ReadRequest) and len(request.variables) == 1:
        (variable,) = request.variables
        if variable.name == REPLY_TO_HLS_NAME and variable.selection is not None:
            return axdr.encode(variable.selection.parameters)
    return None


def _check(request: acse.AssociationRequest, policy: Policy) -> ServiceUserDiagnostic | None:
    """Return why ``policy`` refuses ``request``, or None."""
    if request.context is not policy.context:
        return _U.APPLICATION_CONTEXT_NAME_NOT_SUPPORTED
    if policy.mechanism is not Mechanism.NONE and request.mechanism is Mechanism.NONE:
        return _U.AUTHENTICATION_REQUIRED
    if request.mechanism is not policy.mechanism:
        return _U.AUTHENTICATION_MECHANISM_NAME_NOT_RECOGNISED
    value = request.authentication_value or b""
    if policy.mechanism is Mechanism.LOW and not compare_digest(value, policy.secret):
        return _U.AUTHENTICATION_FAILURE
    if policy.mechanism >= Mechanism.HIGH and not CHALLENGE_OCTETS_MIN <= len(value) <= CHALLENGE_OCTETS_MAX:
        return _U.AUTHENTICATION_FAILURE
    return None


def _initiate(request: acse.AssociationRequest, policy: Policy, protection: Protection | None) -> InitiateRequest:
    information = request.user_information or b""
    if protection is not None:
        protection.restart()
        protection.learn_title(request.calling_ap_title)
        if policy.is_ciphered:
            information = protection.open(information)
    if information[:1] != bytes((InitiateRequest.TAG,)):
        raise RemoteProtocolError("an AARQ without an initiate-request")
    initiate = decode_initiate_request(Cursor(information, 1))
    key = initiate.dedicated_key
    if key is not None and policy.ciphering is not None and len(key) != KEY_OCTETS[policy.ciphering.control.suite]:
        raise RemoteProtocolError(f"a dedicated key of {len(key)} octets")
    return initiate


def _trouble(initiate: InitiateRequest, conformance: Conformance) -> ConfirmedServiceError | None:
    """Return what is wrong with a proposal, as the service error of initiate (service 1, class 6)."""
    if initiate.version < DLMS_VERSION:
        return ConfirmedServiceError(1, 6, 1)
    if not conformance:
        return ConfirmedServiceError(1, 6, 2)
    if 0 < initiate.pdu_octets_max < PDU_OCTETS_MIN:
        return ConfirmedServiceError(1, 6, 3)
    return None
