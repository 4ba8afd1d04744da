"""``congto tariff list|show|check|simulate``."""

import argparse
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from protocols.errors import UsageError

if TYPE_CHECKING:
    from billing_core.tariff import Tariffs

FOLDER_HELP = "folder of tariff files, or a file that is added to those of the package; default: the package's own"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of ``congto tariff``."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="the acts and what waits, tax, cosφ, solar regimes, exchange rates, "
                                 "schedules, the pilot and holidays, by date")  # fmt: skip
    show = actions.add_parser("show", help="all prices and rules in force on a day, with their sources")
    show.add_argument("day", nargs="?", metavar="DAY", help="like 2025-12-31; default: the newest act's first day")
    check = actions.add_parser("check", help="whether tariff files are right: 0 yes, 1 a price is not what it is said "
                               "to be in percent of the average, 2 a file cannot be used")  # fmt: skip
    for action in (listing, show):
        action.add_argument("--language", choices=("vi", "en"), default="vi", help="language of tables (default: vi)")
    for action in (listing, show, check):
        action.add_argument("--json", action="store_true", help="print one JSON object")
        action.add_argument("--files", type=Path, metavar="PATH", help=FOLDER_HELP)
    what = "what another tariff would change for whom, and for the revenue: 0 all customers are compared, 1 some, whom "
    _add_simulate(actions.add_parser("simulate", help=f"{what}it names, are left out"))


def _add_simulate(simulate: argparse.ArgumentParser) -> None:
    from ingest_server.database.connection import add_dsn_arguments

    simulate.add_argument(
        "--against",
        metavar="TARIFF",
        help="the other tariff: `waiting` (the structure that waits for its first act, at today's average price), "
        "`percent=5` (all prices 5 %% higher), `act=2699` (an act by its number), or a path as of `check --files`; "
        "default: waiting, and where nothing waits the newest act, if it is not in force in the first month",
    )
    simulate.add_argument("--files", type=Path, metavar="PATH", help=FOLDER_HELP)
    simulate.add_argument("--customers", type=int, default=100_000, metavar="N", help="size of a made-up population")
    simulate.add_argument("--seed", type=int, default=1, metavar="S", help="chance of the made-up population")
    simulate.add_argument(
        "--from", dest="first", default="2025-06", metavar="MONTH", help="first of twelve months; default: %(default)s"
    )
    simulate.add_argument(
        "--database", action="store_true", help="take the customers and bills of the database instead"
    )
    simulate.add_argument("--language", choices=("vi", "en"), default="vi", help="language of tables (default: vi)")
    simulate.add_argument("--json", action="store_true", help="print one JSON object")
    add_dsn_arguments(simulate)


def run(arguments: argparse.Namespace) -> int:
    """Carry out one action; return the exit status."""
    if arguments.action == "simulate":
        from deploy.tariff.simulate import run_simulation

        return run_simulation(arguments)
    from deploy.tariff.files import tariffs_of

    if arguments.action == "check":
        from deploy.tariff.check import print_check

        return print_check(tariffs_of(arguments.files), as_json=arguments.json)
    from billing_core.explain import Language
    from deploy.tariff.show import print_acts, print_prices

    tariffs = tariffs_of(arguments.files)
    if arguments.action == "list":
        print_acts(tariffs, Language(arguments.language), as_json=arguments.json)
    else:
        day = _day(arguments.day, tariffs)
        print_prices(tariffs, day, Language(arguments.language), as_json=arguments.json)
    return 0


def _day(text: str | None, tariffs: "Tariffs") -> date:
    if text is None:
        return tariffs.acts[-1].effective_on
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"day: found {text!r}, expected a day like 2025-12-31; correct it") from None
