"""High-level authentication, ciphering and the gate: vectors, every mechanism both ways, and attacks one by one."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.dlms import axdr
from protocols.dlms.acse import Context, Mechanism
from protocols.dlms.apdu import decode_apdu
from protocols.dlms.association import Association, Policy
from protocols.dlms.ciphering import CipheredApdu, Keys, SecurityControl, protect
from protocols.dlms.client import DlmsClient
from protocols.dlms.conformance import LOGICAL_NAMES, Conformance
from protocols.dlms.data import double_long_unsigned
from protocols.dlms.hls import Signer
from protocols.dlms.link import NEED_DATA, LinkDown
from protocols.dlms.protection import Ciphering, Protection
from protocols.dlms.quirks import STRICT, Quirks
from protocols.dlms.server import DlmsServer
from protocols.dlms.services import (
    Associated,
    AssociationRefused,
    BufferResult,
    Connect,
    Get,
    GetBuffer,
    GetResult,
    Release,
    Released,
    Set,
    SetDone,
)
from protocols.dlms.wrapper import Wrapped, WrapperParameters, WrapperServerParameters
from protocols.dlms.xdlms.refusals import ExceptionResponse
from protocols.errors import LocalProtocolError, RemoteProtocolError
from protocols.obis import Obis
from tests.dlms.line import Line, connected
from tests.dlms.test_pair import IMPORT, PROFILE, SERIAL, shelf

CLIENT_TITLE, SERVER_TITLE = b"CNG\0\0\0\0\1", b"MTR\0\0\0\0\2"
BOTH = SecurityControl()
VALUE = double_long_unsigned(1234567)


# -- both ends --------------------------------------------------------------------------------------------------------

KEY_PAIRS = [ec.derive_private_key(number, curve) for curve in (ec.SECP256R1(), ec.SECP384R1()) for number in (11, 12)]


def bring(title: bytes, suite: int = 0, **fields: Any) -> Ciphering:
    size = 32 if suite == 2 else 16
    keys = Keys(bytes(range(size)), bytes(range(100, 100 + size)))
    control = fields.pop("control", SecurityControl(suite))
    return Ciphering(keys, title, range(fields.pop("first", 1), 1 << 32), control=control, **fields)


def ciphered_line(
    mechanism: Mechanism = Mechanism.HIGH_GMAC,
    context: Context = Context.LN_CIPHERED,
    suite: int = 0,
    *,
    client: dict[str, Any] | None = None,
    server: dict[str, Any] | None = None,
    secret: bytes = b"a shared secret!",
    quirks: Quirks = STRICT,
    conformance: Conformance = LOGICAL_NAMES,
    short_names: Mapping[tuple[int, Obis], int] | None = None,
    dedicated: bytes | None = None,
    pdu_octets: int = 0xFFFF,
    **both: Any,
) -> Line:
    pair = KEY_PAIRS[2:] if suite == 2 else KEY_PAIRS[:2]
    ours, theirs = Signer(pair[0], pair[1].public_key()), Signer(pair[1], pair[0].public_key())
    names = dict(short_names or {})
    client = {**({"dedicated_key": dedicated} if dedicated else {}), **(client or {})}
    association = Association(
        mechanism,
        secret,
        conformance,
        context=context,
        short_names=names,
        challenge=b"client challenge",
        ciphering=bring(CLIENT_TITLE, suite, **both, **(client or {})),
        signer=ours,
    )
    policy = Policy(
        mechanism,
        b"a shared secret!",
        conformance,
        pdu_octets,
        context=context,
        short_names=names,
        ciphering=bring(SERVER_TITLE, suite, **both, **(server or {})),
        signer=theirs,
    )
    chance = Random(5).randbytes
    meter = DlmsServer(WrapperServerParameters(), {1: policy}, shelf(), chance)
    return Line(DlmsClient(WrapperParameters(1), association, quirks), meter)


@pytest.mark.parametrize("context", [Context.LN, Context.LN_CIPHERED])
@pytest.mark.parametrize("mechanism", list(Mechanism))
def test_every_mechanism_opens_an_association_plain_and_ciphered(mechanism: Mechanism, context: Context) -> None:
    line = ciphered_line(mechanism, context)
    assert isinstance(line.ask(Connect())[-1], Associated)
    assert line.ask(Get(IMPORT)) == [GetResult(IMPORT, VALUE)]
    assert line.ask(Release()) == [Released(0), LinkDown("disconnected")]
    assert line.broken == []


@pytest.mark.parametrize("suite", [0, 1, 2])
@pytest.mark.parametrize("general", [False, True])
@pytest.mark.parametrize("dedicated", [False, True])
@pytest.mark.parametrize(("authenticated", "encrypted"), [(True, False), (False, True), (True, True)])
def test_every_way_of_ciphering_carries_values_both_ways(
    suite: int, general: bool, dedicated: bool, authenticated: bool, encrypted: bool
) -> None:
    control = SecurityControl(suite, authenticated, encrypted)
    key = bytes(range(50, 82 if suite == 2 else 66)) if dedicated else None
    line = ciphered_line(suite=suite, control=control, general=general, client={"dedicated_key": key})
    connected(line)
    line.carried.clear()
    assert line.ask(Get(IMPORT)) == [GetResult(IMPORT, VALUE)]
    assert line.ask(Set(SERIAL, double_long_unsigned(5))) == [SetDone(SERIAL)]
    (event,) = line.ask(GetBuffer(PROFILE))
    assert isinstance(event, BufferResult)
    if encrypted:
        assert not any(IMPORT.encode() in octets or axdr.encode(VALUE) in octets for octets in line.carried)


@pytest.mark.parametrize("mechanism", [m for m in Mechanism if m in range(2, 7) and m is not Mechanism.HIGH_GMAC])
def test_a_wrong_shared_secret_is_refused_by_the_meter(mechanism: Mechanism) -> None:
    events = ciphered_line(mechanism, Context.LN, secret=b"another secret!!").ask(Connect())
    refused = next(event for event in events if isinstance(event, AssociationRefused))
    assert "authentication-failure" in refused.words
    assert isinstance(events[-1], LinkDown)


def test_a_wrong_key_is_refused_by_the_meter_plain_and_ciphered() -> None:
    wrong = Keys(bytes(16), bytes(16))
    for context in (Context.LN, Context.LN_CIPHERED):
        line = ciphered_line(context=context)
        association = line.client._association
        assert association.ciphering is not None
        other = replace(association, ciphering=replace(association.ciphering, keys=wrong))
        events = Line(DlmsClient(WrapperParameters(1), other), line.server).ask(Connect())
        refused = next(event for event in events if isinstance(event, AssociationRefused))
        assert "authentication-failure" in refused.words


def test_a_meter_that_does_not_know_the_secret_is_not_believed() -> None:
    line = ciphered_line(Mechanism.HIGH_SHA256, Context.LN)
    link = line.client._link
    line.server.receive_data(line.client.send(Connect()) or b"")
    line.client.next_event()
    line.server.receive_data(line.client.data_to_send())
    line.server.next_event()
    line.server.next_event()
    link.receive_data(line.server.data_to_send())
    assert line.client.next_event() is NEED_DATA
    assert line.client.data_to_send()
    forged = bytes.fromhex("c701c1000100" + "0920" + "00" * 32)
    link.receive_data(Wrapped(1, 1, forged).encode())
    event = line.client.next_event()
    assert isinstance(event, AssociationRefused)
    assert "did not prove" in event.words


# -- the gate ---------------------------------------------------------------------------------------------------------


class Attack:
    """Stands on the line: takes the meter's answer away and puts others in its place."""

    def __init__(self, line: Line) -> None:
        self.line = connected(line)
        self.question = line.client.send(Get(IMPORT))
        line.server.receive_data(self.question)
        while line.server.next_event() is not NEED_DATA:
            pass
        self.answer = line.server.data_to_send()[8:]

    def send(self, apdu: bytes) -> Any:
        self.line.client.receive_data(Wrapped(1, 1, apdu).encode())
        return self.line.client.next_event()

    def refused(self, apdu: bytes, words: str) -> None:
        """The client refuses ``apdu`` and still takes the true answer."""
        with pytest.raises(RemoteProtocolError, match=words):
            self.send(apdu)
        assert self.send(self.answer) == GetResult(IMPORT, VALUE)
        assert self.line.ask(Get(IMPORT)) == [GetResult(IMPORT, VALUE)]


