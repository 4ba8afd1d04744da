"""What a trace must not show: secrets that are handed over, asked for, or sent as a password."""

import pytest

from edge_agent.dlms_tool.trace import NOT_SHOWN, Trace
from protocols.dlms import axdr
from protocols.dlms.acse import AssociationRequest, Context, Mechanism
from protocols.dlms.association import Association
from protocols.dlms.data import octets, structure
from protocols.dlms.hdlc.frames import Address, Frame
from protocols.dlms.hdlc.sequence import LLC_COMMAND
from protocols.dlms.quirks import STRICT
from protocols.dlms.wrapper import Wrapped
from protocols.dlms.xdlms.action import ActionRequestNormal
from protocols.dlms.xdlms.get import GetRequestNormal, GetResponseNormal
from protocols.dlms.xdlms.references import Attribute, Invoke
from protocols.dlms.xdlms.set import SetRequestNormal
from protocols.obis import Obis

NEW = b"a new secret, which nobody told the trace"
ASSOCIATION, SETUP = Obis(0, 0, 40, 0, 1), Obis(0, 0, 43, 0, 0)


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
