"""The RTU master against every way in which octets may come."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from protocols.errors import LocalProtocolError, RemoteProtocolError
from protocols.modbus.crc import crc16
from protocols.modbus.messages import ExceptionReply, Function, ReadRegisters, RegistersReply, Reply
from protocols.modbus.rtu import (
    LEADING_NOISE_MAX,
    NEED_DATA,
    TRAILING_NOISE_MAX,
    NeedData,
    RtuClient,
    encode_reply,
    encode_request,
)

# Eastron, SDM120-Modbus protocol V2.4, section "Read input registers": voltage of unit 1, request and response.
SDM120_REQUEST = bytes.fromhex("01 04 00 00 00 02 71 cb")
SDM120_REPLY = bytes.fromhex("01 04 04 43 66 33 34 1b 38")
VOLTAGE = ReadRegisters(1, Function.READ_INPUT, 0, 2)

requests = st.builds(
    lambda unit, function, address, count: ReadRegisters(unit, function, min(address, 0x10000 - count), count),
    st.integers(1, 247),
    st.sampled_from([Function.READ_HOLDING, Function.READ_INPUT]),
    st.integers(0, 0xFFFF),
    st.integers(1, 125),
)


@st.composite
def replies(draw: st.DrawFn) -> Reply:
    request = draw(requests)
    if draw(st.booleans()):
        return ExceptionReply(request, draw(st.integers(1, 255)))
    return RegistersReply(request, draw(st.binary(min_size=2 * request.count, max_size=2 * request.count)))


def feed(request: ReadRegisters, pieces: list[bytes]) -> Reply | NeedData:
    """Return the first event that is not NEED_DATA, or NEED_DATA when the pieces are used up."""
    client = RtuClient()
    client.send(request)
    for piece in pieces:
        client.receive_data(piece)
        event = client.next_event()
        if event is not NEED_DATA:
            return event
    return NEED_DATA


def singly(octets: bytes) -> list[bytes]:
    return [bytes((octet,)) for octet in octets]


def test_the_documented_frames_come_out() -> None:
    assert encode_request(VOLTAGE) == SDM120_REQUEST
    assert feed(VOLTAGE, [SDM120_REPLY]) == RegistersReply(VOLTAGE, bytes.fromhex("43663334"))


def test_the_checksum_is_the_standards_example() -> None:
    """Modbus over Serial Line V1.02, appendix B: 02 07 has the checksum 1241, low octet first."""
    assert crc16(b"\x02\x07") == b"\x41\x12"


@given(replies())
def test_a_reply_is_the_same_whole_and_octet_by_octet(reply: Reply) -> None:
    frame = encode_reply(reply)
    assert feed(reply.request, [frame]) == reply
    assert feed(reply.request, singly(frame)) == reply


@given(replies())
def test_an_echo_of_the_request_is_dropped(reply: Reply) -> None:
    heard = encode_request(reply.request) + encode_reply(reply)
    assert feed(reply.request, [heard]) == reply
    assert feed(reply.request, singly(heard)) == reply


@given(replies(), st.integers(1, LEADING_NOISE_MAX), st.sampled_from([b"\x00", b"\xff"]))
def test_a_pulse_before_the_reply_is_dropped(reply: Reply, count: int, octet: bytes) -> None:
    assert feed(reply.request, [octet * count + encode_reply(reply)]) == reply


@given(replies(), st.binary(min_size=TRAILING_NOISE_MAX + 1, max_size=300))
def test_another_frame_behind_the_reply_is_an_error_because_nobody_knows_which_is_the_answer(
    reply: Reply, rubbish: bytes
) -> None:
    with pytest.raises(RemoteProtocolError, match="after the reply"):
        feed(reply.request, [encode_reply(reply) + rubbish])


@given(replies(), st.data())
def test_a_flipped_bit_never_gives_a_value(reply: Reply, data: st.DataObject) -> None:
    frame = bytearray(encode_reply(reply))
    place = data.draw(st.integers(0, 8 * len(frame) - 1))
    frame[place // 8] ^= 1 << place % 8
    try:
        event = feed(reply.request, [bytes(frame)])
    except RemoteProtocolError:
        return
    assert event is NEED_DATA


@given(replies())
def test_a_cut_reply_is_waited_for(reply: Reply) -> None:
    frame = encode_reply(reply)
    for cut in range(len(frame)):
        assert feed(reply.request, [frame[:cut]]) is NEED_DATA


@given(requests, st.lists(st.binary(max_size=300), max_size=5))
@example(VOLTAGE, [b""])
def test_arbitrary_octets_give_an_event_or_a_remote_error(request: ReadRegisters, pieces: list[bytes]) -> None:
    try:
        event = feed(request, pieces)
    except RemoteProtocolError:
        return
    assert event is NEED_DATA or event.request == request


@given(replies(), requests)
def test_a_reply_to_another_unit_function_or_length_is_never_taken(reply: Reply, asked: ReadRegisters) -> None:
    same_meter = (reply.request.unit, reply.request.function) == (asked.unit, asked.function)
    if same_meter and (isinstance(reply, ExceptionReply) or reply.request.count == asked.count):
        return
    try:
        event = feed(asked, [encode_reply(reply)])
    except RemoteProtocolError:
        return
    assert event is NEED_DATA


@pytest.mark.parametrize(
    ("unit", "address", "count"), [(0, 0, 1), (248, 0, 1), (1, 0, 0), (1, 0, 126), (1, 0xFFFF, 2), (1, -1, 1)]
)
def test_an_impossible_question_cannot_be_built(unit: int, address: int, count: int) -> None:
    with pytest.raises(LocalProtocolError):
        ReadRegisters(unit, Function.READ_INPUT, address, count)


def test_nothing_is_answered_before_something_is_asked() -> None:
    with pytest.raises(LocalProtocolError):
        RtuClient().next_event()
