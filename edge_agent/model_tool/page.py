"""The page of all meter models, ``docs/meter-models.md``, written from the models themselves.

``python -m edge_agent.model_tool.page`` writes it anew, and the schema with it; a test keeps both in step.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from edge_agent.model_tool.listing import phases_of, recognised_by
from edge_agent.model_tool.schema import SCHEMA, render_schema
from protocols.meters.catalogue import load_model, model_keys
from protocols.meters.model import MeterModel

PAGE = Path("docs/meter-models.md")
# What users ask for and we could not establish: which, and what is missing.
WANTED = (
    ("Gelex EMIC three-phase with the GC-01 module", "a register table of the module"),
    ("Gelex EMIC ME-40m, ME-41m", "a read-out of mode C, and IEC 62056-21 in this format"),
    ("Elster A1700", "the registers behind its programming mode, and IEC 62056-21 in this format"),
    (
        "Landis+Gyr E650 (ZMD, ZFD)",
        "by DLMS an object list with its short names; IEC 62056-21 in this format for its read-out",
    ),
    ("Hexing HXE", "an object list or a capture of any firmware"),
    (
        "Kamstrup OMNIPOWER",
        "in this format, an object apart from its channel: its energies are 1.1.1.8.0, not 1.0.1.8.0",
    ),
    ("SunSpec behind a common model of length 66", "a walk along the chain of models; addresses here are fixed"),
    ("Orno OR-WE-504", "which word of its energy comes first: volkszaehler/mbmd and a driver of HARDWARIO disagree"),
    ("Eastron SDM54", "a second source beside volkszaehler/mbmd"),
    ("Lovato DMG610", "a second source beside volkszaehler/mbmd"),
    ("Chint DTSU666-H (Huawei)", "a source for the billing registers beside emulators"),
    ("Socomec COUNTIS E03, E13", "the energy registers"),
)
_HEAD = """\
# Meter models

Written by `python -m edge_agent.model_tool.page`; do not edit. A model is a TOML file in `protocols/meters/models/`;
`congto model show KEY` prints its registers, `congto model test` runs its frames. How to write one, without a release:
[the guide](guides/meter-model.md); its keys: [the schema](../protocols/meters/schema/model.schema.json).

**How sure.** *vendor document*: each register was compared with the vendor's own document, or the public specification.
*Public sources*: several public readers of the same meter, mostly naming the vendor's document, agree; where they do
not, the notes say so. *Constructed*: from the standard, for no particular meter. Compare the first readings with the
meter's display before anything is billed. Serial settings as delivered are the least sure: not every source has them,
and resellers change them.

**Recognised** by an identification *code* or *name*, or only by a plausible *value*, which other meters show too.
"""


def render_page() -> str:
    """Return the page."""
    models = [load_model(key) for key in model_keys()]
    return "\n".join([_HEAD, *_table(models), "", "## Sources and notes", "", *_notes(models), *_wanted()])


def _table(models: list[MeterModel]) -> Iterator[str]:
    yield "| model | meter | protocol | phases | energies | recognised | how sure |"
    yield "|---|---|---|---|---|---|---|"
    for model in models:
        energies = ", ".join(str(each.obis) for each in model.measurements if each.obis.d == 8)
        cells = [f"[`{model.key}`](#{model.key})", model.name, model.protocol.value, str(phases_of(model))]
        yield f"| {' | '.join([*cells, energies, recognised_by(model), model.certainty])} |"


def _notes(models: list[MeterModel]) -> Iterator[str]:
    for model in models:
        yield f"### {model.key}\n"
        yield f"{model.source}."
        if any(each.source != model.source for each in model.measurements):
            yield "\nEach register names its place in the document, see `congto model show`."
        if model.notes:
            yield ""
            yield from (f"* {note}" for note in model.notes)
        yield ""


def _wanted() -> Iterator[str]:
    yield "## Wanted\n"
    yield "Left out because a table could not be established. A document or a capture is welcome.\n"
    yield "| meter | what is missing |"
    yield "|---|---|"
    yield from (f"| {meter} | {missing} |" for meter, missing in WANTED)
    yield ""


if __name__ == "__main__":
    PAGE.write_text(render_page(), encoding="utf-8")
    SCHEMA.write_text(render_schema(), encoding="utf-8")
    print(f"written: {PAGE}, {SCHEMA}", file=sys.stderr)
