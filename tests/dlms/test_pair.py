"""Client and meter joined in memory: the thin whole and what thickens it, over good and bad deliveries."""

from collections.abc import Callable

import pytest

from protocols.dlms.acse import Mechanism
from protocols.dlms.association import Association, ClientState, Policy
from protocols.dlms.codes import DataAccessResult
from protocols.dlms.conformance import LOGICAL_NAMES, Conformance
from protocols.dlms.data import Data, Tag, array, double_long_unsigned, octets, structure, visible
from protocols.dlms.hdlc.negotiation import LinkLimits
from protocols.dlms.link import LinkDown, LinkUp
from protocols.dlms.plan import read_attributes, results_of
from protocols.dlms.quirks import Quirks
from protocols.dlms.services import (
    Act,
    ActionDone,
    ActionRefused,
    Associated,
    AssociationRefused,
    BufferResult,
    Connect,
    DataAccessError,
    Get,
    GetBuffer,
    GetList,
    GetResult,
    ListResult,
    Release,
    Released,
    Set,
    SetDone,
    SetList,
    SetListResult,
)
from protocols.dlms.xdlms.references import Attribute
from protocols.dlms.xdlms.refusals import ExceptionResponse
from protocols.errors import LocalProtocolError
from protocols.obis import Obis
from tests.dlms.line import Deliver, Line, Shelf, after_noise, byte_by_byte, connected, hdlc_line, tcp_line, whole

IMPORT = Attribute(3, Obis.parse("1.0.1.8.0"), 2)
EXPORT = Attribute(3, Obis.parse("1.0.2.8.0"), 2)
PROFILE = Attribute(7, Obis.parse("1.0.99.1.0"), 2)
SERIAL = Attribute(1, Obis.parse("0.0.96.1.0"), 2)
ABSENT = Attribute(3, Obis.parse("1.0.9.8.0"), 2)
RELAY = Attribute(70, Obis.parse("0.0.96.3.10"), 1)
ROWS = array(*(structure(octets(bytes(12)), double_long_unsigned(number)) for number in range(400)))
LOW = Association(Mechanism.LOW, b"12345678")
LOW_POLICY = Policy(Mechanism.LOW, b"12345678")


def shelf() -> Shelf:
    return Shelf(
        {IMPORT: double_long_unsigned(1234567), EXPORT: double_long_unsigned(89), SERIAL: visible("M1"), PROFILE: ROWS}
    )


LINES: dict[str, Callable[..., Line]] = {"hdlc": hdlc_line, "tcp": tcp_line}


@pytest.fixture(params=["hdlc", "tcp"])
def make_line(request: pytest.FixtureRequest) -> Callable[..., Line]:
    return LINES[request.param]


@pytest.mark.parametrize("deliver", [whole, byte_by_byte])
def test_a_meter_is_read_with_a_password_from_connect_to_release(
    make_line: Callable[..., Line], deliver: Deliver
) -> None:
    line = make_line(shelf(), LOW, LOW_POLICY, deliver=deliver)
    up, associated = line.ask(Connect())
    assert isinstance(up, LinkUp)
    assert isinstance(associated, Associated)
    assert associated.conformance == LOGICAL_NAMES
    assert line.ask(Get(IMPORT)) == [GetResult(IMPORT, double_long_unsigned(1234567))]
    assert line.ask(Get(ABSENT)) == [DataAccessError(ABSENT, DataAccessResult.OBJECT_UNDEFINED)]
    assert line.ask(Release()) == [Released(0), LinkDown("disconnected")]
    assert line.client.state is ClientState.DISCONNECTED
    assert line.broken == []


def test_noise_before_each_delivery_does_not_disturb_hdlc() -> None:
    line = connected(hdlc_line(shelf(), LOW, LOW_POLICY, deliver=after_noise))
    assert line.ask(Get(IMPORT)) == [GetResult(IMPORT, double_long_unsigned(1234567))]
    assert line.ask(GetBuffer(PROFILE))[0] == connected(tcp_line(shelf())).ask(GetBuffer(PROFILE))[0]


