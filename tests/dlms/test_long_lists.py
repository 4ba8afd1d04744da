"""Lists of SET and ACTION, and WRITE by short names, whose values go in blocks: both halves, and broken order."""

from collections.abc import Callable

import pytest

from protocols.dlms.apdu import decode_apdu
from protocols.dlms.association import Association, Policy
from protocols.dlms.codes import ActionResult, DataAccessResult
from protocols.dlms.conformance import LOGICAL_NAMES, SHORT_NAMES, Conformance
from protocols.dlms.data import octets, unsigned
from protocols.dlms.explain import explain_apdu
from protocols.dlms.responder import Responder
from protocols.dlms.responder_short import ShortResponder
from protocols.dlms.services import (
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
    SetList,
    SetListResult,
)
from protocols.dlms.short_names import ShortNames
from protocols.dlms.xdlms import action, short
from protocols.dlms.xdlms import set as set_service
from protocols.dlms.xdlms.references import Attribute, Block, Invoke
from protocols.dlms.xdlms.refusals import ExceptionResponse
from protocols.errors import LocalProtocolError, RemoteProtocolError
from tests.dlms.line import Line, connected, hdlc_line, tcp_line
from tests.dlms.test_pair import ABSENT, EXPORT, IMPORT, RELAY, SERIAL, shelf
from tests.dlms.test_security import ciphered_line
from tests.dlms.test_short_names import BASES, short_line

INVOKE = Invoke(1)
LONG, LONGER = octets(bytes(range(256))), octets(b"z" * 1000)
WRITTEN = SetList((Set(SERIAL, LONG), Set(ABSENT, unsigned(1)), Set(IMPORT, LONGER)))
HOW = SetListResult((SetDone(SERIAL), DataAccessError(ABSENT, DataAccessResult.OBJECT_UNDEFINED), SetDone(IMPORT)))
NO_METHOD = Attribute(70, RELAY.obis, 9)
INVOKED = ActList((Act(RELAY, LONG), Act(NO_METHOD), Act(RELAY, LONGER)))
SMALL = Policy(pdu_octets_max=128)
OK, REFUSED = DataAccessResult.SUCCESS, DataAccessResult.OBJECT_UNDEFINED


def kinds(line: Line) -> list[str]:
    """What went over a TCP line, as the standard calls it."""
    return [str(explain_apdu(decode_apdu(each[8:])).get("type")) for each in line.carried]


@pytest.mark.parametrize("make_line", [tcp_line, hdlc_line])
def test_a_list_of_values_longer_than_the_pdu_is_written_in_blocks(make_line: Callable[..., Line]) -> None:
    objects = shelf()
    line = connected(make_line(objects, policy=SMALL))
    line.carried.clear()
    assert line.ask(WRITTEN) == [HOW]
    assert (objects.values[SERIAL], objects.values[IMPORT]) == (LONG, LONGER)
    if make_line is tcp_line:
        said = kinds(line)
        assert said[:3] == ["with-list-and-first-datablock", "datablock", "with-datablock"]
        assert said[-1] == "last-datablock-with-list"
        for each in line.carried:
            assert len(each) <= 8 + 128
            assert decode_apdu(each[8:]).encode() == each[8:]


@pytest.mark.parametrize("make_line", [tcp_line, hdlc_line])
@pytest.mark.parametrize("returned", [1, 700])
def test_a_list_of_methods_takes_and_returns_in_blocks(make_line: Callable[..., Line], returned: int) -> None:
    objects = shelf()
    objects.returns = octets(bytes(returned))
    line = connected(make_line(objects, Association(pdu_octets_max=200), SMALL))
    line.carried.clear()
    done, refused = ActionDone(RELAY, objects.returns), ActionRefused(NO_METHOD, ActionResult.OBJECT_UNDEFINED)
    assert line.ask(INVOKED) == [ActListResult((done, refused, done))]
    assert objects.methods == [(RELAY, LONG), (RELAY, LONGER)]
    if make_line is tcp_line:
        assert kinds(line)[:3] == ["with-list-and-first-pblock", "next-pblock", "with-pblock"]


def test_lists_in_blocks_go_through_a_ciphered_association() -> None:
    line = connected(ciphered_line(conformance=LOGICAL_NAMES, pdu_octets=256))
    assert line.ask(WRITTEN) == [HOW]
    assert line.ask(Get(SERIAL)) == [GetResult(SERIAL, LONG)]
    assert line.broken == []


def test_a_write_by_short_names_goes_in_blocks() -> None:
    objects = shelf()
    line = connected(short_line(objects, pdu=100, server_pdu=100))
    line.carried.clear()
    assert line.ask(Set(SERIAL, LONG)) == [SetDone(SERIAL)]
    assert objects.values[SERIAL] == LONG
    assert kinds(line)[:3] == ["write-data-block-access", "block-number", "write-data-block-access"]
    for each in line.carried:
        assert len(each) <= 8 + 100
        assert decode_apdu(each[8:]).encode() == each[8:]
    both = SetList((Set(SERIAL, LONGER), Set(EXPORT, LONG)))
    assert line.ask(both) == [SetListResult((SetDone(SERIAL), SetDone(EXPORT)))]
    assert (objects.values[SERIAL], objects.values[EXPORT]) == (LONGER, LONG)
    assert line.ask(Act(RELAY, LONGER)) == [ActionDone(RELAY, None)]
    assert objects.methods == [(RELAY, LONGER)]


