"""A real agent with four lines of 32 meters each: memory, processor time, start, and how punctual its samples are.

Each line is a process (:mod:`tests.bench._paced_line`) at 19,200 baud whose meters take 20 ms to answer. All meters are
read every ten seconds, six times as often as most are in the field. No broker is there: everything is spooled.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

COMMAND = "python -m tests.bench agent"
LINES, METERS = 4, 32
BAUD, BITS, TURNAROUND_US = 19_200, 10, 20_000.0
EVERY_S = 10
MEASURED_S = 45
SILENCE_US = 3.5 * 1e6 * BITS / BAUD
RSS_MB_MAX, CPU_SHARE_MAX, START_S_MAX, ERROR_MS_MAX = 60.0, 0.10, 2.0, 50.0
SETTLING_S = 12.0  # the first cycle, and what is imported when it is first needed


def measure() -> list[dict[str, Any]]:
    """Return the rows of the table of figures."""
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        lines = [stack.enter_context(_line()) for _ in range(LINES)]
        config = Path(directory, "agent.toml")
        config.write_text(_configuration([port for _, port in lines]), encoding="utf-8")
        began_at = time.time()
        command = [sys.executable, "-m", "deploy.cli", "agent", "run", "--config", str(config)]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as agent:
            time.sleep(SETTLING_S)
            before_s = _processor_s(agent.pid)
            time.sleep(MEASURED_S)
            share = (_processor_s(agent.pid) - before_s) / MEASURED_S
            rss_mb = _rss_mb(agent.pid)
            agent.terminate()
            agent.wait(60)
        seen = [_seen(line) for line, _ in lines]
    start_s = min(each["heard_at"][0] for each in seen) - began_at
    errors = sorted(each for line in seen for each in _errors_ms(line))
    p99 = errors[int(0.99 * (len(errors) - 1))]
    questions = sum(len(each["heard_at"]) for each in seen)
    setting = f"{LINES} lines × {METERS} meters each {EVERY_S} s"
    return [
        _row(f"memory of an agent with {setting}", round(rss_mb, 1), "MB RSS", RSS_MB_MAX, rss_mb),
        _row(f"processor time of it, {questions} questions", round(share, 4), "of a core", CPU_SHARE_MAX, share),
        _row("start to the first question on a line", round(start_s, 2), "s", START_S_MAX, start_s),
        _row("start error of samples beyond their queue, p99", round(p99, 1), "ms", ERROR_MS_MAX, p99),
    ]


def _row(name: str, value: float, unit: str, most: float, exact: float) -> dict[str, Any]:
    return {
        "name": name,
        "value": value,
        "unit": unit,
        "target": f"≤ {most:g}",
        "met": exact <= most,
        "command": COMMAND,
    }


@contextmanager
def _line() -> Iterator[tuple["subprocess.Popen[str]", str]]:
    command = [sys.executable, "-m", "tests.bench._paced_line", str(BAUD), str(BITS), str(TURNAROUND_US)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            if process.stdin is not None and not process.stdin.closed:
                process.stdin.close()


def _seen(line: "subprocess.Popen[str]") -> dict[str, list[float]]:
    said, _ = line.communicate(timeout=30)
    return dict(json.loads(said))


def _configuration(ports: list[str]) -> str:
    tables = ['[gateway]\nid = "g"\nspool = "spool.sqlite"\n[broker]\nurl = "mqtt://127.0.0.1:1"\n']
    for number, port in enumerate(ports):
        tables.append(f'[[bus]]\nid = "bus-{number}"\nport = "{port}"\nbaud = {BAUD}\nparity = "N"\n')
        tables += [_meter(f"M-{number}-{address:02}", address) for address in range(1, METERS + 1)]
    return "".join(tables)


def _meter(name: str, address: int) -> str:
    every = f'every = "{EVERY_S}s"\ninstantaneous_every = "{EVERY_S}s"\n'
    return f'[[bus.meter]]\nid = "{name}"\nmodel = "eastron_sdm120"\naddress = {address}\n{every}'


def _errors_ms(seen: dict[str, list[float]]) -> Iterator[float]:
    """Yield how late each question came, beyond those before it in its cycle.

    The first of a cycle is compared with the boundary of the clock, the others with the end of the silence that they
    must keep. The first cycle after the start is out of turn.
    """
    heard = seen["heard_at"]
    for at, silence_us, before_at in zip(heard[1:], seen["silences_us"], heard[:-1], strict=True):
        if at - before_at > 1.0:
            yield 1000 * (at % EVERY_S)
        else:
            yield (silence_us - SILENCE_US) / 1000


def _processor_s(pid: int) -> float:
    words = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def _rss_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
