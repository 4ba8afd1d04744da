"""Ciphering of APDUs with AES-GCM (IEC 62056-5-3; Green Book 9.2): pure functions and values.

A protected APDU carries a security control byte, an invocation counter and the payload; the nonce is the sender's
system title and that counter. Authenticated, the payload ends in a tag of twelve octets over the security control
byte, the authentication key and, when not encrypted, the payload. Encrypted only, nothing proves anything: then GCM is
counter mode. Suites 0 and 1 have keys of 16 octets, suite 2 of 32. Keys are in no repr and no message.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from protocols.dlms import axdr
from protocols.dlms.octets import Cursor
from protocols.dlms.xdlms import action, get, initiate, notifications, refusals, short
from protocols.dlms.xdlms import set as set_service
from protocols.dlms.xdlms.general_ciphering import GENERAL_CIPHERING, GeneralCiphering, decode_general_ciphering
from protocols.errors import LocalProtocolError, RemoteProtocolError

TAG_OCTETS = 12  # IEC 62056-5-3: the tag is truncated to 96 bits
TITLE_OCTETS = 8  # IEC 62056-5-3: system titles
COUNTER_MAX = 0xFFFF_FFFF  # the invocation counter has 32 bits and never wraps
KEY_OCTETS = {0: 16, 1: 16, 2: 32}  # IEC 62056-5-3: AES-128 in suites 0 and 1, AES-256 in suite 2
GENERAL_GLO, GENERAL_DED = 0xDB, 0xDC

# Plain tag → tag ciphered with the global key (IEC 62056-5-3, abstract syntax); dedicated ones are eight higher,
# those of short names 32.
GLO_TAGS: Mapping[int, int] = {
    initiate.InitiateRequest.TAG: 0x21,
    initiate.InitiateResponse.TAG: 0x28,
    short.READ_REQUEST: 0x25,
    short.WRITE_REQUEST: 0x26,
    short.READ_RESPONSE: 0x2C,
    short.WRITE_RESPONSE: 0x2D,
    refusals.CONFIRMED_SERVICE_ERROR: 0x2E,
    get.REQUEST: 0xC8,
    set_service.REQUEST: 0xC9,
    notifications.EVENT_NOTIFICATION: 0xCA,
    action.REQUEST: 0xCB,
    get.RESPONSE: 0xCC,
    set_service.RESPONSE: 0xCD,
    action.RESPONSE: 0xCF,
}
DED_TAGS: Mapping[int, int] = {
    plain: glo + (8 if glo >= 0xC8 else 0x20)
    for plain, glo in GLO_TAGS.items()
    if plain not in (initiate.InitiateRequest.TAG, initiate.InitiateResponse.TAG)
}
NAMES: Mapping[int, str] = {
    0x21: "glo-initiate-request",
    0x25: "glo-read-request",
    0x26: "glo-write-request",
    0x28: "glo-initiate-response",
    0x2C: "glo-read-response",
    0x2D: "glo-write-response",
    0x2E: "glo-confirmed-service-error",
    0x45: "ded-read-request",
    0x46: "ded-write-request",
    0x4C: "ded-read-response",
    0x4D: "ded-write-response",
    0x4E: "ded-confirmed-service-error",
    0xC8: "glo-get-request",
    0xC9: "glo-set-request",
    0xCA: "glo-event-notification-request",
    0xCB: "glo-action-request",
    0xCC: "glo-get-response",
    0xCD: "glo-set-response",
    0xCF: "glo-action-response",
    0xD0: "ded-get-request",
    0xD1: "ded-set-request",
    0xD2: "ded-event-notification-request",
    0xD3: "ded-action-request",
    0xD4: "ded-get-response",
    0xD5: "ded-set-response",
    0xD7: "ded-action-response",
    GENERAL_GLO: "general-glo-ciphering",
    GENERAL_DED: "general-ded-ciphering",
    GENERAL_CIPHERING: "general-ciphering",
}


@dataclass(frozen=True, slots=True)
class SecurityControl:
    """The security control byte (IEC 62056-5-3)."""

    suite: int = 0
    authenticated: bool = True
    encrypted: bool = True
    broadcast_key: bool = False
    compressed: bool = False

    @property
    def octet(self) -> int:
        """The byte on the wire."""
        flags = self.authenticated << 4 | self.encrypted << 5 | self.broadcast_key << 6 | self.compressed << 7
        return flags | self.suite

    @classmethod
    def of(cls, octet: int) -> "SecurityControl":
        """Return what ``octet`` means; RemoteProtocolError for an unknown suite."""
        if octet & 0x0F not in KEY_OCTETS:
            raise RemoteProtocolError(f"security suite {octet & 0x0F}, expected 0, 1 or 2")
        return cls(octet & 0x0F, *(bool(octet & bit) for bit in (0x10, 0x20, 0x40, 0x80)))


@dataclass(frozen=True, slots=True)
class Keys:
    """The global keys: encryption (block cipher key) and authentication; of one length, by the suite."""

    encryption: bytes = field(repr=False)
    authentication: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class CipheredApdu:
    """A protected APDU as received. ``title`` is there in general ciphering only, ``envelope`` in general-ciphering."""

    tag: int
    control: SecurityControl
    counter: int
    payload: bytes
    title: bytes | None = None
    envelope: GeneralCiphering | None = None

    @property
    def name(self) -> str:
        """The APDU's name in the standard."""
        return NAMES[self.tag]

    def encode(self) -> bytes:
        """Return the APDU."""
        body = bytes((self.control.octet,)) + self.counter.to_bytes(4, "big") + self.payload
        if self.envelope is not None:
            return replace(self.envelope, content=body).encode()
        title = b"" if self.title is None else axdr.encode_length(len(self.title)) + self.title
        return bytes((self.tag,)) + title + axdr.encode_length(len(body)) + body


