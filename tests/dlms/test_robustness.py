"""Arbitrary octets give an event or RemoteProtocolError, in time and memory bounded by their number."""

import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.dlms import axdr, profile
from protocols.dlms.apdu import decode_apdu
from protocols.dlms.data import NULL, BitString, Data, Tag, array, octets, structure, unsigned
from protocols.dlms.explain import explain_apdu
from protocols.dlms.hdlc.frames import Address, Frame, information_control
from protocols.dlms.link import APDU_OCTETS_MAX, NEED_DATA
from protocols.dlms.quirks import Quirks
from protocols.dlms.services import Get, GetResult
from protocols.errors import LocalProtocolError, RemoteProtocolError
from tests.dlms.line import Line, connected, hdlc_line, tcp_line
from tests.dlms.test_pair import IMPORT, shelf
from tests.dlms.vectors import load

TOLERANT = Quirks(user_information_length_off_by_one=True, trailing_octets=True, any_context_in_aare=True)
APDUS = [bytes.fromhex(vector["hex"]) for vector in load("acse") + load("xdlms") if len(vector["hex"]) < 1000]


def mutated(octets: bytes) -> st.SearchStrategy[bytes]:
    """Cut, flip and insert."""
    places = st.tuples(st.integers(0, len(octets) - 1), st.integers(0, 255), st.sampled_from(["set", "cut", "insert"]))

    def change(changes: list[tuple[int, int, str]]) -> bytes:
        data = bytearray(octets)
        for place, octet, how in changes:
            if how == "cut":
                del data[place:]
            elif how == "insert":
                data.insert(place, octet)
            elif place < len(data):
                data[place] = octet
        return bytes(data)

    return st.lists(places, min_size=1, max_size=4).map(change)


ALMOST_APDUS = st.sampled_from(APDUS).flatmap(mutated)
HOSTILE = st.one_of(st.binary(max_size=200), ALMOST_APDUS)


@given(HOSTILE, st.sampled_from([Quirks(), TOLERANT]))
def test_any_octets_are_an_apdu_that_encodes_or_a_remote_error(hostile: bytes, quirks: Quirks) -> None:
    try:
        apdu = decode_apdu(hostile, quirks)
    except RemoteProtocolError:
        return
    try:
        explain_apdu(apdu)  # Looks into what is decoded later: values, link parameters.
    except RemoteProtocolError:
        return


@given(st.binary(max_size=300))
def test_any_octets_are_a_value_that_encodes_back_or_a_remote_error(hostile: bytes) -> None:
    for decode in (axdr.decode, profile.decode_buffer):
        try:
            value = decode(hostile)
        except RemoteProtocolError:
            continue
        if isinstance(value, Data):
            assert axdr.decode(axdr.encode(value)) == value


