"""The data link under loss, duplication, silence and broken rules; its tables are walked."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.dlms.association import CLIENT_TRANSITIONS, ClientState, ClientStep
from protocols.dlms.data import array, double_long_unsigned
from protocols.dlms.hdlc.frames import POLL_FINAL, Address, Frame, FrameType, information_control
from protocols.dlms.hdlc.negotiation import INFO_OCTETS_MAX, LinkLimits
from protocols.dlms.hdlc.primary import TRANSITIONS, HdlcParameters, HdlcPrimary, PrimaryState, Step
from protocols.dlms.hdlc.secondary import HdlcSecondary, HdlcServerParameters
from protocols.dlms.link import NEED_DATA, ApduReceived, ClientApdu, ClientLink, LinkDown, LinkUp
from protocols.dlms.services import Associated, Connect, Get, GetResult
from protocols.errors import LocalProtocolError, RemoteProtocolError
from tests.dlms.line import Line, Shelf, connected, hdlc_line
from tests.dlms.test_pair import IMPORT, PROFILE, ROWS, shelf

WIDE = LinkLimits(info_octets_tx=64, info_octets_rx=64, window_tx=3, window_rx=3)
METER = HdlcParameters(client_sap=1, server_logical=1)


def opened() -> HdlcPrimary:
    primary = HdlcPrimary(METER)
    primary.open()
    primary.data_to_send()
    primary.receive_data(Frame(METER.client, METER.server, FrameType.UA | POLL_FINAL).encode())
    assert isinstance(primary.next_event(), LinkUp)
    return primary


def answer(number: int, acknowledged: int, apdu: bytes = b"\xc4", **fields: object) -> bytes:
    control = information_control(number, acknowledged, True)
    return Frame(METER.client, METER.server, control, b"\xe6\xe7\x00" + apdu).encode()


class LossyDelivery:
    """Loses, damages and doubles frames, by seed."""

    def __init__(self, seed: int, share: float) -> None:
        self.random = Random(seed)
        self.share = share

    def __call__(self, data: bytes) -> Sequence[bytes]:
        chance = self.random.random()
        if chance < self.share:
            return []
        if chance < 2 * self.share:
            place = self.random.randrange(len(data) * 8)
            damaged = bytearray(data)
            damaged[place // 8] ^= 1 << place % 8
            return [bytes(damaged)]
        return [data, data] if chance < 2.5 * self.share else [data]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), share=st.sampled_from([0.02, 0.1, 0.2]))
def test_a_bad_line_never_yields_wrong_values(seed: int, share: float) -> None:
    """Under loss, bit flips and doubles a reading is right or it is absent, and the link's end is told."""
    values = {IMPORT: double_long_unsigned(1234567), PROFILE: array(*(double_long_unsigned(n) for n in range(99)))}
    objects = Shelf(values)
    line = hdlc_line(objects, deliver=LossyDelivery(seed, share), client_limits=WIDE, server_limits=WIDE)
    if not isinstance(line.ask(Connect())[-1], Associated):
        return
    for attribute in (IMPORT, PROFILE, IMPORT):
        outcome = line.ask(Get(attribute))[-1]
        if isinstance(outcome, LinkDown):
            return
        assert outcome == GetResult(attribute, values[attribute])


def test_a_lost_answer_is_repeated_and_nothing_is_done_twice() -> None:
    line = connected(hdlc_line(shelf()))
    lost = iter([True])
    line.deliver = lambda data: [] if data[8:9] != b"\x00" and next(lost, False) else [data]
    assert line.ask(Get(IMPORT)) == [GetResult(IMPORT, double_long_unsigned(1234567))]


def test_a_silent_meter_is_given_up_after_the_repetitions() -> None:
    primary = HdlcPrimary(METER)
    primary.open()
    for _ in range(METER.retries_max):
        assert primary.data_to_send()
        primary.receive_silence()
    primary.data_to_send()
    primary.receive_silence()
    assert primary.next_event() == LinkDown("no answer after 3 repetitions")
    assert primary.data_to_send() == b""


def test_an_echo_of_our_own_frames_is_not_an_answer() -> None:
    line = connected(hdlc_line(shelf()))
    line.client.receive_data(line.client.send(Get(IMPORT)))
    assert line.client.next_event() is NEED_DATA


