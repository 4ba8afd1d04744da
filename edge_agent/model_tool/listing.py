"""``congto model list``: the models there are."""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from protocols.meters.catalogue import load_model, model_keys
from protocols.meters.model import MeterModel, Protocol
from protocols.meters.recognise import question_of

COLUMNS = ("key", "name", "protocol", "phases", "energies", "values", "recognised", "certainty")
ENERGY = 8  # OBIS value group D


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``congto model list``."""
    add_models_argument(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON list")


def add_models_argument(parser: argparse.ArgumentParser) -> None:
    """Add the directory of models of one's own."""
    parser.add_argument("--models", type=Path, metavar="DIR", help="a directory with models of one's own, KEY.toml")


def run(arguments: argparse.Namespace) -> int:
    """Print the table."""
    rows = [row_of(load_model(key, arguments.models)) for key in model_keys(arguments.models)]
    if arguments.json:
        print(json.dumps([dict(zip(COLUMNS, row, strict=True)) for row in rows], ensure_ascii=False))
    else:
        print("\n".join(aligned([COLUMNS, *rows])))
    return 0


def row_of(model: MeterModel) -> tuple[str, ...]:
    """Return what the list says of a model, in the order of :data:`COLUMNS`."""
    energies = sum(each.obis.d == ENERGY for each in model.measurements)
    return (
        model.key,
        model.name,
        model.protocol.value,
        str(phases_of(model)),
        str(energies),
        str(len(model.measurements) - energies),
        recognised_by(model),
        model.certainty,
    )


def phases_of(model: MeterModel) -> int | str:
    """Return for how many phases the model has voltages or currents; ``-`` if for none."""
    return sum(any(each.obis.c in (at, at + 1) for each in model.measurements) for at in (31, 51, 71)) or "-"


def recognised_by(model: MeterModel) -> str:
    """Return by what a meter of this model is recognised: a code, a name, a plausible value, or nothing."""
    if model.identity is None:
        return "-"
    if model.protocol is not Protocol.MODBUS:
        return "name"
    question = question_of(model)
    assert question is not None
    return ("name" if model.identity.starts_with else "code") if question.strong else "value"


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the rows as lines whose columns stand below one another."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
