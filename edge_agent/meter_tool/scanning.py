"""``congto meter scan``: who is on a line, what it is, and a configuration to begin with."""

import argparse
import asyncio
import sys
from pathlib import Path
from typing import Any

from edge_agent.dlms_tool import screen
from edge_agent.dlms_tool.serial_port import SerialPort, for_sign_on, sign_on
from edge_agent.failures import NoReplyError
from edge_agent.meter_tool.fingerprint import fingerprint
from edge_agent.meter_tool.place import (
    BAUD_MAX,
    BAUD_MIN,
    PARITIES,
    add_place_arguments,
    hear_out,
    open_link,
    open_port,
)
from edge_agent.meter_tool.proposal import Met, propose
from edge_agent.meter_tool.scan import PATIENT_S, PROBED, Heard, scan
from edge_agent.meter_tool.scan_plan import plan_scan
from edge_agent.modbus_meter import Link
from edge_agent.serial_line import LineSettings
from protocols.errors import RemoteProtocolError, UsageError
from protocols.iec62056_21.client import Client
from protocols.meters.catalogue import load_model, model_keys
from protocols.meters.model import MeterModel
from protocols.modbus.messages import UNIT_MAX, UNIT_MIN, ExceptionCode, ExceptionReply, ReadRegisters

WITHIN_S = 55.0  # a minute is promised; the rest is for a busy machine, for noise that is gone back on, for the end
WITHIN_S_MAX = 3600.0
TCP_TIMEOUT_S = 1.0
SIGN_ON_S = 2.2  # IEC 62056-21, 6.4.2: a meter reacts within 1.5 s
_ABSENT = (ExceptionCode.GATEWAY_PATH_UNAVAILABLE, ExceptionCode.GATEWAY_TARGET_FAILED)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the scan."""
    add_place_arguments(parser)
    parser.add_argument("--address", default="1-247", metavar="1-32,40", help="which addresses; default 1-247")
    parser.add_argument("--baud", default="9600,19200,2400", help="speeds, by commas; default 9600,19200,2400")
    parser.add_argument("--parity", default="N,E", help="parities, by commas: N, E, O; default N,E")
    parser.add_argument("--stop-bits", type=int, default=1, choices=(1, 2), help="default 1")
    parser.add_argument(
        "--within", type=float, default=WITHIN_S, metavar="S", help="time if nobody answers; more finds slower meters"
    )
    parser.add_argument(
        "--sign-on", action="store_true", help="also ask at 300 baud who signs on by IEC 62056-21 (3 s more)"
    )
    parser.add_argument("--models", type=Path, metavar="DIR", help="a directory of models of your own")
    parser.add_argument("--plan", action="store_true", help="say what would be done and how long it takes; do nothing")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Scan and print; 1 if nobody answers."""
    units = parse_addresses(arguments.address)
    models = [load_model(key, arguments.models) for key in model_keys(arguments.models)]
    return asyncio.run(_scan_tcp(arguments, units, models) if arguments.tcp else _scan_serial(arguments, units, models))


def parse_addresses(text: str) -> list[int]:
    """Return the addresses written as ``1-32,40``; raise :class:`UsageError`."""
    units: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        last = last if dash else first
        if not (first + last).isascii() or not first.isdigit() or not last.isdigit() or len(first + last) > 6:
            raise UsageError(f"--address {text}: expected addresses such as 1-32,40")
        if not UNIT_MIN <= int(first) <= int(last) <= UNIT_MAX:
            raise UsageError(f"--address {part}: Modbus addresses are {UNIT_MIN} to {UNIT_MAX}, the lower one first")
        units += range(int(first), int(last) + 1)
    return sorted(set(units))


def parse_settings(arguments: argparse.Namespace) -> list[LineSettings]:
    """Return each speed with each parity; raise :class:`UsageError`."""
    settings: list[LineSettings] = []
    for baud in arguments.baud.split(","):
        if not baud.strip().isdigit() or not BAUD_MIN <= int(baud) <= BAUD_MAX:
            raise UsageError(f"--baud {arguments.baud}: expected speeds such as 9600,19200")
        for parity in arguments.parity.upper().split(","):
            if parity.strip() not in PARITIES:
                raise UsageError(f"--parity {arguments.parity}: expected N, E or O, by commas")
            settings.append(LineSettings(arguments.serial, int(baud), parity.strip(), arguments.stop_bits))
    return settings


