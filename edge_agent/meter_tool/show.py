"""``congto meter read`` and ``watch``: one meter's values, once or again and again."""

import argparse
import asyncio
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.console import Group as Together
from rich.live import Live
from rich.table import Table

from edge_agent.dlms_tool import screen
from edge_agent.meter_tool.explain import Piece, explain_reply, explain_request
from edge_agent.meter_tool.place import (
    BAUD_MAX,
    BAUD_MIN,
    PARITIES,
    add_place_arguments,
    close_link,
    hear_out,
    open_link,
)
from edge_agent.meter_tool.reading import Exchange, Value, in_unit, read_meter, registers_of, values_of, wanted_of
from edge_agent.modbus_meter import Link
from edge_agent.serial_line import LineSettings
from protocols.errors import UnavailableError, UsageError
from protocols.meters.catalogue import load_model
from protocols.meters.model import Group, Measurement, MeterModel
from protocols.modbus.messages import UNIT_MAX, UNIT_MIN
from protocols.obis import base_unit

HISTORY = 60  # values of each measurement that the curve shows
EVERY_MIN_S, EVERY_MAX_S = 0.1, 3600.0
TIMEOUT_MAX_S = 60.0
_BARS = "▁▂▃▄▅▆▇█"


def add_meter_arguments(parser: argparse.ArgumentParser) -> None:
    """Add which meter, and which of its values."""
    add_place_arguments(parser)
    parser.add_argument("--model", required=True, help="its model's key; `congto model list` shows them")
    parser.add_argument("--models", type=Path, metavar="DIR", help="a directory of models of your own")
    parser.add_argument("--address", type=int, default=1, help="its Modbus address; default 1")
    parser.add_argument("--baud", type=int, help="default: as the model is delivered")
    parser.add_argument("--parity", choices=PARITIES, help="default: as the model is delivered")
    parser.add_argument("--stop-bits", type=int, choices=(1, 2), help="default: as the model is delivered")
    parser.add_argument("--timeout", type=float, default=0.5, metavar="S", help="how long to wait; default 0.5")
    parser.add_argument("--json", action="store_true", help="print JSON, one object for each reading")
    parser.add_argument("--only", action="append", default=[], metavar="MEASUREMENT", help="only this one; repeatable")
    parser.add_argument(
        "--group", action="append", default=[], choices=[each.value for each in Group], help="only this group"
    )


def add_watch_arguments(parser: argparse.ArgumentParser) -> None:
    """Add how often and how long."""
    add_meter_arguments(parser)
    parser.add_argument("--every", type=float, default=1.0, metavar="S", help="pause between readings; default 1")
    parser.add_argument("--count", type=int, metavar="N", help="end after so many readings; default: until Ctrl-C")


def run_read(arguments: argparse.Namespace) -> int:
    """Read once; 0 if all is there, 1 if the meter refuses some; raise if it does not answer."""
    with _asked(arguments) as (link, model, wanted, loop):
        exchanges = loop.run(read_meter(link, arguments.address, model, wanted))
    values = values_of(exchanges)
    serial = arguments.tcp is None
    if arguments.json:
        answer = {"model": model.key, "address": arguments.address, "values": [_value_json(each) for each in values]}
        if arguments.raw:
            answer["exchanges"] = [_exchange_json(each, serial=serial) for each in exchanges]
        screen.print_json(answer)
    else:
        rows = [
            (each.measurement.key, str(each.measurement.obis), _shown(each), registers_of(each.measurement))
            for each in values
        ]
        title = f"{model.name}, address {arguments.address}"
        screen.print_table(title, ("measurement", "OBIS", "value", "registers"), rows, right=(2,))
        if arguments.raw:
            for exchange in exchanges:
                _print_raw(exchange, serial=serial)
    if exchanges and exchanges[-1].reply is None:
        raise UnavailableError(
            f"{exchanges[-1].failure}; is the meter powered, are A and B right, do address, speed and parity agree "
            "(congto meter scan finds them), is it slow (--timeout 2)?"
        )
    return 0 if all(each.value is not None for each in values) else 1


def run_watch(arguments: argparse.Namespace) -> int:
    """Read again and again."""
    if not EVERY_MIN_S <= arguments.every <= EVERY_MAX_S:
        raise UsageError(f"--every {arguments.every:g}: expected {EVERY_MIN_S:g} to {EVERY_MAX_S:g} s")
    if arguments.count is not None and arguments.count < 1:
        raise UsageError(f"--count {arguments.count}: expected 1 or more")
    with _asked(arguments) as (link, model, wanted, loop):
        loop.run(_watch(arguments, link, model, wanted))
    return 0


