"""The agent's Modbus master on a line: how near to the line's floor, how many wrong values, how fast it starts.

The floor is what a perfect master needs: octets, silences and the meter's turnaround (Modbus over Serial Line V1.02,
2.5.1.1). The line is a process of its own that gives octets at the baud rate and measures the
master's silences (:mod:`tests.bench._paced_line`). Line and master take precedence over what else runs here, where the
system allows it; a share is of the median transaction, so that a neighbour's work does not count. By how much the
line's own process was late, which no wire is, is measured by it, taken out, and told in a row of its own.
"""

import asyncio
import json
import subprocess
import sys
from statistics import median
from typing import Any

from edge_agent.modbus_rtu import RtuLink
from edge_agent.serial_line import LineSettings, SerialLine
from protocols.modbus.messages import Function, ReadRegisters, RegistersReply
from protocols.modbus.plan import serial_cost
from tests.bench._paced_line import hurry
from tests.peers.misreading import peers, tally_of, tally_of_ours
from tests.peers.virtual_line import ask_virtually

COMMAND = "python -m tests.bench line"
BITS = 11  # 8E1
TURNAROUND_US = 5000.0
LENGTHS = (2, 10, 40, 125)
SHARES = {9600: 0.99, 19_200: 0.99, 115_200: 0.97}
MEASURED_S = 1.5  # for each speed and length
TRANSACTIONS_MIN = 12
QUESTIONS = 1_000_000
QUESTIONS_OF_PEERS = 500


def measure() -> list[dict[str, Any]]:
    """Return the rows of the table of figures."""
    return [*_shares(), *_misreadings()]


def _row(name: str, value: float, unit: str, target: object, met: bool) -> dict[str, Any]:
    return {"name": name, "value": value, "unit": unit, "target": target, "met": met, "command": COMMAND}


def _shares() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    hasty = 0
    lateness: list[float] = []
    for baud, target in SHARES.items():
        for length in LENGTHS:
            cost = serial_cost(baud, BITS, TURNAROUND_US)
            floor_us = cost.transaction_us(length)
            seen = _ask_on_paced_line(baud, length, max(TRANSACTIONS_MIN, int(MEASURED_S * 1e6 / floor_us)))
            lateness += seen["lateness_us"]
            taken = zip(seen["periods_us"], seen["lateness_us"], strict=True)
            share = floor_us / median(period_us - late_us for period_us, late_us in taken)
            hasty += sum(each < cost.silence_us for each in seen["silences_us"])
            name = f"share of the line's floor, {baud} baud, {length} registers"
            rows.append(_row(name, round(share, 4), "", f"≥ {target}", share >= target))
    rows.append(_row("silences shorter than t3.5, of all these", hasty, "", 0, hasty == 0))
    rows.append(_row("the line's own lateness, taken out of these, median", median(lateness), "µs", "reference", True))
    return rows


def _ask_on_paced_line(baud: int, length: int, questions: int) -> dict[str, list[float]]:
    command = [sys.executable, "-m", "tests.bench._paced_line", str(baud), str(BITS), str(TURNAROUND_US)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as line:
        assert line.stdout is not None
        port = line.stdout.readline().strip()
        asking = [sys.executable, "-m", "tests.bench.line", port, str(baud), str(length), str(questions)]
        subprocess.run(asking, check=True, timeout=120)
        said, _ = line.communicate(timeout=10)
    return dict(json.loads(said))


async def _ask(port: str, baud: int, length: int, questions: int) -> None:
    hurry()
    link = RtuLink(SerialLine(LineSettings(port, baud, "E", 1)), 0.5)
    for number in range(questions):
        # Each of 32 meters the same: another address with the same length would be asked a few octets longer.
        reply = await link.exchange(ReadRegisters(1 + number % 32, Function.READ_INPUT, 0, length))
        assert isinstance(reply, RegistersReply)
    link.close()


def _misreadings() -> list[dict[str, Any]]:
    tally = ask_virtually(QUESTIONS, seed=1)
    name = f"wrong values of {tally.right + tally.wrong:,} on a bad line in virtual time"
    rows = [_row(name, tally.wrong, f"of {QUESTIONS:,} questions", 0, tally.wrong == 0)]
    ours = tally_of_ours(QUESTIONS_OF_PEERS)
    rows.append(_row("the same on a pseudo-terminal", ours.wrong, f"of {QUESTIONS_OF_PEERS:,}", 0, ours.wrong == 0))
    for peer in peers():
        tally = tally_of(peer, QUESTIONS_OF_PEERS)
        name = f"the same with {peer}, for comparison"
        rows.append(_row(name, tally.wrong, f"of {QUESTIONS_OF_PEERS:,}", "above ours", tally.wrong > ours.wrong))
    return rows


if __name__ == "__main__":
    asyncio.run(_ask(sys.argv[1], *map(int, sys.argv[2:5])))
