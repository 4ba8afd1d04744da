"""Short-name referencing, as the ZMD400 has it: the same requests, by sixteen-bit names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.dlms.acse import Context, Mechanism
from protocols.dlms.apdu import decode_apdu
from protocols.dlms.association import Association, Policy
from protocols.dlms.codes import DataAccessResult
from protocols.dlms.conformance import SHORT_NAMES, Conformance
from protocols.dlms.data import (
    Data,
    Tag,
    array,
    double_long_unsigned,
    integer,
    long_unsigned,
    octets,
    structure,
    unsigned,
)
from protocols.dlms.explain import explain_apdu
from protocols.dlms.plan import read_attributes
from protocols.dlms.services import (
    Access,
    Act,
    ActionDone,
    ActList,
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
    Set,
    SetDone,
    SetList,
    SetListResult,
)
from protocols.dlms.short_names import ASSOCIATION_BASE, METHODS, OBJECT_LIST, ShortNames
from protocols.dlms.xdlms.references import Attribute, Selection
from protocols.dlms.xdlms.refusals import ExceptionResponse
from protocols.dlms.xdlms.short import ReadRequest, ReadResponse, Variable, WriteResponse
from protocols.errors import LocalProtocolError, RemoteProtocolError
from tests.dlms.line import Line, Shelf, connected, hdlc_line, tcp_line
from tests.dlms.test_pair import ABSENT, EXPORT, IMPORT, PROFILE, RELAY, ROWS, SERIAL, shelf
from tests.dlms.test_security import ciphered_line

BASES = {
    (3, IMPORT.obis): 0x2000,
    (3, EXPORT.obis): 0x2100,
    (7, PROFILE.obis): 0x3000,
    (1, SERIAL.obis): 0x4000,
    (70, RELAY.obis): 0x5000,
}


def short_line(
    objects: Shelf,
    *,
    known: bool = True,
    conformance: Conformance = SHORT_NAMES,
    pdu: int = 200,
    server_pdu: int = 0xFFFF,
) -> Line:
    association = Association(
        Mechanism.LOW,
        b"pw",
        SHORT_NAMES,
        pdu,
        Context.SN,
        short_names=BASES if known else {},
    )
    policy = Policy(Mechanism.LOW, b"pw", conformance, server_pdu, Context.SN, short_names=BASES)
    return tcp_line(objects, association, policy)


def object_list() -> Data:
    return array(
        *(
            structure(Data(Tag.LONG, base), long_unsigned(class_id), unsigned(0), octets(obis.to_octets()))
            for (class_id, obis), base in BASES.items()
        )
    )


def test_a_client_that_knows_nothing_learns_the_names_from_the_meter() -> None:
    objects = shelf()
    objects.values[OBJECT_LIST] = object_list()
    line = short_line(objects, known=False)
    assert isinstance(line.ask(Connect())[-1], Associated)
    with pytest.raises(LocalProtocolError, match="object list"):
        line.client.send(Get(IMPORT))
    (event,) = line.ask(Get(OBJECT_LIST))
    assert isinstance(event, GetResult)
    line.client.short_names.learn(event.value)
    assert line.ask(Get(IMPORT)) == [GetResult(IMPORT, double_long_unsigned(1234567))]


def test_everything_is_asked_with_the_same_requests_as_by_logical_names() -> None:
    objects = shelf()
    line = connected(short_line(objects))
    assert line.ask(GetBuffer(PROFILE))[0] == connected(tcp_line(shelf())).ask(GetBuffer(PROFILE))[0]
    assert line.ask(Get(PROFILE)) == [GetResult(PROFILE, ROWS)]
    assert line.client.granted is not None
    (request,) = read_attributes([IMPORT, PROFILE, EXPORT], line.client.granted.conformance)
    assert isinstance(request, GetList)
    (event,) = line.ask(request)
    assert isinstance(event, ListResult)
    assert [getattr(result, "value", None) for result in event.results] == [
        double_long_unsigned(1234567),
        ROWS,
        double_long_unsigned(89),
    ]
    assert line.ask(Set(SERIAL, octets(b"new"))) == [SetDone(SERIAL)]
    assert objects.values[SERIAL] == octets(b"new")
    both = SetList((Set(SERIAL, octets(b"x")), Set(EXPORT, octets(b"y"))))
    assert line.ask(both) == [SetListResult((SetDone(SERIAL), SetDone(EXPORT)))]
    assert line.ask(Act(RELAY)) == [ActionDone(RELAY, None)]
    assert objects.methods == [(RELAY, integer(0))]


def test_selective_access_reaches_the_object() -> None:
    selection = Selection(2, structure(double_long_unsigned(1), double_long_unsigned(2)))
    seen: list[Selection | None] = []

    def buffer(asked: Selection | None) -> Data:
        seen.append(asked)
        return array()

    line = connected(short_line(Shelf({PROFILE: buffer})))
    (event,) = line.ask(GetBuffer(PROFILE, selection))
    assert isinstance(event, BufferResult)
    assert seen == [selection]


def test_refusals_are_told_as_by_logical_names() -> None:
    line = connected(short_line(Shelf({})))
    assert line.ask(Get(IMPORT)) == [DataAccessError(IMPORT, DataAccessResult.OBJECT_UNDEFINED)]
    assert line.ask(Set(IMPORT, integer(0))) == [DataAccessError(IMPORT, DataAccessResult.OBJECT_UNDEFINED)]
    with pytest.raises(LocalProtocolError, match="no short name"):
        line.client.send(Get(ABSENT))
    refusing = connected(short_line(shelf(), conformance=SHORT_NAMES & ~Conformance.WRITE))
    (event,) = refusing.ask(Set(SERIAL, integer(0)))
    assert isinstance(event, ExceptionResponse)


def test_short_names_work_over_hdlc_with_one_octet_addresses_too() -> None:
    association = Association(conformance=SHORT_NAMES, context=Context.SN, short_names=BASES)
    policy = Policy(conformance=SHORT_NAMES, context=Context.SN, short_names=BASES)
    line = connected(hdlc_line(shelf(), association, policy))
    assert line.ask(Get(IMPORT)) == [GetResult(IMPORT, double_long_unsigned(1234567))]


@pytest.mark.parametrize("index", [1, 2, 3, 9])
def test_a_name_leads_back_to_its_attribute(index: int) -> None:
    names = ShortNames(BASES)
    attribute = Attribute(7, PROFILE.obis, index)
    assert names.name(attribute) == 0x3000 + 8 * (index - 1)
    assert names.find(names.name(attribute)) == (attribute, False)
    assert names.find(names.method_name(RELAY)) == (RELAY, True)
    assert names.name(OBJECT_LIST) == ASSOCIATION_BASE + 8
    assert names.find(0x1000) is None
    assert names.find(0x2001) is None


@pytest.mark.parametrize(
    ("hexed", "shown"),
    [
        ("050102fa08", {"apdu": "read-request", "list": [{"short_name": "fa08", "access": None}]}),
        ("0c01000600000001", {"apdu": "read-response", "results": [{"data": ["double-long-unsigned", 1]}]}),
        ("0c010104", {"apdu": "read-response", "results": [{"access_result": 4}]}),
        ("0d020001 03".replace(" ", ""), {"apdu": "write-response", "results": [0, 3]}),
        ("0501050002", {"apdu": "read-request", "type": "block-number-access", "block_number": 2}),
    ],
)
def test_apdus_are_as_the_standard_spells_them(hexed: str, shown: dict[str, object]) -> None:
    apdu = decode_apdu(bytes.fromhex(hexed))
    assert explain_apdu(apdu) == shown
    assert apdu.encode().hex() == hexed


@given(st.binary(max_size=40), st.sampled_from([b"\x05", b"\x06", b"\x0c", b"\x0d"]))
def test_any_octets_are_an_apdu_or_a_remote_error(octets_: bytes, tag: bytes) -> None:
    try:
        apdu = decode_apdu(tag + octets_)
    except RemoteProtocolError:
        return
    assert decode_apdu(apdu.encode()) == apdu


def test_an_answer_of_another_kind_or_number_is_refused() -> None:
    line = connected(short_line(shelf()))
    for wrong in (WriteResponse((DataAccessResult.SUCCESS,)), ReadResponse(()), ReadRequest((Variable(1),))):
        line.client.send(Get(IMPORT))
        apdu = wrong.encode()
        line.client.receive_data(b"\0\1\0\1\0\1" + len(apdu).to_bytes(2, "big") + apdu)
        with pytest.raises(RemoteProtocolError):
            line.client.next_event()
    assert line.ask(Get(IMPORT)) == [GetResult(IMPORT, double_long_unsigned(1234567))]


def test_what_cannot_work_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(LocalProtocolError, match="SHORT_NAMES"):
        Association(context=Context.SN)
    line = connected(short_line(shelf()))
    for impossible in (ActList((Act(RELAY),)), Access((Get(IMPORT),))):
        with pytest.raises(LocalProtocolError, match="short names have no"):
            line.client.send(impossible)


@pytest.mark.parametrize("context", [Context.SN, Context.SN_CIPHERED])
@pytest.mark.parametrize("mechanism", list(Mechanism))
def test_every_mechanism_opens_an_association_by_short_names(mechanism: Mechanism, context: Context) -> None:
    line = ciphered_line(mechanism, context, conformance=SHORT_NAMES, short_names=BASES, dedicated=bytes(range(50, 66)))
    assert isinstance(line.ask(Connect())[-1], Associated)
    line.carried.clear()
    assert line.ask(Get(IMPORT)) == [GetResult(IMPORT, double_long_unsigned(1234567))]
    if context is Context.SN_CIPHERED:
        assert [octets_[8] for octets_ in line.carried] == [0x45, 0x4C]  # ded-read-request and -response
    assert line.broken == []


def test_a_wrong_secret_by_short_names_is_refused_in_the_standards_words() -> None:
    line = ciphered_line(
        Mechanism.HIGH_SHA1, Context.SN, conformance=SHORT_NAMES, short_names=BASES, secret=b"another secret!!"
    )
    refused = [event for event in line.ask(Connect()) if isinstance(event, AssociationRefused)]
    assert refused[0].words == "authentication-failure: the meter refused the proof: other-reason"


ATTRIBUTES = {3: 3, 4: 5, 5: 9, 7: 8, 8: 9, 9: 2, 11: 2, 12: 4, 20: 10, 70: 4}


@pytest.mark.parametrize("method", METHODS)
def test_a_method_lies_behind_the_attributes_of_its_class_and_leads_back_to_itself(method: tuple[int, int]) -> None:
    class_id, index = method
    obis = IMPORT.obis
    names = ShortNames({(class_id, obis): 0x6000})
    invoked = Attribute(class_id, obis, index)
    assert METHODS[method] >= 8 * ATTRIBUTES[class_id]
    assert names.find(names.method_name(invoked)) == (invoked, True)
