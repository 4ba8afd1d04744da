"""What a trace must not show: secrets that are handed over, asked for, or sent as a password."""

import pytest

from edge_agent.dlms_tool.trace import NOT_SHOWN, Trace
from protocols.dlms import axdr
from protocols.dlms.acse import AssociationRequest, Context, Mechanism
from protocols.dlms.association import Association
from protocols.dlms.ciphering import CipheredApdu, Keys, SecurityControl, protect
from protocols.dlms.codes import DataAccessResult
from protocols.dlms.data import octets, structure
from protocols.dlms.hdlc.frames import Address, Frame
from protocols.dlms.hdlc.sequence import LLC_COMMAND
from protocols.dlms.protection import Ciphering
from protocols.dlms.quirks import STRICT
from protocols.dlms.short_names import ShortNames
from protocols.dlms.wrapper import Wrapped
from protocols.dlms.xdlms.access import AccessItem, AccessKind, AccessOutcome, AccessRequest, AccessResponse
from protocols.dlms.xdlms.action import (
    ActionRequestBlock,
    ActionRequestFirstBlock,
    ActionRequestList,
    ActionRequestNormal,
)
from protocols.dlms.xdlms.general_block import GeneralBlock
from protocols.dlms.xdlms.get import (
    GetRequestList,
    GetRequestNext,
    GetRequestNormal,
    GetResponseBlock,
    GetResponseList,
    GetResponseNormal,
)
from protocols.dlms.xdlms.references import Attribute, Block, Invoke
from protocols.dlms.xdlms.set import SetRequestBlock, SetRequestFirstBlock, SetRequestList, SetRequestNormal
from protocols.dlms.xdlms.short import ReadRequest, ReadResponse, Variable, WriteRequest
from protocols.obis import Obis

NEW = b"a new secret, which nobody told the trace"
ASSOCIATION, SETUP = Obis(0, 0, 40, 0, 1), Obis(0, 0, 43, 0, 0)
SECRET, KEYS = Attribute(15, ASSOCIATION, 7), Attribute(64, SETUP, 2)
NAME, NAME_BASE = Attribute(1, Obis(0, 0, 96, 1, 0), 2), 0x1000
VALUE, ONE = axdr.encode(octets(NEW)), Invoke(1)
AUTHENTICATE = SecurityControl(0, authenticated=True, encrypted=False)
METER_KEYS, TITLE = Keys(bytes(range(16)), bytes(range(16, 32))), b"CTO\0\0\0\0\x01"


def cut(octets_: bytes) -> tuple[Block, Block]:
    return Block(1, octets_[:4], False), Block(2, octets_[4:], True)


def authenticated_only(apdu: bytes) -> bytes:
    return CipheredApdu(0xC9, AUTHENTICATE, 1, protect(METER_KEYS, TITLE, AUTHENTICATE, 1, apdu)).encode()


def access_request(kind: AccessKind, attribute: Attribute) -> bytes:
    return AccessRequest(1, (AccessItem(kind, attribute, octets(NEW)),)).encode()


def trace(lines: list[str], *secrets: bytes, hdlc: bool = False) -> Trace:
    return Trace(hdlc=hdlc, association=Association(), quirks=STRICT, secrets=secrets, write=lines.append)


def is_hidden(lines: list[str], secret: bytes) -> bool:
    shown = "\n".join(lines)
    return NOT_SHOWN in shown and secret.hex() not in shown and secret.decode() not in shown


@pytest.mark.parametrize(
    "apdu",
    [
        SetRequestNormal(Invoke(1), Attribute(15, ASSOCIATION, 7), axdr.encode(octets(NEW))).encode(),
        ActionRequestNormal(Invoke(1), Attribute(15, ASSOCIATION, 2), axdr.encode(octets(NEW))).encode(),
        ActionRequestNormal(Invoke(1), Attribute(64, SETUP, 2), axdr.encode(structure(octets(NEW)))).encode(),
        AssociationRequest(Context.LN, None, Mechanism.LOW, NEW).encode(),
    ],
    ids=["set secret", "change secret", "transfer key", "password"],
)
def test_secrets_that_are_handed_over_are_not_shown(apdu: bytes) -> None:
    lines: list[str] = []
    trace(lines).sent(Wrapped(1, 1, apdu).encode())
    assert is_hidden(lines, NEW)


def session(apdus: list[tuple[bool, bytes]]) -> list[str]:
    """Return what is shown of APDUs in the clear, True those sent, by a client that has the meter's keys."""
    lines: list[str] = []
    association = Association(ciphering=Ciphering(METER_KEYS, TITLE, range(1, 9), AUTHENTICATE))
    shown = Trace(hdlc=False, association=association, quirks=STRICT, secrets=(), write=lines.append)
    shown.know(ShortNames({(1, NAME.obis): NAME_BASE}))
    for out, apdu in apdus:
        (shown.sent if out else shown.received)(Wrapped(1, 1, apdu).encode())
    return lines