@pytest.mark.parametrize(
    ("association", "policy", "words"),
    [
        (Association(Mechanism.LOW, b"wrong"), LOW_POLICY, "rejected-permanent: authentication-failure"),
        (Association(), LOW_POLICY, "rejected-permanent: authentication-required"),
        (LOW, Policy(), "rejected-permanent: authentication-mechanism-name-not-recognised"),
        (
            Association(conformance=Conformance.READ),
            Policy(),
            "rejected-permanent: no-reason-given (initiate: incompatible-conformance)",
        ),
    ],
)
def test_a_refused_association_is_told_in_the_standards_words(
    make_line: Callable[..., Line], association: Association, policy: Policy, words: str
) -> None:
    events = make_line(shelf(), association, policy).ask(Connect())
    refused = [event for event in events if isinstance(event, AssociationRefused)]
    assert [event.words for event in refused] == [words]
    assert isinstance(events[-1], LinkDown)


def test_an_unknown_client_is_refused(make_line: Callable[..., Line]) -> None:
    line = make_line(shelf())
    line.server._policies = {}
    events = line.ask(Connect())
    assert any(isinstance(event, AssociationRefused) for event in events)


def test_a_long_profile_comes_in_blocks_and_segments(make_line: Callable[..., Line]) -> None:
    line = connected(make_line(shelf(), Association(pdu_octets_max=128)))
    (event,) = line.ask(Get(PROFILE))
    assert event == GetResult(PROFILE, ROWS)
    (raw,) = line.ask(GetBuffer(PROFILE))
    assert isinstance(raw, BufferResult)
    assert len(raw.octets) == 4 + 400 * 21


