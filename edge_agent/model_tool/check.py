"""``congto model test``: do a model's frames say what it says they do, and what is wrong or missing in it?

A *fault* is something that cannot be right, or a frame that fails: exit status 1. A *hint* is something that is not
known, or that an installer should know.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from edge_agent.model_tool.frames import check_frame
from edge_agent.model_tool.listing import add_models_argument
from edge_agent.model_tool.skeleton import left_of
from protocols.errors import UsageError
from protocols.meters.catalogue import load_model, model_keys, read_model_file
from protocols.meters.counters import ENERGY, counter_of
from protocols.meters.dlms_rules import quirks_of
from protocols.meters.model import Group, MeterModel, ModbusRegister, Protocol, RegisterType, parse_model


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found in a model; a fault, or a hint."""

    fault: bool
    text: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``congto model test``."""
    parser.add_argument(
        "model", nargs="*", metavar="MODEL", help="keys of models, or files *.toml; default: all models"
    )
    add_models_argument(parser)
    parser.add_argument("--quiet", action="store_true", help="print only the models with faults")


def run(arguments: argparse.Namespace) -> int:
    """Test the models; return 1 if one has a fault."""
    faulty = 0
    for name in arguments.model or model_keys(arguments.models):
        model = _model(name, arguments.models)
        findings = tuple(examine(model))
        faults = sum(finding.fault for finding in findings)
        faulty += bool(faults)
        if arguments.quiet and not faults:
            continue
        print(f"{model.key}: {len(model.frames)} frames, {faults} faults, {len(findings) - faults} hints")
        for finding in findings:
            print(f"  {'fault' if finding.fault else 'hint'}: {finding.text}")
    return 1 if faulty else 0


def _model(name: str, directory: Path | None) -> MeterModel:
    path = Path(name)
    return parse_model(read_model_file(path), path.stem) if path.suffix == ".toml" else load_model(name, directory)


def examine(model: MeterModel) -> Iterator[Finding]:
    """Yield what is wrong with ``model`` and what is missing in it."""
    for number, frame in enumerate(model.frames, start=1):
        yield from (Finding(True, f"frame {number}: {fault}") for fault in check_frame(model, frame))
    yield from _places(model)
    yield from _energies(model)
    if model.dlms is not None:
        try:
            quirks_of(model.dlms.quirks, f"{model.key}.toml: dlms.quirks")
        except UsageError as error:
            yield Finding(True, str(error))
    if left := left_of(model):
        yield Finding(False, f"{', '.join(left)}: as congto model new wrote it; say which meter this is and where from")
    if not model.frames:
        yield Finding(False, "no frames: nothing shows that the table is read as it is meant")
    elif all(frame.origin == "constructed" for frame in model.frames):
        yield Finding(False, "all frames are constructed: one captured from a meter would prove more")
    if model.identity is None:
        yield Finding(False, "no identity: a scan can't propose this model")
    elif model.identity.measurement is not None:
        yield Finding(False, "recognised by a plausible value only: other models answer alike")
    if model.certainty == "constructed":
        yield Finding(False, "the table is constructed: compare every register with the meter's display")


def _places(model: MeterModel) -> Iterator[Finding]:
    registers = sorted(
        (each.at.table, each.at.address, each.at.address + each.at.type.registers, each.key)
         for each in model.measurements if isinstance(each.at, ModbusRegister)
    )  # fmt: skip
    for (table, _, end, key), (next_table, start, _, next_key) in pairwise(registers):
        if table == next_table and start < end:
            yield Finding(True, f"{key} and {next_key} share the {table} register 0x{start:04X}")
    widest = max((end - start for _, start, end, _ in registers), default=0)
    if widest > model.registers_per_read_max:
        yield Finding(True, f"a value of {widest} registers is more than registers_per_read_max allows")


def _energies(model: MeterModel) -> Iterator[Finding]:
    energies = [each for each in model.measurements if each.obis.d == ENERGY]
    if not any(each.group is Group.BILLING for each in energies):
        yield Finding(True, "no energy in the group billing: nothing to bill")
    for each in energies:
        if each.group is not Group.BILLING:
            yield Finding(False, f"{each.key}: an energy that is not read with the billing registers")
        if isinstance(each.at, ModbusRegister) and each.at.type in (RegisterType.INT16, RegisterType.UINT16):
            yield Finding(True, f"{each.key}: 16 bits begin again too often to be billed")
    counter = next((found for each in energies if (found := counter_of(model, each))), None)
    if model.protocol is Protocol.MODBUS and counter is not None and counter.slope_max_w is None:
        yield Finding(
            False, "[counters] power_max_w is not known: an impossible rise can't be told unless agent.toml says it"
        )
    if any(isinstance(each.at, ModbusRegister) and each.at.type is RegisterType.FLOAT32 for each in energies):
        yield Finding(False, "float32 energies: their step grows with the value (24 bits)")
