"""``congto demo``: a village from its meters to its bills, then live."""

import argparse
import contextlib
import os
import shutil
import signal
import tempfile
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from protocols.errors import UsageError

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SOCKET_PATH_OCTETS_MAX = 100  # sun_path of unix(7) holds 108

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

    for number in ENDING:
        signal.signal(number, _interrupt)
    console = Console(stderr=arguments.json)
    directory = _directory(arguments.keep)
    try:
        return _tell(arguments, directory, console)
    finally:
        ignore_signals()
        if arguments.keep is None:
            shutil.rmtree(directory, ignore_errors=True)


def _tell(arguments: argparse.Namespace, directory: Path, console: "Console") -> int:
    from deploy.demo.present import show_bills, show_figures
    from deploy.demo.story import Story
    from deploy.demo.village_files import contract_of
    from ingest_server.database import connect

    story = Story(directory, console, seed=arguments.seed, config=arguments.config, before_end=ignore_signals)
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
    for line in (
        "",
        f"Live. Page: {running.page_url}",
        f"API:        {running.docs_url}",
        f"Logs:       {story.path('logs')}",
        f"Database:   congto runtime psql --dir {story.path('runtime')}",
        "Ctrl-C ends the demo and everything it started.",
    ):
        console.print(line, soft_wrap=True, highlight=False)  # a line that is cut in two can't be copied
    try:
        running.live()
    except KeyboardInterrupt:
        with contextlib.suppress(OSError):  # the terminal may be gone
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
        if len(str(directory / "world/world.sock").encode()) > SOCKET_PATH_OCTETS_MAX:
            raise UsageError(f"--keep {keep}: too long a path for the sockets in it; name a shorter one")
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"--keep {keep}: can't be made: {error.strerror}") from error
    if os.geteuid() == 0:
        directory.chmod(0o755)
    return directory


def ignore_signals() -> None:
    """Let nothing interrupt the clean-up, which ends by itself in bounded time."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    ignore_signals()  # the first is enough; a second would cut the clean-up short
    raise KeyboardInterrupt