@pytest.mark.parametrize("window", [1, 3, 7])
def test_windows_carry_the_same_octets_in_fewer_turns(window: int) -> None:
    limits = LinkLimits(info_octets_tx=64, info_octets_rx=64, window_tx=window, window_rx=window)
    line = connected(hdlc_line(shelf(), client_limits=limits, server_limits=limits))
    line.carried.clear()
    assert line.ask(Get(PROFILE)) == [GetResult(PROFILE, ROWS)]
    segments = -(-(400 * 21 + 11) // 64)
    assert len(line.carried) == 2 * -(-segments // window)


def test_a_list_is_answered_in_order_with_refusals_in_place(make_line: Callable[..., Line]) -> None:
    line = connected(make_line(shelf(), Association(pdu_octets_max=256)))
    (event,) = line.ask(GetList((Get(IMPORT), Get(ABSENT), Get(PROFILE), Get(EXPORT))))
    assert isinstance(event, ListResult)
    assert event.results == (
        GetResult(IMPORT, double_long_unsigned(1234567)),
        DataAccessError(ABSENT, DataAccessResult.OBJECT_UNDEFINED),
        GetResult(PROFILE, ROWS),
        GetResult(EXPORT, double_long_unsigned(89)),
    )


@pytest.mark.parametrize("lists", [True, False])
def test_attributes_are_read_as_a_list_where_the_meter_can_and_singly_where_not(lists: bool) -> None:
    granted = LOGICAL_NAMES if lists else LOGICAL_NAMES & ~Conformance.MULTIPLE_REFERENCES
    line = connected(tcp_line(shelf(), policy=Policy(conformance=granted)))
    assert line.client.granted is not None
    requests = read_attributes([IMPORT, EXPORT, SERIAL], line.client.granted.conformance, list_items_max=2)
    assert [type(request) for request in requests] == ([GetList, Get] if lists else [Get, Get, Get])
    results = [result for request in requests for result in results_of(line.ask(request)[-1])]
    assert [result.value.content for result in results if isinstance(result, GetResult)] == [1234567, 89, b"M1"]


def test_a_value_is_written_whole_or_in_blocks(make_line: Callable[..., Line]) -> None:
    objects = shelf()
    line = connected(make_line(objects, policy=Policy(pdu_octets_max=100)))
    for value in (octets(b"x" * 10), octets(bytes(range(256)) * 8)):
        assert line.ask(Set(SERIAL, value)) == [SetDone(SERIAL)]
        assert objects.values[SERIAL] == value
    assert line.ask(Set(ABSENT, value)) == [DataAccessError(ABSENT, DataAccessResult.OBJECT_UNDEFINED)]


def test_a_long_value_without_block_transfer_is_our_error_and_the_client_goes_on() -> None:
    policy = Policy(pdu_octets_max=100, conformance=LOGICAL_NAMES & ~Conformance.BLOCK_TRANSFER_WITH_SET_OR_WRITE)
    line = connected(tcp_line(shelf(), policy=policy))
    with pytest.raises(LocalProtocolError, match="no block transfer"):
        line.client.send(Set(SERIAL, octets(bytes(200))))
    assert line.ask(Get(IMPORT)) == [GetResult(IMPORT, double_long_unsigned(1234567))]


@pytest.mark.parametrize("size", [1, 3000])
def test_a_method_takes_and_returns_values_of_any_length(make_line: Callable[..., Line], size: int) -> None:
    objects = shelf()
    objects.returns = octets(bytes(size))
    line = connected(make_line(objects, Association(pdu_octets_max=200), Policy(pdu_octets_max=100)))
    assert line.ask(Act(RELAY, octets(b"y" * size))) == [ActionDone(RELAY, objects.returns)]
    assert objects.methods == [(RELAY, octets(b"y" * size))]
    wrong = Attribute(70, RELAY.obis, 9)
    (refused,) = line.ask(Act(wrong))
    assert isinstance(refused, ActionRefused)
    assert refused.code.word == "object-undefined"


def test_a_service_not_agreed_is_an_exception_response_and_the_association_lives_on() -> None:
    line = connected(tcp_line(shelf(), policy=Policy(conformance=LOGICAL_NAMES & ~Conformance.ACTION)))
    (event,) = line.ask(Act(RELAY))
    assert isinstance(event, ExceptionResponse)
    assert event.words == "service-unknown, service-not-supported"
    assert line.ask(Get(IMPORT)) == [GetResult(IMPORT, double_long_unsigned(1234567))]


def test_a_meter_without_rlrq_is_left_by_closing_the_link(make_line: Callable[..., Line]) -> None:
    line = connected(make_line(shelf(), quirks=Quirks(release_without_rlrq=True)))
    assert line.ask(Release()) == [LinkDown("disconnected")]


def test_a_client_connects_again_after_release(make_line: Callable[..., Line]) -> None:
    line = connected(make_line(shelf()))
    line.ask(Release())
    assert isinstance(line.ask(Connect())[-1], Associated)
    assert line.ask(Get(IMPORT)) == [GetResult(IMPORT, double_long_unsigned(1234567))]


def test_several_attributes_are_written_in_one_request(make_line: Callable[..., Line]) -> None:
    objects = shelf()
    line = connected(make_line(objects))
    (event,) = line.ask(SetList((Set(SERIAL, octets(b"a")), Set(ABSENT, octets(b"b")), Set(IMPORT, octets(b"c")))))
    refused = DataAccessError(ABSENT, DataAccessResult.OBJECT_UNDEFINED)
    assert event == SetListResult((SetDone(SERIAL), refused, SetDone(IMPORT)))
    assert (objects.values[SERIAL], objects.values[IMPORT]) == (octets(b"a"), octets(b"c"))


def test_a_pre_established_association_needs_no_aarq() -> None:
    line = hdlc_line(shelf(), Association(pre_established=True), Policy(pre_established=True))
    assert [type(event) for event in line.ask(Connect())] == [LinkUp, Associated]
    assert len(line.carried) == 2
    assert line.ask(Get(PROFILE)) == [GetResult(PROFILE, ROWS)]
    assert line.ask(Release()) == [LinkDown("disconnected")]
    asking = hdlc_line(shelf(), policy=Policy(pre_established=True))
    assert isinstance(asking.ask(Connect())[-1], Associated)
    with pytest.raises(LocalProtocolError, match="no authentication"):
        Association(Mechanism.LOW, b"x", pre_established=True)


def test_two_requests_at_once_and_requests_without_association_are_our_errors() -> None:
    line = tcp_line(shelf())
    with pytest.raises(LocalProtocolError, match="disconnected"):
        line.client.send(Get(IMPORT))
    connected(line)
    line.client.send(Get(IMPORT))
    with pytest.raises(LocalProtocolError, match="awaiting a reply"):
        line.client.send(Get(IMPORT))


def test_every_simple_type_goes_through_both_ends() -> None:
    values = [
        Data(Tag.BOOLEAN, True),
        Data(Tag.LONG64, -(2**63)),
        Data(Tag.ENUM, 7),
        Data(Tag.FLOAT32, b"\x42\xf6\xe9\x79"),
    ]
    line = connected(tcp_line(Shelf({SERIAL: structure(*values)})))
    assert line.ask(Get(SERIAL)) == [GetResult(SERIAL, structure(*values))]


def test_no_secret_is_in_a_repr() -> None:
    line = hdlc_line(shelf(), LOW, LOW_POLICY)
    for thing in (LOW, LOW_POLICY, line.client, line.server):
        assert "12345678" not in repr(thing)
