"""What the commands for single meters share: which meters, on which line or port, and telling where they are."""

import argparse
import json
from contextlib import AsyncExitStack
from datetime import date
from typing import Protocol

from protocols.errors import UnavailableError, UsageError
from protocols.meters.catalogue import load_model, model_keys
from simulators.chance import key_of
from simulators.loads import SIZE_KWH_MAX, Consumer, Kind
from simulators.meter import SimulatedMeter
from simulators.serial_line import LineSettings, SerialLine
from simulators.sky import PLACES
from simulators.vietnam_days import local_date, local_midnight_ms
from simulators.world_server import system_ms

ADDRESSES_MAX = 1000


class TcpServer(Protocol):
    """What listens."""

    async def open(self, host: str, port: int) -> int:
        """Listen and return the port."""
        ...


def add_meter_arguments(parser: argparse.ArgumentParser, model: str) -> None:
    """Add what describes the meters."""
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


def add_line_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what describes a serial line."""
    parser.add_argument("--baud", type=int, help="default: the model's")
    parser.add_argument("--parity", choices=("N", "E", "O"), help="default: the model's")
    parser.add_argument("--unpaced", action="store_true", help="deliver octets at once, whatever the baud rate")
    parser.add_argument("--turnaround-ms", type=int, default=5, metavar="MS", help="until a meter answers; default 5")


def add_listen(parser: argparse.ArgumentParser) -> None:
    """Add where to listen."""
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; default 127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="default: a free one, which is printed")


async def listen(server: TcpServer, arguments: argparse.Namespace) -> dict[str, str]:
    """Open ``server`` where the arguments say; return the place to announce."""
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
