"""A few meters on one bus, by the computer's clock, for trying masters out.

``congto sim modbus|modbus-tcp|dlms|iec62056-21|mixed``.
"""

import argparse
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from simulators.dlms.commands import add_dlms
from simulators.iec62056_21 import commands as iec62056_21_commands
from simulators.meter_arguments import (
    add_line_arguments,
    add_listen,
    add_meter_arguments,
    announce,
    listen,
    make_meters,
    open_line,
    parse_units,
    turnaround_s,
)
from simulators.mixed_commands import add_mixed
from simulators.modbus.rtu import RtuSlaves
from simulators.modbus.slave import Holes, ModbusSlave
from simulators.modbus.tcp import ModbusTcpServer
from simulators.world_server import system_ms

__all__ = ["add_arguments", "parse_units"]

Serve = Callable[[argparse.Namespace, AsyncExitStack], Coroutine[Any, Any, None]]


def add_arguments(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``modbus``, ``modbus-tcp``, ``dlms``, ``iec62056-21`` and ``mixed``."""
    modbus = subparsers.add_parser("modbus", help="Modbus RTU meters on a pseudo-terminal")
    modbus.add_argument("--port-link", type=Path, required=True, metavar="PATH", help="the name that masters open")
    add_meter_arguments(modbus, "eastron_sdm120")
    add_line_arguments(modbus)
    _add_holes(modbus)
    modbus.set_defaults(serve=_serve_modbus)
    tcp = subparsers.add_parser("modbus-tcp", help="Modbus TCP meters on a port")
    add_listen(tcp)
    add_meter_arguments(tcp, "eastron_sdm630")
    _add_holes(tcp)
    tcp.set_defaults(serve=_serve_modbus_tcp)
    add_dlms(subparsers)
    iec62056_21_commands.add_arguments(subparsers)
    add_mixed(subparsers)


def _add_holes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--holes",
        default="zero",
        choices=[each.value for each in Holes],
        help="what a meter does about registers it doesn't have; default zero",
    )


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
    announce(await listen(server, arguments), meters)
