"""``congto dlms vectors``: does this stack say of every test vector what the vector expects?

A file is ``{"vectors": [...]}`` or a list. A vector has ``name``, ``layer``, ``hex``, ``expected``, and perhaps
``key_hex``, ``auth_key_hex``, ``system_title_hex`` and ``invocation_counter``. ``expected`` is compared field by field:
what it names must be found as it stands, more may be found; ``expected.error`` says why the octets must be refused.
"""

import argparse
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_agent.dlms_tool import keys, layers
from edge_agent.dlms_tool.pushed_values import Value, text_of, values_in
from protocols.dlms.apdu import decode_apdu
from protocols.dlms.ciphering import Keys
from protocols.dlms.data import Data
from protocols.dlms.hdlc.frames import DamagedFrameError
from protocols.dlms.quirks import Quirks
from protocols.dlms.translate import Circumstances
from protocols.dlms.xdlms.notifications import DataNotification
from protocols.errors import LocalProtocolError, ProtocolError, RemoteProtocolError, UsageError
from protocols.obis import Obis

FILE_OCTETS_MAX = 64 << 20
MEANT_FOR_PEOPLE = "note"
SERIAL_NUMBER = Obis(0, 0, 96, 1, 0)
_FIELDS = {"name": str, "layer": str, "hex": str, "expected": dict}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one vector: what was found, and where that is not what was expected."""

    name: str
    layer: str
    found: dict[str, Any]
    differences: tuple[str, ...]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``congto dlms vectors``."""
    parser.add_argument("file", type=Path, metavar="FILE", help="JSON with vectors: name, layer, hex, expected")
    parser.add_argument("--json", action="store_true", help="print one JSON object with what was found in each")


def run(arguments: argparse.Namespace) -> int:
    """Run the vectors; return 0 when all hold, 1 when one does not."""
    outcomes = [check(vector) for vector in load(arguments.file)]
    failed = [outcome for outcome in outcomes if outcome.differences]
    if arguments.json:
        results = [
            {
                "name": outcome.name,
                "layer": outcome.layer,
                "ok": not outcome.differences,
                "result": outcome.found,
                "differences": list(outcome.differences),
            }
            for outcome in outcomes
        ]
        report = {"vectors": len(outcomes), "passed": len(outcomes) - len(failed), "failed": len(failed)}
        print(json.dumps(report | {"results": results}, ensure_ascii=False))
        return 1 if failed else 0
    for outcome in outcomes:
        print(f"{'FAIL' if outcome.differences else 'ok  '}  {outcome.layer:<14} {outcome.name}")
        for difference in outcome.differences:
            print(f"        {difference}")
    print(f"{len(outcomes) - len(failed)} of {len(outcomes)} vectors hold")
    return 1 if failed else 0


def load(path: Path) -> list[dict[str, Any]]:
    """Return the vectors of a file; UsageError when it holds none or a vector lacks a field."""
    try:
        with path.open("rb") as file:
            content = json.loads(file.read(FILE_OCTETS_MAX))
    except OSError as error:
        raise UsageError(f"{path}: can't be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: is no JSON: {error}") from error
    vectors = content.get("vectors") if isinstance(content, dict) else content
    if not isinstance(vectors, list) or not vectors:
        raise UsageError(f'{path}: expected {{"vectors": [...]}} or a list of vectors')
    for place, vector in enumerate(vectors):
        fields = vector if isinstance(vector, dict) else {}
        wrong = [name for name, kind in _FIELDS.items() if not isinstance(fields.get(name), kind)]
        if wrong:
            raise UsageError(
                f"{path}: vector {fields.get('name', place)}: {', '.join(wrong)} missing or of another type"
            )
        if fields["layer"] not in layers.NAMES:
            raise UsageError(
                f"{path}: vector {fields['name']}: layer {fields['layer']!r}; expected {', '.join(layers.NAMES)}"
            )
    return vectors


def check(vector: Mapping[str, Any]) -> Outcome:
    """Decode a vector and compare; UsageError when its hex or its keys are none."""
    name, layer, expected = vector["name"], vector["layer"], vector["expected"]
    octets = keys.hex_of(vector["hex"], f"vector {name}: hex")
    try:
        found = layers.explain(octets, layer, _circumstances(vector))
        found |= _remarks(vector, octets, found)
    except LocalProtocolError as error:
        raise UsageError(f"vector {name}: {error}") from error
    except ProtocolError as error:
        what = error.what if isinstance(error, DamagedFrameError) else str(error)
        found = {"error": what, "message": str(error)}
    wanted = {key: value for key, value in expected.items() if key != MEANT_FOR_PEOPLE}
    unasked = [] if "error" in expected or "error" not in found else [f"refused: {found['message']}"]
    return Outcome(name, layer, found, tuple(unasked or differences(wanted, found)))


