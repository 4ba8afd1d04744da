"""Association control: AARQ, AARE, RLRQ and RLRE (IEC 62056-5-3; ISO/IEC 15954).

They are BER; their user-information is an xDLMS APDU, perhaps ciphered, kept here as octets. No secret is in a repr.
"""

from dataclasses import dataclass, field
from enum import IntEnum

from protocols.dlms.ber import decode_tlvs, encode_tlv
from protocols.dlms.codes import AssociationResult, ServiceProviderDiagnostic, ServiceUserDiagnostic
from protocols.dlms.quirks import STRICT, Quirks
from protocols.errors import RemoteProtocolError

AARQ, AARE, RLRQ, RLRE = 0x60, 0x61, 0x62, 0x63
_CONTEXT_OID = bytes.fromhex("608574050801")  # 2.16.756.5.8.1, the last arc follows
_MECHANISM_OID = bytes.fromhex("608574050802")  # 2.16.756.5.8.2
_AUTHENTICATION_UNIT = b"\x07\x80"  # one bit, set: the authentication functional unit


class Context(IntEnum):
    """Application context names: referencing by logical or short names, ciphered or not."""

    LN = 1
    SN = 2
    LN_CIPHERED = 3
    SN_CIPHERED = 4


class Mechanism(IntEnum):
    """Authentication mechanisms; from HIGH on, four passes with challenges."""

    NONE = 0
    LOW = 1
    HIGH = 2
    HIGH_MD5 = 3
    HIGH_SHA1 = 4
    HIGH_GMAC = 5
    HIGH_SHA256 = 6
    HIGH_ECDSA = 7


@dataclass(frozen=True, slots=True)
class AssociationRequest:
    """AARQ. ``authentication_value`` is the password (LOW) or the client's challenge (HIGH…)."""

    context: Context
    user_information: bytes | None
    mechanism: Mechanism = Mechanism.NONE
    authentication_value: bytes | None = field(default=None, repr=False)
    calling_ap_title: bytes | None = None
    calling_ae_invocation_id: int | None = None

    def encode(self) -> bytes:
        """Return the APDU."""
        parts = [encode_tlv(0xA1, encode_tlv(0x06, _CONTEXT_OID + bytes((self.context,))))]
        if self.calling_ap_title is not None:
            parts.append(encode_tlv(0xA6, encode_tlv(0x04, self.calling_ap_title)))
        if self.calling_ae_invocation_id is not None:
            parts.append(encode_tlv(0xA9, encode_tlv(0x02, bytes((self.calling_ae_invocation_id,)))))
        if self.mechanism is not Mechanism.NONE:
            parts.append(encode_tlv(0x8A, _AUTHENTICATION_UNIT))
            parts.append(encode_tlv(0x8B, _MECHANISM_OID + bytes((self.mechanism,))))
            parts.append(encode_tlv(0xAC, encode_tlv(0x80, self.authentication_value or b"")))
        if self.user_information is not None:
            parts.append(encode_tlv(0xBE, encode_tlv(0x04, self.user_information)))
        return encode_tlv(AARQ, b"".join(parts))


