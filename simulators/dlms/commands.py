"""``congto sim dlms``: any number of DLMS meters on a pseudo-terminal or a TCP port, for trying clients out."""

import argparse
import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import fields
from datetime import datetime
from functools import partial
from pathlib import Path
from random import Random

from protocols.dlms.acse import Mechanism
from protocols.dlms.wrapper import Wrapped
from protocols.dlms.xdlms.initiate import PDU_OCTETS_MIN
from protocols.errors import UsageError
from protocols.meters.dlms_rules import MECHANISMS
from simulators.chance import key_of
from simulators.dlms.counter_file import CounterFile
from simulators.dlms.hdlc_line import HdlcMeters, LinkFaults
from simulators.dlms.keys import MeterKeys, derive_keys, read_keys, write_keys
from simulators.dlms.meter import DlmsMeter, Manners, needs_keys
from simulators.dlms.objects import check_model
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

PUSH_WPORT = 103  # IEC 62056-5-3, annex B: the client that takes pushes at the consumer's interface
PUSH_S_MIN = 1.0


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
        help="in N of 1000 answers: drop, corrupt, truncate, delay, split, duplicate, dm, frmr; may be repeated",
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
    dlms.add_argument("--push", metavar="[udp:]HOST:PORT", help="push to there; on a serial line: to 'line'")
    dlms.add_argument("--push-every", type=float, default=0.0, metavar="S", help="seconds; default: when asked to only")
    dlms.add_argument("--push-ciphered", action="store_true", help="pushes are ciphered; needs keys")
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
    manners = _manners(arguments)
    counters = CounterFile(arguments.state) if arguments.state is not None else None
    if counters is not None:
        opened.callback(counters.close)
    secret = arguments.secret.encode()
    dlms_meters = [DlmsMeter(each, secret, keys.get(each.address), manners, counters) for each in meters]
    now_ms = clock_of(arguments.at, arguments.speed, time.monotonic)
    faults, link_faults = parse_faults(arguments.fault)
    rng = Random(key_of(arguments.seed, "faults"))
    if arguments.tcp or arguments.udp:
        if link_faults != LinkFaults():
            raise UsageError("--fault dm and frmr: only HDLC has them; expected --port-link")
        server_of = DlmsUdpServer if arguments.udp else DlmsTcpServer
        server = server_of(dlms_meters, now_ms, faults=faults, rng=rng)
        opened.push_async_callback(server.close)
        ((_, at),) = (await listen(server, arguments)).items()
        place, line = {"udp" if arguments.udp else "tcp": at}, None
    else:
        line = HdlcMeters(
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


def _manners(arguments: argparse.Namespace) -> Manners:
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
    )


def clock_of(at: datetime | None, speed: float, monotonic_s: Callable[[], float]) -> Callable[[], int]:
    """Return the meters' clock [ms]: the computer's, or one that starts ``at`` a time and runs at ``speed``."""
    if at is None and speed == 1:
        return system_ms
    start_ms = system_ms() if at is None else int(at.timestamp() * 1000)
    began_s = monotonic_s()
    return lambda: start_ms + int((monotonic_s() - began_s) * speed * 1000)


def parse_faults(words: list[str]) -> tuple[FaultPlan, LinkFaults]:
    """Return the faults written as ``drop=20``; UsageError naming what is known."""
    line = {each.name for each in fields(FaultPlan)}
    link = {each.name for each in fields(LinkFaults)}
    found: dict[str, int] = {}
    for word in words:
        name, _, number = word.partition("=")
        if name not in line | link or not number.isascii() or not number.isdigit() or len(number) > 6:
            raise UsageError(f"--fault {word}: expected NAME=N; names are {', '.join(sorted(line | link))}")
        found[name] = int(number)
    return (
        FaultPlan(**{name: number for name, number in found.items() if name in line}),
        LinkFaults(**{name: number for name, number in found.items() if name in link}),
    )


class Pusher:
    """Sends the meters' pushes over TCP or UDP, or in UI frames on their line."""

    def __init__(
        self,
        destination: str,
        meters: list[DlmsMeter],
        now_ms: Callable[[], int],
        line: HdlcMeters | None,
        *,
        ciphered: bool,
    ) -> None:
        host, _, port = destination.removeprefix("udp:").rpartition(":")
        self._is_udp = destination.startswith("udp:")
        if (destination != "line" or line is None) and not (host and port.isdigit() and int(port) <= 0xFFFF):
            raise UsageError(f"--push {destination}: expected HOST:PORT, udp:HOST:PORT, or 'line' with --port-link")
        self._host, self._port = host, int(port) if host else 0
        self._line = line if destination == "line" else None
        self._meters, self._now_ms, self._ciphered = meters, now_ms, ciphered
        self._tasks: set[asyncio.Task[None]] = set()
        for each in meters:
            each.objects.state.pushed = partial(self.push, each)

    def start(self, every_s: float) -> None:
        """Push all meters every so many seconds; 0: only when asked to."""
        if every_s and every_s < PUSH_S_MIN:
            raise UsageError(f"--push-every {every_s}: expected at least {PUSH_S_MIN:g} s")
        if every_s:
            self._run(self._push_all(every_s))

    async def close(self) -> None:
        """End what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def push(self, meter: DlmsMeter, at_ms: int) -> None:
        """Send a meter's push now."""
        apdu = meter.notification(at_ms, ciphered=self._ciphered)
        if self._line is not None:
            settings = meter.meter.model.dlms
            assert settings is not None
            self._line.push(meter.meter.address, settings.client_sap, apdu)
        else:
            self._run(self._send(Wrapped(meter.meter.address, PUSH_WPORT, apdu).encode()))

    async def _push_all(self, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            for each in self._meters:
                self.push(each, self._now_ms())

    async def _send(self, octets: bytes) -> None:
        with contextlib.suppress(OSError):  # Nobody listens: a push is not repeated.
            if self._is_udp:
                there = (self._host, self._port)
                loop = asyncio.get_running_loop()
                transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=there)
                transport.sendto(octets)
                transport.close()
                return
            _, writer = await asyncio.open_connection(self._host, self._port)
            writer.write(octets)
            await writer.drain()
            writer.close()
            await writer.wait_closed()

    def _run(self, work: Coroutine[object, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