def test_what_is_too_long_without_blocks_agreed_is_refused_before_it_is_sent() -> None:
    less = LOGICAL_NAMES & ~(Conformance.BLOCK_TRANSFER_WITH_SET_OR_WRITE | Conformance.BLOCK_TRANSFER_WITH_ACTION)
    line = connected(tcp_line(shelf(), policy=Policy(conformance=less, pdu_octets_max=128)))
    for request in (WRITTEN, INVOKED, Set(SERIAL, LONG), Act(RELAY, LONG)):
        with pytest.raises(LocalProtocolError, match="no block transfer was agreed"):
            line.client.send(request)
    assert isinstance(line.ask(Get(SERIAL))[0], GetResult)
    short_ = connected(
        short_line(
            shelf(), conformance=SHORT_NAMES & ~Conformance.BLOCK_TRANSFER_WITH_SET_OR_WRITE, pdu=100, server_pdu=100
        )
    )
    with pytest.raises(LocalProtocolError, match="no block transfer was agreed"):
        short_.client.send(Set(SERIAL, LONG))


# -- the meter's half, when the order breaks --------------------------------------------------------------------------


def answer(responder: Responder | ShortResponder, request: object) -> object:
    return decode_apdu(responder.answer(request))


def meter(conformance: Conformance = LOGICAL_NAMES) -> Responder:
    return Responder(shelf(), 1, conformance, 128)


def test_a_block_out_of_order_ends_a_list_that_is_written() -> None:
    responder = meter()
    items = ((SERIAL, None), (IMPORT, None))
    first = set_service.SetRequestListFirstBlock(INVOKE, items, Block(1, b"\2\x11", False))
    assert answer(responder, first) == set_service.SetResponseBlock(INVOKE, 1)
    wrong = set_service.SetResponseNormal(INVOKE, DataAccessResult.DATA_BLOCK_NUMBER_INVALID, 3)
    assert answer(responder, set_service.SetRequestBlock(INVOKE, Block(3, b"\1", True))) == wrong
    ended = set_service.SetResponseNormal(INVOKE, DataAccessResult.NO_LONG_SET_IN_PROGRESS)
    assert answer(responder, set_service.SetRequestBlock(INVOKE, Block(2, b"\1", True))) == ended


@pytest.mark.parametrize("values", [b"\1\x11\1", b"\2\x11\1", b"\2\x11\1\x11\1\0", b"\2\x11\1\x07"])
def test_blocks_that_are_not_as_many_whole_values_write_nothing(values: bytes) -> None:
    responder = meter()
    whole = set_service.SetRequestListFirstBlock(INVOKE, ((SERIAL, None), (IMPORT, None)), Block(1, values, True))
    unmatched = (DataAccessResult.TYPE_UNMATCHED,) * 2
    assert answer(responder, whole) == set_service.SetResponseList(INVOKE, unmatched, 1)
    acted = action.ActionRequestListFirstBlock(INVOKE, (RELAY, RELAY), Block(1, values, True))
    assert answer(responder, acted) == action.ActionResponseNormal(INVOKE, ActionResult.TYPE_UNMATCHED)


@pytest.mark.parametrize(
    ("missing", "request_"),
    [
        (Conformance.MULTIPLE_REFERENCES, set_service.SetRequestList(INVOKE, ((SERIAL, None),), (b"\0",))),
        (
            Conformance.MULTIPLE_REFERENCES,
            set_service.SetRequestListFirstBlock(INVOKE, ((SERIAL, None),), Block(1, b"\1\0", True)),
        ),
        (
            Conformance.BLOCK_TRANSFER_WITH_SET_OR_WRITE,
            set_service.SetRequestFirstBlock(INVOKE, SERIAL, None, Block(1, b"\0", True)),
        ),
        (
            Conformance.BLOCK_TRANSFER_WITH_ACTION,
            action.ActionRequestListFirstBlock(INVOKE, (RELAY,), Block(1, b"\1\0", True)),
        ),
    ],
)
def test_what_was_not_granted_is_not_served(missing: Conformance, request_: object) -> None:
    assert isinstance(answer(meter(LOGICAL_NAMES & ~missing), request_), ExceptionResponse)


