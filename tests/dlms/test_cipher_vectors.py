"""Vectors of ciphering and of high-level authentication, opened, closed again and altered."""

from dataclasses import replace
from typing import Any

import pytest

from protocols.dlms.acse import Mechanism
from protocols.dlms.apdu import decode_apdu
from protocols.dlms.ciphering import Keys, decode_ciphered, protect, unprotect
from protocols.dlms.explain import explain_apdu
from protocols.dlms.hdlc.frames import FrameReader
from protocols.dlms.hls import Proof
from protocols.dlms.link import NEED_DATA
from protocols.dlms.wrapper import Wrapped, WrapperReader
from protocols.errors import RemoteProtocolError
from tests.dlms.vectors import differences, load, name_of


def keys_of(vector: dict[str, Any]) -> Keys:
    return Keys(bytes.fromhex(vector["key_hex"]), bytes.fromhex(vector["auth_key_hex"]))


# -- vectors ----------------------------------------------------------------------------------------------------------


def check_ciphered(vector: dict[str, Any], octets: bytes, expected: dict[str, Any], plaintext: str) -> None:
    """Compare a ciphered APDU field by field, open it, and close it again to the same octets."""
    apdu, title = decode_ciphered(octets), bytes.fromhex(vector["system_title_hex"])
    control = apdu.control
    shown = {
        "apdu": apdu.name,
        "sc": f"{control.octet:02x}",
        "invocation_counter": apdu.counter,
        "ciphered": apdu.payload.hex(),
        "security_control": {
            "suite": control.suite,
            "authenticated": control.authenticated,
            "encrypted": control.encrypted,
            "broadcast_key": control.broadcast_key,
            "compressed": control.compressed,
        },
    }
    if apdu.title is not None:
        shown["system_title"] = apdu.title.hex()
    assert not differences(expected, shown)
    keys = keys_of(vector)
    opened = unprotect(keys, title, control, apdu.counter, apdu.payload)
    assert opened.hex() == plaintext
    assert replace(apdu, payload=protect(keys, title, control, apdu.counter, opened)).encode() == octets
    if control.authenticated:
        for altered in (replace(apdu, counter=apdu.counter + 1), replace(apdu, payload=b"\0" + apdu.payload)):
            with pytest.raises(RemoteProtocolError, match="tag is wrong"):
                unprotect(keys, title, control, altered.counter, altered.payload)


@pytest.mark.parametrize("vector", load("cipher"), ids=name_of)
def test_cipher_vectors_hold_and_close_again(vector: dict[str, Any]) -> None:
    expected = vector["expected"]
    check_ciphered(vector, bytes.fromhex(vector["hex"]), expected["apdu"], expected["plaintext"])
    assert not differences(expected["plain_apdu"], explain_apdu(decode_apdu(bytes.fromhex(expected["plaintext"]))))


@pytest.mark.parametrize("vector", [v for v in load("acse") if "key_hex" in v], ids=name_of)
def test_ciphered_user_information_of_acse_vectors_holds(vector: dict[str, Any]) -> None:
    expected = vector["expected"]
    information, plain = bytes.fromhex(expected["user_information"]), expected["user_information_plain"]
    check_ciphered(vector, information, expected["user_information_decoded"], plain)
    assert not differences(expected["user_information_plain_decoded"], explain_apdu(decode_apdu(bytes.fromhex(plain))))


@pytest.mark.parametrize("vector", load("wrapper"), ids=name_of)
def test_wrapper_vectors_hold_byte_by_byte(vector: dict[str, Any]) -> None:
    expected, reader, found = vector["expected"], WrapperReader(), []
    for octet in bytes.fromhex(vector["hex"]):
        reader.receive_data(bytes((octet,)))
        wrapped = reader.next_wrapped()
        found += [wrapped] if isinstance(wrapped, Wrapped) else []
    (wrapped,) = found
    assert wrapped.encode().hex() == vector["hex"]
    numbers = (expected["wrapper"]["src_wport"], expected["wrapper"]["dst_wport"], expected["wrapper"]["apdu"])
    assert (wrapped.source, wrapped.destination, wrapped.apdu.hex()) == numbers
    check_ciphered(vector, wrapped.apdu, expected["apdu"], expected["plaintext"])
    assert not differences(expected["plain_apdu"], explain_apdu(decode_apdu(bytes.fromhex(expected["plaintext"]))))


@pytest.mark.parametrize("vector", load("hls"), ids=name_of)
def test_hls_vectors_hold(vector: dict[str, Any]) -> None:
    challenge, title = bytes.fromhex(vector["hex"]), bytes.fromhex(vector["system_title_hex"])
    proof = Proof(Mechanism.HIGH_GMAC, challenge, b"other", title, bytes(8), keys=keys_of(vector))
    token = proof.make(int(vector["invocation_counter"]))
    assert token.hex() == vector["expected"]["token"]
    assert proof.verify(token) == int(vector["invocation_counter"])
    with pytest.raises(RemoteProtocolError, match="prove"):
        proof.verify(token[:-1] + b"\0")


@pytest.mark.parametrize(
    "vector", [v for v in load("push") if v["link"] == "hdlc" and "cipher" in v["expected"]], ids=name_of
)
def test_a_ciphered_push_is_described_without_its_key(vector: dict[str, Any]) -> None:
    reader = FrameReader()
    reader.receive_data(bytes.fromhex(vector["hex"]))
    frame = reader.next_frame()
    assert frame is not NEED_DATA
    apdu = decode_ciphered(frame.information[3:])
    expected = vector["expected"]["cipher"]
    assert (apdu.name, apdu.counter) == (expected["apdu"], expected["invocation_counter"])
    assert apdu.title is not None
    assert apdu.title.hex() == expected["system_title"]
