"""``congto sim dlms``: any number of DLMS meters on a pseudo-terminal or a TCP port, for trying clients out."""

import argparse
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from random import Random

from protocols.dlms.acse import Mechanism
from protocols.dlms.xdlms.initiate import PDU_OCTETS_MIN
from protocols.errors import UsageError
from protocols.meters.dlms_rules import MECHANISMS
from simulators.chance import key_of
from simulators.dlms.counter_file import CounterFile
from simulators.dlms.hdlc_line import HdlcMeters, LinkFaults
from simulators.dlms.keys import MeterKeys, derive_keys, read_keys, write_keys
from simulators.dlms.meter import DlmsMeter, Manners, MeterFaults, needs_keys
from simulators.dlms.objects import check_model
from simulators.dlms.pushing import Pusher, Tasks, tell_events
from simulators.dlms.tcp import DlmsTcpServer
from simulators.dlms.udp import DlmsUdpServer
from simulators.faults import FaultPlan
from simulators.meter import SimulatedMeter
from simulators.meter_arguments import (
    add_line_arguments,
    add_listen,
    add_meter_arguments,
    announce,
    listen,
    make_meters,
    open_line,
    turnaround_s,
)
from simulators.world_server import system_ms


def add_dlms(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``dlms``."""
    dlms = subparsers.add_parser("dlms", help="DLMS meters over HDLC on a pseudo-terminal, or over the wrapper")
    where = dlms.add_mutually_exclusive_group(required=True)
    where.add_argument("--port-link", type=Path, metavar="PATH", help="HDLC: the name that masters open")
    where.add_argument("--tcp", action="store_true", help="the TCP wrapper; addresses are wPorts")
    where.add_argument("--udp", action="store_true", help="the wrapper over UDP; addresses are wPorts")
    add_listen(dlms)
    add_meter_arguments(dlms, "dlms_residential")
    add_line_arguments(dlms)
    dlms.add_argument("--secret", default="00000000", help="of low-level security; default 00000000")
    dlms.add_argument("--auth", choices=tuple(MECHANISMS), help="of the model's client; default: the model's")
    dlms.add_argument("--ciphered", action="store_true", help="the model's client protects every APDU")
    dlms.add_argument(
        "--suite", type=int, choices=(0, 1, 2), help="of derived keys; default: the model's security suite"
    )
    dlms.add_argument("--keys", type=Path, metavar="FILE", help="take the meters' keys from FILE (owner-only)")
    dlms.add_argument(
        "--keys-out", type=Path, metavar="FILE", help="derive keys from the seed; write them to a new FILE"
    )
    dlms.add_argument(
        "--state",
        type=Path,
        metavar="FILE",
        help="keep invocation counters, and keys that were transferred, in FILE (owner-only)",
    )
    dlms.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="NAME=N",
        help="in N of 1000 answers: drop, corrupt, truncate, delay, split, duplicate, dm, frmr, or event, which opens "
        "the cover and tells the client of it; may be repeated",
    )
    dlms.add_argument("--pdu", type=int, default=0xFFFF, metavar="OCTETS", help="the longest APDU a meter takes")
    dlms.add_argument(
        "--ignore-selection", action="store_true", help="profiles answer with all rows, whatever is asked"
    )
    dlms.add_argument(
        "--lose-blocks", type=int, default=0, metavar="N", help="lose each N-th block of a firmware image; 0: none"
    )
    dlms.add_argument("--at", type=_aware, metavar="TIME", help="the meters' time at the start; default: now")
    dlms.add_argument(
        "--speed", type=float, default=1.0, help="seconds of the meters a second, 0 stands still; default 1"
    )
    dlms.add_argument(
        "--push",
        metavar="[udp:|mbus:]HOST:PORT",
        help="push to there, in M-Bus frames with mbus:; on a serial line also 'line' (HDLC) or 'mbus'",
    )
    dlms.add_argument("--push-every", type=float, default=0.0, metavar="S", help="seconds; default: when asked to only")
    dlms.add_argument("--push-ciphered", action="store_true", help="pushes are ciphered; needs keys")
    dlms.add_argument(
        "--tell-events",
        action="store_true",
        help="tell associated clients in event-notifications of what enters the event logs",
    )
    dlms.set_defaults(serve=_serve)


def _aware(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text}: expected a time with its offset, such as 2026-10-07T12:00:00+07:00")
    return at


async def _serve(arguments: argparse.Namespace, opened: AsyncExitStack) -> None:
    meters = make_meters(arguments)
    for each in meters:
        check_model(each.model)
    keys = _keys(arguments, meters)
    faults, link_faults, meter_faults = parse_faults(arguments.fault)
    manners = _manners(arguments, meter_faults)
    counters = CounterFile(arguments.state) if arguments.state is not None else None
    if counters is not None:
        opened.callback(counters.close)
    secret = arguments.secret.encode()
    dlms_meters = [DlmsMeter(each, secret, keys.get(each.address), manners, counters) for each in meters]
    now_ms = clock_of(arguments.at, arguments.speed, time.monotonic)
    server: DlmsUdpServer | DlmsTcpServer | HdlcMeters
    rng = Random(key_of(arguments.seed, "faults"))
    if arguments.tcp or arguments.udp:
        if link_faults != LinkFaults():
            raise UsageError("--fault dm and frmr: only HDLC has them; expected --port-link")
        server_of = DlmsUdpServer if arguments.udp else DlmsTcpServer
        port = server = server_of(dlms_meters, now_ms, faults=faults, rng=rng)
        opened.push_async_callback(port.close)
        ((_, at),) = (await listen(port, arguments)).items()
        place, line = {"udp" if arguments.udp else "tcp": at}, None
    else:
        server = line = HdlcMeters(
            open_line(arguments, opened),
            dlms_meters,
            now_ms,
            turnaround_s=turnaround_s(arguments),
            faults=faults,
            link_faults=link_faults,
            rng=rng,
        )
        place = {"port": str(arguments.port_link)}
    if arguments.push:
        pusher = Pusher(arguments.push, dlms_meters, now_ms, line, ciphered=arguments.push_ciphered)
        opened.push_async_callback(pusher.close)
        pusher.start(arguments.push_every)
    if manners.tells_events:
        tasks = Tasks()
        opened.push_async_callback(tasks.close)
        tasks.run(tell_events(server))
    announce(place, meters)


def _keys(arguments: argparse.Namespace, meters: list[SimulatedMeter]) -> dict[int, MeterKeys]:
    if arguments.keys is not None and arguments.keys_out is not None:
        raise UsageError("--keys and --keys-out: expected one of them")
    if arguments.keys is not None:
        return read_keys(arguments.keys, [each.address for each in meters])
    suite = arguments.suite
    if suite is None:
        suite = next((each.model.dlms.suite for each in meters if each.model.dlms is not None), 0)
    needs = any(needs_keys(each.model) for each in meters)
    needs = (
        needs
        or arguments.ciphered
        or arguments.push_ciphered
        or MECHANISMS.get(arguments.auth or "", 0) >= Mechanism.HIGH
    )
    if arguments.keys_out is None:
        if needs:
            raise UsageError("these meters need keys: give --keys FILE, or --keys-out FILE to derive and write them")
        return {}
    keys = {each.address: derive_keys(arguments.seed, each.name, each.serial, suite) for each in meters}
    write_keys(arguments.keys_out, keys)
    return keys


def _manners(arguments: argparse.Namespace, faults: MeterFaults) -> Manners:
    if not PDU_OCTETS_MIN <= arguments.pdu <= 0xFFFF:
        raise UsageError(f"--pdu {arguments.pdu}: expected {PDU_OCTETS_MIN} to 65535")
    if arguments.lose_blocks < 0 or arguments.lose_blocks == 1:
        raise UsageError(f"--lose-blocks {arguments.lose_blocks}: expected 0 or at least 2")
    if not 0 <= arguments.speed <= 1_000_000:
        raise UsageError(f"--speed {arguments.speed}: expected 0 to 1000000")
    return Manners(
        mechanism=MECHANISMS[arguments.auth] if arguments.auth else None,
        ciphered=arguments.ciphered,
        pdu_octets_max=arguments.pdu,
        ignores_selection=arguments.ignore_selection,
        loses_blocks=arguments.lose_blocks,
        relay_stops=True,
        tells_events=arguments.tell_events or faults.event > 0,
        faults=faults,
    )


def clock_of(at: datetime | None, speed: float, monotonic_s: Callable[[], float]) -> Callable[[], int]:
    """Return the meters' clock [ms]: the computer's, or one that starts ``at`` a time and runs at ``speed``."""
    if at is None and speed == 1:
        return system_ms
    start_ms = system_ms() if at is None else int(at.timestamp() * 1000)
    began_s = monotonic_s()
    return lambda: start_ms + int((monotonic_s() - began_s) * speed * 1000)


def parse_faults(words: list[str]) -> tuple[FaultPlan, LinkFaults, MeterFaults]:
    """Return the faults written as ``drop=20``: of the line, the link, the meter; UsageError naming what is known."""
    line = {each.name for each in fields(FaultPlan)}
    link, own = {each.name for each in fields(LinkFaults)}, {each.name for each in fields(MeterFaults)}
    found: dict[str, int] = {}
    for word in words:
        name, _, number = word.partition("=")
        if name not in line | link | own or not number.isascii() or not number.isdigit() or len(number) > 6:
            raise UsageError(f"--fault {word}: expected NAME=N; names are {', '.join(sorted(line | link | own))}")
        found[name] = int(number)
    return (
        FaultPlan(**{name: number for name, number in found.items() if name in line}),
        LinkFaults(**{name: number for name, number in found.items() if name in link}),
        MeterFaults(**{name: number for name, number in found.items() if name in own}),
    )