def is_ciphered(octets: bytes) -> bool:
    """Return whether an APDU is one of the protected ones."""
    return octets[:1] != b"" and octets[0] in NAMES


def decode_ciphered(octets: bytes) -> CipheredApdu:
    """Decode a protected APDU without its keys; RemoteProtocolError when it is broken."""
    if octets[:1] == bytes((GENERAL_CIPHERING,)):
        envelope = decode_general_ciphering(octets)
        inner = Cursor(envelope.content)
        control, counter = SecurityControl.of(inner.u8("a security control byte")), inner.u32("an invocation counter")
        return CipheredApdu(GENERAL_CIPHERING, control, counter, inner.rest(), envelope.originator, envelope)
    cursor = Cursor(octets)
    tag = cursor.u8("a tag")
    if tag not in NAMES:
        raise RemoteProtocolError(f"found tag {tag:#04x}, expected a ciphered APDU", offset=0)
    title = cursor.counted("a system title") if tag in (GENERAL_GLO, GENERAL_DED) else None
    length = cursor.count("a ciphered APDU")
    if length < 5:
        raise RemoteProtocolError("a ciphered APDU too short for its security header", offset=cursor.at)
    control = SecurityControl.of(cursor.u8("a security control byte"))
    counter = cursor.u32("an invocation counter")
    payload = cursor.take(length - 5, "a ciphered payload")
    cursor.end("the ciphered APDU")
    return CipheredApdu(tag, control, counter, payload, title)


def protect(keys: Keys, title: bytes, control: SecurityControl, counter: int, plaintext: bytes) -> bytes:
    """Return the payload that protects ``plaintext``: sender's ``title``, never the same ``counter`` twice.

    LocalProtocolError for a key, title or counter that cannot be.
    """
    _check(keys, title, control, counter)
    nonce = title + counter.to_bytes(4, "big")
    if not control.authenticated:
        return _count(keys.encryption, nonce, plaintext) if control.encrypted else plaintext
    encryptor = Cipher(algorithms.AES(keys.encryption), modes.GCM(nonce)).encryptor()
    head = bytes((control.octet,)) + keys.authentication
    encryptor.authenticate_additional_data(head if control.encrypted else head + plaintext)
    ciphertext = encryptor.update(plaintext if control.encrypted else b"") + encryptor.finalize()
    return (ciphertext if control.encrypted else plaintext) + encryptor.tag[:TAG_OCTETS]


def unprotect(keys: Keys, title: bytes, control: SecurityControl, counter: int, payload: bytes) -> bytes:
    """Return the plaintext in ``payload``; RemoteProtocolError when its tag is short or wrong."""
    _check(keys, title, control, counter)
    nonce = title + counter.to_bytes(4, "big")
    if not control.authenticated:
        return _count(keys.encryption, nonce, payload) if control.encrypted else payload
    if len(payload) < TAG_OCTETS:
        raise RemoteProtocolError(f"{len(payload)} octets are too few for an authentication tag of {TAG_OCTETS}")
    body, tag = payload[:-TAG_OCTETS], payload[-TAG_OCTETS:]
    gcm = modes.GCM(nonce, tag, min_tag_length=TAG_OCTETS)
    decryptor = Cipher(algorithms.AES(keys.encryption), gcm).decryptor()
    head = bytes((control.octet,)) + keys.authentication
    decryptor.authenticate_additional_data(head if control.encrypted else head + body)
    try:
        plaintext = decryptor.update(body if control.encrypted else b"") + decryptor.finalize()
    except InvalidTag as error:
        raise RemoteProtocolError("the authentication tag is wrong: another key, or altered on the way") from error
    return plaintext if control.encrypted else body


def _count(key: bytes, nonce: bytes, octets: bytes) -> bytes:
    """Counter mode as inside GCM: the first block of the payload is number 2 (NIST SP 800-38D, 7.1)."""
    counter = Cipher(algorithms.AES(key), modes.CTR(nonce + b"\0\0\0\2")).encryptor()
    return counter.update(octets) + counter.finalize()


def _check(keys: Keys, title: bytes, control: SecurityControl, counter: int) -> None:
    size = KEY_OCTETS[control.suite]
    if len(keys.encryption) != size or (control.authenticated and len(keys.authentication) != size):
        raise LocalProtocolError(f"suite {control.suite} needs keys of {size} octets")
    if len(title) != TITLE_OCTETS:
        raise LocalProtocolError(f"a system title of {len(title)} octets, expected {TITLE_OCTETS}")
    if control.compressed:
        raise RemoteProtocolError("compressed APDUs are not supported")
    if not 0 <= counter <= COUNTER_MAX:
        raise LocalProtocolError("the invocation counter is used up: change the key")
