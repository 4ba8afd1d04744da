"""High-level authentication: the proofs of passes 3 and 4 (IEC 62056-5-3; Green Book 9.2)."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from hmac import compare_digest

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from protocols.dlms.acse import Mechanism
from protocols.dlms.ciphering import Keys, SecurityControl, protect
from protocols.errors import LocalProtocolError, RemoteProtocolError

_GMAC_CONTROL = 0x10
_CURVES: Mapping[str, tuple[int, hashes.HashAlgorithm]] = {
    "secp256r1": (32, hashes.SHA256()),  # suite 1
    "secp384r1": (48, hashes.SHA384()),  # suite 2
}


@dataclass(frozen=True, slots=True, eq=False)
class Signer:
    """Both sides' keys of HIGH_ECDSA: our private key, the peer's public key, on one curve."""

    ours: ec.EllipticCurvePrivateKey = field(repr=False)
    peer: ec.EllipticCurvePublicKey = field(repr=False)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Signer) and self.ours.public_key() == other.ours.public_key() and self.peer == other.peer
        )

    def __hash__(self) -> int:
        return hash((self.ours.public_key().public_numbers(), self.peer.public_numbers()))


@dataclass(frozen=True, slots=True)
class Proof:
    """What a side needs to prove or verify: who proves to whom, and the two challenges.

    ``received`` is the challenge that the prover got and answers, ``sent`` the one it sent.
    """

    mechanism: Mechanism
    received: bytes = field(repr=False)
    sent: bytes = field(repr=False)
    prover_title: bytes
    verifier_title: bytes
    secret: bytes = field(default=b"", repr=False)
    keys: Keys | None = None
    suite: int = 0

    def make(self, counter: int = 0, signer: Signer | None = None) -> bytes:
        """Return the proof. ``counter`` is the prover's next invocation counter (HIGH_GMAC only)."""
        if self.mechanism is Mechanism.HIGH_GMAC:
            return bytes((_GMAC_CONTROL | self.suite,)) + counter.to_bytes(4, "big") + self._gmac(counter)
        if self.mechanism is Mechanism.HIGH_ECDSA:
            return self._sign(_required(signer))
        return self._digest()

    def verify(self, proof: bytes, signer: Signer | None = None) -> int | None:
        """Check ``proof``; return the invocation counter it used, None if the mechanism uses none.

        RemoteProtocolError when it proves nothing.
        """
        if self.mechanism is Mechanism.HIGH_ECDSA:
            self._verify_signature(proof, _required(signer))
            return None
        if self.mechanism is not Mechanism.HIGH_GMAC:
            if not compare_digest(proof, self._digest()):
                raise RemoteProtocolError("the peer did not prove the secret")
            return None
        if len(proof) != 17 or proof[0] != _GMAC_CONTROL | self.suite:
            raise RemoteProtocolError("a GMAC proof has 17 octets: security control byte, counter and tag")
        counter = int.from_bytes(proof[1:5], "big")
        if not compare_digest(proof[5:], self._gmac(counter)):
            raise RemoteProtocolError("the peer did not prove the key")
        return counter

    def _gmac(self, counter: int) -> bytes:
        if self.keys is None:
            raise LocalProtocolError("HIGH_GMAC needs the global keys")
        control = SecurityControl(self.suite, authenticated=True, encrypted=False)
        return protect(self.keys, self.prover_title, control, counter, self.received)[len(self.received) :]

    def _digest(self) -> bytes:
        if self.mechanism is Mechanism.HIGH_MD5:
            return hashlib.md5(self.received + self.secret, usedforsecurity=False).digest()
        if self.mechanism is Mechanism.HIGH_SHA1:
            return hashlib.sha1(self.received + self.secret, usedforsecurity=False).digest()
        if self.mechanism is Mechanism.HIGH_SHA256:
            titles = self.prover_title + self.verifier_title
            return hashlib.sha256(self.secret + titles + self.received + self.sent).digest()
        if self.mechanism is Mechanism.HIGH:
            return self._ecb()
        raise LocalProtocolError(f"{self.mechanism.name} is no high-level authentication")

    def _ecb(self) -> bytes:
        """HIGH is the manufacturer's own; most take AES-128 in ECB of the challenge, both filled up with zeros."""
        key = self.secret[:16].ljust(16, b"\0")
        blocks = self.received.ljust(-(-len(self.received) // 16) * 16, b"\0")
        encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305  what the meters do
        return encryptor.update(blocks) + encryptor.finalize()

    def _message(self) -> bytes:
        return self.prover_title + self.verifier_title + self.received + self.sent

    def _sign(self, signer: Signer) -> bytes:
        size, digest = _curve(signer.ours.curve)
        r, s = decode_dss_signature(signer.ours.sign(self._message(), ec.ECDSA(digest)))
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")

    def _verify_signature(self, proof: bytes, signer: Signer) -> None:
        size, digest = _curve(signer.peer.curve)
        if len(proof) != 2 * size:
            raise RemoteProtocolError(f"a signature of {len(proof)} octets, expected {2 * size}")
        numbers = (int.from_bytes(proof[:size], "big"), int.from_bytes(proof[size:], "big"))
        try:
            signer.peer.verify(encode_dss_signature(*numbers), self._message(), ec.ECDSA(digest))
        except InvalidSignature as error:
            raise RemoteProtocolError("the peer's signature is wrong") from error


def _required(signer: Signer | None) -> Signer:
    if signer is None:
        raise LocalProtocolError("HIGH_ECDSA needs our private and the peer's public key")
    return signer


def _curve(curve: ec.EllipticCurve) -> tuple[int, hashes.HashAlgorithm]:
    known = _CURVES.get(curve.name)
    if known is None:
        raise LocalProtocolError(f"curve {curve.name}: expected secp256r1 (suite 1) or secp384r1 (suite 2)")
    return known