VALUES = st.recursive(
    st.one_of(
        st.just(NULL),
        st.integers(0, 255).map(unsigned),
        st.binary(max_size=300).map(octets),
        st.integers(0, 40).map(lambda bits: Data(Tag.BIT_STRING, BitString(bits, bytes((bits + 7) // 8)))),
        st.integers(-(2**31), 2**31 - 1).map(lambda value: Data(Tag.DOUBLE_LONG, value)),
    ),
    lambda inner: st.lists(inner, max_size=4).map(lambda items: structure(*items)),
    max_leaves=12,
)


@given(VALUES, st.integers(0, 5))
def test_every_value_survives_the_wire_also_in_compact_arrays(value: Data, count: int) -> None:
    assert axdr.decode(axdr.encode(value)) == value
    compact = Data(Tag.COMPACT_ARRAY, (structure(unsigned(9), value),) * count)
    assert axdr.decode(axdr.encode(compact)) == compact


BOMBS = {
    "array of 2^32-1": "0184ffffffff",
    "structure of 2^32-1": "0284ffffffff",
    "octet-string of 2^32-1": "0984ffffffff00",
    "bit-string of 2^32-1": "0484ffffffff00",
    "nesting of 100,000 arrays": "0101" * 100_000,
    "nesting of 100,000 structures": "0201" * 100_000 + "00",
    "compact array of empty values": "13" + "00" + "0a" + "00" * 10,
    "compact array, 65,535 nulls an element": "13" + "0202" + "01ffff00" + "11" + "8203e8" + "00" * 1000,
    "compact array, description nested 100,000": "13" + "01ffff" * 100_000,
    "compact array, arrays of arrays of nulls": "13" + "0202" + "01ffff" * 8 + "00" + "11" + "01" + "00",
    "compact array, many wide arrays": "13" + "02820400" + "01ffff00" * 1024 + "01" + "00",
}


@pytest.mark.parametrize("hexed", BOMBS.values(), ids=BOMBS.keys())
def test_a_bomb_costs_nothing(hexed: str) -> None:
    data = bytes.fromhex(hexed)
    tracemalloc.start()
    try:
        for decode in (axdr.decode, profile.decode_buffer):
            with pytest.raises(RemoteProtocolError):
                decode(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 40_000_000


def test_values_nested_too_deep_are_not_sent_either() -> None:
    value = NULL
    for _ in range(axdr.NESTING_MAX + 1):
        value = array(value)
    with pytest.raises(LocalProtocolError, match="nested"):
        axdr.encode(value)


def drained(line: Line) -> int:
    """Take all events of the client and the server; return how many there were and how many errors."""
    count = 0
    takers: list[Callable[[], Any]] = [line.client.next_event, line.server.next_event]
    for take in takers:
        while True:
            count += 1
            try:
                if take() is NEED_DATA:
                    break
            except RemoteProtocolError:
                continue
    return count


def framed(apdu: bytes, number: int) -> bytes:
    """Return an I frame of the meter of ``hdlc_line``, with HCS and FCS right, so that its content is looked at."""
    control = information_control(number % 8, (number + 1) % 8, True)
    return Frame(Address(1), Address(1, 17, 2), control, b"\xe6\xe7\x00" + apdu[:100]).encode()


@settings(max_examples=50)
@given(st.lists(st.one_of(st.binary(max_size=60), ALMOST_APDUS.map(lambda apdu: framed(apdu, 2))), max_size=6))
def test_any_octets_at_either_end_give_events_or_remote_errors_over_hdlc(chunks: list[bytes]) -> None:
    line = connected(hdlc_line(shelf()))
    line.client.send(Get(IMPORT))
    for chunk in chunks:
        line.client.receive_data(chunk)
        line.server.receive_data(chunk)
        assert drained(line) <= 4 * len(chunk) + 4
        line.client.data_to_send()
        line.server.data_to_send()


@settings(max_examples=50)
@given(st.lists(HOSTILE, max_size=5))
def test_any_octets_at_either_end_give_events_or_remote_errors_over_tcp(apdus: list[bytes]) -> None:
    line = connected(tcp_line(shelf()))
    line.client.send(Get(IMPORT))
    for apdu in apdus:
        length = len(apdu).to_bytes(2, "big")
        line.client.receive_data(b"\0\1\0\1\0\1" + length + apdu)
        line.server.receive_data(b"\0\1\0\1\0\1" + length + apdu)
        drained(line)
        line.client.receive_data(apdu)
        drained(line)


def test_the_association_survives_garbage_answers() -> None:
    line = connected(tcp_line(shelf()))
    for garbage in (b"\xc4\x01\x41\x00\x99", b"\xc4\x09\x41", b"\x99", b""):
        line.client.send(Get(IMPORT))
        line.client.receive_data(b"\0\1\0\1\0\1" + len(garbage).to_bytes(2, "big") + garbage)
        with pytest.raises(RemoteProtocolError):
            line.client.next_event()
    (event,) = line.ask(Get(IMPORT))
    assert isinstance(event, GetResult)


def test_an_answer_to_an_earlier_question_is_late_and_the_right_one_still_counts() -> None:
    line = connected(tcp_line(shelf()))
    line.client.send(Get(IMPORT))
    for invoke, raises in ((9, True), (1, False)):
        apdu = bytes((0xC4, 1, 0xC0 | invoke, 0, 0x11, invoke))
        line.client.receive_data(b"\0\1\0\1\0\1\0" + bytes((len(apdu),)) + apdu)
        if raises:
            with pytest.raises(RemoteProtocolError, match="invoke-id 9, expected 1"):
                line.client.next_event()
        else:
            assert line.client.next_event() == GetResult(IMPORT, unsigned(1))


def test_an_endless_segmented_answer_is_refused_at_the_limit() -> None:
    line = connected(hdlc_line(shelf()))
    line.client.send(Get(IMPORT))

    def feed() -> None:
        for number in range(1, APDU_OCTETS_MAX // 100 + 10):
            control = information_control(number % 8, 2, True)
            line.client.receive_data(Frame(Address(1), Address(1, 17, 2), control, bytes(100), True).encode())
            assert line.client.next_event() is NEED_DATA
            line.client.data_to_send()

    with pytest.raises(RemoteProtocolError, match="more than"):
        feed()
