"""Which question tells a Modbus meter's model, and whether an answer means it.

A model whose identity is only a plausible measurement is recognised weakly: many models answer so. A proposal prefers
the models with an identification code.
"""

from dataclasses import dataclass

from protocols.errors import UsageError
from protocols.meters.model import Measurement, MeterModel, ModbusRegister
from protocols.modbus.values import Unusable, decode_value
from protocols.obis import UNIT_FACTORS


@dataclass(frozen=True, slots=True)
class Question:
    """The registers to ask for. ``strong`` says that the answer is an identification code."""

    table: str
    address: int
    registers: int
    strong: bool


def question_of(model: MeterModel) -> Question | None:
    """Return what to ask a meter to learn whether it is ``model``; ``None`` if nothing is known."""
    identity = model.identity
    if identity is None or identity.obis is not None:
        return None
    if identity.measurement is not None:
        register = _measurement(model).at
        assert isinstance(register, ModbusRegister)
        return Question(register.table, register.first, register.end - register.first, strong=False)
    assert identity.table is not None
    return Question(identity.table, identity.address, identity.registers, strong=True)


def answers_as(model: MeterModel, octets: bytes) -> bool:
    """Tell whether ``octets``, the registers asked for by :func:`question_of`, are those of ``model``."""
    identity = model.identity
    if identity is None:
        return False
    if identity.between is not None:
        measurement = _measurement(model)
        value = decode_value(measurement, octets)
        _, numerator, denominator = UNIT_FACTORS[measurement.unit]
        low, high = (bound * numerator // denominator for bound in identity.between)
        return not isinstance(value, Unusable) and low <= value <= high
    if identity.starts_with is not None:
        # Some meters put one character into a register, some two; the zeros between are no text.
        text = octets.replace(b"\x00", b"").decode("latin-1").strip().casefold()
        return text.startswith(identity.starts_with.casefold())
    return int.from_bytes(octets, "big") in identity.equals


def _measurement(model: MeterModel) -> Measurement:
    assert model.identity is not None
    for each in model.measurements:
        if each.key == model.identity.measurement:
            return each
    raise UsageError(f"model {model.key}: identity.measurement: {model.identity.measurement!r} is no measurement")
