"""Figures: a status stays small however many meters do badly; the socket answers only what it is asked rightly."""

import asyncio
import json
import stat
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from edge_agent.meter import Answer, Fault
from edge_agent.remote import figures, metrics_socket
from edge_agent.remote.metrics_socket import CALLERS_MAX, REQUEST_OCTETS_MAX
from edge_agent.remote.top import picture
from edge_agent.statistics import BusStatistics, MeterTally, bus_statistics
from protocols.errors import UnavailableError
from protocols.telemetry.command import Kind
from protocols.telemetry.reply import ClockState, Outcome, Reply, decode_reply

NOW_MS = 1_759_251_600_000
STATUS_OCTETS_MAX = 16_384


def bus(name: str, well: int, silent: int) -> BusStatistics:
    tallies = []
    for number in range(well + silent):
        tally = MeterTally(f"{name}-{number:04}")
        tally.note(Answer(()), 0.05, NOW_MS, probe=False, retry=False)
        for _ in range(number if number >= well else 0):
            tally.note(Answer((), failure="no reply", fault=Fault.CHECKSUM), 1.0, NOW_MS, probe=False, retry=True)
        tallies.append(tally.snapshot(number if number >= well else 0, silent=number >= well))
    return bus_statistics(name, tuple(tallies), line_open=True, load=0.5, busy_s=1.0, probe_s=0.1, urgent=3)


def test_a_status_is_small_names_the_worst_and_says_how_many_it_left_out() -> None:
    said = figures.in_status([bus(f"{number:059}", 0, 20) for number in range(40)])
    assert len(json.dumps(said, separators=(",", ":"))) <= STATUS_OCTETS_MAX
    buses, meters = said["buses"], said["meters"]
    assert isinstance(buses, list)
    assert isinstance(meters, list)
    assert said["left_out"] == 40 - len(buses) + 40 * 20 - len(meters)
    assert {each["failures"] for each in meters} == {19}


def test_meters_that_do_well_are_not_in_the_status() -> None:
    said = figures.in_status([bus("b", 20, 0)])
    assert (said["meters"], said["left_out"]) == ([], 0)


def test_all_figures_fit_into_a_reply_and_come_back() -> None:
    buses, meters = figures.rows([bus("b", 1000, 1000)])
    result = {"buses": buses, "meters": meters, "left_out": 0}
    reply = Reply("gw-01", "ab" * 8, Kind.STATUS, NOW_MS, ClockState.SET, Outcome.DONE, None, result)
    assert decode_reply(reply.encode()).result == result


def test_prometheus_reads_each_meter_once_and_each_metric_has_its_type() -> None:
    text = figures.prometheus([bus("b", 1, 1)], figures.SpoolFigures(2, 3, lost={"space": (4, 400)}), connected=True)
    assert 'congto_agent_lost_readings_total{reason="space"} 400' in text
    assert "congto_agent_spool_batches 2" in text
    samples = [line.rpartition(" ")[0] for line in text.splitlines() if not line.startswith("#")]
    assert len(set(samples)) == len(samples)
    assert 'congto_agent_meter_checksum_errors_total{bus="b",meter="b-0001"} 1' in text
    names = {line.split(" ")[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert {sample.partition("{")[0] for sample in samples} <= names


def test_a_counter_is_told_with_its_last_digit_however_high_it_is() -> None:
    spool = figures.SpoolFigures(batches=2, taken=12_345_678_901, octets=1_234_567)
    text = figures.prometheus([bus("b", 1, 0)], spool, connected=True)
    assert "congto_agent_spool_readings_total 12345678901\n" in text
    assert "congto_agent_spool_octets 1234567\n" in text
    assert "congto_agent_broker_connected 1\n" in text
    assert 'congto_agent_meter_latency_seconds{bus="b",meter="b-0000",quantile="0.5"} 0.05\n' in text


def test_top_shows_names_and_figures_whole_on_a_terminal_of_80_columns() -> None:
    rows, meters = figures.rows([bus("rs485-1", 2, 1)])
    meters = [row | {"meter": f"M-{number:04}"} for number, row in enumerate(meters)]
    figures_now = {"buses": rows, "meters": meters, "configuration": {"sha256": "cf0cb89dc7bba2fe", "standing": "good"}}
    console = Console(width=80, file=StringIO())
    console.print(picture(figures_now, figures_now, 1.0))
    shown = console.file.getvalue()
    assert "…" not in shown
    for word in ("rs485-1 ", "M-0000 ", "M-0002 ", "100.0 %", "timeouts", "quarantine", "cf0cb89dc7bba2fe, good"):
        assert word in shown


def test_top_calls_no_meter_well_whose_line_is_lost() -> None:
    rows, meters = figures.rows([bus("a", 1, 0), replace(bus("b", 1, 0), line_open=False)])
    figures_now = {"buses": rows, "meters": meters, "configuration": {"sha256": "cf0c", "standing": "good"}}
    console = Console(width=80, file=StringIO())
    console.print(picture(figures_now, figures_now, 1.0))
    states = {line.split()[1]: line for line in console.file.getvalue().splitlines() if "-0000" in line}
    assert " well " in states["a-0000"]
    assert " no line " in states["b-0000"]


async def say(path: Path, octets: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(octets)
    writer.write_eof()
    found = await reader.read()
    writer.close()
    return found


def test_the_socket_is_the_owners_and_answers_what_it_is_asked_rightly(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"

    async def go() -> list[bytes]:
        async with metrics_socket.serve(path, {"/metrics": ("text/plain", lambda: "up 1\n")}):
            assert stat.S_IMODE(path.stat().st_mode) == stat.S_IRUSR | stat.S_IWUSR
            right = b"GET /metrics HTTP/1.1\r\n\r\n"
            wrong = (b"", b"rubbish\r\n\r\n", b"GET /../etc HTTP/1.1\r\n\r\n", b"x" * (2 * REQUEST_OCTETS_MAX))
            found = [await say(path, each) for each in wrong]
            found += await asyncio.gather(*(say(path, right) for _ in range(3 * CALLERS_MAX)))
        return found

    nothing, rubbish, elsewhere, flood, *answers = asyncio.run(go())
    assert (nothing, flood) == (b"", b"")
    assert rubbish.startswith(b"HTTP/1.1 404")
    assert elsewhere.startswith(b"HTTP/1.1 404")
    assert {each.endswith(b"\r\n\r\nup 1\n") for each in answers} == {True}
    assert not path.exists()


def test_a_socket_that_can_not_be_made_is_told(tmp_path: Path) -> None:
    async def go() -> None:
        async with metrics_socket.serve(tmp_path / "nowhere" / "agent.sock", {}):
            raise AssertionError("served")

    with pytest.raises(UnavailableError, match="nowhere"):
        asyncio.run(go())
    with pytest.raises(UnavailableError, match="no agent answers"):
        metrics_socket.ask(tmp_path / "agent.sock", "/metrics")
