"""What meters do against the standard: refused by default, taken by the quirk that names it."""

from datetime import UTC, datetime
from typing import Any

import pytest

from protocols.dlms import axdr, profile
from protocols.dlms.acse import AssociationResponse
from protocols.dlms.apdu import decode_apdu
from protocols.dlms.association import Association
from protocols.dlms.client import DlmsClient
from protocols.dlms.cosem_time import decode_date_time, epoch_seconds
from protocols.dlms.data import NULL, array, double_long_unsigned, octets, structure
from protocols.dlms.hdlc.frames import POLL_FINAL, Address, Frame, FrameType, information_control
from protocols.dlms.hdlc.negotiation import LinkLimits
from protocols.dlms.hdlc.primary import HdlcParameters
from protocols.dlms.link import LinkUp
from protocols.dlms.quirks import STRICT, Quirks
from protocols.dlms.selective import CLOCK, CaptureObject
from protocols.dlms.services import Associated, AssociationRefused, BufferResult, Connect, Get, GetBuffer, GetResult
from protocols.dlms.wrapper import Wrapped, WrapperParameters
from protocols.dlms.xdlms.notifications import DataNotification
from protocols.errors import RemoteProtocolError
from protocols.obis import Obis
from tests.dlms.line import connected, tcp_line
from tests.dlms.test_pair import IMPORT, PROFILE, shelf
from tests.dlms.vectors import load, name_of

ACCEPTING = "6129a109060760857405080101a203020100a305a103020100be10040e0800065f1f0400001e1dffff0007"


def asked(quirks: Quirks = STRICT) -> DlmsClient:
    client = DlmsClient(WrapperParameters(16), Association(), quirks)
    client.send(Connect())
    assert isinstance(client.next_event(), LinkUp)
    return client


def answer(client: DlmsClient, hexed: str) -> Any:
    client.receive_data(Wrapped(1, 16, bytes.fromhex(hexed)).encode())
    return client.next_event()


def test_an_aare_may_begin_with_its_protocol_version() -> None:
    versioned = "612d80020780" + ACCEPTING[4:]
    assert isinstance(answer(asked(), versioned), Associated)


def test_a_rejection_may_come_without_user_information_but_an_acceptance_may_not() -> None:
    refused = answer(asked(), "6117a109060760857405080101a203020101a305a10302010d")
    assert isinstance(refused, AssociationRefused)
    assert refused.words == "rejected-permanent: authentication-failure"
    with pytest.raises(RemoteProtocolError, match="without an initiate-response"):
        answer(asked(), "6117a109060760857405080101a203020100a305a103020100")


def test_another_context_in_aare_needs_its_quirk() -> None:
    other = ACCEPTING.replace("60857405080101", "60857405080102")
    with pytest.raises(RemoteProtocolError, match="grants SN, expected LN"):
        answer(asked(), other)
    assert isinstance(answer(asked(Quirks(any_context_in_aare=True)), other), Associated)


def test_the_length_of_user_information_may_be_one_short_by_its_quirk_only() -> None:
    (vector,) = (v for v in load("acse") if v["expected"].get("lenient"))
    with pytest.raises(RemoteProtocolError):
        decode_apdu(bytes.fromhex(vector["hex"]))
    apdu = decode_apdu(bytes.fromhex(vector["hex"]), Quirks(user_information_length_off_by_one=True))
    assert isinstance(apdu, AssociationResponse)
    assert apdu.tolerated


@pytest.mark.parametrize("vector", load("profile"), ids=name_of)
def test_an_empty_last_block_with_octets_after_it_needs_its_quirk(vector: dict[str, Any]) -> None:
    """GuruxDLMS.c 9.0 sends the rows in block 1, then an empty last block and the end of the rows once more."""
    first, rows = bytes.fromhex(vector["blocks"][0]), bytes.fromhex(vector["hex"])
    last = bytes.fromhex("c402c101000000020000") + rows[-7:]
    for quirks in (STRICT, Quirks(trailing_octets=True)):
        line = connected(tcp_line(shelf(), quirks=quirks))
        line.client.send(GetBuffer(PROFILE))
        line.client.receive_data(Wrapped(1, 1, first).encode())
        line.client.next_event()
        assert line.client.data_to_send()[-4:] == b"\0\0\0\1"
        line.client.receive_data(Wrapped(1, 1, last).encode())
        if quirks.trailing_octets:
            assert line.client.next_event() == BufferResult(PROFILE, rows)
        else:
            with pytest.raises(RemoteProtocolError, match="7 octets follow"):
                line.client.next_event()


def test_octets_after_a_value_need_their_quirk() -> None:
    trailing = bytes.fromhex("c401c100" + "0600000001" + "ffff")
    for quirks in (STRICT, Quirks(trailing_octets=True)):
        line = connected(tcp_line(shelf(), quirks=quirks))
        line.client.send(Get(IMPORT))
        line.client.receive_data(Wrapped(1, 1, trailing).encode())
        if quirks.trailing_octets:
            assert line.client.next_event() == GetResult(IMPORT, double_long_unsigned(1))
        else:
            with pytest.raises(RemoteProtocolError, match="2 octets follow"):
                line.client.next_event()