def in_any_form(attribute: Attribute, name: int) -> dict[str, list[tuple[bool, bytes]]]:
    """Return the ways to hand NEW over to an attribute or to ask for it, of everything but the plain SET and GET."""
    first, last = cut(VALUE)
    items, whole = ((attribute, None),), GetResponseNormal(ONE, VALUE)
    outcome = AccessOutcome(AccessKind.GET, octets(NEW), DataAccessResult.SUCCESS)
    set_normal = SetRequestNormal(ONE, attribute, VALUE).encode()
    return {
        "short write": [(True, WriteRequest((Variable(name),), (VALUE,)).encode())],
        "short read": [(True, ReadRequest((Variable(name),)).encode()), (False, ReadResponse((VALUE,)).encode())],
        "set list": [(True, SetRequestList(ONE, items, (VALUE,)).encode())],
        "set blocks": [
            (True, SetRequestFirstBlock(ONE, attribute, None, first).encode()),
            (True, SetRequestBlock(ONE, last).encode()),
        ],
        "action list": [(True, ActionRequestList(ONE, (attribute,), (VALUE,)).encode())],
        "action blocks": [
            (True, ActionRequestFirstBlock(ONE, attribute, first).encode()),
            (True, ActionRequestBlock(ONE, last).encode()),
        ],
        "get list": [
            (True, GetRequestList(ONE, items).encode()), (False, GetResponseList(ONE, (VALUE,)).encode()),
        ],
        "get blocks": [
            (True, GetRequestNormal(ONE, attribute).encode()), (False, GetResponseBlock(ONE, first).encode()),
            (True, GetRequestNext(ONE, 1).encode()), (False, GetResponseBlock(ONE, last).encode()),
        ],
        "access set": [(True, access_request(AccessKind.SET, attribute))],
        "access get": [
            (True, access_request(AccessKind.GET, attribute).replace(axdr.encode(octets(NEW)), b"\0")),
            (False, AccessResponse(1, (outcome,)).encode()),
        ],
        "authenticated only": [(True, authenticated_only(set_normal))],
        "late answer": [
            (True, GetRequestNormal(ONE, attribute).encode()),
            (True, GetRequestNormal(Invoke(2), NAME).encode()), (False, whole.encode()),
        ],
    }  # fmt: skip


FORMS = list(in_any_form(SECRET, 0))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("attribute", [SECRET, KEYS], ids=["secret", "key"])
def test_no_form_of_a_service_shows_a_secret(form: str, attribute: Attribute) -> None:
    text = "\n".join(session(in_any_form(attribute, 0xFA30)[form]))
    assert NOT_SHOWN in text
    assert NEW.hex()[8:] not in text
    assert NEW.decode()[4:] not in text


@pytest.mark.parametrize("form", FORMS)
def test_every_form_shows_what_is_no_secret(form: str) -> None:
    text = "\n".join(session(in_any_form(NAME, NAME_BASE + 8)[form]))
    assert NOT_SHOWN not in text
    assert NEW.hex()[8:] in text


def test_a_short_name_that_was_not_learned_is_hidden() -> None:
    lines = session([(True, WriteRequest((Variable(0x0F00),), (VALUE,)).encode())])
    assert is_hidden(lines, NEW)


def test_general_blocks_show_nothing_that_they_carry_nor_what_answers_them() -> None:
    apdu = SetRequestNormal(ONE, SECRET, VALUE).encode()
    blocks = [GeneralBlock(1, apdu[:20], last=False).encode(), GeneralBlock(2, apdu[20:]).encode()]
    open_ = [(True, GetRequestNormal(ONE, NAME).encode())]  # The same invoke-id was harmless before.
    lines = session(open_ + [(True, each) for each in blocks] + [(False, GetResponseNormal(ONE, VALUE).encode())])
    text = "\n".join(lines)
    assert text.count(NOT_SHOWN) >= len(blocks) + 1
    assert not any(part.hex() in text for part in (apdu[14:20], apdu[20:], NEW[:8]))


def test_what_does_not_decode_to_its_end_is_hidden() -> None:
    damaged = SetRequestNormal(ONE, NAME, VALUE).encode() + b"\0"
    assert is_hidden(session([(True, damaged)]), NEW)


def test_a_secret_that_is_asked_for_is_not_shown_and_the_next_answer_is() -> None:
    lines: list[str] = []
    shown = trace(lines)
    answer = Wrapped(1, 1, GetResponseNormal(Invoke(1), axdr.encode(octets(NEW))).encode()).encode()
    shown.sent(Wrapped(1, 1, GetRequestNormal(Invoke(1), Attribute(15, ASSOCIATION, 7), None).encode()).encode())
    shown.received(answer)
    assert is_hidden(lines, NEW)
    shown.sent(
        Wrapped(1, 1, GetRequestNormal(Invoke(1), Attribute(1, Obis(0, 0, 96, 1, 0), 2), None).encode()).encode()
    )
    shown.received(answer)
    assert NEW.hex() in "\n".join(lines)


def test_a_password_cut_into_segments_is_not_shown() -> None:
    lines: list[str] = []
    shown = trace(lines, hdlc=True)
    information = LLC_COMMAND + AssociationRequest(Context.LN, None, Mechanism.LOW, NEW).encode()
    pieces = [information[at : at + 16] for at in range(0, len(information), 16)]
    for place, piece in enumerate(pieces):
        last = place == len(pieces) - 1
        shown.sent(Frame(Address(1), Address(16), 0x10 | place % 8 << 1, piece, not last).encode())
    text = "\n".join(lines)
    assert not any(piece.hex() in text for piece in pieces)
    assert is_hidden(lines, NEW)


def test_a_known_secret_is_blotted_out_wherever_it_appears() -> None:
    lines: list[str] = []
    shown = trace(lines, NEW)
    shown.sent(Wrapped(1, 1, GetRequestNormal(ONE, NAME).encode()).encode())
    shown.received(
        Wrapped(1, 1, GetResponseNormal(Invoke(1), axdr.encode(octets(b"x" + NEW + b"y"))).encode()).encode()
    )
    assert is_hidden(lines, NEW)


def test_noise_is_told_and_does_not_stop_the_trace() -> None:
    lines: list[str] = []
    shown = trace(lines)
    shown.received(b"\xff\xff\x00\x00")
    shown.received(Wrapped(1, 1, b"\xc4\x01\xc1\x00\x00").encode())
    shown.received(Wrapped(1, 1, b"\x99").encode())
    assert "broken" in lines[0]
    assert any("get-response" in line for line in lines)
    assert "cannot be explained" in lines[-1]
