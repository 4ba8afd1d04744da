"""What meters teach: their turnaround, and the registers that they refuse; kept over restarts."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.config import BusConfig, parse_config
from edge_agent.costs import TCP_COST
from edge_agent.known import PATIENCE_S_MIN, Known
from edge_agent.learned import Learned
from edge_agent.modbus_meter import ModbusMeter
from protocols.meters.catalogue import load_model
from protocols.meters.model import Group, ModbusRegister
from protocols.modbus.messages import ExceptionCode, ExceptionReply, ReadRegisters, RegistersReply, Reply
from tests.edge_agent.test_demand import HEAD, meter

MODEL = load_model("eastron_sdm630")
HELD = {
    address
    for each in MODEL.measurements
    if isinstance(each.at, ModbusRegister)
    for address in range(each.at.first, each.at.end)
}


class RefusingLink:
    """Answers in no time, and refuses every question that touches a register which the model does not have."""

    def __init__(self, absent: frozenset[int] = frozenset()) -> None:
        self.cost = TCP_COST
        self.turnaround_us: float | None = 3000.0
        self.quarantine_s = 0.0
        self.asked: list[ReadRegisters] = []
        self._absent = absent

    async def exchange(self, request: ReadRegisters, *, probe: bool = False, patience_s: float | None = None) -> Reply:
        del probe, patience_s
        self.asked.append(request)
        span = set(range(request.address, request.address + request.count))
        if span - HELD or span & self._absent:
            return ExceptionReply(request, ExceptionCode.ILLEGAL_DATA_ADDRESS)
        return RegistersReply(request, bytes(2 * request.count))

    def free_at(self, request: ReadRegisters) -> float:
        return 0.0

    def close(self) -> None:
        return None


def bus_of(directory: Path) -> BusConfig:
    return parse_config(HEAD + meter(1), "agent.toml", directory, {}).buses[0]


def read(link: RefusingLink, learned: Learned) -> tuple[int, int]:
    """Read everything once; return how many values came, and how many questions it took."""

    async def go() -> tuple[int, int]:
        each = ModbusMeter(link, 1, MODEL, learned.of("M-0001"), lambda known: learned.set("M-0001", known))
        before = len(link.asked)
        answer = await each.read(frozenset(Group), probe=False)
        return len(answer.values), len(link.asked) - before

    return asyncio.run(go())


def test_a_hole_that_a_meter_refuses_is_learned_and_known_after_a_restart(tmp_path: Path) -> None:
    bus, kept = bus_of(tmp_path), tmp_path / "learned"
    link = RefusingLink()
    values, first = read(link, Learned(bus, kept))
    assert values == len(MODEL.measurements)
    again, second = read(link, Learned(bus, kept))
    assert again == values
    assert second < first
    assert all(set(range(each.address, each.address + each.count)) <= HELD for each in link.asked[first:])


def test_a_register_that_one_firmware_lacks_costs_no_other(tmp_path: Path) -> None:
    at = MODEL.measurements[2].at
    assert isinstance(at, ModbusRegister)
    link, learned = RefusingLink(frozenset({at.first})), Learned(bus_of(tmp_path), tmp_path / "learned")
    values, first = read(link, learned)
    assert values == len(MODEL.measurements) - 1
    assert read(link, learned)[1] < first


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 1}', '{"version": 1, "meters": {"M-0001": 1}}'])
def test_a_damaged_file_is_as_good_as_none(tmp_path: Path, text: str) -> None:
    bus, kept = bus_of(tmp_path), tmp_path / "learned"
    Learned(bus, kept).save()
    (kept / "rs485-1.json").write_text(text)
    assert Learned(bus, kept).of("M-0001") == Known()


def test_turnarounds_are_kept_before_the_line_is_closed(tmp_path: Path) -> None:
    """A kill costs what was learned since the last five hundred answers, not all."""
    bus, kept = bus_of(tmp_path), tmp_path / "learned"
    known, learned = Known(), Learned(bus, kept)
    for _ in range(30):
        known = known.after_answer(4000.0)
        learned.set("M-0001", known)
    assert Learned(bus, kept).of("M-0001").turnaround_us == 4000.0


def test_what_was_learned_under_another_model_is_forgotten(tmp_path: Path) -> None:
    kept = tmp_path / "learned"
    Learned(bus_of(tmp_path), kept).set("M-0001", Known(5.0, 6.0, 7, frozenset({(4, 3)})))
    assert Learned(bus_of(tmp_path), kept).of("M-0001").cuts == {(4, 3)}
    (other,) = parse_config(HEAD + meter(1).replace("sdm630", "sdm120"), "agent.toml", tmp_path, {}).buses
    assert Learned(other, kept).of("M-0001") == Known()


@given(st.lists(st.floats(0, 300_000), min_size=1, max_size=100))
def test_a_learned_turnaround_lies_among_what_was_seen_and_patience_beyond_it(seen: list[float]) -> None:
    known = Known()
    for each in seen:
        known = known.after_answer(each)
    assert known.turnaround_us is not None
    assert min(seen) - 1e-6 <= known.turnaround_us <= max(seen) + 1e-6
    assert known.slowest_us <= max(seen)
    patience_s = known.patience_s
    assert (patience_s is None) == (len(seen) < 20)
    if patience_s is not None:
        assert patience_s >= max(PATIENCE_S_MIN, 3 * max(seen[-100:]) / 1e6)
