"""``congto dlms decode``: any frame, APDU, push or value, explained as a tree or as JSON."""

import argparse
import json
import re
import sys
from pathlib import Path

from edge_agent.dlms_tool import keys, layers, target
from protocols.dlms.ciphering import Keys
from protocols.dlms.hdlc.frames import DamagedFrameError
from protocols.dlms.translate import Circumstances
from protocols.errors import RemoteProtocolError, UsageError

OCTETS_MAX = 1 << 20  # a day's capture of a busy line
_COMMENT = re.compile(r"(?m)(#|//).*$")
_BETWEEN = re.compile(r"[\s,;:-]+|0x")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``congto dlms decode``."""
    parser.add_argument("octets", metavar="HEX|FILE", help="hex digits, a file of them or of raw octets; - is stdin")
    parser.add_argument("--layer", choices=layers.NAMES, help="what the octets are; default: what they look like")
    keys.add_key_arguments(parser, "key", "encryption key of the sender, as hex", direct=True)
    keys.add_key_arguments(parser, "auth-key", "authentication key of the sender, as hex", direct=True)
    keys.add_keys_file(parser)
    parser.add_argument("--system-title", metavar="HEX", help="of the sender, where the octets do not say it")
    parser.add_argument("--counter", type=int, default=0, metavar="N", help="invocation counter of a proof (layer hls)")
    target.add_quirks(parser)
    parser.set_defaults(meter_title=None, suite=0)  # A file of --keys tells them.
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Decode and print; UsageError when it is no hex, status 4 when the octets break the rules."""
    octets = octets_of(arguments.octets)
    arguments = keys.with_keys_file(arguments)
    layer = arguments.layer or layers.guess(octets)
    key, auth_key = keys.key_of(arguments, "key"), keys.key_of(arguments, "auth-key")
    if auth_key is not None and key is None:
        raise UsageError("--auth-key without --key: both are needed to open what is ciphered and authenticated")
    known = Circumstances(
        None if key is None else Keys(key, auth_key or b""),
        keys.title_of(arguments.system_title or arguments.meter_title, "--system-title"),
        arguments.counter,
        target.quirks_of(arguments.quirk),
    )
    shown = {"layer": layer, "octets": len(octets)}
    try:
        shown |= layers.explain(octets, layer, known)
    except RemoteProtocolError as error:
        if arguments.json:
            what = error.what if isinstance(error, DamagedFrameError) else str(error)
            print(json.dumps(shown | {"error": what, "message": str(error)}))
        else:
            print(f"congto: as {layer}: {error}; another --layer?", file=sys.stderr)
        return 4
    print(json.dumps(shown, ensure_ascii=False) if arguments.json else "\n".join(layers.tree(shown)))
    return 0


def octets_of(text: str) -> bytes:
    """Return the octets meant by an argument: hex digits, else the content of a file, itself hex or raw."""
    if text == "-":
        return _from_content(sys.stdin.buffer.read(OCTETS_MAX * 4), "stdin")
    digits = _BETWEEN.sub("", text)
    if re.fullmatch(r"(?:[0-9A-Fa-f]{2})+", digits):
        return bytes.fromhex(digits)
    path = Path(text)
    try:
        with path.open("rb") as file:
            content = file.read(OCTETS_MAX * 4 + 1)
    except (OSError, ValueError) as error:
        raise UsageError(f"{text[:60]!r}: neither pairs of hex digits nor a file that can be read") from error
    return _from_content(content, text)


def _from_content(content: bytes, where: str) -> bytes:
    if len(content) > OCTETS_MAX * 4:
        raise UsageError(f"{where}: longer than {OCTETS_MAX} octets; cut the capture")
    try:
        digits = _BETWEEN.sub("", _COMMENT.sub("", content.decode("ascii")))
    except UnicodeDecodeError:
        digits = ""
    octets = bytes.fromhex(digits) if re.fullmatch(r"(?:[0-9A-Fa-f]{2})+", digits) else content
    if not octets:
        raise UsageError(f"{where}: holds nothing")
    return octets
