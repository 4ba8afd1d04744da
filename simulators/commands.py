"""The command ``congto sim``: meters on pseudo-terminals and TCP, whole villages, and the truth about their energy."""

import argparse
import asyncio
import json
import signal
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, date, datetime
from pathlib import Path

from protocols.errors import UsageError
from simulators import meter_commands
from simulators.customers import add_customers
from simulators.meter_commands import Serve
from simulators.serving import open_buses
from simulators.vietnam_days import local_date
from simulators.village import SEED_MAX, Village, load_village, previous_month
from simulators.world_server import WorldServer, system_ms

PROGRESS_S = 0.2  # how often the progress line is written anew
TRUE_REGISTERS = ("1.0.1.8.0", "1.0.1.8.1", "1.0.1.8.2", "1.0.1.8.3", "1.0.2.8.0", "1.0.3.8.0")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands of ``congto sim``."""
    subparsers = parser.add_subparsers(dest="what", metavar="WHAT", required=True)
    village = subparsers.add_parser("village", help="all buses of a village, and the clock that it goes by")
    village.add_argument("--directory", type=Path, required=True, metavar="DIR", help="for lines, clock and world.json")
    _add_village_arguments(village)
    village.add_argument("--unpaced", action="store_true", help="deliver octets at once, whatever the baud rates")
    village.set_defaults(serve=_serve_village)
    truth = subparsers.add_parser("truth", help="what the meters of a village have truly counted at a time")
    _add_village_arguments(truth)
    truth.add_argument("--at", type=_parse_instant, required=True, metavar="T", help="such as 2026-10-31T17:00:00Z")
    truth.add_argument("--json", action="store_true", help="as JSON: {meter: {OBIS: Wh}}")
    truth.set_defaults(answer=_print_truth)
    add_customers(subparsers)
    meter_commands.add_arguments(subparsers)


def _add_village_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help="a village file; default: the one of the demo")
    parser.add_argument("--seed", type=int, help="in place of the file's; same seed, same energy")
    parser.add_argument(
        "--from",
        dest="starts_on",
        type=date.fromisoformat,
        metavar="DATE",
        help="first day of the month to replay; default: of the previous calendar month",
    )


def _parse_instant(text: str) -> datetime:
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text!r}: without time zone; expected such as 2026-10-31T17:00:00Z")
    return instant.astimezone(UTC)


def run(arguments: argparse.Namespace) -> int:
    """Carry out a subcommand of ``congto sim``; those that serve end with SIGTERM or SIGINT."""
    if "answer" in arguments:
        answer: Callable[[argparse.Namespace], int] = arguments.answer
        return answer(arguments)
    asyncio.run(_until_told_to_stop(arguments.serve, arguments))
    return 0


async def _until_told_to_stop(serve: Serve, arguments: argparse.Namespace) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as opened:
        await serve(arguments, opened)
        await stop.wait()


def _load(arguments: argparse.Namespace) -> Village:
    seed = arguments.seed
    if seed is not None and not 0 <= seed <= SEED_MAX:
        raise UsageError(f"--seed {seed}: expected 0 to {SEED_MAX}")
    starts_on = arguments.starts_on or previous_month(local_date(system_ms()))
    return load_village(arguments.config, starts_on=starts_on, seed=seed)


async def _serve_village(arguments: argparse.Namespace, opened: AsyncExitStack) -> None:
    village = _load(arguments)
    directory = _make_directory(arguments.directory)
    world = WorldServer(village.starts_at_ms)
    await world.open(directory / "world.sock")
    opened.push_async_callback(world.close)
    description = directory / "world.json"
    description.unlink(missing_ok=True)  # of a world that was killed; it says what is no longer there
    buses = await open_buses(village, directory / "lines", world.now_ms, opened, paced=not arguments.unpaced)
    write_whole(description, {"from": village.starts_on.isoformat(), "seed": village.seed, "buses": buses})
    opened.callback(description.unlink, missing_ok=True)
    print(
        f"village ready: {len(village.meters)} meters on {len(buses)} buses, "
        f"time stands at {village.starts_on} 00:00 in Vietnam; {description}",
        flush=True,
    )
    if sys.stdout.isatty():
        world.on_time = _progress(time.monotonic)


def _make_directory(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{path}: can't be made: {error}") from error
    return path.absolute()


def write_whole(path: Path, content: object) -> None:
    """Write JSON so that whoever looks finds all of it or nothing."""
    new = path.with_name(f".{path.name}.new")
    new.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    new.replace(path)


def _progress(monotonic_s: Callable[[], float]) -> Callable[[int], None]:
    written_at = 0.0

    def show(now_ms: int) -> None:
        nonlocal written_at
        if monotonic_s() - written_at >= PROGRESS_S:
            written_at = monotonic_s()
            print(f"\r{datetime.fromtimestamp(now_ms / 1000, UTC):%Y-%m-%d %H:%M} UTC ", end="", flush=True)

    return show


def _print_truth(arguments: argparse.Namespace) -> int:
    village = _load(arguments)
    at_ms = int(arguments.at.timestamp()) * 1000 + arguments.at.microsecond // 1000
    truth = {meter.name: {obis: meter.true_wh(obis, at_ms) for obis in TRUE_REGISTERS} for meter in village.meters}
    if arguments.json:
        print(json.dumps(truth))
        return 0
    for name, registers in truth.items():
        for obis, energy_wh in registers.items():
            print(f"{name}  {obis}  {energy_wh:>14,} {'varh' if obis.startswith('1.0.3.') else 'Wh'}")
    return 0
