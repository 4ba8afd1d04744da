"""Client and server joined in memory; whatever the line does, a value is right or absent."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.dlms.link import NEED_DATA
from protocols.errors import LocalProtocolError, RemoteProtocolError
from protocols.iec62056_21 import client as reader
from protocols.iec62056_21 import session as session_of
from protocols.iec62056_21.characters import put_parity
from protocols.iec62056_21.client import Client
from protocols.iec62056_21.messages import Command, Identification, Mode, encode_data, encode_readout
from protocols.iec62056_21.server import Server, ServerParameters, ServerState
from protocols.iec62056_21.session import (
    Answered,
    Ask,
    Done,
    HdlcBegins,
    Identified,
    PasswordAsked,
    ReadoutDone,
    Refused,
    Select,
    SignOff,
    SignOn,
    Silent,
    State,
)

LINES = b"0.9.1(12:00:00)\r\n1.8.0(0000123.456*kWh)\r\n"


class Registers:
    def __init__(self) -> None:
        self.written: dict[str, str] = {}

    def readout(self) -> bytes:
        return LINES

    def read(self, address: str) -> str | None:
        return {"1.8.0": "0000123.456*kWh"}.get(address)

    def write(self, address: str, value: str) -> bool:
        self.written[address] = value
        return address == "0.9.1"


def meter(**changes: Any) -> Server:
    parameters = {"identification": Identification("CTO", "5", "test", "\\2"), "address": "17", "hdlc": True, **changes}
    return Server(ServerParameters(**parameters), Registers())


def ask(client: Client, server: Server, request: Any, chunk: int = 1 << 20, noise: bytes = b"") -> Any:
    """Carry out one request; the meter's octets come in chunks, after noise."""
    server.receive_data(client.send(request))
    octets = noise + server.data_to_send()
    return events_of(client, octets, chunk)


def events_of(client: Client, octets: bytes, chunk: int = 1 << 20) -> Any:
    events = []
    for at in range(0, len(octets), chunk):
        client.receive_data(octets[at : at + chunk])
        while (event := client.next_event()) is not NEED_DATA:
            events.append(event)
    return events


@pytest.mark.parametrize("chunk", [1, 3, 1 << 20])
@pytest.mark.parametrize("noise", [b"", b"\xff\x55\x03\x03"])
def test_a_readout_comes_whole_and_octet_by_octet_and_after_noise(chunk, noise):
    client, server = Client(), meter()
    (identified,) = ask(client, server, SignOn(), chunk, noise)
    assert identified == Identified(Identification("CTO", "5", "test", "\\2"))
    (done,) = ask(client, server, Select(Mode.READOUT), chunk, noise)
    assert isinstance(done, ReadoutDone)
    assert done.readout.data_sets[1].quantity == (123_456, "Wh")
    assert (client.baud, server.baud) == (9600, 9600)
    assert (client.state, server.state) == (State.SIGNED_OFF, ServerState.SIGNED_OFF)


def test_only_the_meter_that_is_called_answers_and_leading_zeros_do_not_count():
    assert ask(Client(), meter(), SignOn("18")) == []
    assert ask(Client(), meter(), SignOn("0017"))


def test_the_speed_is_the_lower_of_both():
    client, server = Client(), meter()
    ask(client, server, SignOn())
    assert ask(client, server, Select(Mode.READOUT, baud_max=2400))
    assert (client.baud, server.baud) == (2400, 2400)


def test_an_echo_of_the_optical_head_is_dropped():
    client, server = Client(), meter()
    sent = client.send(SignOn())
    server.receive_data(sent)
    assert len(events_of(client, sent + server.data_to_send())) == 1


def test_mode_e_hands_the_line_to_hdlc_and_a_new_sign_on_takes_it_back():
    client, server = Client(), meter()
    ask(client, server, SignOn())
    assert ask(client, server, Select(Mode.HDLC)) == [HdlcBegins()]
    assert client.state is State.HDLC
    frame = bytes.fromhex("7ea0080223213953467e")
    server.receive_data(frame)
    assert server.take_hdlc() == frame
    assert server.data_to_send() == b""
    assert ask(Client(), server, SignOn())
    assert server.baud == 300


def test_a_meter_that_does_not_repeat_the_selection_is_tried_with_hdlc_all_the_same():
    client = Client()
    client.send(SignOn())
    events_of(client, put_parity(b"/CTO5x\r\n"))
    client.send(Select(Mode.HDLC))
    client.receive_silence()
    assert client.next_event() == HdlcBegins()


def test_programming_mode_asks_for_the_password_reads_writes_and_refuses():
    client, server = Client(), meter(password="4711")
    ask(client, server, SignOn())
    assert ask(client, server, Select(Mode.PROGRAMMING)) == [PasswordAsked("00000000")]
    (refused,) = ask(client, server, Ask(Command("R5", "1.8.0()")))
    assert refused == Refused("error message ER02")
    assert ask(client, server, Ask(Command("P1", "(4711)"))) == [Done()]
    (answered,) = ask(client, server, Ask(Command("R5", "1.8.0()")))
    assert isinstance(answered, Answered)
    assert answered.data_sets[0].quantity == (123_456, "Wh")
    assert ask(client, server, Ask(Command("R5", "9.9.9()"))) == [Refused("error message ER01")]
    assert ask(client, server, Ask(Command("W5", "0.9.1(12:00:00)"))) == [Done()]
    assert ask(client, server, Ask(Command("W5", "1.8.0(0)"))) == [Refused("error message ER03")]
    assert ask(client, server, Ask(Command("Z9", "x()"))) == [Refused("the meter did not understand (NAK)")]
    server.receive_data(client.send(SignOff()))
    assert server.state is ServerState.SIGNED_OFF


