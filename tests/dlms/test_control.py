"""Relay and clock: what is asked is what the standard spells, and a switched relay is read back."""

from datetime import UTC, datetime

import pytest

from protocols.dlms.codes import ActionResult, DataAccessResult
from protocols.dlms.control import (
    ControlState,
    RelayState,
    read_relay,
    relay_state_of,
    set_clock,
    shift_clock,
    switch,
)
from protocols.dlms.cosem_time import date_time_of, decode_date_time
from protocols.dlms.data import Data, Tag, enum, octets, unsigned
from protocols.dlms.plan import results_of
from protocols.dlms.services import Act, ActionDone, DataAccessError, GetList, GetResult, Set, SetDone
from protocols.dlms.xdlms.references import Attribute
from protocols.errors import LocalProtocolError, RemoteProtocolError
from protocols.obis import Obis
from tests.dlms.line import Shelf, connected, tcp_line
from tests.dlms.vectors import load

OUTPUT, CONTROL = (request.attribute for request in read_relay())
CLOCK_TIME = Attribute(8, Obis.parse("0.0.1.0.0"), 2)


class RelayMeter(Shelf):
    """A meter whose relay does what it is told."""

    def act(self, client_sap: int, method: Attribute, parameter: Data | None) -> tuple[ActionResult, Data | None]:
        closed = method.index == 2
        self.values |= {OUTPUT: Data(Tag.BOOLEAN, closed), CONTROL: enum(1 if closed else 0)}
        return super().act(client_sap, method, parameter)


@pytest.mark.parametrize("connect", [False, True])
def test_a_relay_is_switched_and_its_state_read_back(connect: bool) -> None:
    meter = RelayMeter({})
    line = connected(tcp_line(meter))
    assert isinstance(line.ask(switch(connect=connect))[-1], ActionDone)
    assert meter.methods == [(Attribute(70, Obis.parse("0.0.96.3.10"), 2 if connect else 1), Data(Tag.INTEGER, 0))]
    state = relay_state_of(results_of(line.ask(GetList(read_relay()))[-1]))
    assert state == RelayState(connect, ControlState.CONNECTED if connect else ControlState.DISCONNECTED)


@pytest.mark.parametrize(
    "results",
    [
        (),
        (GetResult(OUTPUT, unsigned(1)), GetResult(CONTROL, enum(1))),
        (GetResult(OUTPUT, Data(Tag.BOOLEAN, True)), GetResult(CONTROL, enum(3))),
        (GetResult(OUTPUT, Data(Tag.BOOLEAN, True)), DataAccessError(CONTROL, DataAccessResult.READ_WRITE_DENIED)),
    ],
)
def test_a_relay_that_does_not_tell_its_state_is_not_believed(results: tuple[GetResult | DataAccessError, ...]) -> None:
    with pytest.raises(RemoteProtocolError):
        relay_state_of(results)


def test_the_clock_is_set_to_the_instant_and_shifted_within_the_limit() -> None:
    at = datetime(2026, 11, 24, 4, 30, tzinfo=UTC)
    meter = RelayMeter({CLOCK_TIME: unsigned(0)})
    line = connected(tcp_line(meter))
    assert line.ask(set_clock(at)) == [SetDone(CLOCK_TIME)]
    written = meter.values[CLOCK_TIME]
    assert isinstance(written, Data)
    assert date_time_of(written).at() == at
    assert shift_clock(-30).parameter == Data(Tag.LONG, -30)
    with pytest.raises(LocalProtocolError, match="901"):
        shift_clock(901)


def test_setting_the_clock_asks_for_the_attribute_of_the_published_frame() -> None:
    (vector,) = (v for v in load("hdlc") if v["name"] == "hdlc-i-set-clock-time")
    apdu = bytes.fromhex(vector["expected"]["frames"][0]["info"])[3:]
    assert apdu[3:14] == CLOCK_TIME.encode() + b"\0\x09"


def test_a_meter_with_a_quirk_about_its_deviation_is_told_the_time_in_its_own_way() -> None:
    summer = decode_date_time(bytes.fromhex("07ea0704ff0c0000ffffc480"))  # 12:00, deviation -60, summer time
    assert (summer.true_deviation(winter=True), summer.true_deviation(inverted=True)) == (-120, 60)
    request = set_clock(summer.at(winter=True), deviation_minutes=-120, said_deviation_minutes=-60, status=0x80)
    said = date_time_of(request.value)
    assert (said.hour, said.deviation_minutes, said.status) == (12, -60, 0x80)
    assert said.at(winter=True) == summer.at(winter=True)


@pytest.mark.parametrize("class_id", [12, 15, 64])
def test_a_request_that_may_carry_a_secret_does_not_show_it(class_id: int) -> None:
    about = Attribute(class_id, Obis.parse("0.0.40.0.0"), 7)
    assert "a new secret" not in repr((Set(about, octets(b"a new secret")), Act(about, octets(b"a new secret"))))
    plain = Attribute(1, about.obis, 2)
    shown = repr((Set(plain, octets(b"a name")), Act(plain, octets(b"a name")), Act(about)))
    assert shown.count("b'a name'") == 2
    assert shown.endswith("parameter=None))")
