"""``congto ingest resend`` and ``clocks``: what a person does about gateways that lack something."""

import argparse
import json

from ingest_server.database.connection import add_dsn_arguments, connect, dsn_from
from protocols.errors import UsageError

LIMIT_S = 30  # a reading that is half a minute off still lies in its half hour; more falsifies registers at midnight

SELECT_CLOCKS = """
    select 'gateway', gateway_id, clock_ahead_ms, clock_told_at from gateway where abs(clock_ahead_ms) > %(limit_ms)s
    union all
    select 'meter', meter_id, ahead_ms, told_at from meter_clock where abs(ahead_ms) > %(limit_ms)s
    order by 1, 2
"""


def add_repair_arguments(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the two actions."""
    resend = actions.add_parser(
        "resend", help="have a running ingest ask gateways for all batches above what is stored, as after a restore"
    )
    resend.add_argument("--gateway", metavar="ID", help="only this one")
    clocks = actions.add_parser(
        "clocks",
        help="show clocks that are off, gateways' by ours and meters' by their gateway's; status 1 if any is",
    )
    clocks.add_argument(
        "--limit",
        type=float,
        default=LIMIT_S,
        metavar="SECONDS",
        help="what may be off (default: %(default)s)",
    )
    clocks.add_argument("--json", action="store_true", help="print one JSON object")
    for action in (resend, clocks):
        add_dsn_arguments(action)


def resend(arguments: argparse.Namespace) -> int:
    """Note that gateways are to be asked."""
    from ingest_server.database.missing import want_all
    from ingest_server.database.readings import check_gateway

    with connect(dsn_from(arguments)) as connection:
        check_gateway(connection, arguments.gateway)
        spools = want_all(connection, arguments.gateway)
    print(f"{spools} spools will be asked for what is missing; `congto ingest run` does it within seconds")
    return 0


def clocks(arguments: argparse.Namespace) -> int:
    """Show clocks that are off."""
    if not 0 <= arguments.limit <= 1e9:
        raise UsageError(f"--limit {arguments.limit:g}: expected seconds, 0 or more")
    with connect(dsn_from(arguments)) as connection:
        rows = connection.execute(SELECT_CLOCKS, {"limit_ms": int(arguments.limit * 1000)}).fetchall()
    if arguments.json:
        keys = ("what", "name", "ahead_ms", "told_at")
        print(json.dumps([dict(zip(keys, (*row[:3], row[3].isoformat()), strict=True)) for row in rows]))
    else:
        for what, name, ahead_ms, told_at in rows:
            way, at = "ahead" if ahead_ms > 0 else "behind", f"{told_at:%Y-%m-%dT%H:%M:%SZ}"
            print(f"{what} {name}: {abs(ahead_ms) / 1000:g} s {way}, at {at}")
        print(f"{len(rows)} clocks are off by more than {arguments.limit:g} s")
    return 1 if rows else 0
