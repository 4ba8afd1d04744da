"""``congto sim iec62056-21``: meters that are signed on to by characters, by the computer's clock."""

import argparse
from contextlib import AsyncExitStack
from pathlib import Path

from protocols.errors import UsageError
from protocols.meters.catalogue import load_model
from simulators.iec62056_21.meters import CharacterLine, open_meters
from simulators.meter_arguments import add_line_arguments, add_meter_arguments, announce, make_meters, turnaround_s
from simulators.serial_line import LineSettings
from simulators.world_server import system_ms


def add_arguments(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``iec62056-21``."""
    parser = subparsers.add_parser("iec62056-21", help="meters read by characters from 300 baud on (IEC 62056-21)")
    parser.add_argument("--port-link", type=Path, required=True, metavar="PATH", help="the name that masters open")
    parser.add_argument("--password", default="", help="of programming mode; default: any is taken")
    parser.add_argument("--mode-e", action="store_true", help="the meter can switch to HDLC; needs a DLMS model")
    parser.add_argument("--secret", default="00000000", help="of low-level security in HDLC; default 00000000")
    add_meter_arguments(parser, "dlms_residential")
    add_line_arguments(parser)
    parser.set_defaults(serve=_serve)


async def _serve(arguments: argparse.Namespace, opened: AsyncExitStack) -> None:
    meters = make_meters(arguments)
    model = load_model(arguments.model)
    if arguments.mode_e and model.dlms is None:
        raise UsageError(f"--mode-e: the model {arguments.model} speaks no DLMS")
    baud = arguments.baud or model.serial.baud
    settings = LineSettings(baud, "N", 1, paced=not arguments.unpaced)
    line = CharacterLine(arguments.port_link, settings, system_ms, turnaround_s(arguments))
    opened.callback(line.close)
    open_meters(
        line,
        meters,
        system_ms,
        baud_max=baud,
        password=arguments.password,
        secret=arguments.secret.encode(),
        hdlc=arguments.mode_e,
        turnaround_s=turnaround_s(arguments),
    )
    announce({"port": str(arguments.port_link)}, meters)
