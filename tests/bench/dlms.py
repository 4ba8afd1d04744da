"""How fast profiles are decoded, six columns on one core, and how long a day of them takes on a slow line.

Rates are of processor time, so that a busy machine measures the same.
"""

import subprocess
from datetime import UTC, datetime, timedelta
from time import process_time
from typing import Any

from protocols.dlms import axdr, profile
from protocols.dlms.cosem_time import encode_date_time
from protocols.dlms.data import NULL, Data, array, double_long_unsigned, octets, structure, unsigned
from protocols.dlms.selective import CLOCK, CaptureObject
from protocols.dlms.services import GetBuffer
from protocols.dlms.xdlms.references import Attribute
from protocols.obis import Obis
from tests.dlms.line import Shelf, connected, hdlc_line
from tests.peers.environment import driver, environment

ROWS = 20_000
TARGET_ROWS_PER_S = 400_000
MIXED_ROWS_PER_S = 200_000  # no meter sends rows whose shape changes each time; it must not be a cliff
START = datetime(2026, 1, 1, tzinfo=UTC)
COLUMNS = (CLOCK, *(CaptureObject(3, Obis(1, 0, number, 8, 0), 2) for number in range(1, 6)))
DAY_S = 4.4  # 110 % of the 4 s that field work takes for a day of four channels each 15 minutes at 9600 baud
OCTETS_PER_S = 9600 / 10  # 8N1: ten bits an octet
PEER_S_MAX = 120
COMMAND = "python -m tests.bench dlms"


def encoded(every: int) -> bytes:
    """Return a buffer of six-column rows in which only each ``every``-th row says its time."""
    rows: list[Data] = []
    for number in range(ROWS):
        time = octets(encode_date_time(START + number * timedelta(minutes=15))) if number % every == 0 else NULL
        registers = (double_long_unsigned(number * step) for step in range(1, 5))
        rows.append(structure(time, unsigned(0), *registers))
    return axdr.encode(array(*rows))


def rows_per_s(data: bytes, interpreted: bool) -> int:
    """Return the best of three."""
    best = float("inf")
    for _ in range(3):
        start = process_time()
        buffer = profile.decode_buffer(data, len(COLUMNS))
        if interpreted:
            profile.interpret(buffer, COLUMNS, period_s=900)
        best = min(best, process_time() - start)
    return int(ROWS / best)


def day_on_the_line_s() -> float:
    """Return how long the octets of one day's profile, both ways, take at 9600 baud; HDLC as negotiated by default."""
    rows = [
        structure(octets(encode_date_time(START + number * timedelta(minutes=15))), *[double_long_unsigned(number)] * 4)
        for number in range(96)
    ]
    attribute = Attribute(7, Obis(1, 0, 99, 1, 0), 2)
    line = connected(hdlc_line(Shelf({attribute: array(*rows)})))
    line.carried.clear()
    line.ask(GetBuffer(attribute))
    return round(sum(map(len, line.carried)) / OCTETS_PER_S, 2)


def beside_others(data: bytes, ours: int) -> list[dict[str, Any]]:
    """Return what other libraries make of the same buffer, each in its own process and environment, in this very run.

    Their number is met by being measured; ours must not be the lower one.
    """
    figures: list[dict[str, Any]] = []
    for name in ("pydlms", "gurux"):
        command = [str(environment(name) / "python"), "-c", driver(f"{name}_bench"), str(ROWS)]
        done = subprocess.run(command, input=data.hex(), capture_output=True, text=True, timeout=PEER_S_MAX, check=True)
        value = int(done.stdout)
        figures.append(
            {
                "name": f"the same rows decoded by {name}, for comparison",
                "value": value,
                "unit": "rows/s/core",
                "target": f"below ours ({ours:,})",
                "met": value < ours,
                "command": COMMAND,
            }
        )
    return figures


def measure() -> list[dict[str, Any]]:
    """Return the rows of the table of figures."""
    cases = {
        "DLMS profile rows decoded to columns": (encoded(1), False, TARGET_ROWS_PER_S),
        "DLMS profile rows decoded to columns and UTC": (encoded(1), True, TARGET_ROWS_PER_S),
        "DLMS profile rows, times null-compressed": (encoded(ROWS), True, TARGET_ROWS_PER_S),
        "DLMS profile rows, every other time null": (encoded(2), False, MIXED_ROWS_PER_S),
    }
    figures: list[dict[str, Any]] = []
    for name, (data, interpreted, target) in cases.items():
        value = rows_per_s(data, interpreted)
        figures.append(
            {
                "name": name,
                "value": value,
                "unit": "rows/s/core",
                "target": target,
                "met": value >= target,
                "command": COMMAND,
            }
        )
    figures += beside_others(encoded(1), figures[0]["value"])
    day = day_on_the_line_s()
    figures.append(
        {
            "name": "DLMS day of four channels on a 9600 baud line",
            "value": day,
            "unit": "s (less is better)",
            "target": DAY_S,
            "met": day <= DAY_S,
            "command": COMMAND,
        }
    )
    return figures
