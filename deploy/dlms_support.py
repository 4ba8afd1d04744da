"""The page of what the DLMS/COSEM and IEC 62056-21 stack supports, ``docs/dlms-support.md``, written from the code.

``python -m deploy.dlms_support`` writes it anew; a test keeps page and code in step. What a table lists is what the
enumerations, unions and dictionaries of the code hold, so nothing is claimed that is not there.
"""

import ast
import dataclasses
import inspect
import sys
from collections.abc import Iterable, Sequence
from enum import Enum
from itertools import pairwise
from pathlib import Path
from typing import get_args

from deploy.dlms_rows import AREAS, TOLERATED
from edge_agent.dlms_tool.layers import NAMES as LAYERS
from protocols.dlms import quirks, services
from protocols.dlms.acse import Context
from protocols.dlms.ciphering import KEY_OCTETS, NAMES
from protocols.dlms.conformance import LOGICAL_NAMES, SHORT_NAMES, Conformance
from protocols.dlms.data import Tag
from protocols.dlms.hdlc.frames import ADDRESS_SIZES, FrameType
from protocols.dlms.hdlc.negotiation import INFO_OCTETS_MAX, WINDOW_MAX
from protocols.dlms.objects import UNITS, ClassId
from protocols.dlms.push import PushLink
from protocols.iec62056_21.messages import BAUDS, BAUDS_B, Mode
from protocols.meters.dlms_rules import MECHANISMS
from simulators.dlms.hdlc_line import LinkFaults
from simulators.faults import FaultPlan

PAGE = Path("docs/dlms-support.md")
_HEAD = """\
# What the DLMS/COSEM and IEC 62056-21 stack supports

Written by `python -m deploy.dlms_support` from the code; do not edit. Client and simulator are the two roles of one
library, so what is listed holds for both unless a column says otherwise.
"""