def sealed_by(
    plaintext: bytes,
    counter: int,
    control: SecurityControl = BOTH,
    title: bytes = SERVER_TITLE,
    tag: int = 0xCC,
) -> bytes:
    """Return what the meter could have sent, for attacks by someone who has its keys or replays its octets."""
    payload = protect(bring(SERVER_TITLE).keys, title, control, counter, plaintext)
    return CipheredApdu(tag, control, counter, payload).encode()


PLAIN_ANSWER = bytes.fromhex("c401c100" + "0600000001")
ATTACKS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "a plain answer": (lambda answer: PLAIN_ANSWER, "a plain APDU"),
    "an answer only authenticated": (
        lambda answer: sealed_by(PLAIN_ANSWER, 99, SecurityControl(encrypted=False)),
        "less protection",
    ),
    "an answer only encrypted": (
        lambda answer: sealed_by(PLAIN_ANSWER, 99, SecurityControl(authenticated=False)),
        "less protection",
    ),
    "a control byte of nothing": (lambda answer: b"\xcc\x0e\x00\x00\x00\x00\x63" + PLAIN_ANSWER, "less protection"),
    "another suite": (lambda answer: sealed_by(PLAIN_ANSWER, 99, SecurityControl(1)), "less protection"),
    "an unknown suite": (lambda answer: answer[:2] + b"\x3f" + answer[3:], "security suite 15"),
    "the broadcast key": (lambda answer: answer[:2] + b"\x70" + answer[3:], "less protection"),
    "a foreign system title": (
        lambda answer: b"\xdb\x08" + b"FOREIGN!" + answer[1:],
        "foreign system title",
    ),
    "an empty system title": (lambda answer: b"\xdb\x00" + answer[1:], "foreign system title"),
    "a flipped bit": (lambda answer: answer[:-1] + bytes((answer[-1] ^ 1,)), "tag is wrong"),
    "a counter changed": (lambda answer: answer[:6] + bytes((answer[6] + 1,)) + answer[7:], "tag is wrong"),
    "a short tag": (lambda answer: bytes((answer[0], answer[1] - 4)) + answer[2:-4], "tag is wrong"),
    "no room for a tag": (lambda answer: b"\xcc\x0a\x30\x00\x00\x00\x63" + bytes(5), "too few"),
    "too short for a header": (lambda answer: b"\xcc\x02\x30\x00", "too short|are left"),
    "a counter used before": (lambda answer: sealed_by(PLAIN_ANSWER, 1), "used before"),
    "a counter far ahead": (lambda answer: sealed_by(PLAIN_ANSWER, 1 << 30), "jumps"),
    "another APDU inside": (lambda answer: sealed_by(bytes.fromhex("c501c100"), 99), "another kind"),
    "an empty APDU inside": (lambda answer: sealed_by(b"", 99), "another kind"),
    "a dedicated key nobody agreed on": (lambda answer: b"\xd4" + answer[1:], "no dedicated key"),
    "somebody else's title in the nonce": (
        lambda answer: sealed_by(PLAIN_ANSWER, 99, title=CLIENT_TITLE),
        "tag is wrong",
    ),
}