@dataclass(frozen=True, slots=True)
class AssociationResponse:
    """AARE. The diagnostic is of the service user or, when ``by_provider``, of the service provider."""

    context: Context
    result: AssociationResult
    diagnostic: int
    user_information: bytes | None
    by_provider: bool = False
    mechanism: Mechanism = Mechanism.NONE
    authentication_value: bytes | None = field(default=None, repr=False)
    responding_ap_title: bytes | None = None
    tolerated: bool = False
    """Whether a quirk was needed to read it."""

    @property
    def diagnostic_word(self) -> str:
        """The diagnostic in the standard's words."""
        table = ServiceProviderDiagnostic if self.by_provider else ServiceUserDiagnostic
        known = table.lookup(self.diagnostic)
        return known.word if known is not None else f"diagnostic {self.diagnostic}"

    def encode(self) -> bytes:
        """Return the APDU."""
        diagnostic = encode_tlv(0xA2 if self.by_provider else 0xA1, encode_tlv(0x02, bytes((self.diagnostic,))))
        parts = [
            encode_tlv(0xA1, encode_tlv(0x06, _CONTEXT_OID + bytes((self.context,)))),
            encode_tlv(0xA2, encode_tlv(0x02, bytes((self.result,)))),
            encode_tlv(0xA3, diagnostic),
        ]
        if self.responding_ap_title is not None:
            parts.append(encode_tlv(0xA4, encode_tlv(0x04, self.responding_ap_title)))
        if self.mechanism is not Mechanism.NONE:
            parts.append(encode_tlv(0x88, _AUTHENTICATION_UNIT))
            parts.append(encode_tlv(0x89, _MECHANISM_OID + bytes((self.mechanism,))))
            if self.authentication_value is not None:
                parts.append(encode_tlv(0xAA, encode_tlv(0x80, self.authentication_value)))
        if self.user_information is not None:
            parts.append(encode_tlv(0xBE, encode_tlv(0x04, self.user_information)))
        return encode_tlv(AARE, b"".join(parts))


@dataclass(frozen=True, slots=True)
class ReleaseRequest:
    """RLRQ; reason 0 is normal, 1 urgent, 30 user-defined."""

    reason: int | None = 0
    user_information: bytes | None = None

    def encode(self) -> bytes:
        """Return the APDU."""
        return _encode_release(RLRQ, self.reason, self.user_information)


@dataclass(frozen=True, slots=True)
class ReleaseResponse:
    """RLRE; reason 0 is normal, 1 not finished, 30 user-defined."""

    reason: int | None = 0
    user_information: bytes | None = None

    def encode(self) -> bytes:
        """Return the APDU."""
        return _encode_release(RLRE, self.reason, self.user_information)


def _encode_release(tag: int, reason: int | None, user_information: bytes | None) -> bytes:
    content = b"" if reason is None else encode_tlv(0x80, bytes((reason,)))
    if user_information is not None:
        content += encode_tlv(0xBE, encode_tlv(0x04, user_information))
    return encode_tlv(tag, content)


def decode_aarq(octets: bytes) -> AssociationRequest:
    """Decode an AARQ; RemoteProtocolError when it is broken."""
    elements = _elements(octets, AARQ)
    invocation = _inner(elements.get(0xA9), 0x02)
    return AssociationRequest(
        context=_context(elements.get(0xA1)),
        user_information=_inner(elements.get(0xBE), 0x04),
        mechanism=_mechanism(elements.get(0x8B)),
        authentication_value=_inner(elements.get(0xAC), 0x80),
        calling_ap_title=_inner(elements.get(0xA6), 0x04),
        calling_ae_invocation_id=None if invocation is None else int.from_bytes(invocation, "big"),
    )


def decode_aare(octets: bytes, quirks: Quirks = STRICT) -> AssociationResponse:
    """Decode an AARE; RemoteProtocolError when it is broken beyond what ``quirks`` allow."""
    tolerated = False
    try:
        elements = _elements(octets, AARE)
        user_information = _inner(elements.get(0xBE), 0x04)
    except RemoteProtocolError:
        mended = _mend_user_information(octets) if quirks.user_information_length_off_by_one else None
        if mended is None:
            raise
        tolerated = True
        elements = _elements(mended, AARE)
        user_information = _inner(elements.get(0xBE), 0x04)
    by_provider, diagnostic = _diagnostic(elements.get(0xA3))
    result = AssociationResult.lookup(_number(elements.get(0xA2), "association-result"))
    if result is None:
        raise RemoteProtocolError("association-result of AARE is none of 0, 1, 2")
    return AssociationResponse(
        context=_context(elements.get(0xA1)),
        result=result,
        diagnostic=diagnostic,
        user_information=user_information,
        by_provider=by_provider,
        mechanism=_mechanism(elements.get(0x89)),
        authentication_value=_inner(elements.get(0xAA), 0x80),
        responding_ap_title=_inner(elements.get(0xA4), 0x04),
        tolerated=tolerated,
    )


