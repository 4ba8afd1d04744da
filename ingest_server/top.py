"""``congto ingest top``: what a running ingest does, second by second, from its own metrics."""

import http.client
import itertools
import json
import time
import urllib.error
import urllib.request

from rich.console import Console
from rich.live import Live
from rich.table import Table

from ingest_server.pipeline.metrics import parse_metrics
from ingest_server.pipeline.observer import LOOPBACK
from protocols.errors import UnavailableError, UsageError

ANSWER_S_MAX = 5.0
EVERY_S = 1.0
RATES = {
    "messages": "messages_total",
    "readings new": 'readings_total{result="new"}',
    "readings there already": 'readings_total{result="duplicate"}',
    "readings in conflict": 'readings_total{result="conflict"}',
    "events": "events_total",
    "quarantined": "quarantined_total",
    "no room in the quarantine": "quarantine_given_up_total",
    "batches declared lost": "lost_batches_total",
    "transactions": "transactions_total",
}


def show(port: int, seconds: int | None) -> int:
    """Show it until Ctrl-C, or for so many ``seconds``; the status is 1 if ingest is not well at the end."""
    before, before_s = _metrics(port), time.monotonic()
    healthy, reasons = _health(port)
    with Live(console=Console(), auto_refresh=False) as live:
        for _ in itertools.count() if seconds is None else range(seconds):
            time.sleep(EVERY_S)
            now, now_s = _metrics(port), time.monotonic()
            healthy, reasons = _health(port)
            live.update(make_table(before, now, now_s - before_s, reasons), refresh=True)
            before, before_s = now, now_s
    return 0 if healthy else 1


def make_table(before: dict[str, float], now: dict[str, float], took_s: float, reasons: list[str]) -> Table:
    """Return counts since the start and their rates since ``before``, ``took_s`` ago."""
    table = Table("what", "a second", "since start", title="congto ingest", caption="; ".join(reasons) or "well")
    for name, key in RATES.items():
        table.add_row(name, f"{(now[key] - before[key]) / took_s:,.0f}", f"{now[key]:,.0f}")
    busy = (now["store_seconds_total"] - before["store_seconds_total"]) / took_s
    table.add_row("time in transactions", f"{busy * 100:.0f} %", f"{now['store_seconds_total']:,.1f} s")
    for day in ("yesterday", "today"):
        expected, found = (
            now.get(f'{what}_readings{{by="all",name="",day="{day}"}}', 0) for what in ("expected", "found")
        )
        if expected:
            table.add_row(f"of {day}'s readings there", f"{found / expected * 100:.2f} %", f"{found:,.0f}")
    table.add_row("messages waiting", f"{now['inbox_messages']:,.0f}", "")
    return table


def _metrics(port: int) -> dict[str, float]:
    try:
        found = parse_metrics(_get(port, "metrics"))
    except ValueError as error:
        raise _other_program(port) from error
    if not found.keys() >= {*RATES.values(), "store_seconds_total", "inbox_messages"}:
        raise _other_program(port)
    return found


def _health(port: int) -> tuple[bool, list[str]]:
    try:
        said = json.loads(_get(port, "health"))
        return said["healthy"], said["reasons"]
    except (ValueError, TypeError, KeyError) as error:
        raise _other_program(port) from error


def _other_program(port: int) -> UsageError:
    return UsageError(
        f"--metrics-port {port}: something else answers there; expected the port that `congto ingest run` was given"
    )


def _get(port: int, what: str) -> str:
    try:
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # whatever proxy the environment names
        with direct.open(f"http://{LOOPBACK}:{port}/{what}", timeout=ANSWER_S_MAX) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as answered:
        with answered:
            return answered.read().decode()
    except http.client.HTTPException as error:
        raise _other_program(port) from error
    except OSError as error:
        raise UnavailableError(
            f"nothing answers on {LOOPBACK}:{port}: {error}; start `congto ingest run --metrics-port {port}`"
        ) from error
