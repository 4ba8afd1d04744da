"""``congto runtime``: a database and a broker of one's own."""

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from deploy.runtime import lifecycle, places, software
from protocols.errors import UsageError

ACTIONS = {
    "up": "start what is not running, and print where to connect",
    "down": "stop both, and leave no process",
    "status": "say what runs; exit status 0 if both do, else 1",
    "psql": "open the database in psql; arguments after -- are psql's",
    "dsn": "print the connection URI of the database",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of ``congto runtime``."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, purpose in ACTIONS.items():
        action = actions.add_parser(name, help=purpose, description=purpose.capitalize() + ".")
        action.add_argument(
            "--dir",
            type=Path,
            metavar="DIR",
            help="where it lives (default: $XDG_STATE_HOME/congto/runtime or ~/.local/state/congto/runtime; "
            "for root /var/lib/congto/runtime)",
        )
        if name in {"up", "down", "status"}:
            action.add_argument("--json", action="store_true", help="print one JSON object")
        if name == "up":
            action.add_argument("--dsn", default="", help="a database that others run (default: $CONGTO_DSN)")
            action.add_argument(
                "--broker", default="", metavar="URL", help="a broker that others run (default: $CONGTO_BROKER)"
            )
        if name == "psql":
            action.add_argument("arguments", nargs="*", metavar="ARGUMENT", help="passed to psql")


def run(arguments: argparse.Namespace) -> int:
    """Carry out one action; return the exit status."""
    directory = arguments.dir or places.runtime_directory(os.environ)
    match arguments.action:
        case "up":
            return _up(directory, arguments)
        case "down":
            lifecycle.down(directory)
            _print({"directory": str(directory), "running": False}, arguments, "down")
            return 0
        case "status":
            return _status(directory, arguments)
        case "psql":
            return _psql(directory, arguments.arguments)
        case _:
            print(_known_dsn(directory))
            return 0


def _say(line: str) -> None:
    print(f"congto runtime: {line}", file=sys.stderr, flush=True)


def _print(facts: dict[str, object], arguments: argparse.Namespace, text: str) -> None:
    print(json.dumps(facts) if arguments.json else text)


def _up(directory: Path, arguments: argparse.Namespace) -> int:
    running = lifecycle.up(directory, dsn=arguments.dsn, broker_url=arguments.broker, say=_say)
    facts: dict[str, object] = {**asdict(running), "directory": str(running.directory)}
    _print(
        facts,
        arguments,
        f"database  {running.dsn}\n          {_whose(running.database_pid)}, {running.database_origin}\n"
        f"broker    {running.broker_url}\n          {_whose(running.broker_pid)}, {running.broker_origin}\n"
        f"stop with congto runtime down --dir {running.directory}",
    )
    return 0


def _whose(pid: int | None) -> str:
    return "run by others" if pid is None else f"process {pid}"


def _status(directory: Path, arguments: argparse.Namespace) -> int:
    found = lifecycle.status(directory)
    facts: dict[str, object] = {**asdict(found), "directory": str(found.directory)}
    rows = [
        f"database  {_describe(running=found.database_running, pid=found.database_pid)}  {found.dsn}",
        f"broker    {_describe(running=found.broker_running, pid=found.broker_pid)}  {found.broker_url}",
    ]
    _print(facts, arguments, "\n".join(row.rstrip() for row in rows))
    return 0 if found.database_running and found.broker_running else 1


def _describe(*, running: bool, pid: int | None) -> str:
    if not running:
        return "down"
    return f"up ({_whose(pid)})"


def _known_dsn(directory: Path) -> str:
    dsn = lifecycle.status(directory).dsn or os.environ.get(
        "CONGTO_DSN", ""
    )  # the directory was named, or is the usual one
    if not dsn:
        raise UsageError(f"{directory} has no database yet; begin with: congto runtime up --dir {directory}")
    return dsn


def _psql(directory: Path, words: list[str]) -> int:
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    from ingest_server.database.connection import connection_options

    dsn = _known_dsn(directory)
    connection_options(dsn)
    lifecycle.check_database_is_up(directory, dsn)
    facts = conninfo_to_dict(dsn)
    environment = dict(os.environ)
    if password := facts.pop("password", None):
        environment["PGPASSWORD"] = str(password)  # not on the command line, which every user can read
    programs = software.choose_postgres(os.environ, places.cache_directory(os.environ), _say).programs
    psql = str(programs / "psql")
    os.execve(psql, [psql, "--dbname", make_conninfo("", **facts), *words], environment)  # noqa: S606  # psql takes this process's place and terminal