def test_a_wrong_password_ends_the_session():
    client, server = Client(), meter(password="4711")
    ask(client, server, SignOn())
    ask(client, server, Select(Mode.PROGRAMMING))
    assert ask(client, server, Ask(Command("P1", "(4712)"))) == [Refused("the meter broke the session off (B0)")]
    assert (client.state, server.state) == (State.SIGNED_OFF, ServerState.SIGNED_OFF)


def test_a_damaged_readout_is_asked_for_again_and_then_given_up():
    client, server = Client(), meter()
    ask(client, server, SignOn())
    server.receive_data(client.send(Select(Mode.READOUT)))
    octets = server.data_to_send()
    damaged = octets.replace(put_parity(b"123.456"), put_parity(b"123.455"))
    client.receive_data(damaged)
    with pytest.raises(RemoteProtocolError, match="block check"):
        client.next_event()
    server.receive_data(client.data_to_send())
    assert server.data_to_send() == octets
    for repeated in range(reader.REPEATS_MAX):
        client.receive_data(damaged)
        with pytest.raises(RemoteProtocolError, match="block check"):
            client.next_event()
        assert bool(client.data_to_send()) == (repeated + 1 < reader.REPEATS_MAX)
    (done,) = events_of(client, octets)
    assert isinstance(done, ReadoutDone)


def test_meters_of_mode_b_go_on_by_themselves():
    client = Client()
    client.send(SignOn())
    identified, done = events_of(client, put_parity(b"/ABCE\r\n" + encode_readout(LINES)))
    assert isinstance(identified, Identified)
    assert isinstance(done, ReadoutDone)
    assert client.baud == 9600


def test_a_meter_whose_identification_is_not_answered_sends_its_readout_at_300_baud():
    client, server = Client(), meter()
    ask(client, server, SignOn())
    server.receive_silence()
    assert server.data_to_send() == put_parity(encode_readout(LINES))
    assert server.baud == 300


def test_silence_ends_the_wait_and_says_while_what():
    client = Client()
    client.send(SignOn())
    client.receive_data(put_parity(b"/CT"))
    client.receive_silence()
    assert client.next_event() == Silent(
        "silence while awaiting the identification; 3 octets came and were no whole message"
    )
    assert client.send(SignOn())


def test_blocks_of_a_partial_read_are_acknowledged_one_by_one():
    client, server = Client(), meter()
    ask(client, server, SignOn())
    ask(client, server, Select(Mode.PROGRAMMING))
    client.send(Ask(Command("R3", "P.01()")))
    first = encode_data(b"(1)(2)")
    first = first[:-2] + b"\x04" + bytes((first[-1] ^ 0x03 ^ 0x04,))
    assert events_of(client, put_parity(first))[0].last is False
    assert client.data_to_send() == put_parity(b"\x06")
    assert events_of(client, put_parity(encode_data(b"(3)")))[0].last is True


REQUESTS = (SignOn(), Select(Mode.READOUT), Select(Mode.PROGRAMMING), Select(Mode.HDLC), Ask(Command("R5", "x()")))


STEPS = (
    session_of.Step.SIGN_ON,
    session_of.Step.SELECT_READOUT,
    session_of.Step.SELECT_PROGRAMMING,
    session_of.Step.SELECT_HDLC,
    session_of.Step.COMMAND,
)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize(("asked", "step"), list(zip(REQUESTS, STEPS, strict=True)))
def test_every_request_is_carried_out_or_refused_by_the_table(state, asked, step):
    client = Client()
    client.identification = Identification("CTO", "5", "x")
    client.state = state
    if (state, step) in session_of.TRANSITIONS:
        assert client.send(asked)
        assert client.state is session_of.TRANSITIONS[state, step]
        return
    with pytest.raises(LocalProtocolError, match=state.value):
        client.send(asked)
    assert client.state is state


# -- any octets -------------------------------------------------------------------------------------------------------

PIECES = st.sampled_from(
    [
        put_parity(piece)
        for piece in (b"/CTO5x\r\n", b"\x02", b"\x03", b"\x01P0\x02()\x03\x60", b"\x06", b"\x15", b"!\r\n", LINES)
    ]
)
OCTETS = st.lists(st.one_of(st.binary(max_size=12), PIECES), max_size=12).map(b"".join)


@given(st.sampled_from(list(State)), OCTETS, st.booleans())
def test_any_octets_give_an_event_or_a_remote_protocol_error(state, octets, parity):
    client = Client(parity=parity)
    client.identification = Identification("CTO", "5", "x")
    client.state = state
    client.receive_data(octets)
    for _ in range(len(octets) + 2):
        try:
            if client.next_event() is NEED_DATA:
                break
        except RemoteProtocolError:
            continue
    else:
        pytest.fail("more events than octets")
    client.receive_silence()


@given(st.sampled_from(list(ServerState)), OCTETS)
def test_a_meter_takes_any_octets(state, octets):
    server = meter()
    server.state = state
    server.receive_data(octets)
    server.receive_silence()
    server.data_to_send()


@given(st.data())
def test_a_readout_with_any_one_bit_flipped_is_right_or_absent(data):
    client, server = Client(), meter()
    ask(client, server, SignOn())
    server.receive_data(client.send(Select(Mode.READOUT)))
    octets = bytearray(server.data_to_send())
    place = data.draw(st.integers(0, len(octets) * 8 - 1))
    octets[place // 8] ^= 1 << place % 8
    client.receive_data(bytes(octets))
    try:
        event = client.next_event()
    except RemoteProtocolError:
        return
    assert event is NEED_DATA or (isinstance(event, ReadoutDone) and len(event.readout.data_sets) == 2)