async def _watch(arguments: argparse.Namespace, link: Link, model: MeterModel, wanted: tuple[Measurement, ...]) -> None:
    past: dict[str, deque[int | None]] = {each.key: deque(maxlen=HISTORY) for each in wanted}
    clock = asyncio.get_running_loop()
    console = Console(file=sys.stdout, width=screen.width(), markup=False, highlight=False, emoji=False)
    rounds, failed = 0, 0
    live = Live(console=console, auto_refresh=False) if console.is_terminal and not arguments.json else None
    with live if live is not None else _nothing():
        while arguments.count is None or rounds < arguments.count:
            due = clock.time() + arguments.every
            exchanges = await read_meter(link, arguments.address, model, wanted)
            rounds += 1
            failed += exchanges[-1].reply is None
            values = {each.measurement.key: each for each in values_of(exchanges)}
            for key, history in past.items():
                history.append(values[key].value if key in values else None)
            if arguments.json:
                at = datetime.now(UTC).isoformat(timespec="milliseconds")
                screen.print_json({"at": at, "values": [_value_json(each) for each in values.values()]})
                sys.stdout.flush()
            else:
                title = f"{model.name}, address {arguments.address}: {rounds} readings, {failed} without an answer"
                table = Together(title, _table(wanted, values, past))
                if live is not None:
                    live.update(table, refresh=True)
                else:
                    console.print(table)
            if arguments.count is None or rounds < arguments.count:
                await asyncio.sleep(max(0.0, due - clock.time()))


def _table(wanted: Sequence[Measurement], values: dict[str, Value], past: dict[str, deque[int | None]]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column, side in (("measurement", "left"), ("value", "right"), ("change", "right"), ("so far", "left")):
        table.add_column(column, justify="right" if side == "right" else "left", no_wrap=True)
    for measurement in wanted:
        history = past[measurement.key]
        known = [each for each in history if each is not None]
        change = in_unit(measurement, known[-1] - known[-2]) if len(known) > 1 else ""
        value = values.get(measurement.key)
        shown = "no answer" if value is None else _shown(value)
        table.add_row(measurement.key, shown, change, sparkline(list(history)))
    return table


def sparkline(values: Sequence[int | None]) -> str:
    """Return ``values`` as a line of bars from the lowest to the highest; a blank where there is none."""
    known = [each for each in values if each is not None]
    if not known:
        return ""
    low, span = min(known), max(known) - min(known) or 1
    return "".join(" " if each is None else _BARS[(each - low) * (len(_BARS) - 1) // span] for each in values)


@contextmanager
def _asked(
    arguments: argparse.Namespace,
) -> Iterator[tuple[Link, MeterModel, tuple[Measurement, ...], asyncio.Runner]]:
    """Yield what the arguments name: the meter's link, model and measurements, and a loop to ask in."""
    model = load_model(arguments.model, arguments.models)
    wanted = wanted_of(model, arguments.group, arguments.only)
    if not UNIT_MIN <= arguments.address <= UNIT_MAX:
        raise UsageError(f"--address {arguments.address}: expected {UNIT_MIN} to {UNIT_MAX}")
    if not 0 < arguments.timeout <= TIMEOUT_MAX_S:
        raise UsageError(f"--timeout {arguments.timeout:g}: expected above 0 to {TIMEOUT_MAX_S:g} s")
    settings = LineSettings(
        arguments.serial or "",
        arguments.baud or model.serial.baud,
        arguments.parity or model.serial.parity,
        arguments.stop_bits or model.serial.stop_bits,
    )
    if not BAUD_MIN <= settings.baud <= BAUD_MAX:
        raise UsageError(f"--baud {settings.baud}: expected {BAUD_MIN} to {BAUD_MAX}")
    with asyncio.Runner() as loop:
        link = loop.run(_open(arguments.tcp, settings, arguments.timeout))
        try:
            yield link, model, wanted, loop
        finally:
            loop.run(_close(link, arguments.serial))


async def _open(tcp: str | None, settings: LineSettings, timeout_s: float) -> Link:
    link = open_link(tcp, settings, timeout_s)
    if tcp is None:
        await hear_out(settings.port)
    return link


async def _close(link: Link, port: str | None) -> None:
    close_link(link, port)


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def _shown(value: Value) -> str:
    return value.why or "" if value.value is None else in_unit(value.measurement, value.value)


def _value_json(value: Value) -> dict[str, Any]:
    return {
        "measurement": value.measurement.key,
        "obis": str(value.measurement.obis),
        "value": value.value,
        "unit": base_unit(value.measurement.obis),
        "why": value.why,
        "raw": value.raw.hex(),
    }


def _exchange_json(exchange: Exchange, *, serial: bool) -> dict[str, Any]:
    return {
        "request": [_piece_json(each) for each in explain_request(exchange.request, serial=serial)],
        "reply": [_piece_json(each) for each in explain_reply(exchange, serial=serial)],
        "failure": exchange.failure,
        "took_ms": round(exchange.took_ms, 1),
    }


def _piece_json(piece: Piece) -> dict[str, str]:
    return {"octets": piece.octets.hex(), "meaning": piece.meaning}


def _print_raw(exchange: Exchange, *, serial: bool) -> None:
    print(f"→ {exchange.request}")
    for piece in explain_request(exchange.request, serial=serial):
        print(f"  {piece.octets.hex(' '):<24} {piece.meaning}")
    print(f"← {exchange.failure or f'{exchange.took_ms:.1f} ms'}")
    for piece in explain_reply(exchange, serial=serial):
        print(f"  {piece.octets.hex(' '):<24} {piece.meaning}")
