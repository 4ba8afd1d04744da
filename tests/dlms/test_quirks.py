"""What meters do against the standard: refused by default, taken by the quirk that names it."""

from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from protocols.dlms import axdr, profile
from protocols.dlms.acse import AssociationResponse, ReleaseResponse
from protocols.dlms.apdu import decode_apdu
from protocols.dlms.association import Association
from protocols.dlms.client import DlmsClient
from protocols.dlms.cosem_time import decode_date_time, epoch_seconds
from protocols.dlms.data import (
    NULL,
    Tag,
    array,
    double_long_unsigned,
    integer_of,
    items_of,
    octets,
    octets_of,
    structure,
)
from protocols.dlms.explain import dotted
from protocols.dlms.hdlc.frames import POLL_FINAL, Address, Frame, FrameType, information_control
from protocols.dlms.hdlc.negotiation import LinkLimits
from protocols.dlms.hdlc.primary import HdlcParameters
from protocols.dlms.link import NEED_DATA, LinkDown, LinkUp
from protocols.dlms.plan import read_profile
from protocols.dlms.push import PAUSE_S_MAX, Pushed, PushLink, PushReceiver
from protocols.dlms.quirks import STRICT, Quirks, RangeDeviation
from protocols.dlms.selective import CLOCK, CaptureObject
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
)
from protocols.dlms.wrapper import Wrapped, WrapperParameters
from protocols.dlms.xdlms.notifications import DataNotification
from protocols.errors import RemoteProtocolError
from protocols.obis import Obis
from tests.dlms.line import connected, tcp_line
from tests.dlms.test_pair import IMPORT, PROFILE, shelf
from tests.dlms.test_security import Attack, ciphered_line
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
    assert profile.interpret(first, (CLOCK, energy), period_s=900).column(energy) == [None]


def test_hundredths_and_seconds_left_open_are_no_obstacle() -> None:
    moment = decode_date_time(bytes.fromhex("07ea0701030c00ffff800000"))
    assert moment.at(-420) == datetime(2026, 7, 1, 5, tzinfo=UTC)


def test_an_unknown_frame_is_not_an_answer() -> None:
    client = DlmsClient(HdlcParameters(), Association())
    client.send(Connect())
    client.receive_data(Frame(Address(16), Address(1), information_control(0, 0, True), b"\xe6\xe7\x00\xc4").encode())
    with pytest.raises(RemoteProtocolError, match="receive I while connecting"):
        client.next_event()


def by_name(quirk: str) -> Quirks:
    fields_: dict[str, Any] = {quirk: True}
    return Quirks(**fields_)


def pushes(receiver: PushReceiver, data: bytes) -> list[Pushed]:
    receiver.receive_data(data)
    found: list[Pushed] = []
    while (event := receiver.next_event()) is not NEED_DATA:
        assert isinstance(event, Pushed)
        found.append(event)
    return found


def registers_of(push: Pushed) -> dict[str, int]:
    """Return the numbers of a push of structures that begin with a logical name, or with class, name and index."""
    items = items_of(push.notification.data)
    if items and items[-1].tag is Tag.ARRAY:
        items = items_of(items[-1])
    found = {}
    for item in items:
        name, value = items_of(item)[:2]
        name = items_of(name)[1] if name.tag is Tag.STRUCTURE else name
        if isinstance(value.content, int):
            found[dotted(Obis.from_octets(octets_of(name)))] = integer_of(value)
    return found


@pytest.mark.parametrize("vector", load("quirks/push"), ids=name_of)
def test_pushes_that_break_a_xdr_are_read_by_the_quirk_that_names_their_meter(vector: dict[str, Any]) -> None:
    """Strictly, one is refused and the other has numbers where names belong: no value comes under a wrong name."""
    data = bytes.fromhex(vector["hex"])
    link = PushLink.HDLC if vector["link"] == "hdlc" else PushLink.WRAPPER
    framed = data if link is PushLink.HDLC else Wrapped(1, 1, data).encode()
    (push,) = pushes(PushReceiver(link, quirks=by_name(vector["quirk"])), framed)
    found = registers_of(push)
    assert {name: found[name] for name in vector["expected"]} == vector["expected"]
    for quirks in (STRICT, Quirks(winter_deviation=True)):
        with pytest.raises(RemoteProtocolError):
            pushes(PushReceiver(link, quirks=quirks), framed)
    for cut in range(20, len(data), 7):
        with pytest.raises(RemoteProtocolError):
            decode_apdu(
                bytes.fromhex(vector["hex"])[13 if link is PushLink.HDLC else 0 : cut],
                by_name(vector["quirk"]),
            )


def test_a_push_of_the_slot_before_that_comes_again_is_left_out_by_its_quirk() -> None:
    """Aidon sends register and clock of the hour before once more; the delta of the next one is then double."""
    hour = structure(octets(SUMMER), double_long_unsigned(5))
    later = structure(octets(SUMMER[:5] + b"\x0d" + SUMMER[6:]), double_long_unsigned(9))
    power = double_long_unsigned(230)
    sent = [DataNotification(number, None, data) for number, data in enumerate((hour, hour, later, power, power))]
    stream = b"".join(Wrapped(1, 1, each.encode()).encode() for each in sent)
    for quirks, count in ((STRICT, 5), (Quirks(repeated_rows=True), 4)):
        assert len(pushes(PushReceiver(PushLink.WRAPPER, quirks=quirks), stream)) == count


