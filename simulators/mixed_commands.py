"""``congto sim mixed``: meters of several protocols and speeds on one pseudo-terminal, by the computer's clock."""

import argparse
import re
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from protocols.errors import UsageError
from protocols.iec62056_21.messages import BAUDS
from protocols.meters.catalogue import load_model
from protocols.meters.model import Protocol
from simulators.dlms.hdlc_line import HdlcMeters
from simulators.dlms.meter import DlmsMeter
from simulators.iec62056_21.meters import open_meters
from simulators.meter import SimulatedMeter
from simulators.meter_arguments import announce, make_meters, turnaround_s
from simulators.modbus.rtu import RtuSlaves
from simulators.modbus.slave import ModbusSlave
from simulators.serial_line import LineSettings
from simulators.shared_line import SharedLine
from simulators.world_server import system_ms

_METER = re.compile(r"([a-z0-9_]+)@(\d{1,5}(?:-\d{1,5})?)(?::(\d{3,6}))?")


@dataclass(frozen=True, slots=True)
class _Group:
    """Meters of one model at one speed."""

    protocol: Protocol
    baud: int
    meters: list[SimulatedMeter]


def add_mixed(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``mixed``."""
    parser = subparsers.add_parser("mixed", help="Modbus, DLMS and IEC 62056-21 meters on one pair of wires")
    parser.add_argument("--port-link", type=Path, required=True, metavar="PATH", help="the name that masters open")
    parser.add_argument(
        "--meter",
        action="append",
        required=True,
        metavar="MODEL@UNITS[:BAUD]",
        help="such as eastron_sdm120@1-4:19200; once for each group (default baud: the model's)",
    )
    parser.add_argument("--secret", default="00000000", help="of the DLMS meters' low-level security")
    parser.add_argument("--unpaced", action="store_true", help="deliver octets at once, whatever the baud rate")
    parser.add_argument("--turnaround-ms", type=int, default=5, metavar="MS", help="until a meter answers; default 5")
    parser.set_defaults(serve=_serve, kind="household", size=220, panels=0, place="hanoi", seed=1, starts_on=None)


async def _serve(arguments: argparse.Namespace, opened: AsyncExitStack) -> None:
    if not 0 <= arguments.turnaround_ms <= 10_000:
        raise UsageError(f"--turnaround-ms {arguments.turnaround_ms}: expected 0 to 10000")
    groups = [_group(arguments, text) for text in arguments.meter]
    pause_s = turnaround_s(arguments)
    line = SharedLine(arguments.port_link, system_ms, pause_s, paced=not arguments.unpaced)
    opened.callback(line.close)
    for protocol, baud in sorted({(each.protocol.value, each.baud) for each in groups}):
        meters = [one for each in groups if (each.protocol.value, each.baud) == (protocol, baud) for one in each.meters]
        settings = LineSettings(baud, "N", 1, paced=not arguments.unpaced)
        if protocol == Protocol.MODBUS.value:
            RtuSlaves(line.tap(settings), [ModbusSlave(each) for each in meters], system_ms, turnaround_s=pause_s)
        elif protocol == Protocol.DLMS.value:
            secret = arguments.secret.encode()
            HdlcMeters(
                line.tap(settings), [DlmsMeter(each, secret) for each in meters], system_ms, turnaround_s=pause_s
            )
        else:
            open_meters(
                line, meters, system_ms, baud_max=baud, password="", secret=b"", hdlc=False, turnaround_s=pause_s
            )
    announce({"port": str(arguments.port_link)}, [one for each in groups for one in each.meters])


def _group(arguments: argparse.Namespace, text: str) -> _Group:
    found = _METER.fullmatch(text)
    if found is None:
        raise UsageError(
            f"--meter {text!r}: expected MODEL@UNITS or MODEL@UNITS:BAUD, such as eastron_sdm120@1-4:19200"
        )
    key, units, told = found.groups()
    model = load_model(key)
    baud = model.serial.baud if told is None else int(told)
    if not SharedLine.knows(baud) or (model.protocol is Protocol.IEC62056_21 and baud not in BAUDS.values()):
        raise UsageError(f"--meter {text!r}: {baud} baud; expected a usual speed, for IEC 62056-21 at most 19200")
    described = argparse.Namespace(**{**vars(arguments), "model": key, "units": units})
    return _Group(model.protocol, baud, make_meters(described))
