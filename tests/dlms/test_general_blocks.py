"""General block transfer: windows, lost and doubled blocks, ciphered content, both directions."""

import contextlib
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.dlms.association import Association, Policy
from protocols.dlms.conformance import LOGICAL_NAMES, Conformance
from protocols.dlms.data import double_long_unsigned, octets
from protocols.dlms.general_transfer import GeneralTransfer
from protocols.dlms.link import LinkDown
from protocols.dlms.octets import Cursor
from protocols.dlms.services import Act, ActionDone, Associated, Connect, Get, GetResult, Set, SetDone
from protocols.dlms.xdlms.general_block import GeneralBlock, decode_general_block
from protocols.errors import LocalProtocolError, RemoteProtocolError
from tests.dlms.line import hdlc_line, tcp_line
from tests.dlms.test_pair import IMPORT, PROFILE, RELAY, ROWS, SERIAL, shelf
from tests.dlms.test_security import ciphered_line

GENERAL = LOGICAL_NAMES | Conformance.GENERAL_BLOCK_TRANSFER
PLAIN_ONLY = GENERAL & ~Conformance.BLOCK_TRANSFER_WITH_GET_OR_READ & ~Conformance.BLOCK_TRANSFER_WITH_SET_OR_WRITE


def decoded(octets_: bytes) -> GeneralBlock:
    return decode_general_block(Cursor(octets_, 1))


@pytest.mark.parametrize("window", [1, 3, 63])
@pytest.mark.parametrize("make_line", [hdlc_line, tcp_line])
def test_long_values_go_in_general_blocks_both_ways(make_line: type, window: int) -> None:
    objects = shelf()
    objects.returns = octets(bytes(1000))
    line = make_line(
        objects,
        Association(conformance=PLAIN_ONLY, pdu_octets_max=200, general_block_window=window),
        Policy(conformance=PLAIN_ONLY, pdu_octets_max=150, general_block_window=window),
    )
    assert isinstance(line.ask(Connect())[-1], Associated)
    assert line.ask(Get(PROFILE)) == [GetResult(PROFILE, ROWS)]
    value = octets(bytes(range(256)) * 5)
    assert line.ask(Set(SERIAL, value)) == [SetDone(SERIAL)]
    assert objects.values[SERIAL] == value
    assert line.ask(Act(RELAY, value)) == [ActionDone(RELAY, objects.returns)]
    assert line.ask(Get(IMPORT)) == [GetResult(IMPORT, double_long_unsigned(1234567))]
    assert line.broken == []


def test_ciphered_answers_go_in_general_blocks_and_still_pass_the_gate() -> None:
    line = ciphered_line()
    association, policy = line.client._association, line.server._policies[1]
    for side in (association, policy):
        object.__setattr__(side, "conformance", GENERAL)
        object.__setattr__(side, "pdu_octets_max", 256)
    assert isinstance(line.ask(Connect())[-1], Associated)
    assert line.ask(Get(PROFILE)) == [GetResult(PROFILE, ROWS)]
    assert any(octets_[8] == 0xE0 for octets_ in line.carried)
    assert line.broken == []


@given(
    st.binary(min_size=1, max_size=600),
    st.integers(12, 60),
    st.integers(1, 5),
    st.integers(1, 5),
    st.integers(0, 2**32),
)
def test_lost_and_doubled_blocks_are_recovered(apdu: bytes, pdu_octets: int, ours: int, theirs: int, seed: int) -> None:
    """The block that gives the turn arrives, as the layer below repeats it; any block before it may be lost."""
    sender, receiver, chance = GeneralTransfer(ours), GeneralTransfer(theirs), Random(seed)
    going = sender.send(apdu, pdu_octets)
    for _ in range(1000):
        answers: list[bytes] = []
        for place, octets_ in enumerate(going):
            turn = place == len(going) - 1
            lost = not turn and chance.random() < 0.2
            for _ in range(0 if lost else 2 if not turn and chance.random() < 0.1 else 1):
                whole, back = receiver.receive(decoded(octets_))
                if whole is not None:
                    assert whole == apdu
                    return
                answers += back
        going = []
        for octets_ in answers:
            _, more = sender.receive(decoded(octets_))
            going += more
    pytest.fail("the transfer did not end")


