"""How the energy registers of a model count: what a reader needs to tell a glitch from a reading."""

from dataclasses import dataclass
from math import ceil, floor

from protocols.meters.model import Measurement, MeterModel, ModbusRegister, RegisterType
from protocols.modbus.values import NET_QUANTITIES
from protocols.obis import UNIT_FACTORS

ENERGY = 8  # OBIS value group D: time integral
_MANTISSA_BITS = {RegisterType.FLOAT32: 24, RegisterType.FLOAT64: 53}
_SIGNED = frozenset({RegisterType.INT16, RegisterType.INT32, RegisterType.INT64})


@dataclass(frozen=True, slots=True)
class Counter:
    """An energy register's behaviour, energies in base units (Wh, varh, VAh).

    ``width_bits`` is the number of bits that count. ``rollover`` is where it begins again at zero, ``None`` if that is
    not known: a float has no such place, a DLMS register's depends on its scaler, a SunSpec one's on its power of ten.
    ``resolution`` is its step, at least 1; a float's is one unit of its last place, which grows with the value and
    is 1 here. ``slope_max_w`` is the most it can rise, ``None`` if unknown.
    """

    monotonic: bool
    width_bits: int | None
    resolution: int
    rollover: int | None
    slope_max_w: int | None


def counter_of(model: MeterModel, measurement: Measurement) -> Counter | None:
    """Return how ``measurement`` counts; ``None`` if it is not an energy."""
    if measurement.obis.d != ENERGY:
        return None
    rules = model.counters
    width_bits: int | None = None
    resolution, rollover = 1, None
    if isinstance(measurement.at, ModbusRegister):
        kind = measurement.at.type
        _, numerator, denominator = UNIT_FACTORS[measurement.unit]
        step = measurement.at.scale * numerator / denominator
        if kind in _MANTISSA_BITS:
            width_bits = _MANTISSA_BITS[kind]
        else:
            width_bits = 16 * kind.registers - (kind in _SIGNED)
            resolution = max(1, ceil(step))
            rollover = floor((1 << width_bits) * step)
        if rules.rollover is not None:
            rollover = floor(rules.rollover * step)
        if measurement.at.exponent_at is not None:
            rollover = None  # the power of ten decides, and may change
    return Counter(
        monotonic=rules.monotonic and measurement.obis.c not in NET_QUANTITIES,
        width_bits=width_bits,
        resolution=rules.resolution_wh or resolution,
        rollover=rollover,
        slope_max_w=rules.power_max_w,
    )