def decode_rlrq(octets: bytes) -> ReleaseRequest:
    """Decode an RLRQ; RemoteProtocolError when it is broken."""
    return ReleaseRequest(*_release(octets, RLRQ))


def decode_rlre(octets: bytes, quirks: Quirks = STRICT) -> ReleaseResponse:
    """Decode an RLRE; RemoteProtocolError when it is broken beyond what ``quirks`` allow."""
    try:
        return ReleaseResponse(*_release(octets, RLRE))
    except RemoteProtocolError:
        mended = _mend_user_information(octets) if quirks.user_information_length_off_by_one else None
        if mended is None:
            raise
        return ReleaseResponse(*_release(mended, RLRE))


def _release(octets: bytes, tag: int) -> tuple[int | None, bytes | None]:
    elements = _elements(octets, tag)
    reason = elements.get(0x80)
    return (None if reason is None else int.from_bytes(reason[:4], "big")), _inner(elements.get(0xBE), 0x04)


def _elements(octets: bytes, tag: int) -> dict[int, bytes]:
    """Return the elements of the one APDU in ``octets``, by tag; what the stack does not use is kept, too."""
    outer = list(decode_tlvs(octets))
    if len(outer) != 1 or outer[0][0] != tag:
        found = ", ".join(f"{found:02x}" for found, _ in outer[:4]) or "nothing"
        raise RemoteProtocolError(f"found elements {found}, expected one {tag:02x}", offset=0)
    return dict(decode_tlvs(outer[0][1]))


def _inner(element: bytes | None, tag: int) -> bytes | None:
    """Return the content of the one ``tag`` inside ``element``."""
    if element is None:
        return None
    inner = list(decode_tlvs(element))
    if len(inner) != 1 or inner[0][0] != tag:
        raise RemoteProtocolError(f"found {element[:8].hex() or 'nothing'}, expected one element {tag:02x}")
    return inner[0][1]


def _number(element: bytes | None, what: str) -> int:
    content = _inner(element, 0x02)
    if not content or len(content) > 4:
        raise RemoteProtocolError(f"{what} is missing or too long")
    return int.from_bytes(content, "big")


def _context(element: bytes | None) -> Context:
    oid = _inner(element, 0x06) or b""
    if len(oid) == 7 and oid.startswith(_CONTEXT_OID) and oid[6] in Context._value2member_map_:
        return Context(oid[6])
    raise RemoteProtocolError(f"application context {oid.hex() or 'missing'} is none of DLMS (60857405080101 to …04)")


def _mechanism(oid: bytes | None) -> Mechanism:
    if oid is None:
        return Mechanism.NONE
    if len(oid) == 7 and oid.startswith(_MECHANISM_OID) and oid[6] in Mechanism._value2member_map_:
        return Mechanism(oid[6])
    raise RemoteProtocolError(f"mechanism {oid.hex()} is none of DLMS (60857405080200 to …07)")


def _diagnostic(element: bytes | None) -> tuple[bool, int]:
    inner = list(decode_tlvs(element or b""))
    if len(inner) != 1 or inner[0][0] not in (0xA1, 0xA2):
        raise RemoteProtocolError("result-source-diagnostic of AARE is missing or none of a1, a2")
    return inner[0][0] == 0xA2, _number(inner[0][1], "result-source-diagnostic")


def _mend_user_information(octets: bytes) -> bytes | None:
    """Return an AARE or RLRE whose three lengths around the user-information are one too small, mended, or None.

    Landis+Gyr E650 counts the tag of the conformance block as one octet (5F) where it sends two (5F 1F).
    """
    place = octets.rfind(b"\xbe", 2)
    while place > 0:
        rest = octets[place + 4 :]
        if octets[place + 1 : place + 4] == bytes((len(rest) + 1 & 0xFF, 0x04, len(rest) - 1 & 0xFF)):
            return encode_tlv(octets[0], octets[2:place] + encode_tlv(0xBE, encode_tlv(0x04, rest)))
        place = octets.rfind(b"\xbe", 2, place)
    return None
