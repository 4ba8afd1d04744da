"""``congto demo``: a village from its meters to its bills, then live."""

import argparse
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from protocols.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from deploy.demo.story import Running, Story


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``congto demo``."""
    parser.add_argument("--once", action="store_true", help="end after the bills; status 0 only if every figure holds")
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON object and nothing else")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="work in DIR, new or empty, and leave it afterwards")
    parser.add_argument("--seed", type=int, help="another village's luck; same seed, same energy")
    parser.add_argument("--config", type=Path, metavar="FILE", help="a village of your own (guides/simulators.md)")


def run(arguments: argparse.Namespace) -> int:
    """Carry out ``congto demo``."""
    from rich.console import Console

    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGHUP, _interrupt)
    console = Console(stderr=arguments.json)
    directory = _directory(arguments.keep)
    try:
        return _tell(arguments, directory, console)
    finally:
        if arguments.keep is None:
            shutil.rmtree(directory, ignore_errors=True)


def _tell(arguments: argparse.Namespace, directory: Path, console: "Console") -> int:
    from deploy.demo.present import show_bills, show_figures
    from deploy.demo.story import Story
    from deploy.demo.village_files import contract_of
    from ingest_server.database import connect

    story = Story(directory, console, seed=arguments.seed, config=arguments.config)
    with story.told() as running:
        story.say(f"the month {story.month.first_on:%m/%Y} passes: serial bytes, agents, MQTT, TimescaleDB")
        running.replay(console)
        running.drain()
        story.say("every batch is receipted; billing")
        running.bill()
        figures = running.compare()
        if not arguments.json:
            with connect(running.servers.dsn) as connection:
                show_bills(console, connection, story.month)
            console.out(running.show_bill(contract_of(story.village.meters[0]).metering_point), highlight=False)
            show_figures(console, figures)
        if arguments.json:
            print(figures.as_json(), flush=True)
        if arguments.once:
            return 0 if figures.holds else 1
        return _live(story, running, console)


def _live(story: "Story", running: "Running", console: "Console") -> int:
    story.go_live(running)
    console.print(f"\n[bold]Live.[/] Page: {running.page_url}")
    console.print(f"API:   {running.api_url}/docs")
    console.print(f"Logs:  {story.path('logs')}   Database: congto runtime psql --dir {story.path('runtime')}")
    console.print("Ctrl-C ends the demo and everything it started.", highlight=False)
    try:
        running.live()
    except KeyboardInterrupt:
        console.print("\nending …")
    return 0


def _directory(keep: Path | None) -> Path:
    """Return a directory of our own that the servers' user can enter, with a path short enough for sockets."""
    if keep is None:
        directory = Path(tempfile.mkdtemp(prefix="congto-demo-"))
    else:
        directory = keep.absolute()
        if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
            raise UsageError(f"--keep {keep}: is there and not empty; name a new or an empty directory")
        directory.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0:
        directory.chmod(0o755)
    return directory


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    print("congto demo: told to end", file=sys.stderr)
    raise KeyboardInterrupt
