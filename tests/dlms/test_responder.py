"""The meter's half against clients that do not keep to the order of things: each gets the standard's code."""

import pytest

from protocols.dlms.apdu import decode_apdu
from protocols.dlms.codes import ActionResult, DataAccessResult
from protocols.dlms.conformance import LOGICAL_NAMES, SHORT_NAMES, Conformance
from protocols.dlms.data import NULL
from protocols.dlms.responder import Responder
from protocols.dlms.responder_short import ShortResponder
from protocols.dlms.short_names import ShortNames
from protocols.dlms.xdlms.action import (
    ActionRequestBlock,
    ActionRequestFirstBlock,
    ActionRequestNext,
    ActionRequestNormal,
    ActionResponseNext,
    ActionResponseNormal,
)
from protocols.dlms.xdlms.get import (
    GetRequestList,
    GetRequestNext,
    GetRequestNormal,
    GetResponseBlock,
    GetResponseNormal,
)
from protocols.dlms.xdlms.references import Block, Invoke, Selection
from protocols.dlms.xdlms.refusals import ExceptionResponse
from protocols.dlms.xdlms.set import (
    SetRequestBlock,
    SetRequestFirstBlock,
    SetRequestNormal,
    SetResponseBlock,
    SetResponseNormal,
)
from protocols.dlms.xdlms.short import ReadNext, ReadRequest, ReadResponse, ReadResponseBlock, Variable, WriteRequest
from tests.dlms.test_pair import IMPORT, PROFILE, RELAY, SERIAL, shelf
from tests.dlms.test_short_names import BASES

INVOKE = Invoke(3)
BROKEN = b"\x07"  # no type of COSEM data


def meter(conformance: Conformance = LOGICAL_NAMES, pdu_octets: int = 128) -> Responder:
    return Responder(shelf(), 1, conformance, pdu_octets)


def answer(responder: Responder | ShortResponder, request: object) -> object:
    return decode_apdu(responder.answer(request))


def test_a_next_block_without_a_long_get_and_a_wrong_number_are_refused() -> None:
    responder = meter()
    none = GetResponseBlock(INVOKE, (1, DataAccessResult.NO_LONG_GET_IN_PROGRESS))
    assert answer(responder, GetRequestNext(INVOKE, 1)) == none
    first = answer(responder, GetRequestNormal(INVOKE, PROFILE))
    assert isinstance(first, GetResponseBlock)
    assert answer(responder, GetRequestNext(INVOKE, 0)) == first
    wrong = GetResponseBlock(INVOKE, (7, DataAccessResult.DATA_BLOCK_NUMBER_INVALID))
    assert answer(responder, GetRequestNext(INVOKE, 7)) == wrong
    assert answer(responder, GetRequestNext(INVOKE, 1)) == none


def test_a_long_get_without_blocks_agreed_and_a_selection_not_agreed_are_refused() -> None:
    responder = meter(Conformance.GET)
    unavailable = GetResponseNormal(INVOKE, DataAccessResult.DATA_BLOCK_UNAVAILABLE)
    assert answer(responder, GetRequestNormal(INVOKE, PROFILE)) == unavailable
    violated = GetResponseNormal(INVOKE, DataAccessResult.SCOPE_OF_ACCESS_VIOLATED)
    assert answer(responder, GetRequestNormal(INVOKE, PROFILE, Selection(2, NULL))) == violated
    listed = GetRequestList(INVOKE, ((IMPORT, None), (SERIAL, None)))
    assert isinstance(answer(responder, listed), ExceptionResponse)
    assert isinstance(answer(responder, SetRequestNormal(INVOKE, SERIAL, b"\0")), ExceptionResponse)


