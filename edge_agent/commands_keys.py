"""``congto agent keys``: put meters' keys into the key file, replace and remove them. Secrets come from standard input
or a file, never as arguments, which every user of the machine can see.
"""

import argparse
import getpass
import os
import sys
from pathlib import Path

from edge_agent.keys import KINDS, KeyFile, KeyPlace, Kind, parse_kek, parse_key_place
from edge_agent.secret import FILE_OCTETS_MAX, octets_of_hex, read_private
from protocols.errors import UsageError
from protocols.strict_toml import parse_toml
from protocols.telemetry.topics import check_identifier

ACTIONS = {
    "list": "say which meters have which keys; the keys themselves are never shown",
    "add": "add a key that is not there",
    "rotate": "replace a key, after the meter was given the new one",
    "remove": "remove a key",
    "counter": "begin a meter's invocation counter at a number, when it is lost and the meter does not tell it",
    "rewrap": "wrap all keys under a new key-encryption key; then put that one in the place of the old",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of ``congto agent keys``."""
    actions = parser.add_subparsers(dest="key_action", metavar="ACTION", required=True)
    for name, purpose in ACTIONS.items():
        action = actions.add_parser(name, help=purpose, description=purpose.capitalize() + ".")
        action.add_argument("--config", type=Path, required=True, metavar="FILE", help="the agent's TOML file")
        if name in ("add", "rotate", "remove", "counter"):
            action.add_argument("meter", metavar="METER", help="the meter's id in the configuration")
        if name == "counter":
            action.add_argument("number", type=int, metavar="NUMBER", help="one more than the last one used")
        if name in ("add", "rotate", "remove"):
            action.add_argument("kind", choices=tuple(KINDS), help="which of its keys")
        if name in ("add", "rotate", "rewrap"):
            action.add_argument(
                "--from", dest="source", type=Path, metavar="FILE", help="a file only you can read; else standard input"
            )


def run(arguments: argparse.Namespace) -> int:
    """Carry out the action; return the exit status."""
    action = arguments.key_action
    if action == "counter":
        return _begin_counter(arguments)
    place = _place(arguments.config)
    keys = KeyFile(place)
    if action == "list":
        for meter, kinds in keys.kinds().items():
            print(f"{meter:<16} {', '.join(kinds)}")
        return 0
    if action == "rewrap":
        keys.rewrap(parse_kek(_text(arguments.source, "new key-encryption key, hex"), "the new key-encryption key"))
        print(f"{place.file}: wrapped anew; now give the agent the new key-encryption key", file=sys.stderr)
        return 0
    meter, kind = check_identifier(arguments.meter, "meter"), KINDS[arguments.kind]
    octets = None if action == "remove" else _octets(_text(arguments.source, f"{kind.word} of {meter}"), kind)
    keys.change(meter, kind, octets, replace=action != "add")
    return 0


def _begin_counter(arguments: argparse.Namespace) -> int:
    from edge_agent.config import load_config
    from edge_agent.counters import begin_at

    config = load_config(arguments.config)
    meters = [meter for bus in config.buses for meter in bus.meters if meter.id == arguments.meter]
    access = meters[0].access if meters else None
    if access is None or not access.uses_counters or access.keys is None or access.title is None:
        raise UsageError(f"meter {arguments.meter}: is not in {arguments.config}, or needs no invocation counter")
    begin_at(config.counters, access.keys.encryption, access.title, arguments.number)
    return 0


def _place(config: Path) -> KeyPlace:
    try:
        top = parse_toml(config.read_text(encoding="utf-8"), config.name)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{config}: can't be read: {error}") from error
    return parse_key_place(top.table("keys"), config.resolve().parent, os.environ)


def _text(source: Path | None, prompt: str) -> str:
    if source is not None:
        text = read_private(source).decode("utf-8", "replace")
    elif sys.stdin.isatty():
        text = getpass.getpass(f"{prompt}: ")
    else:
        text = sys.stdin.read(FILE_OCTETS_MAX)
    if not text.strip("\r\n"):
        raise UsageError("nothing was given; write the key to standard input, or name a file with --from")
    return text.strip("\r\n")


def _octets(text: str, kind: Kind) -> bytes:
    if kind is Kind.SECRET and not text.startswith("0x"):
        return text.encode("utf-8")
    return octets_of_hex(text.removeprefix("0x"), kind.word)