def test_another_meters_answer_is_refused_with_both_addresses() -> None:
    primary = opened()
    primary.send_apdu(b"\xc0")
    primary.receive_data(Frame(METER.client, Address(5), information_control(0, 1, True), b"\xe6\xe7\x00\xc4").encode())
    with pytest.raises(RemoteProtocolError, match="server 5 answered, expected 1"):
        primary.next_event()
    primary.receive_data(answer(0, 1))
    assert primary.next_event() == ApduReceived(b"\xc4")


def test_a_late_doubled_answer_is_not_the_answer_to_the_next_question() -> None:
    primary = opened()
    primary.send_apdu(b"\xc0\x01")
    primary.receive_data(answer(0, 1, b"\xc4\x01"))
    assert primary.next_event() == ApduReceived(b"\xc4\x01")
    primary.send_apdu(b"\xc0\x02")
    primary.receive_data(answer(0, 1, b"\xc4\x01"))
    assert primary.next_event() is NEED_DATA
    primary.receive_data(answer(1, 2, b"\xc4\x02"))
    assert primary.next_event() == ApduReceived(b"\xc4\x02")


@pytest.mark.parametrize("acknowledged", [0, 2, 5])
def test_an_answer_that_acknowledges_something_else_is_refused(acknowledged: int) -> None:
    primary = opened()
    primary.send_apdu(b"\xc0")
    primary.receive_data(answer(0, acknowledged))
    with pytest.raises(RemoteProtocolError, match="acknowledge"):
        primary.next_event()


@pytest.mark.parametrize("kind", [FrameType.DM, FrameType.FRMR])
def test_a_refusing_meter_ends_the_link_and_says_why(kind: FrameType) -> None:
    primary = opened()
    primary.send_apdu(b"\xc0")
    primary.receive_data(Frame(METER.client, METER.server, kind | POLL_FINAL).encode())
    event = primary.next_event()
    assert isinstance(event, LinkDown)
    assert kind.name in event.reason
    assert primary.state is PrimaryState.DISCONNECTED


def test_a_busy_meter_is_polled_until_it_answers_but_not_for_ever() -> None:
    primary = opened()
    primary.send_apdu(b"\xc0")
    primary.data_to_send()
    ready = Frame(METER.client, METER.server, 1 << 5 | POLL_FINAL | FrameType.RR).encode()
    for _ in range(200):
        primary.receive_data(ready)
        assert primary.next_event() is NEED_DATA
        assert primary.data_to_send()
    primary.receive_data(ready)
    assert isinstance(primary.next_event(), LinkDown)


def test_every_pair_of_the_link_table_is_either_a_transition_or_refused() -> None:
    for state, step in product(PrimaryState, (Step.SEND_SNRM, Step.SEND_I, Step.SEND_DISC)):
        primary = HdlcPrimary(METER)
        primary.state = state
        call: dict[Step, Callable[[], None]] = {
            Step.SEND_SNRM: primary.open,
            Step.SEND_I: partial(primary.send_apdu, b"\xc0"),
            Step.SEND_DISC: primary.close,
        }
        if (state, step) in TRANSITIONS:
            call[step]()
            assert primary.state is TRANSITIONS[state, step]
        else:
            with pytest.raises(LocalProtocolError, match=step.value):
                call[step]()
            assert primary.state is state


def test_every_client_state_can_be_reached_and_left() -> None:
    reached = {ClientState.DISCONNECTED}
    for _ in ClientState:
        reached |= {to for (state, _), to in CLIENT_TRANSITIONS.items() if state in reached}
    assert reached == set(ClientState)
    assert all((state, ClientStep.LINK_DOWN) in CLIENT_TRANSITIONS for state in ClientState)


# -- the meter's end --------------------------------------------------------------------------------------------------


def secondary(*frames: Frame) -> tuple[HdlcSecondary, list[ClientApdu | ClientLink]]:
    station, events = HdlcSecondary(HdlcServerParameters(server_logical=1)), []
    for frame in frames:
        station.receive_data(frame.encode())
    while (event := station.next_event()) is not NEED_DATA:
        events.append(event)
    return station, events


SERVER, CLIENT = METER.server, METER.client
SNRM = Frame(SERVER, CLIENT, FrameType.SNRM | POLL_FINAL)