def test_blocks_of_a_set_out_of_order_end_it() -> None:
    responder = meter()
    stray = SetResponseNormal(INVOKE, DataAccessResult.NO_LONG_SET_IN_PROGRESS)
    assert answer(responder, SetRequestBlock(INVOKE, Block(2, b"", True))) == stray
    begun = SetRequestFirstBlock(INVOKE, SERIAL, None, Block(1, b"\x09\x02a", False))
    assert answer(responder, begun) == SetResponseBlock(INVOKE, 1)
    skipped = SetResponseNormal(INVOKE, DataAccessResult.DATA_BLOCK_NUMBER_INVALID, 3)
    assert answer(responder, SetRequestBlock(INVOKE, Block(3, b"b", True))) == skipped
    assert answer(responder, SetRequestBlock(INVOKE, Block(2, b"b", True))) == stray


def test_values_that_are_none_are_refused_and_reach_no_object() -> None:
    responder = meter()
    begun = SetRequestFirstBlock(INVOKE, SERIAL, None, Block(1, BROKEN, True))
    unmatched = SetResponseNormal(INVOKE, DataAccessResult.TYPE_UNMATCHED, 1)
    assert answer(responder, begun) == unmatched
    refused = ActionResponseNormal(INVOKE, ActionResult.TYPE_UNMATCHED)
    assert answer(responder, ActionRequestNormal(INVOKE, RELAY, BROKEN)) == refused


def test_blocks_of_an_action_out_of_order_end_it() -> None:
    responder = meter()
    none = ActionResponseNormal(INVOKE, ActionResult.NO_LONG_ACTION_IN_PROGRESS)
    assert answer(responder, ActionRequestNext(INVOKE, 1)) == none
    assert answer(responder, ActionRequestBlock(INVOKE, Block(2, b"", True))) == none
    begun = ActionRequestFirstBlock(INVOKE, RELAY, Block(1, b"\x09\x02a", False))
    assert answer(responder, begun) == ActionResponseNext(INVOKE, 1)
    aborted = ActionResponseNormal(INVOKE, ActionResult.LONG_ACTION_ABORTED)
    assert answer(responder, ActionRequestBlock(INVOKE, Block(5, b"b", True))) == aborted


def short_meter(conformance: Conformance = SHORT_NAMES) -> ShortResponder:
    return ShortResponder(shelf(), 1, conformance, 128, ShortNames(BASES))


@pytest.mark.parametrize("name", [0x0100, 0x2001, 0x5020], ids=["below all objects", "between attributes", "a method"])
def test_a_short_name_of_no_attribute_is_undefined(name: int) -> None:
    undefined = ReadResponse((DataAccessResult.OBJECT_UNDEFINED,))
    assert answer(short_meter(), ReadRequest((Variable(name),))) == undefined


def test_short_reads_in_blocks_keep_their_order_or_end() -> None:
    responder = short_meter()
    none = ReadResponse((DataAccessResult.NO_LONG_GET_IN_PROGRESS,))
    assert answer(responder, ReadNext(1)) == none
    assert isinstance(answer(responder, ReadRequest((Variable(0x3008),))), ReadResponseBlock)
    assert answer(responder, ReadNext(9)) == ReadResponse((DataAccessResult.DATA_BLOCK_NUMBER_INVALID,))
    assert answer(responder, ReadNext(1)) == none


def test_what_short_names_did_not_agree_on_is_refused() -> None:
    narrow = short_meter(Conformance.READ)
    several = ReadRequest((Variable(0x2008), Variable(0x2108)))
    assert isinstance(answer(narrow, several), ExceptionResponse)
    assert isinstance(answer(narrow, WriteRequest((Variable(0x4008),), (b"\0",))), ExceptionResponse)
    assert answer(narrow, ReadRequest((Variable(0x3008),))) == ReadResponse((DataAccessResult.DATA_BLOCK_UNAVAILABLE,))
    selecting = ReadRequest((Variable(0x3008, Selection(2, NULL)),))
    assert answer(narrow, selecting) == ReadResponse((DataAccessResult.SCOPE_OF_ACCESS_VIOLATED,))
