"""``congto agent``: run the agent, check its configuration, say what it has taken."""

import argparse
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from edge_agent import commands_keys
from protocols.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands of ``congto agent``."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, purpose in (
        ("run", "read the meters and publish until SIGTERM or Ctrl-C"),
        ("check", "say whether the configuration holds, and what it will do"),
        ("plan", "print the timetable: every question with its cost, the load of each bus and its floor"),
        ("top", "show buses and meters of the agent that runs here, each second anew"),
        ("digest", "print what was taken by UTC day, with a digest to compare with the server's"),
    ):
        action = actions.add_parser(name, help=purpose, description=purpose.capitalize() + ".")
        action.add_argument("--config", type=Path, required=True, metavar="FILE", help="the agent's TOML file")
        if name == "run":
            action.add_argument(
                "--log-level", choices=("info", "warning", "error"), default="info", help="the least that is logged"
            )
        if name == "top":
            action.add_argument("--seconds", type=int, metavar="N", help="end after so many (default: at Ctrl-C)")
        if name in ("digest", "plan", "top"):
            action.add_argument("--json", action="store_true", help="print one JSON object")
    purpose = "keep the meters' keys: add, rotate, remove, list them; none is ever shown"
    commands_keys.add_arguments(actions.add_parser("keys", help=purpose, description=purpose.capitalize() + "."))


def run(arguments: argparse.Namespace) -> int:
    """Carry out the subcommand; return the exit status."""
    actions = {
        "run": _run,
        "check": _check,
        "plan": _plan,
        "digest": _digest,
        "top": _top,
        "keys": commands_keys.run,
    }
    return actions[arguments.action](arguments)


def _run(arguments: argparse.Namespace) -> int:
    from edge_agent import app, log

    log.start_logging(arguments.log_level)
    return app.run(arguments.config)


def _check(arguments: argparse.Namespace) -> int:
    from edge_agent.check import describe, unusable_ports
    from edge_agent.config import load_config

    config = load_config(arguments.config)
    print(describe(config))
    for each in unusable_ports(config):
        print(f"congto: {each}", file=sys.stderr)
    return 0


def _plan(arguments: argparse.Namespace) -> int:
    from edge_agent.config import load_config
    from edge_agent.plan_page import timetable, to_json

    config = load_config(arguments.config)
    if arguments.json:
        json.dump(to_json(config), sys.stdout)
        print()
    else:
        print("\n".join(timetable(config)))
    return 0


def _top(arguments: argparse.Namespace) -> int:
    from edge_agent.config import load_config
    from edge_agent.remote.top import show

    socket = load_config(arguments.config).metrics.socket
    if socket is None:
        raise UsageError(f'{arguments.config}: has no [metrics] socket; add one, such as socket = "agent.sock"')
    return show(socket, arguments.seconds, as_json=arguments.json)


def _digest(arguments: argparse.Namespace) -> int:
    from edge_agent.config import load_config
    from edge_agent.spool import read_summary

    config = load_config(arguments.config)
    if not config.spool.exists():
        raise UsageError(f"{config.spool}: there is no spool yet; run the agent first")
    summary = read_summary(config.spool)
    days = [
        {
            "day": (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=each.day)).date().isoformat(),
            "readings": each.readings,
            "digest": f"{each.digest:016x}",
        }
        for each in summary.days
    ]
    if arguments.json:
        answer = {
            "gateway": config.gateway,
            "generation": summary.generation,
            "taken": summary.taken,
            "last_sequence": summary.last_sequence,
            "unreceipted": summary.unreceipted,
            "days": days,
        }
        json.dump(answer, sys.stdout)
        print()
        return 0
    for day in days:
        print(f"{day['day']}  {day['readings']:>9}  {day['digest']}")
    print(
        f"gateway {config.gateway}, generation {summary.generation}: {summary.taken} readings taken, "
        f"{summary.unreceipted} of {summary.last_sequence} batches not yet receipted"
    )
    return 0