def test_over_hdlc_a_turn_is_one_block_whatever_window_the_client_announces() -> None:
    line = hdlc_line(shelf(), Association(conformance=GENERAL, pdu_octets_max=200), Policy(conformance=GENERAL))
    line.client._transfer = GeneralTransfer(9, 1)
    line.ask(Connect())
    assert line.ask(Get(PROFILE)) == [GetResult(PROFILE, ROWS)]
    assert line.broken == []


def test_a_transfer_without_progress_is_given_up() -> None:
    sender = GeneralTransfer(1)
    sender.send(bytes(100), 20)
    nothing = GeneralBlock(1, b"", window=1)
    for _ in range(8):
        sender.receive(nothing)
    with pytest.raises(RemoteProtocolError, match="no progress"):
        sender.receive(nothing)
    with pytest.raises(RemoteProtocolError, match="acknowledged"):
        sender.receive(GeneralBlock(1, b"", acknowledged=99))
    with pytest.raises(LocalProtocolError, match="window"):
        GeneralTransfer(64)


@given(st.lists(st.binary(max_size=30), max_size=8))
def test_any_general_blocks_give_events_or_remote_errors(bodies: list[bytes]) -> None:
    line = tcp_line(shelf(), Association(conformance=GENERAL), Policy(conformance=GENERAL))
    line.ask(Connect())
    line.client.send(Get(IMPORT))
    for body in bodies:
        apdu = b"\xe0" + body
        for end in (line.client, line.server):
            end.receive_data(b"\0\1\0\1\0\1\0" + bytes((len(apdu),)) + apdu)
            with contextlib.suppress(RemoteProtocolError):
                end.next_event()
            end.data_to_send()


@pytest.mark.parametrize("lost", range(2, 10))
def test_a_block_lost_without_a_link_below_that_repeats_comes_again_after_a_silence(lost: int) -> None:
    """As over UDP: whichever datagram is lost, the client tells the silence and the transfer goes on."""
    objects = shelf()
    objects.returns = octets(bytes(1000))
    association = Association(conformance=PLAIN_ONLY, pdu_octets_max=200, general_block_window=3)
    line = tcp_line(objects, association, Policy(conformance=PLAIN_ONLY, pdu_octets_max=150))
    line.ask(Connect())
    seen = 0

    def deliver(data: bytes) -> list[bytes]:
        """Lose the datagram with this number; several may be in one write."""
        nonlocal seen
        kept, at = [], 0
        while at < len(data):
            end = at + 8 + int.from_bytes(data[at + 6 : at + 8], "big")
            seen += 1
            if seen != lost:
                kept.append(data[at:end])
            at = end
        return kept

    line.deliver = deliver
    assert line.ask(Set(SERIAL, octets(bytes(900)))) == [SetDone(SERIAL)]
    assert line.ask(Get(IMPORT)) == [GetResult(IMPORT, double_long_unsigned(1234567))]
    assert seen >= lost


def test_a_transfer_nobody_goes_on_with_ends_the_link() -> None:
    line = tcp_line(shelf(), Association(conformance=PLAIN_ONLY, pdu_octets_max=200), Policy(conformance=PLAIN_ONLY))
    line.ask(Connect())
    line.server.receive_data(line.client.send(Get(PROFILE)))
    line.server.next_event()
    line.client.receive_data(line.server.data_to_send())
    line.client.next_event()
    line.client.data_to_send()
    repeated = [line.client.receive_silence() for _ in range(4)]
    assert [bool(octets_) for octets_ in repeated] == [True, True, True, False]
    assert line.client.next_event() == LinkDown("no answer")
