"""Pushes of real meters, over each link, plain and ciphered; forged and repeated ones are refused."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.dlms.apdu import decode_apdu
from protocols.dlms.ciphering import GENERAL_GLO, CipheredApdu, Keys, SecurityControl, protect
from protocols.dlms.data import double_long_unsigned, octets, structure
from protocols.dlms.explain import explain_apdu
from protocols.dlms.hdlc.frames import Address, Frame, FrameType
from protocols.dlms.hdlc.sequence import LLC_RESPONSE
from protocols.dlms.link import NEED_DATA
from protocols.dlms.mbus import MbusFrame, MbusReader, encode_push
from protocols.dlms.push import Locked, Pushed, PushEvent, PushLink, PushReceiver, PushSecurity
from protocols.dlms.wrapper import Wrapped
from protocols.dlms.xdlms.general_block import GeneralBlock
from protocols.dlms.xdlms.notifications import DataNotification
from protocols.errors import RemoteProtocolError
from tests.dlms.vectors import differences, load, name_of

PUSHES = [vector for vector in load("push") if vector["link"] in ("hdlc", "mbus")]
NOTIFICATION = DataNotification(0x40000001, None, structure(octets(bytes(700)), double_long_unsigned(5)))
TITLE, KEYS = b"MTR\0\0\0\0\1", Keys(bytes(range(16)), bytes(range(16, 32)))
BOTH = SecurityControl()


def events_of(receiver: PushReceiver, *chunks: bytes) -> list[PushEvent]:
    events: list[PushEvent] = []
    for chunk in chunks:
        receiver.receive_data(chunk)
        while (event := receiver.next_event()) is not NEED_DATA:
            events.append(event)
    return events


def known_of(vector: dict[str, Any]) -> dict[bytes, PushSecurity]:
    if "key_hex" not in vector:
        return {}
    control = SecurityControl(authenticated=False)
    title = bytes.fromhex(vector["system_title_hex"])
    return {title: PushSecurity(Keys(bytes.fromhex(vector["key_hex"])), control)}


@pytest.mark.parametrize("vector", PUSHES, ids=name_of)
def test_real_pushes_arrive_whole_and_byte_by_byte_and_after_noise(vector: dict[str, Any]) -> None:
    data, expected, link = bytes.fromhex(vector["hex"]), vector["expected"], PushLink(vector["link"])
    for chunks in ([data], [data[at : at + 1] for at in range(len(data))], [b"\x00\x55\x16" + data]):
        (event,) = events_of(PushReceiver(link, known_of(vector)), *chunks)
        if "apdu" in expected:
            assert isinstance(event, Pushed)
            assert not differences(expected["apdu"], explain_apdu(event.notification))
            assert event.counter == expected.get("cipher", {}).get("invocation_counter")
        else:
            assert isinstance(event, Locked)
            assert (event.apdu.name, event.apdu.counter) == (
                expected["cipher"]["apdu"],
                expected["cipher"]["invocation_counter"],
            )


@pytest.mark.parametrize("vector", [v for v in PUSHES if v["link"] == "mbus"], ids=name_of)
def test_mbus_frames_hold_field_by_field_and_encode_back(vector: dict[str, Any]) -> None:
    reader, frames = MbusReader(), []
    reader.receive_data(bytes.fromhex(vector["hex"]))
    while isinstance(frame := reader.next_frame(), MbusFrame):
        frames.append(frame)
    shown = [
        {
            "c": f"{frame.control:02x}",
            "a": f"{frame.address:02x}",
            "ci": f"{frame.ci:02x}",
            "checksum_ok": True,
            "stop_ok": True,
            "stsap": frame.source_sap,
            "dtsap": frame.destination_sap,
        }
        for frame in frames
    ]
    assert shown == vector["expected"]["mbus"]
    assert b"".join(frame.encode() for frame in frames).hex() == vector["hex"]
    apdu = b"".join(frame.octets for frame in frames)
    assert encode_push(apdu).hex() == vector["hex"]


def test_a_push_in_segments_comes_whole_with_and_without_repeated_llc() -> None:
    apdu = NOTIFICATION.encode()
    halves = (apdu[:400], apdu[400:])
    for llc in (b"", b"\xe6\xe7\x00"):
        frames = [
            Frame(Address(103), Address(1, 17, 2), FrameType.UI, head + half, more).encode()
            for half, more, head in zip(halves, (True, False), (b"\xe6\xe7\x00", llc), strict=True)
        ]
        assert events_of(PushReceiver(PushLink.HDLC), *frames) == [Pushed(NOTIFICATION)]


def sealed(counter: int, control: SecurityControl = BOTH, plaintext: bytes = NOTIFICATION.encode()) -> bytes:
    payload = protect(KEYS, TITLE, control, counter, plaintext)
    return CipheredApdu(GENERAL_GLO, control, counter, payload, TITLE).encode()


def on_wrapper(apdu: bytes) -> bytes:
    return Wrapped(1, 103, apdu).encode()


def test_a_push_that_loses_its_last_segment_does_not_cost_the_next_one() -> None:
    octets_ = LLC_RESPONSE + NOTIFICATION.encode()
    pieces = [octets_[at : at + 128] for at in range(0, len(octets_), 128)]
    frames = [
        Frame(Address(16), Address(1, 17, 2), FrameType.UI | 0x10, piece, piece is not pieces[-1]).encode()
        for piece in pieces
    ]
    assert events_of(PushReceiver(PushLink.HDLC), *frames[:-1], *frames) == [Pushed(NOTIFICATION)]


def test_a_ciphered_push_in_general_blocks_arrives_once_and_never_again() -> None:
    receiver = PushReceiver(PushLink.WRAPPER, {TITLE: PushSecurity(KEYS)})
    apdu = sealed(7)
    blocks = [
        GeneralBlock(number + 1, apdu[at : at + 300], last=at + 300 >= len(apdu), streaming=True).encode()
        for number, at in enumerate(range(0, len(apdu), 300))
    ]
    assert events_of(receiver, *map(on_wrapper, blocks)) == [Pushed(NOTIFICATION, TITLE, 7)]
    assert receiver.counters == {TITLE: 7}
    with pytest.raises(RemoteProtocolError, match="repetition"):
        events_of(receiver, on_wrapper(apdu))
    assert events_of(receiver, on_wrapper(sealed(8))) == [Pushed(NOTIFICATION, TITLE, 8)]


@pytest.mark.parametrize(
    ("apdu", "words"),
    [
        (sealed(9)[:-1] + b"\0", "tag is wrong"),
        (sealed(9, SecurityControl(authenticated=False)), "agreed was 30"),
        (sealed(9, SecurityControl(encrypted=False)), "agreed was 30"),
        (sealed(9, plaintext=sealed(10)), "inside a ciphered"),
        (sealed(9, plaintext=bytes.fromhex("c401c1000600000001")), "only notifications"),
        (bytes.fromhex("6303800100"), "only notifications"),
    ],
)
def test_a_forged_push_is_refused(apdu: bytes, words: str) -> None:
    receiver = PushReceiver(PushLink.WRAPPER, {TITLE: PushSecurity(KEYS, received_counter=5)})
    with pytest.raises(RemoteProtocolError, match=words):
        events_of(receiver, on_wrapper(apdu))


def test_a_missing_part_is_an_error_and_the_next_push_arrives() -> None:
    data = encode_push(NOTIFICATION.encode())
    frames = [data[at : at + 256] for at in range(0, len(data), 256)]
    receiver = PushReceiver(PushLink.MBUS)
    with pytest.raises(RemoteProtocolError, match="part 2"):
        events_of(receiver, frames[0], frames[2])
    assert events_of(receiver, data) == [Pushed(NOTIFICATION)]
    events_of(receiver, frames[0])
    receiver.receive_silence()
    assert events_of(receiver, data) == [Pushed(NOTIFICATION)]


@given(st.lists(st.binary(max_size=80), max_size=5), st.sampled_from(PushLink), st.booleans())
def test_any_octets_give_pushes_or_remote_errors(chunks: list[bytes], link: PushLink, begun: bool) -> None:
    receiver = PushReceiver(link, {TITLE: PushSecurity(KEYS)})
    if begun:
        receiver.receive_data(encode_push(NOTIFICATION.encode())[:300])
    for chunk in chunks:
        receiver.receive_data(chunk)
        for _ in range(len(chunk) + 400):
            try:
                if receiver.next_event() is NEED_DATA:
                    break
            except RemoteProtocolError:
                continue


def test_the_long_invoke_id_and_date_time_survive_the_wire() -> None:
    dated = replace(NOTIFICATION, date_time=bytes.fromhex("07e50b1904170037ff800000"))
    assert decode_apdu(dated.encode()) == dated
    assert dated.invoke_id == 1
