"""Events that a meter tells an associated client of, unasked: plain and protected, over HDLC and the wrapper."""

from collections.abc import Callable

import pytest

from protocols.dlms.acse import Context, Mechanism
from protocols.dlms.data import double_long_unsigned
from protocols.dlms.link import NEED_DATA
from protocols.dlms.services import Connect, Get, GetResult, Notified, Release
from protocols.dlms.xdlms.notifications import EventNotification
from protocols.errors import LocalProtocolError
from tests.dlms.line import Line, hdlc_line, tcp_line
from tests.dlms.test_pair import IMPORT, shelf
from tests.dlms.test_security import ciphered_line

VALUE = double_long_unsigned(1234567)
EVENT = EventNotification(bytes.fromhex("07ea0a0703000000ff800000"), IMPORT, VALUE)
LINES: dict[str, Callable[[], Line]] = {
    "hdlc": lambda: hdlc_line(shelf()),
    "wrapper": lambda: tcp_line(shelf()),
    "high, plain": lambda: ciphered_line(Mechanism.HIGH_GMAC, Context.LN),
    "ciphered": ciphered_line,
    "dedicated key": lambda: ciphered_line(dedicated=bytes(range(16))),
}


@pytest.mark.parametrize("way", LINES)
def test_an_associated_client_hears_of_an_event_between_its_questions(way: str) -> None:
    line = LINES[way]()
    with pytest.raises(LocalProtocolError, match="not associated"):
        line.server.send_event(1, EVENT)
    line.ask(Connect())
    for _ in range(2):
        octets = line.server.send_event(1, EVENT)
        assert (EVENT.encode() in octets) == (way in ("hdlc", "wrapper", "high, plain"))
        line.client.receive_data(octets)
        assert line.client.next_event() == Notified(EVENT)
        assert line.client.next_event() is NEED_DATA
        assert line.ask(Get(IMPORT)) == [GetResult(IMPORT, VALUE)]
    assert line.broken == []
    line.ask(Release())
    with pytest.raises(LocalProtocolError, match="not associated"):
        line.server.send_event(1, EVENT)
