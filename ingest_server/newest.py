"""``--newest N``: of a long list a command shows what came last."""

import argparse

from protocols.errors import UsageError

NEWEST, NEWEST_MAX = 200, 100_000  # some screens; and a list that a terminal and its reader can still take


def add_newest_argument(parser: argparse.ArgumentParser, default: int = NEWEST) -> None:
    """Add the argument."""
    parser.add_argument(
        "--newest", type=int, default=default, metavar="N", help="list at most so many (default: %(default)s)"
    )


def newest_from(arguments: argparse.Namespace) -> int:
    """Return how many are asked for; raise :class:`UsageError` if that is no number of entries."""
    if not 0 < arguments.newest <= NEWEST_MAX:
        raise UsageError(f"--newest {arguments.newest}: expected 1 to {NEWEST_MAX}")
    return int(arguments.newest)
