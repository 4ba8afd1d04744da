"""Replies for people: tables on the terminal."""

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from protocols.errors import UsageError
from protocols.obis import Obis, base_unit
from protocols.telemetry.command import Kind
from protocols.telemetry.reply import Outcome, Reply

BUS_COLUMNS = ("bus", "open", "load_permille", "meters", "silent", "transactions", "answered", "timeouts", "garbled")
METER_COLUMNS = ("bus", "meter", "silent", "transactions", "answered", "timeouts", "checksum_errors", "latency_p99_ms")
WIDTH_PIPED = 400  # characters of a line in a file or a pipe, where nothing needs to be cut
CONTROL = ("disconnected", "connected", "ready for reconnection")


def display(reply: Reply) -> None:
    """Print what became of a command."""
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else WIDTH_PIPED)
    if reply.result:
        _SHOW[reply.kind](console, reply.result)
    told = f"{reply.outcome.value} by {reply.gateway} at {_time(reply.at_ms)}"
    console.print(told if reply.reason is None else f"{told}: {reply.reason}", markup=False, highlight=False)
    if reply.outcome is Outcome.UNKNOWN:
        console.print("What was done is not known: look at the meter before asking anew.")


def _table(*headers: str, title: str | None = None) -> Table:
    """Return a table that wraps what is too long for its column: half a number would be another number."""
    return Table(*(Column(each, overflow="fold") for each in headers), title=title)


def _values(console: Console, result: Mapping[str, Any]) -> None:
    table = _table("object", "value", "unit", title=f"{result.get('meter')} at {_time(result.get('at', 0))}")
    for obis, value in result.get("values", []):
        table.add_row(obis, f"{value:,}", _unit(obis))
    console.print(table)
    for refusal in result.get("refusals", []):
        console.print(f"refused: {refusal}", markup=False)


def _profile(console: Console, result: Mapping[str, Any]) -> None:
    channels = result.get("channels", [])
    rows: dict[int, list[str]] = {}
    for channel, at_ms, value in zip(result["channel"], result["at"], result["value"], strict=True):
        rows.setdefault(at_ms, [""] * len(channels))[channel] = f"{value:,}"
    table = _table("time", *channels, title=f"{result.get('meter')}: {len(rows)} rows")
    for at_ms, cells in sorted(rows.items()):
        table.add_row(_time(at_ms), *cells)
    console.print(table)


def _rows(console: Console, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    table = _table(*(each.replace("_", " ") for each in columns))
    for row in rows:
        table.add_row(*("" if row.get(each) is None else str(row[each]) for each in columns))
    console.print(table)


def _status(console: Console, result: Mapping[str, Any]) -> None:
    _rows(console, BUS_COLUMNS, result.get("buses", []))
    _rows(console, METER_COLUMNS, result.get("meters", []))


def _clock(console: Console, result: Mapping[str, Any]) -> None:
    before, now = (result.get(key, 0) / 1000 for key in ("before_ms", "ahead_ms"))
    console.print(f"{result.get('meter')}: {before:+.0f} s before, {now:+.0f} s now, against the gateway's clock")


def _relay(console: Console, result: Mapping[str, Any]) -> None:
    state = "conducts" if result.get("conducts") else "is open"
    console.print(f"{result.get('meter')}: the supply {state}, {CONTROL[result.get('control', 0)]}")
    if "token" in result:
        console.print(
            f"armed until {_time(result['until'])}; a second person confirms with --confirm {result['token']}"
        )


def _resend(console: Console, result: Mapping[str, Any]) -> None:
    console.print(f"{result.get('batches')} batches from {result.get('first')} to {result.get('last')} are sent again")


def _configure(console: Console, result: Mapping[str, Any]) -> None:
    changed = ", ".join(result.get("changed", [])) or "no bus"
    console.print(f"{result.get('sha256', '')[:16]}: {changed} changed", markup=False)
    for problem in result.get("problems", []):
        console.print(f"- {problem}", markup=False)


def _unit(obis: str) -> str:
    try:
        return base_unit(Obis.parse(obis))
    except UsageError:
        return ""


def _time(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%SZ}"


_SHOW = {
    Kind.READ: _values,
    Kind.PROFILE: _profile,
    Kind.STATUS: _status,
    Kind.CLOCK: _clock,
    Kind.ARM: _relay,
    Kind.CONFIRM: _relay,
    Kind.RESEND: _resend,
    Kind.CONFIGURE: _configure,
}
