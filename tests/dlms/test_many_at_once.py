"""Several methods in one ACTION and the ACCESS service: both halves, blocks, and what a meter without them says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.dlms.apdu import decode_apdu
from protocols.dlms.association import Association, Policy
from protocols.dlms.codes import ActionResult, DataAccessResult
from protocols.dlms.conformance import LOGICAL_NAMES, Conformance
from protocols.dlms.data import NULL, double_long_unsigned, octets, unsigned
from protocols.dlms.explain import explain_apdu
from protocols.dlms.services import (
    Access,
    AccessResult,
    Act,
    ActionDone,
    ActionRefused,
    ActList,
    ActListResult,
    DataAccessError,
    Get,
    GetResult,
    Set,
    SetDone,
)
from protocols.dlms.xdlms.access import AccessKind, AccessOutcome, AccessResponse
from protocols.dlms.xdlms.action import ActionResponseList
from protocols.dlms.xdlms.references import Attribute, Invoke
from protocols.dlms.xdlms.refusals import ExceptionResponse
from protocols.errors import LocalProtocolError, RemoteProtocolError
from protocols.obis import Obis
from tests.dlms.line import Line, connected, tcp_line
from tests.dlms.test_pair import ABSENT, IMPORT, PROFILE, RELAY, SERIAL, shelf
from tests.dlms.test_security import ciphered_line

ACCESS = LOGICAL_NAMES | Conformance.ACCESS
NO_METHOD = Attribute(70, Obis.parse("0.0.96.3.10"), 9)
VALUE = double_long_unsigned(1234567)
EVERYTHING = Access((Get(IMPORT), Get(ABSENT), Set(SERIAL, octets(b"new")), Act(RELAY, unsigned(1)), Act(NO_METHOD)))
OUTCOMES = AccessResult(
    (
        GetResult(IMPORT, VALUE),
        DataAccessError(ABSENT, DataAccessResult.OBJECT_UNDEFINED),
        SetDone(SERIAL),
        ActionDone(RELAY, None),
        ActionRefused(NO_METHOD, ActionResult.OBJECT_UNDEFINED),
    )
)


def access_line(conformance: Conformance = ACCESS, pdu_octets: int = 0xFFFF) -> Line:
    association = Association(conformance=ACCESS, pdu_octets_max=pdu_octets)
    return connected(tcp_line(shelf(), association, Policy(conformance=conformance)))


def test_access_reads_writes_and_acts_in_one_round_trip() -> None:
    line = access_line()
    line.carried.clear()
    assert line.ask(EVERYTHING) == [OUTCOMES]
    assert len(line.carried) == 2
    for octets_ in line.carried:
        apdu = decode_apdu(octets_[8:])
        assert explain_apdu(apdu)["apdu"] in ("access-request", "access-response")
        assert apdu.encode() == octets_[8:]


def test_access_on_a_ciphered_association_goes_in_general_ciphering() -> None:
    line = connected(ciphered_line(conformance=ACCESS))
    line.carried.clear()
    assert line.ask(EVERYTHING) == [OUTCOMES]
    assert [octets_[8] for octets_ in line.carried] == [0xDB, 0xDB]
    assert line.broken == []


def test_a_meter_without_access_or_with_too_little_room_says_so() -> None:
    (event,) = access_line(LOGICAL_NAMES).ask(EVERYTHING)
    assert isinstance(event, ExceptionResponse)
    assert event.words == "service-unknown, service-not-supported"
    (event,) = access_line(pdu_octets=100).ask(Access((Get(PROFILE),)))
    assert isinstance(event, ExceptionResponse)
    assert event.words == "service-unknown, pdu-too-long"


@pytest.mark.parametrize("size", [1, 700])
def test_several_methods_in_one_action_also_with_an_answer_in_blocks(size: int) -> None:
    objects = shelf()
    objects.returns = octets(bytes(size))
    line = connected(tcp_line(objects, Association(pdu_octets_max=128), Policy()))
    both = ActList((Act(RELAY, unsigned(3)), Act(NO_METHOD), Act(RELAY)))
    done = ActionDone(RELAY, objects.returns)
    refused = ActionRefused(NO_METHOD, ActionResult.OBJECT_UNDEFINED)
    assert line.ask(both) == [ActListResult((done, refused, done))]
    assert objects.methods == [(RELAY, unsigned(3)), (RELAY, None)]
    without = Policy(conformance=LOGICAL_NAMES & ~Conformance.MULTIPLE_REFERENCES)
    (event,) = connected(tcp_line(shelf(), policy=without)).ask(both)
    assert isinstance(event, ExceptionResponse)


def test_lists_longer_than_the_meters_pdu_are_refused_before_they_are_sent() -> None:
    line = connected(tcp_line(shelf(), policy=Policy(conformance=ACCESS, pdu_octets_max=60)))
    for request in (ActList((Act(RELAY),) * 9), Access((Get(IMPORT),) * 9)):
        with pytest.raises(LocalProtocolError, match="the meter takes 60"):
            line.client.send(request)


WRONG = {
    "fewer outcomes": AccessResponse(0xC0000001, ()),
    "another kind": AccessResponse(0xC0000001, (AccessOutcome(AccessKind.SET, NULL, DataAccessResult.SUCCESS),)),
    "another service": ActionResponseList(Invoke(1), ()),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_an_answer_to_something_else_is_refused_and_the_next_request_works(wrong: AccessResponse) -> None:
    line = access_line()
    line.client.send(Access((Get(IMPORT),)))
    apdu = wrong.encode()
    line.client.receive_data(b"\0\1\0\1\0\1" + len(apdu).to_bytes(2, "big") + apdu)
    with pytest.raises(RemoteProtocolError):
        line.client.next_event()
    assert line.ask(Get(IMPORT)) == [GetResult(IMPORT, VALUE)]


@given(st.binary(max_size=40), st.sampled_from([b"\xd9", b"\xda", b"\xc3\x03", b"\xc7\x03"]))
def test_any_octets_are_an_apdu_or_a_remote_error(hostile: bytes, head: bytes) -> None:
    try:
        apdu = decode_apdu(head + hostile)
    except RemoteProtocolError:
        return
    assert decode_apdu(apdu.encode()) == apdu