def render_page() -> str:
    """Return the page."""
    sections = (
        ("Area by area", ("area", "client and tools", "simulated meters", "tried in"), _areas()),
        ("Links", ("link", "what"), _links()),
        ("Application contexts", ("context", "referencing", "protected"), _contexts()),
        ("Authentication", ("mechanism", "number", "`congto dlms --auth`", "`congto sim dlms --auth`"), _mechanisms()),
        ("Security suites", ("suite", "keys", "signatures"), _suites()),
        ("Ciphered APDUs", ("tag", "APDU"), [(f"{tag:02x}", name) for tag, name in sorted(NAMES.items())]),
        ("Requests", ("request", "what it does"), _requests()),
        ("Conformance", ("bit", "asked for by logical names", "by short names"), _conformance()),
        ("Data types", ("tag", "type"), [(str(int(tag)), tag.word) for tag in Tag]),
        ("Interface classes known by name", ("class", "name"), _classes()),
        ("Units brought to base units", ("unit", "number", "base unit"), _units()),
        ("Pushes", ("over", ""), [(link.value, "plain and ciphered") for link in PushLink]),
        ("Layers that `congto dlms decode` explains", ("layer", ""), [(f"`{name}`", "") for name in LAYERS]),
        ("IEC 62056-21", ("feature", "what"), _characters()),
        ("Faults of simulated meters", ("fault", ""), [(f"`{name}`", "") for name in _faults()]),
        ("Quirks", ("`--quirk`", "what it allows, and the meter it was seen with"), list(_quirks())),
        ("Taken without a switch", ("what meters do", "tried in tests/dlms/test_quirks.py"), _tolerated()),
    )
    tables = (f"## {title}\n\n{_table(heads, rows)}" for title, heads, rows in sections)
    return "\n".join((_HEAD, *tables))


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    lines += [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def _areas() -> list[tuple[str, str, str, str]]:
    return [(area.name, area.client, area.simulator, f"`{area.tests}`") for area in AREAS]


def _tolerated() -> list[tuple[str, str]]:
    return [(what, f"`{test}`") for what, test in TOLERATED]


def _word(member: Enum) -> str:
    return member.name.lower().replace("_", "-")


def _links() -> list[tuple[str, str]]:
    sizes = ", ".join(map(str, ADDRESS_SIZES))
    return [
        ("HDLC", f"frames {', '.join(_word(kind).upper() for kind in FrameType)}; server addresses of {sizes} octets"),
        ("HDLC", f"windows 1 to {WINDOW_MAX}; information fields up to {INFO_OCTETS_MAX} octets; segmentation"),
        ("wrapper", "TCP and UDP, one APDU up to 65535 octets"),
        ("general block transfer", "windows, recovery of lost blocks"),
        ("IEC 62056-21 mode E", "sign-on at 300 baud, then HDLC"),
    ]


def _contexts() -> list[tuple[str, str, str]]:
    rows = []
    for context in Context:
        names, _, ciphered = context.name.partition("_")
        rows.append((f"{int(context)}", "logical names" if names == "LN" else "short names", "yes" if ciphered else ""))
    return rows


def _mechanisms() -> list[tuple[str, str, str, str]]:
    # The tool's --auth and the simulator's take the same words, from one table.
    return [(_word(each), str(int(each)), f"`{name}`", f"`{name}`") for name, each in MECHANISMS.items()]


def _suites() -> list[tuple[str, str, str]]:
    curves = {1: "ECDSA P-256", 2: "ECDSA P-384"}
    return [(str(suite), f"AES-GCM {octets * 8} bits", curves.get(suite, "")) for suite, octets in KEY_OCTETS.items()]


def _requests() -> list[tuple[str, str]]:
    kinds = get_args(services.Request)
    return [(f"`{kind.__name__}`", (inspect.getdoc(kind) or "").partition("\n")[0]) for kind in kinds]


def _conformance() -> list[tuple[str, str, str]]:
    return [
        (_word(bit), "yes" if bit in LOGICAL_NAMES else "", "yes" if bit in SHORT_NAMES else "") for bit in Conformance
    ]


def _classes() -> list[tuple[str, str]]:
    return [(str(int(known)), _word(known).replace("-", " ")) for known in ClassId]


def _units() -> list[tuple[str, str, str]]:
    return [(word or "none", str(number), base) for number, (word, base, _) in UNITS.items()]


def _characters() -> list[tuple[str, str]]:
    what = {
        Mode.READOUT: "readout, block check, repetition on NAK",
        Mode.PROGRAMMING: "programming mode: passwords, R and W commands, partial blocks, errors, break",
        Mode.HDLC: "mode E: the line handed to HDLC",
    }
    speeds = ", ".join(map(str, BAUDS.values()))
    return [
        *((f"selection {mode.value[0]}Z{mode.value[1]}", what[mode]) for mode in Mode),
        ("modes C and E", f"{speeds} baud"),
        ("mode B", f"{', '.join(map(str, BAUDS_B.values()))} baud, readout only"),
        ("characters", "7E1 with the parity put on and checked here, or 8N1"),
        ("values", "OBIS codes whole or shortened; known quantities as integers in base units"),
    ]


def _faults() -> list[str]:
    return [
        field.name for plan in (FaultPlan, LinkFaults) for field in dataclasses.fields(plan) if field.name != "pause_ms"
    ]


def _quirks() -> Iterable[tuple[str, str]]:
    """Yield each field of Quirks with the docstring that follows it in the source."""
    tree = ast.parse(inspect.getsource(quirks))
    body = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Quirks").body
    for field, note in pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            said = isinstance(note, ast.Expr) and isinstance(note.value, ast.Constant) and str(note.value.value)
            yield f"`{field.target.id}`", " ".join((said or "").split())


if __name__ == "__main__":
    PAGE.write_text(render_page(), encoding="utf-8")
    print(f"written: {PAGE}", file=sys.stderr)