def test_a_row_that_comes_again_with_the_same_clock_is_left_out_by_its_quirk() -> None:
    energy = CaptureObject(3, Obis.parse("1.0.1.8.0"), 2)
    row = structure(octets(SUMMER), double_long_unsigned(5))
    buffer = profile.decode_buffer(axdr.encode(array(row, row)))
    for quirks, count in ((STRICT, 2), (Quirks(repeated_rows=True), 1)):
        assert len(profile.interpret(buffer, (CLOCK, energy), period_s=900, quirks=quirks).at) == count


def test_the_length_of_user_information_in_rlre_may_be_one_short_by_its_quirk_only() -> None:
    whole = ReleaseResponse(0, bytes.fromhex("0800065f1f0400007c1f04000007")).encode()
    place = whole.index(b"\xbe")
    short = bytearray(whole)
    for at in (1, place + 1, place + 3):
        short[at] -= 1
    with pytest.raises(RemoteProtocolError):
        decode_apdu(bytes(short))
    assert decode_apdu(bytes(short), Quirks(user_information_length_off_by_one=True)) == decode_apdu(whole)


def test_a_meter_without_rlrq_is_left_by_disconnecting_the_link() -> None:
    for quirks, kinds in ((STRICT, [Released, LinkDown]), (Quirks(release_without_rlrq=True), [LinkDown])):
        events = connected(tcp_line(shelf(), quirks=quirks)).ask(Release())
        assert [type(event) for event in events] == kinds


def test_a_day_at_a_time_and_without_a_deviation_are_ways_of_asking() -> None:
    """Iskraemeco ME37x gives a day at most; some meters refuse a deviation in a range, others demand one."""
    from_at, to_at = datetime(2026, 7, 1, tzinfo=UTC), datetime(2026, 7, 3, 12, tzinfo=UTC)
    asked = read_profile(PROFILE.obis, from_at, to_at, quirks=Quirks(days_per_range_max=1))
    assert len(asked) == 3
    quirks = Quirks(range_deviation=RangeDeviation.UNSPECIFIED)
    (open_, said) = (read_profile(PROFILE.obis, from_at, to_at, quirks=each)[0] for each in (quirks, STRICT))
    assert [b"\x80\x00\x00" in each.selection.encode() for each in (open_, said) if each.selection] == [True, False]


def test_pauses_of_three_seconds_inside_a_push_are_no_silence() -> None:
    """Iskraemeco AM550 pauses between the HDLC parts; the receiver keeps no time, its limit tells the shell."""
    assert PAUSE_S_MAX > 3
    (vector,) = (v for v in load("push") if v["name"] == "push-real-landis-gyr-gh740")
    data, receiver = bytes.fromhex(vector["hex"]), PushReceiver(PushLink.HDLC)
    half = len(data) // 2
    assert pushes(receiver, data[:half]) == []
    assert len(pushes(receiver, data[half:])) == 1


def test_one_odd_column_does_not_cost_the_others() -> None:
    energy, odd = CaptureObject(3, Obis.parse("1.0.1.8.0"), 2), CaptureObject(1, Obis.parse("0.0.96.8.0"), 2)
    rows = [structure(octets(SUMMER), double_long_unsigned(number), cell)
            for number, cell in enumerate((NULL, array(NULL), octets(b"x")))]  # fmt: skip
    table = profile.interpret(profile.decode_buffer(axdr.encode(array(*rows))), (CLOCK, energy, odd), period_s=900)
    assert table.column(energy) == [0, 1, 2]
    assert table.column(odd) == [None, array(NULL), b"x"]


def test_every_quirk_is_a_field_that_a_test_names() -> None:
    tests = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    vectors = {vector["quirk"] for vector in load("quirks/push")}
    for each in fields(Quirks):
        assert f"{each.name}=" in tests or each.name in vectors, each.name
        assert each.default in (False, None, RangeDeviation.GIVEN), "strict by default"


def test_an_empty_system_title_in_general_ciphering_needs_its_quirk() -> None:
    """The title of the association is meant: the nonce has it, so a wrong guess opens nothing."""
    for quirks in (STRICT, Quirks(empty_system_title=True)):
        standing = Attack(ciphered_line(quirks=quirks))
        untitled = b"\xdb\x00" + standing.answer[1:]
        if quirks.empty_system_title:
            assert standing.send(untitled) == GetResult(IMPORT, double_long_unsigned(1234567))
        else:
            standing.refused(untitled, "foreign system title")


def test_a_deviation_with_the_other_sign_needs_its_quirk() -> None:
    energy = CaptureObject(3, Obis.parse("1.0.1.8.0"), 2)
    ahead = SUMMER[:9] + (60).to_bytes(2, "big") + b"\0"
    buffer = profile.decode_buffer(axdr.encode(array(structure(octets(ahead), double_long_unsigned(1)))))
    for quirks, hour in ((STRICT, 13), (Quirks(inverted_deviation=True), 11)):
        table = profile.interpret(buffer, (CLOCK, energy), period_s=900, quirks=quirks)
        assert table.at == [int(datetime(2026, 7, 1, hour, tzinfo=UTC).timestamp())]