def reply_of(station: HdlcSecondary) -> list[FrameType | None]:
    octets, kinds = station.data_to_send(), []
    while octets:
        length = (octets[1] & 7) << 8 | octets[2]
        control = octets[5] if octets[3] & 1 else octets[6]
        kinds.append(Frame(CLIENT, SERVER, control).type)
        octets = octets[length + 2 :]
    return kinds


def test_a_meter_without_a_link_says_so_and_closes_idempotently() -> None:
    station, events = secondary(Frame(SERVER, CLIENT, information_control(0, 0, True), b"\xe6\xe6\x00\xc0"))
    assert (reply_of(station), events) == ([FrameType.DM], [])
    station, _ = secondary(Frame(SERVER, CLIENT, FrameType.DISC | POLL_FINAL))
    assert reply_of(station) == [FrameType.DM]
    station, events = secondary(SNRM, Frame(SERVER, CLIENT, FrameType.DISC | POLL_FINAL))
    assert reply_of(station) == [FrameType.UA, FrameType.UA]
    assert len(events) == 2


@pytest.mark.parametrize(
    ("control", "information"),
    [
        (0xEF, b""),
        (information_control(0, 5, True), b"\xe6\xe6\x00\xc0"),
        (information_control(0, 0, True), bytes(129)),
    ],
    ids=["unknown control field", "impossible N(R)", "information too long"],
)
def test_a_broken_rule_is_answered_with_frmr_and_ends_the_link(control: int, information: bytes) -> None:
    station, events = secondary(SNRM, Frame(SERVER, CLIENT, control, information))
    assert reply_of(station) == [FrameType.UA, FrameType.FRMR]
    assert len(events) == 2


def test_frames_for_other_meters_are_left_alone() -> None:
    station, events = secondary(Frame(Address(2), CLIENT, FrameType.SNRM | POLL_FINAL))
    assert (station.data_to_send(), events) == (b"", [])


def test_a_repeated_question_is_not_asked_twice() -> None:
    question = Frame(SERVER, CLIENT, information_control(0, 0, True), b"\xe6\xe6\x00\xc0")
    station, events = secondary(SNRM, question, question)
    assert sum(isinstance(event, ClientApdu) for event in events) == 1
    station.send_apdu(1, b"\xc4")
    assert reply_of(station)[0] is FrameType.UA


# -- parameters -------------------------------------------------------------------------------------------------------


@given(st.integers(1, INFO_OCTETS_MAX), st.integers(1, INFO_OCTETS_MAX), st.integers(1, 7), st.integers(1, 7))
def test_link_parameters_survive_the_wire_and_meet_at_the_smaller(tx: int, rx: int, wtx: int, wrx: int) -> None:
    limits = LinkLimits(tx, rx, wtx, wrx)
    assert LinkLimits.decode(limits.encode()) == limits
    met = LinkLimits().meet(limits)
    assert met == LinkLimits(min(128, rx), min(128, tx), 1, 1)


@given(st.binary(max_size=40))
def test_any_parameter_field_gives_limits_or_a_remote_error(octets: bytes) -> None:
    try:
        limits = LinkLimits.decode(octets)
    except RemoteProtocolError:
        return
    assert 1 <= limits.window_rx <= 7


@given(st.sampled_from([1, 2, 4]), st.integers(0, 0x3FFF), st.integers(0, 0x3FFF))
def test_addresses_survive_the_wire(size: int, upper: int, lower: int) -> None:
    mask = 0x3FFF if size == 4 else 0x7F
    address = Address(upper & mask, None if size == 1 else lower & mask, size)
    frame = Frame(address, Address(16), FrameType.SNRM | POLL_FINAL)
    station = HdlcPrimary(HdlcParameters())
    station._reader.receive_data(frame.encode())
    assert station._reader.next_frame() == frame


def test_a_line_with_two_clients_keeps_their_links_apart() -> None:
    line = connected(hdlc_line(shelf(), client_limits=WIDE, server_limits=WIDE))
    other = Line(type(line.client)(HdlcParameters(16, 1, 17, 2), line.client._association), line.server)
    line.server._policies = {1: line.server._policies[1], 16: line.server._policies[1]}
    assert isinstance(other.ask(Connect())[-1], Associated)
    assert line.ask(Get(PROFILE)) == [GetResult(PROFILE, ROWS)]
    assert other.ask(Get(IMPORT)) == [GetResult(IMPORT, double_long_unsigned(1234567))]
