"""``congto agent top``: what the agent on this machine does, each second anew, from its Unix socket."""

import itertools
import json
import sys
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from edge_agent.remote.metrics_socket import ask

EVERY_S = 1.0
METERS_SHOWN = 40

Figures = dict[str, Any]


def show(socket: Path, seconds: int | None, *, as_json: bool) -> int:
    """Show it until Ctrl-C, or for so many ``seconds``; the status is 1 if a line is closed or a meter silent."""
    before, before_s = _figures(socket), time.monotonic()
    if as_json:
        json.dump(before, sys.stdout)
        print()
        return _status(before)
    with Live(console=Console(), auto_refresh=False) as live:
        live.update(picture(before, before, 1.0), refresh=True)
        for _ in itertools.count() if seconds is None else range(seconds):
            time.sleep(EVERY_S)
            now, now_s = _figures(socket), time.monotonic()
            live.update(picture(before, now, now_s - before_s), refresh=True)
            before, before_s = now, now_s
    return _status(before)


def picture(before: Figures, now: Figures, took_s: float) -> Group:
    """Return buses, and the meters that do worst first; rates are since ``before``, ``took_s`` ago."""
    standing = now["configuration"]
    buses = _table(1, "bus", "line", "load", "meters", "silent", "a second", "answered", "timeouts", "CRC", "retries")
    asked = {each["bus"]: each["transactions"] for each in before["buses"]}
    for each in now["buses"]:
        rate = max(0, each["transactions"] - asked.get(each["bus"], 0)) / took_s
        buses.add_row(
            each["bus"],
            "open" if each["open"] else "closed",
            f"{each['load_permille'] / 10:.1f} %",
            *(str(each[key]) for key in ("meters", "silent")),
            f"{rate:.1f}",
            _share(each),
            *(str(each[key]) for key in ("timeouts", "checksum_errors", "retries")),
        )
    meters = _table(2, "bus", "meter", "state", "answered", "p50", "p99", "timeouts", "CRC", "retries", "quarantine")
    closed = {each["bus"] for each in now["buses"] if not each["open"]}
    ordered = sorted(now["meters"], key=lambda each: (not each["silent"], -each["failures"], -each["timeouts"]))
    for each in ordered[:METERS_SHOWN]:
        meters.add_row(
            each["bus"],
            each["meter"],
            _state(each, closed),
            _share(each),
            *(_milliseconds(each[f"latency_{key}_ms"]) for key in ("p50", "p99")),
            *(str(each[key]) for key in ("timeouts", "checksum_errors", "retries")),
            f"{each['quarantine_ms'] / 1000:.1f} s",
        )
    if len(ordered) > METERS_SHOWN:
        meters.caption = f"and {len(ordered) - METERS_SHOWN} more"
    reason = f": {standing['reason']}" if "reason" in standing else ""
    buses.title = "congto agent"
    buses.caption = f"configuration {standing['sha256']}, {standing['standing'].replace('_', ' ')}{reason}"
    return Group(buses, meters)


def _table(names: int, *heads: str) -> Table:
    """Return a table for 80 columns; the first ones are names, and what has no room is folded there."""
    table = Table(box=None, pad_edge=False, collapse_padding=True, title_style="bold", caption_justify="left")
    for number, head in enumerate(heads):
        if number < names:
            table.add_column(head, overflow="fold")
        else:
            table.add_column(head, justify="right", no_wrap=True)
    return table


def _state(meter: Figures, closed: Collection[str]) -> str:
    """Return how a meter does; what it did before its line was lost says nothing of now."""
    if meter["bus"] in closed:
        return "no line"
    return "silent" if meter["silent"] else "doubtful" if meter["failures"] else "well"


def _share(row: Figures) -> str:
    return f"{100 * row['answered'] / row['transactions']:.1f} %" if row["transactions"] else ""


def _milliseconds(value: int | None) -> str:
    return "" if value is None else f"{value} ms"


def _figures(socket: Path) -> Figures:
    found: Figures = json.loads(ask(socket, "/statistics"))
    return found


def _status(now: Figures) -> int:
    return 1 if any(not each["open"] or each["silent"] for each in now["buses"]) else 0