@pytest.mark.parametrize(("attack", "words"), ATTACKS.values(), ids=ATTACKS.keys())
def test_the_gate_refuses_an_attack_and_the_association_survives(attack: Callable[[bytes], bytes], words: str) -> None:
    standing = Attack(ciphered_line())
    standing.refused(attack(standing.answer), words)


def test_the_client_refuses_its_own_answer_a_second_time() -> None:
    standing = Attack(ciphered_line())
    assert standing.send(standing.answer) == GetResult(IMPORT, VALUE)
    standing.line.client.send(Get(IMPORT))
    with pytest.raises(RemoteProtocolError, match="used before"):
        standing.send(standing.answer)


def test_the_meter_refuses_a_replayed_request_and_tells_the_counter_it_expects() -> None:
    line = connected(ciphered_line())
    question = line.client.send(Get(IMPORT))
    for expected in (True, False):
        line.server.receive_data(question)
        if expected:
            line.server.next_event()
            line.client.receive_data(line.server.data_to_send())
            assert line.client.next_event() == GetResult(IMPORT, VALUE)
        else:
            with pytest.raises(RemoteProtocolError, match="used before"):
                line.server.next_event()
    complaint = decode_apdu(line.server.data_to_send()[8:])
    assert isinstance(complaint, ExceptionResponse)
    assert complaint.words.startswith("service-unknown, invocation-counter-error")
    assert line.client.protection is not None
    assert complaint.invocation_counter == line.client.protection.next_counter
    assert line.ask(Get(IMPORT)) == [GetResult(IMPORT, VALUE)]


def test_the_meter_refuses_plain_requests_and_plain_releases_on_a_ciphered_association() -> None:
    line = connected(ciphered_line())
    for plain in (bytes.fromhex("c001c100030100010800ff0200"), bytes.fromhex("6203800100")):
        line.server.receive_data(Wrapped(1, 1, plain).encode())
        with pytest.raises(RemoteProtocolError, match=r"plain|nothing"):
            line.server.next_event()
        line.server.data_to_send()
    assert line.ask(Get(IMPORT)) == [GetResult(IMPORT, VALUE)]


