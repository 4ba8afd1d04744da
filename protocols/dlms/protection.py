"""The security gate of one ciphered association: what goes out is protected, what comes in must be, at least as well.

Refused, each with its reason and without harm to the association: a plain answer, a security control byte below what
was agreed, another suite, a foreign system title, a tag short or wrong, an invocation counter used before or too far
ahead, and a plaintext that is not what its outer tag says. The counter of received APDUs advances only after a tag
was verified. (Encrypted only, nothing can be verified; then the counter is believed within the limit on jumps.)
"""

from dataclasses import dataclass, field, replace

from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap

from protocols.dlms.ciphering import (
    COUNTER_MAX,
    DED_TAGS,
    GENERAL_DED,
    GENERAL_GLO,
    GLO_TAGS,
    KEY_OCTETS,
    TITLE_OCTETS,
    CipheredApdu,
    Keys,
    SecurityControl,
    decode_ciphered,
    is_ciphered,
    protect,
    unprotect,
)
from protocols.dlms.quirks import STRICT, Quirks
from protocols.dlms.xdlms.general_ciphering import GENERAL_CIPHERING, GeneralCiphering
from protocols.dlms.xdlms.initiate import InitiateRequest, InitiateResponse
from protocols.errors import LocalProtocolError, RemoteProtocolError

_INITIATE = frozenset({InitiateRequest.TAG, InitiateResponse.TAG})  # inside AARQ and AARE, which name the titles
CIPHERING_OCTETS = 32  # the most that protection adds: tag, title, lengths, security header, authentication tag
ENVELOPE_OCTETS = 64  # the same of general-ciphering: titles of both ends, transaction-id, key
COUNTER_JUMP_MAX = 1 << 24  # a meter that counts once a second is this far ahead after half a year of silence


class CounterError(RemoteProtocolError):
    """An invocation counter that cannot be taken; ``last`` is the highest one accepted."""

    def __init__(self, message: str, last: int) -> None:
        super().__init__(message)
        self.last = last


@dataclass(frozen=True, slots=True)
class Ciphering:
    """What one side brings to a ciphered association.

    ``counters`` are the invocation counters this side may use, reserved before by whoever keeps them; it refuses to go
    beyond. ``received_counter`` is the highest one accepted from the peer so far (-1: none). ``peer_title`` may be
    given when known before; else it is taken from AARQ or AARE. With ``dedicated_key`` the client proposes a key for
    this association alone. ``general`` wraps APDUs in general-glo- or general-ded-ciphering.
    """

    keys: Keys
    title: bytes
    counters: range
    received_counter: int = -1
    control: SecurityControl = field(default_factory=SecurityControl)
    peer_title: bytes | None = None
    dedicated_key: bytes | None = field(default=None, repr=False)
    general: bool = False
    enveloped: bool = False
    """Whether APDUs go in general-ciphering, which names both ends; a peer that sends it is answered alike."""
    master_key: bytes | None = field(default=None, repr=False)
    """Opens the keys that a general-ciphering brings wrapped."""
    jump_max: int = COUNTER_JUMP_MAX

    def __post_init__(self) -> None:
        size = KEY_OCTETS[self.control.suite]
        keys = [self.keys.encryption, *([self.keys.authentication] if self.control.authenticated else [])]
        if self.dedicated_key is not None:
            keys.append(self.dedicated_key)
        if any(len(key) != size for key in keys):
            raise LocalProtocolError(f"suite {self.control.suite} needs keys of {size} octets")
        if any(len(title) != TITLE_OCTETS for title in (self.title, self.peer_title or self.title)):
            raise LocalProtocolError(f"system titles have {TITLE_OCTETS} octets")
        if not (self.control.authenticated or self.control.encrypted):
            raise LocalProtocolError("a ciphered association that is neither authenticated nor encrypted")
        if self.counters.step != 1 or not 0 <= self.counters.start <= self.counters.stop <= COUNTER_MAX + 1:
            raise LocalProtocolError(f"counters {self.counters}: expected a range within 0 to 2^32-1, step 1")