async def _scan_serial(arguments: argparse.Namespace, units: list[int], models: list[MeterModel]) -> int:
    if not 0 < arguments.within <= WITHIN_S_MAX:
        raise UsageError(f"--within {arguments.within:g}: expected above 0 to {WITHIN_S_MAX:g} s")
    plan = plan_scan(parse_settings(arguments), len(units), arguments.within)
    if arguments.plan:
        if arguments.json:
            screen.print_json({"takes_s": round(plan.takes_s, 1), "turnaround_ms": round(1000 * plan.turnaround_s)})
        else:
            print(plan)
        return 0
    _tell(str(plan))
    open_port(plan.passes[0].settings).close()  # who has it is told before anybody waits
    await hear_out(arguments.serial)
    heard = await scan(plan, units, _tell)
    signed_on = await _sign_on(arguments.serial) if arguments.sign_on else None
    met: list[Met] = []
    for settings in dict.fromkeys(each.settings for each in heard.found):
        link = open_link(None, settings, PATIENT_S)
        try:
            met += [
                Met(each.unit, settings, await fingerprint(link, each.unit, models))
                for each in heard.found
                if each.settings == settings
            ]
        finally:
            link.close()
    return _print(arguments, met, heard, signed_on)


async def _sign_on(port: str) -> str | None:
    """Return who answers the sign-on that every meter of IEC 62056-21 on the line hears."""
    line = SerialPort(for_sign_on(LineSettings(port, BAUD_MIN, "N", 1)))
    try:
        said = await sign_on(line, Client(), "", SIGN_ON_S)
    except (NoReplyError, RemoteProtocolError):
        return None
    finally:
        line.close()
    return f"{said.manufacturer} {said.text}"


async def _scan_tcp(arguments: argparse.Namespace, units: list[int], models: list[MeterModel]) -> int:
    if arguments.plan:
        raise UsageError("--plan: over TCP a scan takes as long as the gateway takes to answer for each address")
    link = open_link(arguments.tcp, LineSettings("", BAUD_MAX, "N", 1), TCP_TIMEOUT_S)
    try:
        met = [Met(unit, None, await fingerprint(link, unit, models)) for unit in units if await _is_there(link, unit)]
    finally:
        link.close()
    return _print(arguments, met, Heard())


async def _is_there(link: Link, unit: int) -> bool:
    try:
        reply = await link.exchange(ReadRegisters(unit, *PROBED), probe=True)
    except (NoReplyError, RemoteProtocolError):
        return False
    if isinstance(reply, ExceptionReply) and reply.code in _ABSENT:
        return False
    _tell(f"  unit {unit} answers")
    return True


def _print(arguments: argparse.Namespace, met: list[Met], heard: Heard, signed_on: str | None = None) -> int:
    if arguments.json:
        screen.print_json(
            {
                "meters": [_to_json(each) for each in met],
                "noise": [
                    {"baud": one.baud, "parity": one.parity, "unit": unit, "octets": octets.hex()}
                    for one, unit, octets in heard.noise
                ],
                "signed_on": signed_on,
                "proposal": propose(met, arguments.tcp),
            }
        )
        return 0 if met or signed_on else 1
    if signed_on is not None:
        _tell(f"a meter signs on by IEC 62056-21: {signed_on}; congto iec62056-21 read --serial {arguments.serial}")
    for settings, unit, octets in heard.noise:
        _tell(
            f"at {settings.baud} 8{settings.parity}{settings.stop_bits} around unit {unit} something is heard that no "
            f"meter says ({octets[:8].hex(' ')}): noise, another parity, or two meters with one address"
        )
    if not met and signed_on is None:
        where = "behind this gateway" if arguments.tcp else "on this line"
        _tell(
            f"nobody answers {where}: are A and B swapped, is the meter powered, is its address or speed another "
            "(--address, --baud, --parity), is it slow (--within 300), does it speak DLMS (congto dlms) instead?"
        )
        return 1
    print(propose(met, arguments.tcp), end="")
    return 0


def _to_json(met: Met) -> dict[str, Any]:
    settings = met.settings
    return {
        "unit": met.unit,
        "baud": settings.baud if settings else None,
        "parity": settings.parity if settings else None,
        "stop_bits": settings.stop_bits if settings else None,
        "identification": met.who.words,
        "candidates": [
            {"model": each.model.key, "name": each.model.name, "certain": each.certain, "fits": round(each.fits, 3)}
            for each in met.who.candidates
        ],
    }


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