def test_a_replayed_association_request_is_refused() -> None:
    line = ciphered_line(Mechanism.LOW)
    line.ask(Connect())
    request = line.carried[0]
    line.server.receive_data(request)
    line.server.next_event()
    assert decode_apdu(line.server.data_to_send()[8:]).result != 0  # type: ignore[union-attr]  # an AARE


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 200), st.integers(1, 255)), min_size=1, max_size=3), st.integers(0, 3))
def test_no_altered_answer_is_ever_accepted(changes: list[tuple[int, int]], cut: int) -> None:
    """Any change to a ciphered answer is refused (or is an exception-response, which carries no value)."""
    standing = STANDING
    altered = bytearray(standing.answer)
    for place, change in changes:
        altered[place % len(altered)] ^= change
    forged = bytes(altered)[: len(altered) - cut]
    if forged == standing.answer or forged[:1] in (b"\xd8", b"\x0e"):
        return
    with pytest.raises(RemoteProtocolError):
        standing.send(forged)


STANDING = Attack(ciphered_line())


def test_counters_are_used_upwards_once_and_never_beyond_what_was_reserved() -> None:
    protection = Protection(replace(bring(CLIENT_TITLE), counters=range(10, 12)))
    assert [protection.take_counter(), protection.take_counter()] == [10, 11]
    with pytest.raises(LocalProtocolError, match="reserve"):
        protection.take_counter()
    protection.reserve(13)
    assert protection.take_counter() == 12
    with pytest.raises(LocalProtocolError, match="in use"):
        protection.reserve(12)


def test_counters_go_on_over_associations() -> None:
    line = connected(ciphered_line())
    assert line.client.protection is not None
    before = line.client.protection.next_counter
    line.ask(Release())
    connected(line)
    assert line.client.protection.next_counter > before
    assert line.ask(Get(IMPORT)) == [GetResult(IMPORT, VALUE)]


def test_no_key_and_no_secret_is_in_a_repr() -> None:
    line = connected(ciphered_line(client={"dedicated_key": b"DEDICATEDKEY1234"}))
    association = line.client._association
    for thing in (association, association.ciphering, line.client.protection, line.server._policies[1]):
        shown = repr(thing)
        for secret in (b"DEDICATEDKEY1234", b"a shared secret!", bytes(range(16)), bytes(range(100, 116))):
            assert repr(secret)[2:-1] not in shown
            assert secret.hex() not in shown


@pytest.mark.parametrize(
    "make",
    [
        lambda: bring(b"short"),
        lambda: replace(bring(CLIENT_TITLE), keys=Keys(bytes(15), bytes(16))),
        lambda: bring(CLIENT_TITLE, control=SecurityControl(0, authenticated=False, encrypted=False)),
        lambda: replace(bring(CLIENT_TITLE), counters=range(5, 1)),
        lambda: Association(Mechanism.HIGH_GMAC, challenge=bytes(16)),
        lambda: Association(Mechanism.HIGH_MD5, challenge=bytes(7)),
        lambda: Association(Mechanism.HIGH_ECDSA, challenge=bytes(16), ciphering=bring(CLIENT_TITLE)),
        lambda: Policy(context=Context.LN_CIPHERED),
    ],
)
def test_a_configuration_that_cannot_work_is_refused_before_anything_is_sent(make: Callable[[], object]) -> None:
    with pytest.raises(LocalProtocolError):
        make()


@pytest.mark.parametrize("dedicated", [None, bytes(range(50, 66))])
def test_an_open_association_goes_on_under_new_keys_and_refuses_the_old_ones(dedicated: bytes | None) -> None:
    line = connected(ciphered_line(dedicated=dedicated))
    ours, theirs = line.client.protection, line.server.protection(1)
    assert ours is not None
    assert theirs is not None
    new = Keys(bytes(range(16, 32)), bytes(range(32, 48)))
    for side in (ours, theirs):
        side.use_keys(new)
    assert ours.received_counter == theirs.received_counter == -1
    assert line.ask(Get(IMPORT)) == [GetResult(IMPORT, VALUE)]
    assert line.broken == []
    counter = theirs.received_counter
    theirs.use_keys(Keys(new.encryption, bytes(16)))
    assert theirs.received_counter == counter  # The encryption key is the same, so no counter comes twice.
    line.server.receive_data(line.client.send(Get(IMPORT)))
    with pytest.raises(RemoteProtocolError, match="authentication tag"):
        line.server.next_event()
