"""What a client brings to an association, what a server demands of it, and the states of both as tables."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from protocols.dlms.acse import Context, Mechanism
from protocols.dlms.conformance import LOGICAL_NAMES, Conformance
from protocols.dlms.hls import Signer
from protocols.dlms.protection import Ciphering
from protocols.dlms.xdlms.initiate import PDU_OCTETS_MIN
from protocols.errors import LocalProtocolError
from protocols.obis import Obis

SHORT_CONTEXTS = frozenset({Context.SN, Context.SN_CIPHERED})
CIPHERED_CONTEXTS = frozenset({Context.LN_CIPHERED, Context.SN_CIPHERED})
CHALLENGE_OCTETS_MIN, CHALLENGE_OCTETS_MAX = 8, 64  # IEC 62056-5-3 (Green Book 9.2)


@dataclass(frozen=True, slots=True)
class Association:
    """The client's proposal. ``pdu_octets_max`` is the longest APDU it takes.

    ``secret`` is the password for LOW and the shared secret for HIGH, HIGH_MD5, HIGH_SHA1 and HIGH_SHA256. For all
    HIGH mechanisms ``challenge`` is 8 to 64 octets of the caller's chance, new for each association. ``ciphering``
    brings keys, system title and counters: HIGH_GMAC needs them, and ``context`` LN_CIPHERED protects every APDU with
    them. HIGH_ECDSA needs ``signer``. With context SN, give ``conformance=SHORT_NAMES`` and the base names that are
    known; the client's ``short_names`` learn the rest from the object list.
    """

    mechanism: Mechanism = Mechanism.NONE
    secret: bytes = field(default=b"", repr=False)
    conformance: Conformance = LOGICAL_NAMES
    pdu_octets_max: int = 0xFFFF
    context: Context = Context.LN
    challenge: bytes = field(default=b"", repr=False)
    ciphering: Ciphering | None = None
    signer: Signer | None = None
    short_names: Mapping[tuple[int, Obis], int] = field(default_factory=dict)
    general_block_window: int = 3
    """Blocks taken in one turn, if conformance GENERAL_BLOCK_TRANSFER is granted; over HDLC always 1."""
    pre_established: bool = False
    """The association is there with the link, by agreement outside of the protocol: no AARQ, no RLRQ."""

    @property
    def is_ciphered(self) -> bool:
        """Whether every APDU is protected."""
        return self.context in CIPHERED_CONTEXTS

    @property
    def uses_short_names(self) -> bool:
        """Whether services are READ and WRITE."""
        return self.context in SHORT_CONTEXTS

    def __post_init__(self) -> None:
        _require_services(self.context, self.conformance)
        if self.pre_established and self.mechanism is not Mechanism.NONE:
            raise LocalProtocolError("a pre-established association has no authentication of its own")
        if self.pdu_octets_max and not PDU_OCTETS_MIN <= self.pdu_octets_max <= 0xFFFF:
            raise LocalProtocolError(f"pdu_octets_max {self.pdu_octets_max}: expected 0 or {PDU_OCTETS_MIN} to 65535")
        high = self.mechanism >= Mechanism.HIGH
        if high and not CHALLENGE_OCTETS_MIN <= len(self.challenge) <= CHALLENGE_OCTETS_MAX:
            raise LocalProtocolError(f"{self.mechanism.name} needs a challenge of 8 to 64 octets")
        _require_keys(self.mechanism, self.context, self.ciphering, self.signer)


@dataclass(frozen=True, slots=True)
class Policy:
    """What the server demands of one client SAP, and what it grants."""

    mechanism: Mechanism = Mechanism.NONE
    secret: bytes = field(default=b"", repr=False)
    conformance: Conformance = LOGICAL_NAMES
    pdu_octets_max: int = 0xFFFF
    context: Context = Context.LN
    ciphering: Ciphering | None = None
    signer: Signer | None = None
    short_names: Mapping[tuple[int, Obis], int] = field(default_factory=dict)
    """Base names by class and logical name, for context SN."""
    general_block_window: int = 3
    """Blocks taken in one turn, if conformance GENERAL_BLOCK_TRANSFER is granted; over HDLC always 1."""
    pre_established: bool = False
    """The association is there with the link; then the whole of ``conformance`` is granted."""
    plain_release: bool = False
    """Whether RLRQ without ciphered user-information releases a ciphered association, too (gurux-dlms sends it)."""

    def __post_init__(self) -> None:
        _require_services(self.context, self.conformance)
        _require_keys(self.mechanism, self.context, self.ciphering, self.signer)

    @property
    def is_ciphered(self) -> bool:
        """Whether every APDU is protected."""
        return self.context in CIPHERED_CONTEXTS

    @property
    def uses_short_names(self) -> bool:
        """Whether services are READ and WRITE."""
        return self.context in SHORT_CONTEXTS


def _require_services(context: Context, conformance: Conformance) -> None:
    if context in SHORT_CONTEXTS and not conformance & (Conformance.READ | Conformance.WRITE):
        raise LocalProtocolError(f"context {context.name} needs conformance=SHORT_NAMES (read, write)")


def _require_keys(mechanism: Mechanism, context: Context, ciphering: Ciphering | None, signer: Signer | None) -> None:
    titled = (Mechanism.HIGH_GMAC, Mechanism.HIGH_SHA256, Mechanism.HIGH_ECDSA)
    if ciphering is None and (mechanism in titled or context in CIPHERED_CONTEXTS):
        raise LocalProtocolError(f"{mechanism.name} in context {context.name} needs ciphering: keys and system title")
    if signer is None and mechanism is Mechanism.HIGH_ECDSA:
        raise LocalProtocolError("HIGH_ECDSA needs a signer: our private and the peer's public key")


class ClientState(Enum):
    """Where the client stands."""

    DISCONNECTED = "disconnected"
    LINKING = "opening the link"
    ASSOCIATING = "opening the association"
    AUTHENTICATING = "proving the secret"
    ASSOCIATED = "associated"
    AWAITING_REPLY = "awaiting a reply"
    RELEASING = "closing the association"
    UNLINKING = "closing the link"


class ClientStep(Enum):
    """What moves the client."""

    CONNECT = "connect"
    LINK_UP = "the link is up"
    ACCEPTED = "the association is accepted"
    CHALLENGED = "the association is accepted if the secret is proven"
    REFUSED = "the association is refused"
    REQUEST = "send a request"
    REPLY = "a reply is complete"
    RELEASE = "release the association"
    CLOSE = "close the link"
    RELEASED = "the association is released"
    LINK_DOWN = "the link is down"


_S, _T = ClientState, ClientStep
CLIENT_TRANSITIONS: Mapping[tuple[ClientState, ClientStep], ClientState] = {
    (_S.DISCONNECTED, _T.CONNECT): _S.LINKING,
    (_S.LINKING, _T.LINK_UP): _S.ASSOCIATING,
    (_S.LINKING, _T.ACCEPTED): _S.ASSOCIATED,
    (_S.ASSOCIATING, _T.ACCEPTED): _S.ASSOCIATED,
    (_S.ASSOCIATING, _T.CHALLENGED): _S.AUTHENTICATING,
    (_S.ASSOCIATING, _T.REFUSED): _S.UNLINKING,
    (_S.AUTHENTICATING, _T.ACCEPTED): _S.ASSOCIATED,
    (_S.AUTHENTICATING, _T.REFUSED): _S.UNLINKING,
    (_S.ASSOCIATED, _T.REQUEST): _S.AWAITING_REPLY,
    (_S.AWAITING_REPLY, _T.REPLY): _S.ASSOCIATED,
    (_S.ASSOCIATED, _T.RELEASE): _S.RELEASING,
    (_S.ASSOCIATED, _T.CLOSE): _S.UNLINKING,
    (_S.AWAITING_REPLY, _T.CLOSE): _S.UNLINKING,
    (_S.RELEASING, _T.RELEASED): _S.UNLINKING,
    **{(state, _T.LINK_DOWN): _S.DISCONNECTED for state in ClientState},
}


class ServerState(Enum):
    """Where the association with one client stands, seen from the meter."""

    CLOSED = "no association"
    PENDING = "waiting for the client's proof"
    OPEN = "associated"


class ServerStep(Enum):
    """What moves the association."""

    ACCEPT = "AARQ accepted"
    CHALLENGE = "AARQ accepted if the secret is proven"
    REFUSE = "AARQ refused"
    PROVE = "the client proved the secret"
    RELEASE = "RLRQ"
    LINK_CHANGE = "the link went up or down"


_V, _P = ServerState, ServerStep
SERVER_TRANSITIONS: Mapping[tuple[ServerState, ServerStep], ServerState] = {
    **{(state, _P.ACCEPT): _V.OPEN for state in ServerState},
    **{(state, _P.CHALLENGE): _V.PENDING for state in ServerState},
    **{(state, _P.REFUSE): _V.CLOSED for state in ServerState},
    (_V.PENDING, _P.PROVE): _V.OPEN,
    **{(state, _P.RELEASE): _V.CLOSED for state in ServerState},
    **{(state, _P.LINK_CHANGE): _V.CLOSED for state in ServerState},
}
