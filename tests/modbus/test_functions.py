"""States, identification and registers: our octets are those of pymodbus, both ways, and none of them writes."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.pdu import DecodePDU, ModbusPDU
from pymodbus.pdu.bit_message import (
    ReadCoilsRequest,
    ReadCoilsResponse,
    ReadDiscreteInputsRequest,
    ReadDiscreteInputsResponse,
)
from pymodbus.pdu.mei_message import ReadDeviceInformationRequest, ReadDeviceInformationResponse
from pymodbus.pdu.register_message import (
    ReadHoldingRegistersRequest,
    ReadHoldingRegistersResponse,
    ReadInputRegistersRequest,
    ReadInputRegistersResponse,
)

from protocols.errors import LocalProtocolError, RemoteProtocolError
from protocols.modbus.crc import crc16
from protocols.modbus.messages import (
    PDU_OCTETS_MAX,
    BitsReply,
    ExceptionReply,
    Function,
    IdentificationCategory,
    IdentificationReply,
    ReadBits,
    ReadIdentification,
    ReadRegisters,
    RegistersReply,
    Reply,
    Request,
)
from protocols.modbus.rtu import NEED_DATA, NeedData, RtuClient, encode_reply, encode_request

READS_ONLY = {1, 2, 3, 4, 0x2B}  # Modbus Application Protocol V1.1b3, section 5.1: the codes that change nothing
THEIR_REQUESTS = {
    Function.READ_COILS: ReadCoilsRequest,
    Function.READ_DISCRETE: ReadDiscreteInputsRequest,
    Function.READ_HOLDING: ReadHoldingRegistersRequest,
    Function.READ_INPUT: ReadInputRegistersRequest,
}
BITS = (Function.READ_COILS, Function.READ_DISCRETE)
REGISTERS = (Function.READ_HOLDING, Function.READ_INPUT)

units = st.integers(1, 247)
bit_questions = st.builds(
    lambda unit, function, address, count: ReadBits(unit, function, min(address, 0x10000 - count), count),
    units,
    st.sampled_from(BITS),
    st.integers(0, 0xFFFF),
    st.integers(1, 2000),
)
register_questions = st.builds(
    lambda unit, function, address, count: ReadRegisters(unit, function, min(address, 0x10000 - count), count),
    units,
    st.sampled_from(REGISTERS),
    st.integers(0, 0xFFFF),
    st.integers(1, 125),
)
identifications = st.builds(ReadIdentification, units, st.sampled_from(IdentificationCategory), st.integers(0, 255))
questions = st.one_of(bit_questions, register_questions, identifications)


@st.composite
def replies(draw: st.DrawFn) -> Reply:
    question = draw(questions)
    if draw(st.integers(0, 9)) == 0:
        return ExceptionReply(question, draw(st.integers(1, 255)))
    if isinstance(question, ReadRegisters):
        return RegistersReply(question, draw(st.binary(min_size=2 * question.count, max_size=2 * question.count)))
    if isinstance(question, ReadBits):
        number = draw(st.integers(0, (1 << question.count) - 1))
        return BitsReply(question, tuple(bool(number >> at & 1) for at in range(question.count)))
    objects = st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=30)), max_size=7)
    following = draw(st.one_of(st.none(), st.integers(0, 255)))
    return IdentificationReply(question, draw(st.integers(0, 255)), following, tuple(draw(objects)))


def feed(question: Request, pieces: list[bytes]) -> Reply | NeedData:
    client = RtuClient()
    client.send(question)
    for piece in pieces:
        client.receive_data(piece)
        event = client.next_event()
        if event is not NEED_DATA:
            return event
    return NEED_DATA


def theirs(question: Request) -> ModbusPDU:
    if isinstance(question, ReadIdentification):
        return ReadDeviceInformationRequest(question.category, question.first, dev_id=question.unit)
    made = THEIR_REQUESTS[question.function]
    return made(address=question.address, count=question.count, dev_id=question.unit)


@given(questions)
def test_a_question_has_the_octets_that_pymodbus_gives_it(question: Request) -> None:
    other = theirs(question)
    pdu = bytes((other.function_code,)) + other.encode()
    assert question.pdu() == pdu
    frame = encode_request(question)
    assert frame == bytes((question.unit,)) + pdu + crc16(bytes((question.unit,)) + pdu)
    decoded = DecodePDU(True).decode(frame[1:-2])
    assert type(decoded) is type(other)


@given(replies())
def test_a_reply_is_the_same_whole_and_octet_by_octet(reply: Reply) -> None:
    frame = encode_reply(reply)
    assert feed(reply.request, [frame]) == reply
    assert feed(reply.request, [bytes((octet,)) for octet in frame]) == reply
    assert feed(reply.request, [encode_request(reply.request) + frame]) == reply, "with an echo"


@given(replies())
def test_pymodbus_reads_out_of_our_reply_what_we_put_in(reply: Reply) -> None:
    decoded = DecodePDU(False).decode(reply.pdu())
    assert decoded is not None
    if isinstance(reply, ExceptionReply):
        assert decoded.exception_code == reply.code
    elif isinstance(reply, RegistersReply):
        assert isinstance(decoded, ReadHoldingRegistersResponse | ReadInputRegistersResponse)
        assert b"".join(each.to_bytes(2, "big") for each in decoded.registers) == reply.data
    elif isinstance(reply, BitsReply):
        assert isinstance(decoded, ReadCoilsResponse | ReadDiscreteInputsResponse)
        assert tuple(decoded.bits[: len(reply.bits)]) == reply.bits
        assert not any(decoded.bits[len(reply.bits) :])
    else:
        assert isinstance(decoded, ReadDeviceInformationResponse)
        found = [one for each in decoded.information.values() for one in (each if isinstance(each, list) else [each])]
        assert sorted(found) == sorted(octets for _, octets in reply.objects)
        assert decoded.next_object_id == (reply.following or 0)


@given(st.dictionaries(st.integers(0, 255), st.binary(max_size=60), max_size=8), identifications)
def test_we_read_out_of_pymodbus_reply_what_it_put_in(objects: dict[int, bytes], question: ReadIdentification) -> None:
    pdu = bytes((0x2B,)) + ReadDeviceInformationResponse(question.category, objects).encode()
    body = bytes((question.unit,)) + pdu
    event = feed(question, [body + crc16(body)])
    assert isinstance(event, IdentificationReply)
    assert event.objects == tuple(objects.items())[: len(event.objects)]
    assert (event.following is None) == (len(event.objects) == len(objects))


@given(questions, st.lists(st.binary(max_size=300), max_size=4))
def test_arbitrary_octets_give_an_event_or_a_remote_error(question: Request, pieces: list[bytes]) -> None:
    try:
        event = feed(question, pieces)
    except RemoteProtocolError:
        return
    assert event is NEED_DATA or event.request == question


@given(replies(), st.data())
def test_a_flipped_bit_never_gives_an_answer(reply: Reply, data: st.DataObject) -> None:
    frame = bytearray(encode_reply(reply))
    place = data.draw(st.integers(0, 8 * len(frame) - 1))
    frame[place // 8] ^= 1 << place % 8
    try:
        event = feed(reply.request, [bytes(frame)])
    except RemoteProtocolError:
        return
    assert event is NEED_DATA


def test_objects_beyond_a_data_unit_are_refused_before_they_are_waited_for() -> None:
    head = bytes((1, 0x2B, 0x0E, 1, 0x81, 0, 0, 2, 0, 200)) + bytes(200) + bytes((1, 200))
    with pytest.raises(RemoteProtocolError, match=str(PDU_OCTETS_MAX)):
        feed(ReadIdentification(1), [head])


@pytest.mark.parametrize(
    ("function", "address", "count"),
    [
        (Function.READ_INPUT, 0, 1),
        (Function.READ_COILS, 0, 2001),
        (Function.READ_COILS, 0, 0),
        (Function.READ_COILS, 0xFFFF, 2),
    ],
)
def test_an_impossible_question_for_bits_cannot_be_built(function: Function, address: int, count: int) -> None:
    with pytest.raises(LocalProtocolError):
        ReadBits(1, function, address, count)


@pytest.mark.parametrize("function", [Function.READ_COILS, Function.ENCAPSULATED])
def test_registers_are_asked_for_by_their_functions_only(function: Function) -> None:
    with pytest.raises(LocalProtocolError):
        ReadRegisters(1, function, 0, 1)


def test_no_function_that_writes_exists() -> None:
    assert {int(each) for each in Function} == READS_ONLY
    assert {each.__name__ for each in get_args(Request)} == {"ReadRegisters", "ReadBits", "ReadIdentification"}


@given(questions)
def test_nothing_that_is_sent_writes(question: Request) -> None:
    assert RtuClient().send(question)[1] in READS_ONLY