def test_a_long_return_value_without_blocks_is_told_to_be_unavailable() -> None:
    objects = shelf()
    objects.returns = LONGER
    responder = Responder(objects, 1, LOGICAL_NAMES & ~Conformance.BLOCK_TRANSFER_WITH_ACTION, 128)
    untold = DataAccessResult.DATA_BLOCK_UNAVAILABLE
    one = action.ActionResponseNormal(INVOKE, ActionResult.SUCCESS, untold)
    assert answer(responder, action.ActionRequestNormal(INVOKE, RELAY)) == one
    several = action.ActionResponseList(INVOKE, ((ActionResult.SUCCESS, untold),))
    assert answer(responder, action.ActionRequestList(INVOKE, (RELAY,), (b"\0",))) == several


def test_the_meters_half_by_short_names_keeps_the_order_of_blocks() -> None:
    responder = ShortResponder(shelf(), 1, SHORT_NAMES, 128, ShortNames(BASES))
    request = short.WriteRequest((short.Variable(0x4008),), (b"\x09\3abc",)).encode()[1:]
    invalid = short.WriteResponse((DataAccessResult.DATA_BLOCK_NUMBER_INVALID,))
    assert answer(responder, short.WriteRequestBlock(Block(2, request, True))) == invalid
    assert answer(responder, short.WriteRequestBlock(Block(1, request[:4], False))) == short.WriteResponseNext(1)
    assert answer(responder, short.WriteRequestBlock(Block(1, request[:4], False))) == short.WriteResponseNext(1)
    assert answer(responder, short.WriteRequestBlock(Block(2, request[4:], True))) == short.WriteResponse((OK,))
    aborted = short.WriteResponse((DataAccessResult.LONG_SET_ABORTED,))
    for broken in (b"\1", short.WriteRequestBlock(Block(1, b"", True)).encode()[1:]):
        assert answer(responder, short.WriteRequestBlock(Block(1, broken, True))) == aborted
    without = ShortResponder(shelf(), 1, SHORT_NAMES & ~Conformance.WRITE, 128, ShortNames(BASES))
    assert isinstance(answer(without, short.WriteRequestBlock(Block(1, request, True))), ExceptionResponse)


# -- the client's half, when the meter breaks it ----------------------------------------------------------------------


def tell(line: Line, apdu: bytes) -> object:
    line.client.receive_data(b"\0\1\0\1\0\1" + len(apdu).to_bytes(2, "big") + apdu)
    return line.client.next_event()


BROKEN: dict[str, tuple[SetList | ActList, bytes]] = {
    "another block": (WRITTEN, set_service.SetResponseBlock(INVOKE, 2).encode()),
    "success early": (WRITTEN, set_service.SetResponseList(INVOKE, (OK, REFUSED, OK)).encode()),
    "fewer results": (WRITTEN, set_service.SetResponseList(INVOKE, (REFUSED,)).encode()),
    "one success of many": (WRITTEN, set_service.SetResponseNormal(INVOKE, OK).encode()),
    "another parameter": (INVOKED, action.ActionResponseNext(INVOKE, 2).encode()),
    "one success": (INVOKED, action.ActionResponseNormal(INVOKE, ActionResult.SUCCESS).encode()),
    "outcomes early": (INVOKED, action.ActionResponseList(INVOKE, ((ActionResult.SUCCESS, None),) * 3).encode()),
    "nothing left": (ActList((Act(RELAY),)), action.ActionResponseNext(INVOKE, 1).encode()),
}


@pytest.mark.parametrize(("request_", "wrong"), BROKEN.values(), ids=BROKEN.keys())
def test_an_answer_out_of_order_is_refused_and_the_next_request_works(
    request_: SetList | ActList, wrong: bytes
) -> None:
    line = connected(tcp_line(shelf(), policy=SMALL))
    line.client.send(request_)
    with pytest.raises(RemoteProtocolError):
        tell(line, wrong)
    assert isinstance(line.ask(Get(SERIAL))[0], GetResult)


def test_one_refusal_of_a_long_list_is_one_of_each_of_its_parts() -> None:
    line = connected(tcp_line(shelf(), policy=SMALL))
    line.client.send(WRITTEN)
    event = tell(line, set_service.SetResponseNormal(INVOKE, REFUSED, 1).encode())
    assert event == SetListResult(tuple(DataAccessError(each.attribute, REFUSED) for each in WRITTEN.items))
    line.client.send(INVOKED)
    event = tell(line, action.ActionResponseNormal(Invoke(2), ActionResult.LONG_ACTION_ABORTED).encode())
    aborted = ActionResult.LONG_ACTION_ABORTED
    assert event == ActListResult(tuple(ActionRefused(each.method, aborted) for each in INVOKED.items))
    by_names = connected(short_line(shelf(), pdu=100, server_pdu=100))
    both = SetList((Set(SERIAL, LONG), Set(EXPORT, LONG)))
    by_names.client.send(both)
    event = tell(by_names, short.WriteResponse((REFUSED,)).encode())
    assert event == SetListResult(tuple(DataAccessError(each.attribute, REFUSED) for each in both.items))
    by_names.client.send(both)
    with pytest.raises(RemoteProtocolError, match="before the last block"):
        tell(by_names, short.WriteResponse((OK, OK)).encode())