def test_a_meter_that_answers_one_invoke_id_only_is_asked_with_that() -> None:
    line = connected(tcp_line(shelf(), quirks=Quirks(fixed_invoke_id=1)))
    for _ in range(3):
        line.carried.clear()
        line.ask(Get(IMPORT))
        assert line.carried[0][8:11] == b"\xc0\x01\xc1"


def test_answers_from_another_address_need_their_quirk() -> None:
    """Kaifa meters answer from one octet when asked in two."""
    parameters = HdlcParameters(16, 1, 0, 2)
    ua = Frame(Address(16), Address(1), FrameType.UA | POLL_FINAL).encode()
    for quirks in (STRICT, Quirks(any_server_address=True)):
        client = DlmsClient(parameters, Association(), quirks)
        client.send(Connect())
        client.receive_data(ua)
        if quirks.any_server_address:
            assert isinstance(client.next_event(), LinkUp)
        else:
            with pytest.raises(RemoteProtocolError, match="answered, expected"):
                client.next_event()


def test_ua_parameters_of_one_two_or_four_octets_are_read() -> None:
    for field in ("81800c0501800601800701010801 01", "818014050200800602008007040000000108 0400000001"):
        assert LinkLimits.decode(bytes.fromhex(field.replace(" ", ""))) == LinkLimits()


def test_a_server_may_send_smaller_blocks_and_empty_lists() -> None:
    line = connected(tcp_line(shelf()))
    line.client.send(Get(PROFILE))
    for number, (octet, last) in enumerate(((b"\x01", 0), (b"\x00", 1)), 1):
        apdu = b"\xc4\x02\xc1" + bytes((last,)) + number.to_bytes(4, "big") + b"\0\1" + octet
        line.client.receive_data(Wrapped(1, 1, apdu).encode())
        event = line.client.next_event()
        line.client.data_to_send()
    assert event == GetResult(PROFILE, array())


def test_a_date_time_tagged_as_data_in_a_push_is_read() -> None:
    """Kaifa MA309 writes 09 0C where the length alone is expected."""
    plain = DataNotification(1, bytes(12), double_long_unsigned(7))
    tagged = plain.encode().replace(b"\x0c" + bytes(12), b"\x09\x0c" + bytes(12))
    assert decode_apdu(tagged) == plain


SUMMER = bytes.fromhex("07ea0701030c000000ffc480")  # 2026-07-01 12:00, deviation -60, status: summer time


def test_summer_time_beside_a_winter_deviation_needs_its_quirk() -> None:
    noon = decode_date_time(SUMMER)
    assert noon.at() == datetime(2026, 7, 1, 11, tzinfo=UTC)
    assert noon.at(winter=True) == datetime(2026, 7, 1, 10, tzinfo=UTC)
    winter = SUMMER[:11] + b"\0"
    assert epoch_seconds([winter, SUMMER, winter], winter=True) == [
        int(datetime(2026, 7, 1, hour, tzinfo=UTC).timestamp()) for hour in (11, 10, 11)
    ]
    energy = CaptureObject(3, Obis.parse("1.0.1.8.0"), 2)
    buffer = profile.decode_buffer(axdr.encode(array(structure(octets(SUMMER), double_long_unsigned(1)))))
    for quirks, hour in ((STRICT, 11), (Quirks(winter_deviation=True), 10)):
        table = profile.interpret(buffer, (CLOCK, energy), period_s=900, quirks=quirks)
        assert table.at == [int(datetime(2026, 7, 1, hour, tzinfo=UTC).timestamp())]


def test_a_null_repeats_the_row_before_it_unless_the_quirk_says_it_is_missing() -> None:
    energy = CaptureObject(3, Obis.parse("1.0.1.8.0"), 2)
    rows = [structure(octets(SUMMER), value) for value in (double_long_unsigned(5), NULL)]
    buffer = profile.decode_buffer(axdr.encode(array(*rows)))
    for quirks, expected in ((STRICT, [5, 5]), (Quirks(null_is_missing=True), [5, None])):
        assert profile.interpret(buffer, (CLOCK, energy), period_s=900, quirks=quirks).column(energy) == expected
    first = profile.decode_buffer(axdr.encode(array(rows[1])))
    with pytest.raises(RemoteProtocolError, match="needs a row before it"):
        profile.interpret(first, (CLOCK, energy), period_s=900)


def test_hundredths_and_seconds_left_open_are_no_obstacle() -> None:
    moment = decode_date_time(bytes.fromhex("07ea0701030c00ffff800000"))
    assert moment.at(-420) == datetime(2026, 7, 1, 5, tzinfo=UTC)


def test_an_unknown_frame_is_not_an_answer() -> None:
    client = DlmsClient(HdlcParameters(), Association())
    client.send(Connect())
    client.receive_data(Frame(Address(16), Address(1), information_control(0, 0, True), b"\xe6\xe7\x00\xc4").encode())
    with pytest.raises(RemoteProtocolError, match="receive I while connecting"):
        client.next_event()