class Protection:
    """Protects and opens the APDUs of one association, and keeps its counters."""

    def __init__(self, ciphering: Ciphering, quirks: Quirks = STRICT) -> None:
        self._ciphering = ciphering
        self._quirks = quirks
        self._dedicated: Keys | None = None
        self._received_dedicated = -1
        self._enveloped = ciphering.enveloped
        self._transaction: bytes | None = None  # of the request to be answered
        self._sent_transaction = b""
        self.peer_title = ciphering.peer_title
        self.next_counter = ciphering.counters.start
        """The counter the next APDU takes; whoever keeps counters stores it."""
        self.received_counter = ciphering.received_counter
        """The highest counter accepted from the peer under the global key."""

    def restart(self) -> None:
        """Begin another association: counters go on, what the last one agreed is forgotten."""
        self._dedicated = None
        self._received_dedicated = -1
        self.peer_title = self._ciphering.peer_title

    def learn_title(self, title: bytes | None) -> None:
        """Take the peer's system title from AARQ or AARE; RemoteProtocolError when it is none or another than known."""
        known = self._ciphering.peer_title
        if title is None and known is not None:
            return
        if title is None or len(title) != TITLE_OCTETS:
            raise RemoteProtocolError(f"the peer's system title is missing or has not {TITLE_OCTETS} octets")
        if known is not None and title != known:
            raise RemoteProtocolError(f"system title {title.hex()}, expected {known.hex()}: another meter answers")
        self.peer_title = title

    def take_counter(self) -> int:
        """Return the next counter, used up by that; LocalProtocolError when the reserved ones are."""
        if self.next_counter >= self._ciphering.counters.stop:
            raise LocalProtocolError("the reserved invocation counters are used up: reserve more before sending")
        self.next_counter += 1
        return self.next_counter - 1

    def reserve(self, stop: int) -> None:
        """Allow the counters up to ``stop``, which whoever keeps them has reserved."""
        counters = range(self._ciphering.counters.start, min(stop, COUNTER_MAX + 1))
        if counters.stop < self.next_counter:
            raise LocalProtocolError(f"counter {self.next_counter} is in use already, cannot reserve up to {stop}")
        self._ciphering = replace(self._ciphering, counters=counters)

    def use_dedicated_key(self, key: bytes) -> None:
        """Protect with ``key`` from now on: both sides agreed on it."""
        self._dedicated = Keys(key, self._ciphering.keys.authentication)

    def use_keys(self, keys: Keys) -> None:
        """Protect with new global keys from now on: they were transferred. An open association goes on under them.

        Under a new encryption key the peer may count from anywhere; under the old one it goes on.
        """
        if keys.encryption != self._ciphering.keys.encryption:
            self.received_counter = -1
        self._ciphering = replace(self._ciphering, keys=keys)
        if self._dedicated is not None:
            self._dedicated = Keys(self._dedicated.encryption, keys.authentication)

    def seal(self, plaintext: bytes) -> bytes:
        """Return ``plaintext``, an APDU, protected."""
        ciphering = self._ciphering
        counter = self.take_counter()
        if self._enveloped and plaintext[0] not in _INITIATE:
            return self._envelop(plaintext, counter)
        dedicated = self._dedicated if plaintext[0] in DED_TAGS or ciphering.general else None
        keys = dedicated or ciphering.keys
        payload = protect(keys, ciphering.title, ciphering.control, counter, plaintext)
        title = None
        if ciphering.general and plaintext[0] in DED_TAGS:
            tag, title = (GENERAL_DED if dedicated else GENERAL_GLO), ciphering.title
        else:
            known = (DED_TAGS if dedicated else GLO_TAGS).get(plaintext[0])
            if known is None:
                tag, title = (GENERAL_DED if dedicated else GENERAL_GLO), ciphering.title
            else:
                tag = known
        return CipheredApdu(tag, ciphering.control, counter, payload, title).encode()

    def _envelop(self, plaintext: bytes, counter: int) -> bytes:
        ciphering = self._ciphering
        transaction = self._transaction or counter.to_bytes(8, "big")
        self._transaction, self._sent_transaction = None, transaction
        payload = protect(ciphering.keys, ciphering.title, ciphering.control, counter, plaintext)
        envelope = GeneralCiphering(transaction, ciphering.title, self.peer_title or b"", b"")
        return CipheredApdu(GENERAL_CIPHERING, ciphering.control, counter, payload, ciphering.title, envelope).encode()

    def _check_envelope(self, envelope: GeneralCiphering) -> Keys:
        """Return the keys that ``envelope`` names; RemoteProtocolError when it is for somebody else."""
        keys, master_key = self._ciphering.keys, self._ciphering.master_key
        if envelope.recipient not in (b"", self._ciphering.title):
            raise RemoteProtocolError(f"general-ciphering for {envelope.recipient.hex()}, not for us")
        if envelope.wrapped_key is None:
            return keys
        if master_key is None:
            raise RemoteProtocolError("general-ciphering brings a wrapped key, but no master key is known")
        try:
            key = aes_key_unwrap(master_key, envelope.wrapped_key)
        except (InvalidUnwrap, ValueError) as error:
            raise RemoteProtocolError("the wrapped key is not wrapped by our master key") from error
        if len(key) != len(keys.encryption):
            raise RemoteProtocolError(f"a wrapped key of {len(key)} octets, expected {len(keys.encryption)}")
        return Keys(key, keys.authentication)

    def open(self, octets: bytes) -> bytes:
        """Return the APDU in ``octets``; RemoteProtocolError, with the association unharmed, when the gate refuses."""
        if not is_ciphered(octets):
            found = f"{octets[0]:#04x}" if octets else "nothing"
            raise RemoteProtocolError(f"a plain APDU ({found}) on a ciphered association")
        apdu = decode_ciphered(octets)
        self._check_control(apdu.control)
        title = self._title_of(apdu)
        by_dedicated = apdu.tag in (GENERAL_DED, *DED_TAGS.values())
        if by_dedicated and self._dedicated is None:
            raise RemoteProtocolError(f"{apdu.name}, but no dedicated key was agreed")
        keys = self._dedicated if by_dedicated and self._dedicated is not None else self._ciphering.keys
        if apdu.envelope is not None:
            keys = self._check_envelope(apdu.envelope)
        last = self._received_dedicated if by_dedicated else self.received_counter
        self._check_counter(apdu.counter, last)
        plaintext = unprotect(keys, title, apdu.control, apdu.counter, apdu.payload)
        if apdu.tag not in (GENERAL_GLO, GENERAL_DED, GENERAL_CIPHERING):
            tags = DED_TAGS if by_dedicated else GLO_TAGS
            if tags.get(plaintext[0] if plaintext else -1) != apdu.tag:
                raise RemoteProtocolError(f"{apdu.name} holds an APDU of another kind")
        if by_dedicated:
            self._received_dedicated = apdu.counter
        else:
            self.received_counter = apdu.counter
        if apdu.envelope is not None:
            new = apdu.envelope.transaction_id != self._sent_transaction
            self._transaction = apdu.envelope.transaction_id if new else None
        self._enveloped = self._ciphering.enveloped or apdu.envelope is not None
        return plaintext

    def _check_control(self, found: SecurityControl) -> None:
        agreed = self._ciphering.control
        lowered = agreed.authenticated > found.authenticated or agreed.encrypted > found.encrypted
        if lowered or found.suite != agreed.suite or found.broadcast_key or found.compressed:
            raise RemoteProtocolError(
                f"security control byte {found.octet:02x}, agreed was {agreed.octet:02x}: less protection is refused"
            )

    def _title_of(self, apdu: CipheredApdu) -> bytes:
        if self.peer_title is None:
            raise RemoteProtocolError("the peer has not told its system title (AARQ, AARE), nothing can be opened")
        tolerated = apdu.title is None or (self._quirks.empty_system_title and not apdu.title)
        if not tolerated and apdu.title != self.peer_title:
            raise RemoteProtocolError(f"a foreign system title, expected {self.peer_title.hex()}")
        return self.peer_title

    def _check_counter(self, counter: int, last: int) -> None:
        if counter <= last:
            raise CounterError(f"invocation counter {counter} was used before (last {last}): a repetition", last)
        if last >= 0 and counter - last > self._ciphering.jump_max:
            raise CounterError(f"invocation counter {counter} jumps {counter - last} ahead of {last}", last)