def _circumstances(vector: Mapping[str, Any]) -> Circumstances:
    name = vector["name"]
    octets = {
        key: keys.hex_of(str(vector[key]), f"vector {name}: {key}", show=False)
        for key in ("key_hex", "auth_key_hex", "system_title_hex")
        if key in vector
    }
    key = octets.get("key_hex")
    return Circumstances(
        None if key is None else Keys(key, octets.get("auth_key_hex", b"")),
        octets.get("system_title_hex"),
        int(vector.get("invocation_counter", 0)),
        Quirks(user_information_length_off_by_one=bool(vector["expected"].get("lenient"))),
    )


def _remarks(vector: Mapping[str, Any], octets: bytes, found: dict[str, Any]) -> dict[str, Any]:
    """Return what a vector counts or sums up beside the decoding: blocks, items, a hash, the values of a push."""
    wanted = vector["expected"]
    remarks: dict[str, Any] = {}
    if "n_blocks" in wanted:
        remarks["n_blocks"] = len(vector.get("blocks", ()))
    if "sha256_of_hex_bytes" in wanted:
        remarks["sha256_of_hex_bytes"] = hashlib.sha256(octets).hexdigest()
    if "n_items" in wanted:
        items = found["data"][1]
        remarks |= {"n_items": len(items), "first": items[0], "last": items[-1]}
    if "values_reported_by_source" in wanted:
        remarks["values_reported_by_source"] = _values(vector, octets, found)
    return remarks


def _values(vector: Mapping[str, Any], octets: bytes, found: dict[str, Any]) -> dict[str, Any]:
    """Return the values of a push as other readers report them: numbers in their units, and texts."""
    values = list(_pushed(octets, found))
    named = vector["expected"]["values_reported_by_source"]
    strings = {_dotted(value): _text(value) for value in values if _dotted(value) in named.get("strings", {})}
    floats = {
        _dotted(value): float(value.number)
        for value in values
        if value.number is not None and _dotted(value) in named.get("floats", {})
    }
    return {"strings": strings, "floats": floats}


def _pushed(octets: bytes, found: dict[str, Any]) -> Iterator[Value]:
    plaintext = bytes.fromhex(found["plaintext"]) if "plaintext" in found else None
    if plaintext is None:
        frames = found.get("hdlc")
        plaintext = bytes.fromhex("".join(frame["info"] for frame in frames))[3:] if frames else octets
    apdu = decode_apdu(plaintext)
    if not isinstance(apdu, DataNotification):
        raise RemoteProtocolError("found no data-notification where values were expected")
    values = list(values_in(apdu.data))
    yield from values
    elements = apdu.data.content if isinstance(apdu.data.content, tuple) else ()
    last = elements[-1] if elements and isinstance(elements[-1], Data) else None
    if last is not None and isinstance(last.content, bytes) and not any(value.data is last for value in values):
        yield Value(SERIAL_NUMBER, last)  # Netz NÖ sends the meter's number last, without a name.


def _dotted(value: Value) -> str:
    return ".".join(map(str, value.obis.groups))


def _text(value: Value) -> str:
    return text_of(value.data).partition(" deviation")[0]


def differences(expected: object, found: object, where: str = "") -> list[str]:
    """Return where ``found`` lacks or contradicts ``expected``; ``found`` may say more."""
    if isinstance(expected, dict) and isinstance(found, dict):
        lines = []
        for key, value in expected.items():
            place = f"{where}.{key}" if where else str(key)
            lines += differences(value, found[key], place) if key in found else [f"{place} is missing"]
        return lines
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        return [
            line
            for place, (one, other) in enumerate(zip(expected, found, strict=True))
            for line in differences(one, other, f"{where}[{place}]")
        ]
    same = expected == found and isinstance(expected, bool) == isinstance(found, bool)
    return [] if same else [f"{where}: found {_short(found)}, expected {_short(expected)}"]


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 120 else text[:117] + "..."
