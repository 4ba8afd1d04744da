"""Arguments that several actions of ``congto bill`` share. Light to import: nothing is computed here."""

import argparse

PERIOD_HELP = "calendar month in Vietnam, like 2026-10"
BILLS_HELP = "of bills that end in this month, like 2026-10, or that lie within two days, like 2026-09-17/2026-10-16"
ROLES = ("biller", "controller", "head", "director")  # of ingest_server.billing.acts.Role


def add_period_argument(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Declare which month a command is about."""
    parser.add_argument("--period", metavar="YYYY-MM", required=required, help=PERIOD_HELP)


def add_bills_argument(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Declare of which month, or of which days, the bills are that a command is about."""
    parser.add_argument("--period", metavar="YYYY-MM", required=required, help=BILLS_HELP)


def add_cycle_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare that each book is meant by its own reading cycle, the one that ends in the month."""
    parser.add_argument(
        "--cycle",
        action="store_true",
        help="bill each reading book by its own cycle: up to its reading day in the month of --period",
    )
    parser.add_argument(
        "--part", metavar="N", help="of books read twice or three times a month only this part, 1 to 3; means --cycle"
    )
    parser.add_argument(
        "--reading-day",
        metavar="DAY",
        help="the books were read on this day of the month this time, a day early or late; means --cycle",
    )


def add_language_argument(parser: argparse.ArgumentParser) -> None:
    """Declare in which language a command speaks."""
    parser.add_argument("--language", choices=("vi", "en"), default="vi", help="language of tables and explanations")


def add_selection_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare which points a command is about."""
    parser.add_argument(
        "--point", metavar="ID", action="append", help="only this metering point; may be given several times"
    )
    parser.add_argument("--unit", metavar="CODE", help="only the unit with these six characters, like PD0100")
    parser.add_argument("--book", metavar="ID", help="only the points of this reading book")


def add_role_argument(parser: argparse.ArgumentParser) -> None:
    """Declare as what somebody acts."""
    parser.add_argument("--role", choices=ROLES, default="biller", help="as what (default: biller)")


def add_actor_argument(parser: argparse.ArgumentParser) -> None:
    """Declare who acts."""
    parser.add_argument("--as", dest="actor", metavar="NAME", required=True, help="who does this")


def add_limits_argument(parser: argparse.ArgumentParser) -> None:
    """Declare how much energy and money a role may move."""
    parser.add_argument(
        "--limits", metavar="FILE", help="what each role may move in kWh and đồng (default: congto's limits.toml)"
    )
