"""``congto model show``: what one model says, and what follows from it."""

import argparse
from collections.abc import Iterator
from fractions import Fraction

from edge_agent.model_tool.listing import add_models_argument, aligned
from protocols.meters.catalogue import load_model
from protocols.meters.counters import counter_of
from protocols.meters.model import (
    CosemAttribute,
    DataSetAddress,
    Group,
    Measurement,
    MeterModel,
    ModbusRegister,
    Protocol,
)
from protocols.modbus.plan import PlannedRead, plan_reads, serial_cost

TURNAROUND_US = 50_000.0  # a slow meter's; real ones take 5 to 250 ms
BITS_PER_CHARACTER = {"N": 9, "E": 10, "O": 10}  # start, data and parity; stop bits are added


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``congto model show``."""
    parser.add_argument("model", metavar="MODEL", help="the model's key, as congto model list shows it")
    add_models_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the model."""
    print("\n".join(describe(load_model(arguments.model, arguments.models))))
    return 0


def describe(model: MeterModel) -> Iterator[str]:
    """Yield the lines that describe ``model``."""
    serial = model.serial
    yield f"{model.name} ({model.key}), version {model.version}, {model.protocol.value}, {model.certainty}"
    yield f"source: {model.source}"
    if model.firmware.first or model.firmware.last:
        yield f"firmware: {model.firmware.first or 'any'} to {model.firmware.last or 'any'}"
    yield f"as delivered: {serial.baud} baud, 8{serial.parity}{serial.stop_bits}"
    yield from (f"note: {note}" for note in model.notes)
    yield ""
    yield from aligned([_HEAD, *(_row(each) for each in model.measurements)])
    yield ""
    yield from (f"{each.key}: {each.source}" for each in model.measurements if each.source != model.source)
    yield from _entry(model)
    yield from _counters(model)
    if model.protocol is Protocol.MODBUS:
        yield from _questions(model)
    yield f"frames: {len(model.frames)}" + "".join(
        f", {count} {origin}"
        for origin in ("captured", "vendor document", "constructed")
        if (count := sum(frame.origin == origin for frame in model.frames))
    )


def _entry(model: MeterModel) -> Iterator[str]:
    """Yield how a DLMS meter is entered, by what, and what it has beside its registers."""
    settings = model.dlms
    if settings is None:
        return
    ciphered = "" if settings.security == "none" else f", {settings.security} by suite {settings.suite}"
    keys = []
    if settings.mechanism == "high-ecdsa":
        keys.append("signing keys")
    elif settings.mechanism not in ("none", "high-gmac"):
        keys.append("a secret (secret_env, secret_file or congto agent keys)")
    if ciphered or settings.mechanism == "high-gmac":
        keys.append("an encryption and an authentication key (congto agent keys)")
    needs = f"; needs {', '.join(keys)}" if keys else ""
    yield f"entered as client {settings.client_sap}, {settings.mechanism}{ciphered}{needs}"
    if model.profile is not None:
        minutes = model.profile.interval_ms // 60_000
        yield f"load profile {model.profile.obis} each {minutes} min: holes are filled from it"
    if settings.relay is not None:
        yield f"relay {settings.relay}: can be switched by command"
    if model.logs:
        yield "event logs: " + ", ".join(f"{each.name} {each.obis}" for each in model.logs)


_HEAD = ("measurement", "OBIS", "group", "where", "type", "unit")


def _row(measurement: Measurement) -> tuple[str, ...]:
    at = measurement.at
    if isinstance(at, CosemAttribute):
        where, kind, unit = f"class {at.class_id}", f"attribute {at.attribute}", measurement.unit
    elif isinstance(at, DataSetAddress):
        where, kind, unit = f"data set {at.address}", "", measurement.unit
    else:
        where = f"{at.table} 0x{at.address:04X} ({at.address})"
        orders = [f"{name} {order}" for name, order in (("words", at.word_order), ("bytes", at.byte_order))]
        kind = ", ".join([at.type.value[0], *(each for each in orders if each.endswith("little"))])
        unit = measurement.unit if at.scale == 1 else f"{at.scale} {measurement.unit}"
        unit += "" if at.exponent_at is None else f" × 10^[0x{at.exponent_at:04X}]"
    return (measurement.key, str(measurement.obis), measurement.group.value, where, kind, unit)


def _counters(model: MeterModel) -> Iterator[str]:
    for measurement in model.measurements:
        counter = counter_of(model, measurement)
        if counter is None:
            continue
        words = [f"steps of {counter.resolution}"]
        if counter.width_bits is not None:
            words.insert(0, f"{counter.width_bits} bits")
        words.append(f"begins again at {counter.rollover}" if counter.rollover else "no known rollover")
        words.append(f"rises at most {counter.slope_max_w} W" if counter.slope_max_w else "steepest slope unknown")
        if not counter.monotonic:
            words.append("may fall")
        yield f"{measurement.key}: {', '.join(words)} (base unit)"


def _questions(model: MeterModel) -> Iterator[str]:
    bits = BITS_PER_CHARACTER[model.serial.parity] + model.serial.stop_bits
    cost = serial_cost(model.serial.baud, bits, TURNAROUND_US)
    for group in Group:
        chosen = [each for each in model.measurements if each.group is group]
        reads = plan_reads(chosen, cost, registers_max=model.registers_per_read_max)
        if reads:
            took_ms = sum(Fraction(cost.transaction_us(read.count)) for read in reads) / 1000
            yield f"{group.value}: {', '.join(map(_question, reads))}; {float(took_ms):.0f} ms at 50 ms turnaround"


def _question(read: PlannedRead) -> str:
    wanted: set[int] = set()
    for at in (each.at for each in read.measurements if isinstance(each.at, ModbusRegister)):
        wanted |= {
            *range(at.address, at.address + at.type.registers),
            at.address if at.exponent_at is None else at.exponent_at,
        }
    holes = f" ({read.count - len(wanted)} not wanted)" if read.count > len(wanted) else ""
    return f"{read.count} from 0x{read.address:04X}{holes}"
