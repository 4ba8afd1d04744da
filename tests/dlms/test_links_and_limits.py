"""What the links carry at their edges, and services at theirs: shared flags, several APDUs at once, sizes, refusals."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.dlms import axdr, profile
from protocols.dlms.acse import Context, Mechanism
from protocols.dlms.association import Association, Policy
from protocols.dlms.conformance import SHORT_NAMES, Conformance
from protocols.dlms.cosem_time import encode_date_time
from protocols.dlms.data import (
    DONT_CARE,
    NULL,
    Data,
    array,
    double_long_unsigned,
    octets,
    structure,
    unsigned,
)
from protocols.dlms.hdlc.frames import POLL_FINAL, Address, Frame, FrameReader, FrameType
from protocols.dlms.hdlc.negotiation import LinkLimits
from protocols.dlms.link import NEED_DATA, LinkDown, LinkUp
from protocols.dlms.mbus import PART_OCTETS, MbusReader, PartAssembly, encode_push
from protocols.dlms.plan import read_profile
from protocols.dlms.selective import CLOCK, CaptureObject, Range, decode_selection
from protocols.dlms.services import (
    Associated,
    AssociationRefused,
    BufferResult,
    Connect,
    Get,
    GetBuffer,
    GetResult,
    Set,
    SetDone,
)
from protocols.dlms.wrapper import Wrapped, WrapperReader
from protocols.dlms.xdlms.initiate import DLMS_VERSION, InitiateRequest
from protocols.dlms.xdlms.references import Selection
from protocols.dlms.xdlms.refusals import ConfirmedServiceError
from protocols.errors import LocalProtocolError, RemoteProtocolError
from protocols.obis import Obis
from tests.dlms.line import Shelf, connected, hdlc_line, tcp_line
from tests.dlms.test_hdlc_link import METER, opened
from tests.dlms.test_pair import IMPORT, PROFILE, SERIAL, shelf
from tests.dlms.test_security import ciphered_line

VALUE = double_long_unsigned(1234567)


# -- HDLC -------------------------------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=30), min_size=1, max_size=5), st.integers(1, 7))
def test_one_flag_may_close_a_frame_and_open_the_next_and_flags_may_occur_inside(
    bodies: list[bytes], chunk: int
) -> None:
    frames = [Frame(Address(16), Address(1, 17, 2), FrameType.UI, body + b"\x7e") for body in bodies]
    joined = b"\x7e" + b"".join(frame.encode()[1:] for frame in frames)
    reader, found = FrameReader(), []
    for at in range(0, len(joined), chunk):
        reader.receive_data(joined[at : at + chunk])
        while isinstance(frame := reader.next_frame(), Frame):
            found.append(frame)
    assert found == frames


@pytest.mark.parametrize("kind", [FrameType.RR, FrameType.RNR])
def test_a_meter_that_is_not_ready_yet_is_polled(kind: FrameType) -> None:
    primary = opened()
    primary.send_apdu(b"\xc0")
    primary.data_to_send()
    primary.receive_data(Frame(METER.client, METER.server, 1 << 5 | POLL_FINAL | kind).encode())
    assert primary.next_event() is NEED_DATA
    assert primary.data_to_send()


@pytest.mark.parametrize("window", range(1, 8))
def test_a_long_value_goes_both_ways_through_every_window(window: int) -> None:
    limits = LinkLimits(info_octets_tx=32, info_octets_rx=32, window_tx=window, window_rx=window)
    objects = shelf()
    line = connected(hdlc_line(objects, client_limits=limits, server_limits=limits))
    long = octets(bytes(range(256)) * 3)
    assert line.ask(Set(SERIAL, long)) == [SetDone(SERIAL)]
    assert line.ask(Get(SERIAL)) == [GetResult(SERIAL, long)]
    assert line.broken == []


# -- wrapper ----------------------------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=40), min_size=2, max_size=5), st.integers(1, 60))
def test_several_apdus_in_one_read_and_one_in_several_come_one_by_one(apdus: list[bytes], chunk: int) -> None:
    joined = b"".join(Wrapped(1, number, apdu).encode() for number, apdu in enumerate(apdus))
    reader, found = WrapperReader(), []
    for at in range(0, len(joined), chunk):
        reader.receive_data(joined[at : at + chunk])
        while isinstance(wrapped := reader.next_wrapped(), Wrapped):
            found.append(wrapped)
    assert found == [Wrapped(1, number, apdu) for number, apdu in enumerate(apdus)]


def test_two_requests_in_one_read_are_both_answered() -> None:
    line = connected(tcp_line(shelf()))
    one = line.client.send(Get(IMPORT))
    line.server.receive_data(one + one)
    while line.server.next_event() is not NEED_DATA:
        pass
    reader = WrapperReader()
    reader.receive_data(line.server.data_to_send())
    answers = [reader.next_wrapped(), reader.next_wrapped(), reader.next_wrapped()]
    assert answers[0] == answers[1] != NEED_DATA
    assert answers[2] is NEED_DATA


def test_an_apdu_of_64_kb_fits_and_one_octet_more_does_not() -> None:
    fits = Wrapped(1, 1, bytes(0xFFFF)).encode()
    reader = WrapperReader()
    reader.receive_data(fits[:-1])
    assert reader.next_wrapped() is NEED_DATA
    reader.receive_data(fits[-1:])
    assert reader.next_wrapped() == Wrapped(1, 1, bytes(0xFFFF))
    with pytest.raises(LocalProtocolError):
        Wrapped(1, 1, bytes(0x1_0000)).encode()
    value = octets(bytes(65_000))
    line = connected(tcp_line(Shelf({SERIAL: value})))
    assert line.ask(Get(SERIAL)) == [GetResult(SERIAL, value)]


# -- M-Bus ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [1, 2, 16, 17, 33])
def test_a_push_of_any_number_of_parts_is_joined_again(parts: int) -> None:
    apdu = bytes(range(251)) * parts * PART_OCTETS
    apdu = apdu[: parts * PART_OCTETS - 1]
    reader, assembly = MbusReader(), PartAssembly()
    reader.receive_data(b"\xff\x68" + encode_push(apdu))
    found = []
    while (frame := reader.next_frame()) is not NEED_DATA:
        assert not isinstance(frame, type(NEED_DATA))
        found.append(assembly.add(frame))
    assert found == [None] * (parts - 1) + [apdu]


# -- A-XDR ------------------------------------------------------------------------------------------------------------


def test_values_that_are_left_open_survive_the_wire() -> None:
    wildcards = octets(b"\xff\xff\xff\xff\x01\xff\xff\xff\xff\x80\x00\xff")
    value = structure(NULL, DONT_CARE, wildcards, array())
    assert axdr.decode(axdr.encode(value)) == value
    assert axdr.encode(DONT_CARE) == b"\xff"
    line = connected(tcp_line(Shelf({SERIAL: value})))
    assert line.ask(Get(SERIAL)) == [GetResult(SERIAL, value)]


# -- what a meter refuses in a confirmed-service-error -----------------------------------------------------------------


def test_a_confirmed_service_error_ends_the_question_and_the_association_lives_on() -> None:
    line = connected(tcp_line(shelf()))
    for error, words in (
        (ConfirmedServiceError(5, 4, 1), "definition: object-undefined"),
        (ConfirmedServiceError(6, 5, 1), "access: scope-of-access-violated"),
        (ConfirmedServiceError(5, 99, 7), "class 99: code 7"),
    ):
        line.client.send(Get(IMPORT))
        line.client.receive_data(Wrapped(1, 1, error.encode()).encode())
        event = line.client.next_event()
        assert event == error
        assert isinstance(event, ConfirmedServiceError)
        assert event.words == words
        assert line.ask(Get(IMPORT)) == [GetResult(IMPORT, VALUE)]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"version": DLMS_VERSION - 1}, "dlms-version-too-low"),
        ({"conformance": Conformance.READ}, "incompatible-conformance"),
        ({"pdu_octets_max": 11}, "pdu-size-too-short"),
    ],
)
def test_a_proposal_that_cannot_be_is_refused_with_the_service_error_of_initiate(
    changes: dict[str, Any], words: str
) -> None:
    line = tcp_line(shelf())
    connect = line.client.send(Connect())
    assert isinstance(line.client.next_event(), LinkUp)
    connect += line.client.data_to_send()
    proposal = InitiateRequest(Association().conformance)
    proposed, asked = proposal.encode(), replace(proposal, **changes).encode()
    assert proposed in connect
    line.server.receive_data(connect.replace(proposed, asked))
    while line.server.next_event() is not NEED_DATA:
        pass
    line.client.receive_data(line.server.data_to_send())
    refused = line.client.next_event()
    assert isinstance(refused, AssociationRefused)
    assert f"initiate: {words}" in refused.words


def test_the_longest_apdu_is_negotiated_to_what_each_side_takes() -> None:
    line = tcp_line(shelf(), Association(pdu_octets_max=300), Policy(pdu_octets_max=400))
    (associated,) = [event for event in line.ask(Connect()) if isinstance(event, Associated)]
    assert associated.pdu_octets_max == 400
    line.carried.clear()
    assert isinstance(line.ask(Get(PROFILE))[0], GetResult)
    assert max(map(len, line.carried)) <= 300 + 8
    line.carried.clear()
    assert line.ask(Set(SERIAL, octets(bytes(3000)))) == [SetDone(SERIAL)]
    assert max(map(len, line.carried)) <= 400 + 8


def test_a_short_name_client_and_a_logical_name_meter_do_not_meet() -> None:
    association = Association(Mechanism.NONE, b"", SHORT_NAMES, 0xFFFF, Context.SN)
    events = tcp_line(shelf(), association).ask(Connect())
    (refused,) = [event for event in events if isinstance(event, AssociationRefused)]
    assert "application-context-name-not-supported" in refused.words
    assert isinstance(events[-1], LinkDown)


# -- profiles ---------------------------------------------------------------------------------------------------------

ENERGY = CaptureObject(3, Obis.parse("1.0.1.8.0"), 2)
STATUS = CaptureObject(1, Obis.parse("0.0.96.10.1"), 2)
BEGIN = datetime(2026, 5, 1, tzinfo=UTC)


def row(number: int) -> Data:
    """A row whose clock is in the middle."""
    at = encode_date_time(BEGIN + timedelta(minutes=15 * number))
    return structure(unsigned(number & 1), octets(at), double_long_unsigned(1000 + number))


def test_ten_thousand_rows_come_in_blocks_and_are_read_with_the_clock_in_any_column() -> None:
    rows = array(*map(row, range(10_000)))
    line = connected(tcp_line(Shelf({PROFILE: rows}), Association(pdu_octets_max=1024)))
    (event,) = line.ask(GetBuffer(PROFILE))
    assert isinstance(event, BufferResult)
    table = profile.interpret(profile.decode_buffer(event.octets), (STATUS, CLOCK, ENERGY), period_s=900)
    assert table.at == [int(BEGIN.timestamp()) + 900 * number for number in range(10_000)]
    assert list(table.columns[-1]) == list(range(1000, 11_000))


def test_a_range_names_the_column_that_restricts_wherever_it_is() -> None:
    seen: list[Selection | None] = []

    def buffer(selection: Selection | None) -> Data:
        seen.append(selection)
        return array()

    other = CaptureObject(8, Obis.parse("0.1.1.0.0"), 2)  # a second clock
    line = connected(tcp_line(Shelf({PROFILE: buffer})))
    for restricting in (CLOCK, other):
        requests = read_profile(
            PROFILE.obis, BEGIN, BEGIN + timedelta(hours=1), restricting=restricting, columns=(ENERGY,)
        )
        for request in requests:
            line.ask(request)
        assert seen[-1] is not None
        asked = decode_selection(seen[-1])
        assert isinstance(asked, Range)
        assert (asked.restricting, asked.columns) == (restricting, (ENERGY,))


# -- counters ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ahead", "taken"), [(1, True), (1000, True), (1001, False), (1 << 20, False)])
def test_an_invocation_counter_may_jump_as_far_as_was_agreed(ahead: int, taken: bool) -> None:
    line = connected(ciphered_line(jump_max=1000))
    meter_side = line.server.protection(1)
    assert meter_side is not None
    meter_side.next_counter += ahead - 1
    line.server.receive_data(line.client.send(Get(IMPORT)))
    while line.server.next_event() is not NEED_DATA:
        pass
    line.client.receive_data(line.server.data_to_send())
    if taken:
        assert line.client.next_event() == GetResult(IMPORT, VALUE)
    else:
        with pytest.raises(RemoteProtocolError, match="jumps"):
            line.client.next_event()
