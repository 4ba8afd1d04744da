"""Once a day: a meter's clock is compared and within a limit shifted, its event logs are read once, all durably."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent import policy
from edge_agent.config import AgentConfig, parse_config
from edge_agent.lines import OpenLine, open_line
from edge_agent.log import EventLog, Recurring
from edge_agent.relay import NotSwitched, Switched, SwitchPlan, carry_out, event_of, prepare
from edge_agent.spool import Spool
from edge_agent.spool_seals import SEQUENCE_MASK
from edge_agent.store import Store
from edge_agent.tending import Tending
from protocols.dlms.acse import Context, Mechanism
from protocols.dlms.control import RELAY_OBIS, ControlState, RelayState
from protocols.telemetry.event import EventKind, MeterEvent, decode_events
from tests.edge_agent.fakes import StoppingClock
from tests.edge_agent.secure_meter import SECRET, Meter, PtyMeter, hdlc_server
from tests.edge_agent.secure_meter import policy as policy_of

SLOT_MS = 1_800_000
NOON = datetime(2026, 3, 1, 12, 15, tzinfo=UTC)
NOON_MS = int(NOON.timestamp()) * 1000
CONFIG = """
[gateway]
id = "gw-01"
spool = "spool.sqlite"
[broker]
url = "mqtt://127.0.0.1:1"
[[bus]]
id = "bus-1"
port = "{port}"
paced = false
reply_timeout = "2s"
[[bus.meter]]
id = "M-0001"
model = "dlms_secured"
mechanism = "low"
security = "none"
secret_env = "SECRET"
address = 17
clock_limit = "30s"
"""


@given(st.integers(-100_000, 100_000), st.integers(0, 86_400_000))
def test_no_shift_moves_a_clock_into_another_slot(difference_ms: int, at_ms: int) -> None:
    now_ms = NOON_MS + at_ms
    difference_ms -= difference_ms % 1000
    shift_s = policy.clock_shift(difference_ms, 60, now_ms, SLOT_MS)
    if shift_s:
        assert 2 <= abs(shift_s) <= 60
        before_ms = now_ms + difference_ms
        assert before_ms + shift_s * 1000 == now_ms
        assert policy.slot_of(before_ms, SLOT_MS) == policy.slot_of(now_ms, SLOT_MS)


@pytest.mark.parametrize(
    ("difference_s", "limit_s", "shift_s"),
    [(10, 30, -10), (-10, 30, 10), (30, 30, -30), (31, 30, 0), (1, 30, 0), (10, None, 0)],
)
def test_a_clock_is_shifted_within_its_limit_only(difference_s: int, limit_s: int | None, shift_s: int) -> None:
    assert policy.clock_shift(difference_s * 1000, limit_s, NOON_MS, SLOT_MS) == shift_s


def test_near_the_ends_of_a_slot_a_clock_is_left_alone() -> None:
    boundary_ms = NOON_MS - SLOT_MS // 2
    assert policy.clock_shift(-10_000, 30, boundary_ms + 7_000, SLOT_MS) == 0
    assert policy.clock_shift(10_000, 30, boundary_ms - 7_000, SLOT_MS) == 0


@given(st.integers(0, 10_000_000), st.integers(-100, 100))
def test_a_difference_is_told_to_the_second_whatever_the_part_of_a_second(now_ms: int, ahead_s: int) -> None:
    said_ms = (now_ms + ahead_s * 1000) // 1000 * 1000  # a meter tells whole seconds
    assert policy.clock_difference(said_ms, now_ms, now_ms) == ahead_s * 1000


@given(st.integers(0, 10**10))
def test_tending_is_due_in_the_middle_of_a_slot(now_ms: int) -> None:
    due_ms = policy.tend_due(now_ms, SLOT_MS)
    assert now_ms < due_ms <= now_ms + SLOT_MS
    assert due_ms % SLOT_MS == SLOT_MS // 2


class Gateway:
    """A gateway with one meter on a pseudo-terminal, whose day is tended by hand."""

    def __init__(self, directory: Path, meter: Meter, now_ms: int) -> None:
        self.pty = PtyMeter(hdlc_server(meter, policy_of(Mechanism.LOW, Context.LN)), meter)
        text = CONFIG.format(port=self.pty.port)
        self.config: AgentConfig = parse_config(text, "agent.toml", directory, {"SECRET": SECRET.decode()})
        self.spool = Spool(self.config.spool, "gw-01", 1 << 20)
        self.store = Store(self.spool)
        self.clock = StoppingClock(now_ms, now_ms, asyncio.Event())
        log = EventLog()
        self.tending = Tending(self.config.buses[0], self.clock, self.store, Recurring(log), log)

    async def line(self) -> OpenLine:
        return await open_line(self.config.buses[0], self.config.counters)

    async def tend(self) -> list[MeterEvent]:
        """Let the next time come for tending; return the events that were spooled."""
        self.tending.begin()
        due_ms = self.tending.due_ms()
        assert due_ms is not None
        self.clock.pass_ms(due_ms - self.clock.now_ms())
        line = await self.line()
        await self.tending.tend(line.duties)
        line.close()
        found: list[MeterEvent] = []
        for key, payload in self.spool.events(0, 1000):
            found += decode_events(payload).events
            sequence = key & SEQUENCE_MASK
            self.spool.settle(self.spool.generation, (), ((sequence, sequence),), 0)
        return found

    def close(self) -> None:
        self.pty.close()
        self.store.close()


def test_a_clock_is_read_and_shifted_and_logs_are_told_once_however_often_they_are_read(tmp_path: Path) -> None:
    async def go() -> tuple[list[MeterEvent], list[MeterEvent], list[MeterEvent]]:
        meter = Meter(log=[(NOON - timedelta(days=1), 2), (NOON - timedelta(hours=1), 3)])
        gateway = Gateway(tmp_path, meter, NOON_MS - 1000)
        meter.now = lambda: datetime.fromtimestamp(gateway.clock.now_ms() / 1000, UTC) + timedelta(seconds=9)
        first = await gateway.tend()
        assert meter.shifts == [-9]
        meter.now = lambda: datetime.fromtimestamp(gateway.clock.now_ms() / 1000, UTC)
        meter.log.append((NOON, 10))
        second = await gateway.tend()
        gateway.close()
        again = Gateway(tmp_path, meter, NOON_MS + 7_200_000)  # the agent was started again
        third = await again.tend()
        again.close()
        assert meter.shifts == [-9]
        return first, second, third

    first, second, third = asyncio.run(go())
    assert [(each.kind, each.value, each.code) for each in first] == [
        (EventKind.CLOCK, 9000, None),
        (EventKind.CLOCK_SHIFTED, -9000, None),
        (EventKind.LOG, None, 2),
        (EventKind.LOG, None, 3),
    ]
    assert [(each.kind, each.code) for each in second] == [(EventKind.CLOCK, None), (EventKind.LOG, 10)]
    assert [each.kind for each in third] == [EventKind.CLOCK]
    assert first[2].at_ms == NOON_MS - policy.DAY_MS
    assert (first[2].object, first[2].text) == ("0.0.99.98.0", "standard")


def test_a_clock_beyond_the_limit_is_told_and_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def go() -> list[MeterEvent]:
        meter = Meter()
        gateway = Gateway(tmp_path, meter, NOON_MS - 1000)
        meter.now = lambda: datetime.fromtimestamp(gateway.clock.now_ms() / 1000, UTC) - timedelta(minutes=5)
        events = await gateway.tend()
        gateway.close()
        assert meter.shifts == []
        return events

    assert [(each.kind, each.value) for each in asyncio.run(go())] == [(EventKind.CLOCK, -300_000)]
    assert "clock.differs bus=bus-1 meter=M-0001 ahead_s=-300 limit_s=30" in caplog.text
    assert "meter.not_tended" in caplog.text  # the log of frauds that the model names is not there


def test_a_supply_is_switched_in_two_phases_and_believed_when_read_back(tmp_path: Path) -> None:
    async def go() -> list[Switched | NotSwitched]:
        meter = Meter()
        gateway = Gateway(tmp_path, meter, NOON_MS)
        line = await gateway.line()
        duties = line.duties["M-0001"]
        outcomes: list[Switched | NotSwitched] = []
        plan = await prepare(duties, connect=False, now_ms=NOON_MS)
        assert isinstance(plan, SwitchPlan)
        conducted = [meter.conducts]  # nothing happens before it is carried out
        outcomes.append(await carry_out(duties, plan, now_ms=NOON_MS + 301_000))
        outcomes.append(await carry_out(duties, plan, now_ms=NOON_MS + 5_000))
        conducted.append(meter.conducts)
        assert conducted == [True, False]
        outcomes.append(await carry_out(duties, plan, now_ms=NOON_MS + 6_000))
        back = await prepare(duties, connect=True, now_ms=NOON_MS)
        assert isinstance(back, SwitchPlan)
        meter.obeys = False
        outcomes.append(await carry_out(duties, back, now_ms=NOON_MS))
        line.close()
        gateway.close()
        return outcomes

    late, done, twice, disobeyed = asyncio.run(go())
    off = RelayState(conducts=False, control=ControlState.DISCONNECTED)
    assert late == NotSwitched("the plan is 301 s old, at most 300 s hold", acted=False)
    assert done == Switched(off, obeyed=True, acted=True)
    words = "the relay has changed since the plan: conducting, connected then, open, disconnected now"
    assert twice == NotSwitched(words, acted=False)
    assert disobeyed == Switched(off, obeyed=False, acted=True)
    assert isinstance(done, Switched)
    told = event_of("M-0001", RELAY_OBIS, done, NOON_MS)
    assert (told.kind, told.object, told.code, told.value) == (EventKind.RELAY, "0.0.96.3.10", 0, 0)
    assert told.text == "open, disconnected"
