"""The command ``congto sim``: meters on pseudo-terminals and TCP, whole villages, and the truth about their energy."""

import argparse
import asyncio
import json
import signal
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from protocols.errors import UsageError
from protocols.meters.catalogue import load_model, model_keys
from simulators.chance import key_of
from simulators.loads import SIZE_KWH_MAX, Consumer, Kind
from simulators.meter import SimulatedMeter
from simulators.modbus.rtu import RtuSlaves
from simulators.modbus.slave import Holes, ModbusSlave
from simulators.serial_line import LineSettings, SerialLine
from simulators.sky import PLACES
from simulators.vietnam_days import local_date, local_midnight_ms
from simulators.world_server import system_ms


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands of ``congto sim``."""
    subparsers = parser.add_subparsers(dest="what", metavar="WHAT", required=True)
    modbus = subparsers.add_parser("modbus", help="Modbus RTU meters on a pseudo-terminal")
    modbus.add_argument("--port-link", type=Path, required=True, metavar="PATH", help="the name masters open")
    _add_meter_arguments(modbus, "eastron_sdm120")
    modbus.set_defaults(serve=_serve_modbus)


def _add_meter_arguments(parser: argparse.ArgumentParser, model: str) -> None:
    parser.add_argument("--model", default=model, help=f"{', '.join(model_keys())}; default {model}")
    parser.add_argument("--units", default="1", metavar="1-5,9", help="addresses of the meters; default 1")
    parser.add_argument("--kind", default="household", choices=[each.value for each in Kind], help="whose meters")
    parser.add_argument("--size", type=int, default=220, metavar="KWH", help="what each takes in a month; default 220")
    parser.add_argument("--panels", type=int, default=0, metavar="W", help="solar panels on each roof; default 0")
    parser.add_argument("--place", default="hanoi", choices=PLACES, help="where; default hanoi")
    parser.add_argument("--seed", type=int, default=1, help="same seed, same energy; default 1")
    parser.add_argument("--baud", type=int, help="default: the model's")
    parser.add_argument("--parity", choices=("N", "E", "O"), help="default: the model's")
    parser.add_argument("--unpaced", action="store_true", help="deliver octets at once, whatever the baud rate")
    parser.add_argument("--turnaround-ms", type=int, default=5, metavar="MS", help="until a meter answers; default 5")


def run(arguments: argparse.Namespace) -> int:
    """Carry out a subcommand of ``congto sim``."""
    serve: Callable[[argparse.Namespace, AsyncExitStack], Coroutine[Any, Any, None]] = arguments.serve
    asyncio.run(_until_told_to_stop(serve, arguments))
    return 0


async def _until_told_to_stop(
    serve: Callable[[argparse.Namespace, AsyncExitStack], Coroutine[Any, Any, None]], arguments: argparse.Namespace
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as opened:
        await serve(arguments, opened)
        await stop.wait()


async def _serve_modbus(arguments: argparse.Namespace, opened: AsyncExitStack) -> None:
    meters = _make_meters(arguments)
    line = SerialLine(arguments.port_link, _line_settings(arguments))
    opened.callback(line.close)
    RtuSlaves(
        line,
        [ModbusSlave(each, Holes.ZERO) for each in meters],
        system_ms,
        turnaround_s=0.0 if arguments.unpaced else arguments.turnaround_ms / 1000,
    )
    print(json.dumps({"port": str(arguments.port_link), "units": [each.address for each in meters]}), flush=True)


def _line_settings(arguments: argparse.Namespace) -> LineSettings:
    serial = load_model(arguments.model).serial
    return LineSettings(
        baud=arguments.baud or serial.baud,
        parity=arguments.parity or serial.parity,
        stop_bits=serial.stop_bits,
        paced=not arguments.unpaced,
    )


def _make_meters(arguments: argparse.Namespace) -> list[SimulatedMeter]:
    model = load_model(arguments.model)
    if not 1 <= arguments.size <= SIZE_KWH_MAX:
        raise UsageError(f"--size {arguments.size}: expected 1 to {SIZE_KWH_MAX} kWh a month")
    installed_at_ms = local_midnight_ms(local_date(system_ms()).replace(month=1, day=1))
    meters = []
    for address in parse_units(arguments.units):
        name = f"{arguments.model}-{address}"
        consumer = Consumer(
            kind=Kind(arguments.kind),
            size_kwh=arguments.size,
            place=arguments.place,
            seed=key_of(arguments.seed, name),
            sky_seed=key_of(arguments.seed, "sky"),
            panels_w=arguments.panels,
        )
        meters.append(SimulatedMeter(name, model, address, consumer, installed_at_ms=installed_at_ms))
    return meters


def parse_units(text: str) -> list[int]:
    """Return the addresses written as ``1-5,9``; raise :class:`UsageError` for anything else."""
    units: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        last = last or first
        if not (first.isascii() and first.isdigit() and last.isascii() and last.isdigit()) or len(first + last) > 10:
            raise UsageError(f"--units {text!r}: expected addresses such as 1-5,9")
        if int(last) - int(first) > 1000 or int(last) < int(first):
            raise UsageError(f"--units {text!r}: {part} is no range of at most 1,000 addresses")
        units += range(int(first), int(last) + 1)
    return units
