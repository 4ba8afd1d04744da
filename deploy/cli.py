"""The one command, ``congto``.

A subcommand is a row of :data:`COMMANDS`; the module behind it is imported only when that row is called, so
``congto agent`` on a gateway never needs the server's packages, and ``congto --help`` answers at once.

A command module offers two functions::

    def add_arguments(parser: argparse.ArgumentParser) -> None: ...
    def run(arguments: argparse.Namespace) -> int: ...      # the exit status

Exit status: 0 done · 1 done, and the answer is no · 2 the caller must change the call, the configuration or the
data · 3 something outside (a line, a server, a package) failed · 130 interrupted.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import NamedTuple

from protocols.errors import UnavailableError, UsageError


class Command(NamedTuple):
    """A subcommand: the module that carries it out and what it is for, in one line."""

    module: str
    purpose: str


COMMANDS: dict[str, Command] = {
    "agent": Command("edge_agent.commands", "read meters on a gateway and publish what they say"),
    "api": Command("ingest_server.api.commands", "serve meters, readings, bills and quotes over HTTP"),
    "audit": Command("ingest_server.commands_audit", "compare what is stored with what gateways have taken"),
    "bill": Command("ingest_server.billing.commands", "compute bills from stored readings, and show them"),
    "demo": Command("deploy.demo.commands", "a village from its meters to its bills, all for real"),
    "dlms": Command("edge_agent.dlms_tool.commands", "read, decode and control DLMS/COSEM meters"),
    "iec62056-21": Command("edge_agent.iec_tool.commands", "read meters by characters, from 300 baud on"),
    "export": Command("ingest_server.bulk.commands_export", "write stored readings to a file, CSV, Parquet or NEM12"),
    "import": Command("ingest_server.bulk.commands_import", "store the readings of a file, CSV, Parquet or NEM12"),
    "gateway": Command("ingest_server.remote.commands", "ask a gateway: read, switch, configure, and keep the record"),
    "ingest": Command("ingest_server.commands", "store what gateways publish, each reading exactly once"),
    "meter": Command("edge_agent.meter_tool.commands", "find, read and watch Modbus meters on a line"),
    "meters": Command("ingest_server.meters.commands", "say what meters are: plates, log codes, check meters, feeders"),
    "model": Command("edge_agent.model_tool.commands", "list, show, test and begin meter models"),
    "quote": Command("billing_core.commands", "say what an amount of energy costs, and why"),
    "registry": Command("ingest_server.registry.commands", "load meters, customers and contracts from a file"),
    "runtime": Command("deploy.runtime.commands", "start and stop a database and a broker of one's own"),
    "sim": Command("simulators.commands", "simulate meters on pseudo-terminals and TCP"),
    "tariff": Command("deploy.tariff.commands", "show and check prices, and try another tariff on many customers"),
    "vee": Command(
        "ingest_server.vee.commands", "validate stored readings, estimate what is missing, and answer for it"
    ),
}
OWN_PACKAGES = ("billing_core", "deploy", "edge_agent", "ingest_server", "protocols", "simulators")


def build_parser(names: Sequence[str] = tuple(COMMANDS)) -> argparse.ArgumentParser:
    """Return the parser; the arguments of the commands in ``names`` are filled in, which imports their modules."""
    parser = argparse.ArgumentParser(prog="congto", description="From electricity meters to bills.")
    parser.add_argument("--version", action="version", version=f"congto {version('congto')}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        sub = subparsers.add_parser(name, help=command.purpose, description=command.purpose.capitalize() + ".")
        if name in names:
            importlib.import_module(command.module).add_arguments(sub)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``congto``; return its exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    wanted = [word for word in words[:1] if word in COMMANDS]
    try:
        arguments = build_parser(wanted).parse_args(words)
        module = importlib.import_module(COMMANDS[arguments.command].module)
        return int(module.run(arguments))
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] in OWN_PACKAGES:
            raise  # a mistake of ours, not a package that is left out
        print(
            f"congto: the package {missing.name!r} is not installed; "
            "install congto[edge] on a gateway, congto[server] on a server, congto[sim] for simulators",
            file=sys.stderr,
        )
        return 3
    except UsageError as refused:
        print(f"congto: {refused}", file=sys.stderr)
        return 2
    except UnavailableError as down:
        print(f"congto: {down}", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output has read enough; the interpreter must not try to flush the rest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141  # as a shell reports SIGPIPE


if __name__ == "__main__":
    sys.exit(main())
