"""Keys and secrets of the tools: from the environment or a file; never printed, never in an argument unless throw-away.

A key is hex. A secret is text, or ``0x`` and hex. A file that holds either must belong to its owner alone.
"""

import argparse
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from protocols.errors import UsageError

FILE_OCTETS_MAX = 4096  # a key or a secret is one line
KEYS_FILE_OCTETS_MAX = 1 << 20  # a thousand meters and more
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def add_key_arguments(parser: argparse._ActionsContainer, name: str, what: str, *, direct: bool) -> None:
    """Add ``--NAME-env`` and ``--NAME-file``; with ``direct`` also ``--NAME`` for keys that protect nothing."""
    if direct:
        parser.add_argument(f"--{name}", metavar="HEX", help=f"{what}; only for keys that protect nothing")
    parser.add_argument(f"--{name}-env", metavar="VAR", help=f"{what}, from the environment variable VAR")
    parser.add_argument(
        f"--{name}-file", type=Path, metavar="FILE", help=f"{what}, from a file only its owner can read"
    )


def text_of(arguments: argparse.Namespace, name: str, environment: Mapping[str, str] = os.environ) -> str | None:
    """Return what one of the arguments of ``name`` brings, None when none was given; UsageError for two, or none."""
    attribute = name.replace("-", "_")
    given = {
        f"--{name}{suffix}": value
        for suffix in ("", "-env", "-file")
        if (value := getattr(arguments, attribute + suffix.replace("-", "_"), None)) is not None
    }
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)}: give one of them")
    for option, value in given.items():
        if option.endswith("-env"):
            if value not in environment:
                raise UsageError(f"{option} {value}: there is no such environment variable")
            return environment[value].strip()
        if option.endswith("-file"):
            return content_of(option, value).strip()
        return str(value).strip()
    return None


def add_keys_file(parser: argparse._ActionsContainer) -> None:
    """Add ``--keys`` and ``--unit``."""
    parser.add_argument(
        "--keys", type=Path, metavar="FILE", help="keys, title and suite, as `congto sim dlms --keys-out` writes them"
    )
    parser.add_argument("--unit", metavar="UNIT", help="which meter of --keys; default: the only one")


def with_keys_file(arguments: argparse.Namespace, *, secret: bool = False) -> argparse.Namespace:
    """Return the arguments with what the file of ``--keys`` says of the unit; with ``secret`` its secret, too."""
    if arguments.keys is None:
        if arguments.unit is not None:
            raise UsageError("--unit goes with --keys FILE")
        return arguments
    where = f"--keys {arguments.keys}"
    try:
        units = json.loads(content_of("--keys", arguments.keys, octets_max=KEYS_FILE_OCTETS_MAX))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where}: is no JSON; expected what `congto sim dlms --keys-out` writes") from error
    if not isinstance(units, dict) or not units:
        raise UsageError(f"{where}: expected an object with a member for each unit")
    unit = arguments.unit or (next(iter(units)) if len(units) == 1 else None)
    held = units.get(unit)
    if not isinstance(held, dict):
        raise UsageError(f"{where}: has units {', '.join(units)}; give one of them as --unit")
    given = vars(arguments) | {"key": _text(held, "encryption_key", where)}
    given["auth_key"] = _text(held, "authentication_key", where)
    given["meter_title"] = arguments.meter_title or _text(held, "system_title", where)
    given["suite"] = held.get("suite", 0)
    if given["suite"] not in (0, 1, 2) or arguments.suite not in (0, given["suite"]):
        raise UsageError(f"{where}: unit {unit} has security suite {given['suite']}, asked for was {arguments.suite}")
    given["signing_pair"] = held.get("client_private_key"), held.get("server_public_key")
    if secret:
        given["secret"] = "0x" + _text(held, "secret", where)
    return argparse.Namespace(**given)


def _text(held: Mapping[str, object], name: str, where: str) -> str:
    text = held.get(name)
    if not isinstance(text, str):
        raise UsageError(f"{where}: the unit has no {name}")
    return text


def value_of(text: str, environment: Mapping[str, str] = os.environ) -> tuple[str, bool]:
    """Return the value that ``text`` is or names, as ``@env:VAR`` or ``@file:PATH``, and whether it is named."""
    kind, _, name = text.partition(":")
    if kind == "@env":
        if name not in environment:
            raise UsageError(f"{text}: there is no such environment variable")
        return environment[name].strip(), True
    return (content_of("VALUE", Path(name)).strip(), True) if kind == "@file" else (text, False)


def content_of(option: str, path: Path, *, private: bool = True, octets_max: int = FILE_OCTETS_MAX) -> str:
    """Return the text of a file; UsageError when it can't be read, or when it is private and others can read it."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if private and stat.S_ISREG(mode) and mode & _OTHERS:
                raise UsageError(f"{option} {path}: others can read it; chmod 600 {path}")
            content = file.read(octets_max + 1)
    except OSError as error:
        raise UsageError(f"{option} {path}: can't be read: {error.strerror}") from error
    if len(content) > octets_max:
        raise UsageError(f"{option} {path}: more than {octets_max} octets")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{option} {path}: expected text") from error


def key_of(arguments: argparse.Namespace, name: str) -> bytes | None:
    """Return a key of 16 or 32 octets; UsageError when it is none. What it was is not said."""
    text = text_of(arguments, name)
    if text is None:
        return None
    key = hex_of(text, f"--{name}", show=False)
    if len(key) not in (16, 32):
        raise UsageError(f"--{name}: a key of {len(key)} octets, expected 16 (suites 0, 1) or 32 (suite 2) as hex")
    return key


def secret_of(arguments: argparse.Namespace, name: str = "secret") -> bytes | None:
    """Return a secret: the text, or after ``0x`` the octets it names."""
    text = text_of(arguments, name)
    if text is None:
        return None
    return hex_of(text[2:], f"--{name}", show=False) if text.startswith("0x") else text.encode("utf-8")


def title_of(text: str | None, option: str) -> bytes | None:
    """Return a system title of eight octets, given as hex."""
    if text is None:
        return None
    title = hex_of(text, option)
    if len(title) != 8:
        raise UsageError(f"{option} {text}: {len(title)} octets, expected 8 as 16 hex digits")
    return title


def hex_of(text: str, option: str, *, show: bool = True) -> bytes:
    """Return the octets of hex digits; UsageError otherwise."""
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        found = f" {text[:40]!r}" if show else ""
        raise UsageError(f"{option}{found}: expected pairs of hex digits") from error
