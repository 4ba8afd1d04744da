"""The envelope that names both ends: carried both ways, keys wrapped by the master key, and what it must refuse."""

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.keywrap import aes_key_wrap
from hypothesis import given
from hypothesis import strategies as st

from protocols.dlms.ciphering import CipheredApdu, Keys, decode_ciphered, protect
from protocols.dlms.data import double_long_unsigned
from protocols.dlms.services import Get, GetResult, Set, SetDone
from protocols.dlms.xdlms.general_ciphering import GENERAL_CIPHERING, GeneralCiphering
from protocols.errors import RemoteProtocolError
from tests.dlms.line import connected
from tests.dlms.test_pair import IMPORT, SERIAL
from tests.dlms.test_security import BOTH, CLIENT_TITLE, PLAIN_ANSWER, SERVER_TITLE, VALUE, Attack, bring, ciphered_line

MASTER = bytes(range(200, 216))


def enveloped(**client: object) -> dict[str, object]:
    return {"enveloped": True, **client}


@pytest.mark.parametrize("suite", [0, 1, 2])
def test_values_go_both_ways_in_the_envelope_and_the_meter_answers_alike(suite: int) -> None:
    line = connected(ciphered_line(suite=suite, client=enveloped()))
    line.carried.clear()
    assert line.ask(Get(IMPORT)) == [GetResult(IMPORT, VALUE)]
    assert line.ask(Set(SERIAL, double_long_unsigned(5))) == [SetDone(SERIAL)]
    assert [octets[8] for octets in line.carried] == [GENERAL_CIPHERING] * 4
    sent, answered = (decode_ciphered(octets[8:]).envelope for octets in line.carried[:2])
    assert sent is not None
    assert answered is not None
    assert (sent.originator, sent.recipient) == (CLIENT_TITLE, SERVER_TITLE)
    assert (answered.originator, answered.recipient) == (SERVER_TITLE, CLIENT_TITLE)
    assert answered.transaction_id == sent.transaction_id
    assert line.broken == []


def sealed(counter: int, envelope: GeneralCiphering, keys: Keys | None = None) -> bytes:
    payload = protect(keys or bring(SERVER_TITLE).keys, SERVER_TITLE, BOTH, counter, PLAIN_ANSWER)
    return CipheredApdu(GENERAL_CIPHERING, BOTH, counter, payload, SERVER_TITLE, envelope).encode()


HEAD = GeneralCiphering(b"\1", SERVER_TITLE, CLIENT_TITLE, b"")


def test_a_key_wrapped_by_the_master_key_opens_what_it_was_made_for() -> None:
    own = Keys(bytes(range(60, 76)), bring(SERVER_TITLE).keys.authentication)
    envelope = replace(HEAD, wrapped_key=aes_key_wrap(MASTER, own.encryption))
    standing = Attack(ciphered_line(client=enveloped(master_key=MASTER)))
    assert standing.send(sealed(99, envelope, own)) == GetResult(IMPORT, double_long_unsigned(1))


REFUSED: dict[str, tuple[bytes, str]] = {
    "for somebody else": (sealed(99, replace(HEAD, recipient=b"SOMEBODY")), "not for us"),
    "from somebody else": (sealed(99, replace(HEAD, originator=b"SOMEBODY")), "foreign system title"),
    "a wrapped key without a master key": (sealed(99, replace(HEAD, wrapped_key=bytes(24))), "no master key"),
    "a counter used before": (sealed(1, HEAD), "used before"),
    "another key": (sealed(99, HEAD, Keys(bytes(16), bytes(16))), "tag is wrong"),
    "an agreed key": (HEAD.encode()[:-4] + b"\1\2\1\0\0", "expected the global unicast key"),
}


@pytest.mark.parametrize(("forged", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_the_gate_refuses_an_envelope_and_the_association_survives(forged: bytes, words: str) -> None:
    Attack(ciphered_line(client=enveloped())).refused(forged, words)


def test_a_key_wrapped_by_another_master_key_is_refused() -> None:
    envelope = replace(HEAD, wrapped_key=aes_key_wrap(bytes(16), bytes(16)))
    standing = Attack(ciphered_line(client=enveloped(master_key=MASTER)))
    standing.refused(sealed(99, envelope), "not wrapped by our master key")


@given(st.binary(max_size=60))
def test_any_octets_are_an_envelope_or_a_remote_error(octets: bytes) -> None:
    try:
        apdu = decode_ciphered(b"\xdd" + octets)
    except RemoteProtocolError:
        return
    assert decode_ciphered(apdu.encode()).payload == apdu.payload
