"""A line is searched in the time that is given for it, and slow or noisy meters are told."""

import asyncio
import contextvars
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.meter_tool import scan as scan_module
from edge_agent.meter_tool.scan import Heard, answering_unit, scan
from edge_agent.meter_tool.scan_plan import PASS_S, STARTING_S, TURNAROUND_MAX_S, TURNAROUND_MIN_S, plan_scan
from edge_agent.meter_tool.scanning import WITHIN_S, parse_addresses
from edge_agent.serial_line import LineSettings
from protocols.errors import UsageError
from protocols.modbus.messages import ExceptionReply, Function, ReadRegisters, RegistersReply
from protocols.modbus.rtu import encode_reply
from simulators.modbus.rtu import RtuSlaves
from simulators.modbus.slave import ModbusSlave
from simulators.serial_line import LineSettings as MetersSettings
from simulators.serial_line import SerialLine as MetersLine
from tests.meter_tool.meters import NOON_MS, meter
from tests.simulation.line import SimulatedLine, Wires
from tests.simulation.loop import VirtualLoop

SIX = [LineSettings("/dev/ttyUSB0", baud, parity, 1) for baud in (9600, 19_200, 2400) for parity in "NE"]


def test_all_addresses_at_three_speeds_and_two_parities_take_less_than_a_minute() -> None:
    """Five seconds less: they are for a machine that is busy and for noise that is gone back on."""
    plan = plan_scan(SIX, 247, WITHIN_S)
    assert plan.takes_s <= 55.0 + 1e-6
    assert plan.turnaround_s > 1.4 * TURNAROUND_MIN_S
    assert "247 addresses" in str(plan)
    assert str(plan_scan(SIX, 1, WITHIN_S)).startswith("1 address × ")


speeds = st.lists(st.sampled_from([1200, 2400, 4800, 9600, 19_200, 38_400, 115_200]), min_size=1, max_size=4)


@given(speeds, st.integers(1, 247), st.floats(1, 600))
def test_a_plan_keeps_to_its_time_or_says_how_much_it_needs(bauds: list[int], count: int, within_s: float) -> None:
    settings = [replace(SIX[0], baud=each) for each in bauds]
    try:
        plan = plan_scan(settings, count, within_s)
    except UsageError:
        assert within_s < STARTING_S + (PASS_S + count) * len(settings), (
            "a second for each address is enough for all of these"
        )
        return
    assert plan.takes_s <= within_s + 1e-6
    assert TURNAROUND_MIN_S <= plan.turnaround_s <= TURNAROUND_MAX_S
    for each in plan.passes:
        silence_s = 0.001_75 if each.settings.baud > 19_200 else 3.5 * each.settings.character_s
        assert each.window_s >= each.window_min_s
        assert each.window_min_s >= silence_s + each.settings.character_s + TURNAROUND_MIN_S - 1e-9


async def search(
    directory: Path, addresses: list[int], turnaround_s: float, within_s: float, units: range
) -> tuple[Heard, list[str]]:
    """Search ``units`` on a line with a meter at each of ``addresses``."""
    line = MetersLine(directory / "line", MetersSettings(19_200))
    slaves = [ModbusSlave(meter("eastron_sdm120", address)) for address in addresses]
    RtuSlaves(line, slaves, lambda: NOON_MS, turnaround_s=turnaround_s)
    told: list[str] = []
    settings = LineSettings(str(directory / "line"), 19_200, "N", 1)
    try:
        return await scan(plan_scan([settings], len(units), within_s + STARTING_S + PASS_S), units, told.append), told
    finally:
        line.close()


def test_quick_meters_are_met_in_passing(tmp_path: Path) -> None:
    heard, told = asyncio.run(search(tmp_path, [3, 4, 17], 0.005, 1.0, range(1, 21)))
    assert [each.unit for each in heard.found] == [3, 4, 17]
    assert heard.noise == []
    assert "  unit 17 answers" in told


def test_a_meter_slower_than_the_window_is_gone_back_to(tmp_path: Path) -> None:
    """It answers while the scan is three addresses further."""
    heard, _ = asyncio.run(search(tmp_path, [5], 0.09, 0.9, range(1, 21)))
    assert [each.unit for each in heard.found] == [5]


def test_the_last_address_may_be_slow_too(tmp_path: Path) -> None:
    heard, _ = asyncio.run(search(tmp_path, [20], 0.15, 0.9, range(1, 21)))
    assert [each.unit for each in heard.found] == [20]


def test_nobody_is_found_where_nobody_is(tmp_path: Path) -> None:
    heard, _ = asyncio.run(search(tmp_path, [], 0.0, 0.5, range(1, 11)))
    assert heard == Heard()


async def babble(directory: Path) -> Heard:
    line = MetersLine(directory / "line", MetersSettings(19_200, paced=False))
    rng = Random(3)
    line.listen(lambda data: line.send(rng.randbytes(6)) if data[:1] == b"\x04" else None)
    settings = LineSettings(str(directory / "line"), 19_200, "N", 1)
    try:
        return await scan(plan_scan([settings], 8, 0.8 + STARTING_S + PASS_S), range(1, 9), lambda _: None)
    finally:
        line.close()


def test_what_nobody_understands_is_told_as_noise(tmp_path: Path) -> None:
    heard = asyncio.run(babble(tmp_path))
    assert heard.found == []
    assert heard.noise
    assert all(unit in range(1, 9) and octets for _, unit, octets in heard.noise)


@given(st.integers(1, 247), st.booleans(), st.binary(max_size=5), st.binary(max_size=5))
def test_a_reply_names_its_unit_wherever_it_stands(unit: int, refused: bool, before: bytes, after: bytes) -> None:
    question = ReadRegisters(unit, Function.READ_HOLDING, 0, 2)
    reply = ExceptionReply(question, 2) if refused else RegistersReply(question, b"\x01\x02\x03\x04")
    found = answering_unit(before + encode_reply(reply) + after)
    assert found == unit or (found is not None and before != b""), "noise that is a frame itself comes first"


@given(st.sets(st.integers(1, 247), min_size=1))
def test_addresses_may_be_written_singly_or_as_ranges(units: set[int]) -> None:
    assert parse_addresses(",".join(map(str, units))) == sorted(units)
    assert parse_addresses(f"{min(units)}-{max(units)}") == list(range(min(units), max(units) + 1))


@pytest.mark.parametrize("text", ["", "0", "248", "5-3", "a", "1-", "1,,2", "9999999"])
def test_an_address_that_can_not_be_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--address"):
        parse_addresses(text)


def test_a_machine_that_is_late_waits_less_and_keeps_to_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four milliseconds for each question, of which two are planned: the window gives the others."""
    loop = VirtualLoop()
    settings = SIX[0]

    class LateLine(SimulatedLine):
        async def write(self, data: bytes) -> None:
            await asyncio.sleep(0.004)
            await super().write(data)

    async def go() -> float:
        wires = Wires(loop, contextvars.copy_context(), settings, [])
        monkeypatch.setattr(scan_module, "open_port", lambda _settings: LateLine(wires))
        plan = plan_scan([settings], 247, STARTING_S + PASS_S + 247 * 0.0225)
        began_s = loop.time()
        assert await scan(plan, range(1, 248), lambda _: None) == Heard()
        assert wires.silence_violations == 0
        return plan.takes_s - STARTING_S - (loop.time() - began_s)

    assert 0 <= loop.run_until_complete(go()) < PASS_S
