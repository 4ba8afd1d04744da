"""``congto sim modbus|modbus-tcp|dlms``: a few meters on one bus, by the computer's clock, for trying masters out."""

import argparse
import json
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from datetime import date
from pathlib import Path
from typing import Any

from protocols.errors import UnavailableError, UsageError
from protocols.meters.catalogue import load_model, model_keys
from simulators.chance import key_of
from simulators.dlms.hdlc_line import DlmsMeter, HdlcMeters
from simulators.dlms.objects import check_model
from simulators.dlms.tcp import DlmsTcpServer
from simulators.loads import SIZE_KWH_MAX, Consumer, Kind
from simulators.meter import SimulatedMeter
from simulators.modbus.rtu import RtuSlaves
from simulators.modbus.slave import Holes, ModbusSlave
from simulators.modbus.tcp import ModbusTcpServer
from simulators.serial_line import LineSettings, SerialLine
from simulators.sky import PLACES
from simulators.vietnam_days import local_date, local_midnight_ms
from simulators.world_server import system_ms

Serve = Callable[[argparse.Namespace, AsyncExitStack], Coroutine[Any, Any, None]]
ADDRESSES_MAX = 1000


def add_arguments(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``modbus``, ``modbus-tcp`` and ``dlms``."""
    modbus = subparsers.add_parser("modbus", help="Modbus RTU meters on a pseudo-terminal")
    modbus.add_argument("--port-link", type=Path, required=True, metavar="PATH", help="the name that masters open")
    _add_meter_arguments(modbus, "eastron_sdm120")
    _add_line_arguments(modbus)
    _add_holes(modbus)
    modbus.set_defaults(serve=_serve_modbus)
    tcp = subparsers.add_parser("modbus-tcp", help="Modbus TCP meters on a port")
    _add_listen(tcp)
    _add_meter_arguments(tcp, "eastron_sdm630")
    _add_holes(tcp)
    tcp.set_defaults(serve=_serve_modbus_tcp)
    dlms = subparsers.add_parser("dlms", help="DLMS meters over HDLC on a pseudo-terminal, or over the TCP wrapper")
    where = dlms.add_mutually_exclusive_group(required=True)
    where.add_argument("--port-link", type=Path, metavar="PATH", help="HDLC: the name that masters open")
    where.add_argument("--tcp", action="store_true", help="the TCP wrapper; addresses are wPorts")
    dlms.add_argument("--secret", default="00000000", help="of low-level security; default 00000000")
    _add_listen(dlms)
    _add_meter_arguments(dlms, "dlms_residential")
    _add_line_arguments(dlms)
    dlms.set_defaults(serve=_serve_dlms)


def _add_meter_arguments(parser: argparse.ArgumentParser, model: str) -> None:
    parser.add_argument("--model", default=model, help=f"{', '.join(model_keys())}; default {model}")
    parser.add_argument("--units", default="1", metavar="1-5,9", help="addresses of the meters; default 1")
    parser.add_argument("--kind", default="household", choices=[each.value for each in Kind], help="whose meters")
    parser.add_argument("--size", type=int, default=220, metavar="KWH", help="what each takes in a month; default 220")
    parser.add_argument("--panels", type=int, default=0, metavar="W", help="solar panels on each roof; default 0")
    parser.add_argument("--place", default="hanoi", choices=list(PLACES), help="where; default hanoi")
    parser.add_argument("--seed", type=int, default=1, help="same seed, same energy; default 1")
    parser.add_argument(
        "--from",
        dest="starts_on",
        type=date.fromisoformat,
        metavar="DATE",
        help="when the meters were installed; default: 1 January of last year",
    )


def _add_line_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--baud", type=int, help="default: the model's")
    parser.add_argument("--parity", choices=("N", "E", "O"), help="default: the model's")
    parser.add_argument("--unpaced", action="store_true", help="deliver octets at once, whatever the baud rate")
    parser.add_argument("--turnaround-ms", type=int, default=5, metavar="MS", help="until a meter answers; default 5")


def _add_holes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--holes",
        default="zero",
        choices=[each.value for each in Holes],
        help="what a meter does about registers it doesn't have; default zero",
    )


def _add_listen(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; default 127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="default: a free one, which is printed")


async def _serve_modbus(arguments: argparse.Namespace, opened: AsyncExitStack) -> None:
    meters = make_meters(arguments)
    line = open_line(arguments, opened)
    RtuSlaves(
        line,
        [ModbusSlave(each, Holes(arguments.holes)) for each in meters],
        system_ms,
        turnaround_s=turnaround_s(arguments),
    )
    announce({"port": str(arguments.port_link)}, meters)


async def _serve_modbus_tcp(arguments: argparse.Namespace, opened: AsyncExitStack) -> None:
    meters = make_meters(arguments)
    server = ModbusTcpServer([ModbusSlave(each, Holes(arguments.holes)) for each in meters], system_ms)
    opened.push_async_callback(server.close)
    announce(await _listen(server, arguments), meters)


async def _serve_dlms(arguments: argparse.Namespace, opened: AsyncExitStack) -> None:
    meters = make_meters(arguments)
    for each in meters:
        check_model(each.model)
    dlms_meters = [DlmsMeter(each, arguments.secret.encode()) for each in meters]
    if arguments.tcp:
        server = DlmsTcpServer(dlms_meters, system_ms)
        opened.push_async_callback(server.close)
        announce(await _listen(server, arguments), meters)
        return
    HdlcMeters(open_line(arguments, opened), dlms_meters, system_ms, turnaround_s=turnaround_s(arguments))
    announce({"port": str(arguments.port_link)}, meters)


async def _listen(server: ModbusTcpServer | DlmsTcpServer, arguments: argparse.Namespace) -> dict[str, str]:
    if not 0 <= arguments.port <= 0xFFFF:
        raise UsageError(f"--port {arguments.port}: expected 0 to 65535")
    try:
        port = await server.open(arguments.host, arguments.port)
    except OSError as error:
        raise UnavailableError(f"{arguments.host}:{arguments.port}: can't listen there: {error}") from error
    return {"tcp": f"{arguments.host}:{port}"}


def turnaround_s(arguments: argparse.Namespace) -> float:
    """Return how long meters take to answer; nothing on a line without pacing."""
    return 0.0 if arguments.unpaced else float(arguments.turnaround_ms / 1000)


def announce(place: dict[str, str], meters: list[SimulatedMeter]) -> None:
    """Print one line of JSON: everything is open, and where."""
    print(json.dumps({**place, "units": [each.address for each in meters]}), flush=True)


def open_line(arguments: argparse.Namespace, opened: AsyncExitStack) -> SerialLine:
    """Open the terminal with the arguments' settings, or else the model's."""
    serial = load_model(arguments.model).serial
    baud = serial.baud if arguments.baud is None else arguments.baud
    if not 300 <= baud <= 921_600 or not 0 <= arguments.turnaround_ms <= 10_000:
        raise UsageError("expected --baud 300 to 921600 and --turnaround-ms 0 to 10000")
    settings = LineSettings(baud, arguments.parity or serial.parity, serial.stop_bits, paced=not arguments.unpaced)
    line = SerialLine(arguments.port_link, settings)
    opened.callback(line.close)
    return line


def make_meters(arguments: argparse.Namespace) -> list[SimulatedMeter]:
    """Return one meter for each address, each with a consumer of its own."""
    model = load_model(arguments.model)
    if not 1 <= arguments.size <= SIZE_KWH_MAX:
        raise UsageError(f"--size {arguments.size}: expected 1 to {SIZE_KWH_MAX} kWh a month")
    today = local_date(system_ms())
    installed_at_ms = local_midnight_ms(arguments.starts_on or date(today.year - 1, 1, 1))
    return [
        SimulatedMeter(
            f"{arguments.model}-{address}",
            model,
            address,
            Consumer(
                kind=Kind(arguments.kind),
                size_kwh=arguments.size,
                place=arguments.place,
                seed=key_of(arguments.seed, arguments.model, address),
                sky_seed=key_of(arguments.seed, "sky"),
                panels_w=arguments.panels,
            ),
            installed_at_ms=installed_at_ms,
        )
        for address in parse_units(arguments.units)
    ]


def parse_units(text: str) -> list[int]:
    """Return the addresses written as ``1-5,9``; raise :class:`UsageError` for anything else."""
    units: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        last = last or first
        if not (first.isascii() and first.isdigit() and last.isascii() and last.isdigit()) or len(first + last) > 10:
            raise UsageError(f"--units {text!r}: expected addresses such as 1-5,9")
        if not 0 <= int(last) - int(first) < ADDRESSES_MAX:
            raise UsageError(f"--units {text!r}: {part} is no range of at most {ADDRESSES_MAX} addresses")
        units += range(int(first), int(last) + 1)
    if len(units) > ADDRESSES_MAX:
        raise UsageError(f"--units {text!r}: {len(units)} addresses; at most {ADDRESSES_MAX} on one bus")
    return units
