"""What a meter model says, and how its TOML file is read.

A model maps measurements to Modbus registers or COSEM objects, so that a channel is a meter and an OBIS code whatever
the protocol. The files lie in ``protocols/meters/models/``; the name of the file is the model's key. Simulators read
the same files, so that the meter's side can't drift from the master's.
"""

from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from enum import Enum

from protocols.errors import UsageError
from protocols.meters.dlms_settings import DlmsSettings, EventLog, LoadProfile, parse_dlms, parse_logs, parse_profile
from protocols.meters.evidence import (
    CounterRules,
    Firmware,
    Frame,
    Identity,
    parse_counters,
    parse_firmware,
    parse_frames,
    parse_identity,
    parse_notes,
)
from protocols.obis import UNIT_FACTORS, Obis, base_unit
from protocols.strict_toml import Table, parse_duration, parse_toml

DAY_MS = 86_400_000
EVERY_MIN_MS = 1000  # of a measurement's own interval
REGISTERS_PER_READ_MAX = 125  # Modbus Application Protocol V1.1b3, section 6.3; a model may allow fewer


class Protocol(Enum):
    """The language that a meter speaks."""

    MODBUS = "modbus"
    DLMS = "dlms"
    IEC62056_21 = "iec62056_21"


class Group(Enum):
    """When a measurement is read: billing registers at each interval, instantaneous values where asked for."""

    BILLING = "billing"
    INSTANTANEOUS = "instantaneous"


class RegisterType(Enum):
    """How registers hold a number; the value is the number of 16-bit registers."""

    INT16 = ("int16", 1)
    UINT16 = ("uint16", 1)
    INT32 = ("int32", 2)
    UINT32 = ("uint32", 2)
    INT64 = ("int64", 4)
    UINT64 = ("uint64", 4)
    FLOAT32 = ("float32", 2)
    FLOAT64 = ("float64", 4)

    @property
    def registers(self) -> int:
        """How many 16-bit registers a value takes."""
        return self.value[1]


@dataclass(frozen=True, slots=True)
class ModbusRegister:
    """Where a Modbus meter holds a measurement.

    ``address`` is the protocol address (from 0). A raw number times ``scale`` is in ``unit``.
    """

    table: str  # "input" (function 4) or "holding" (function 3)
    address: int
    type: RegisterType
    word_order: str  # "big": the most significant register first, "little": last
    scale: Decimal
    byte_order: str = "big"  # within a register; Modbus says "big", some meters send "little"
    missing: bytes = b""  # this meter's own mark for "no value", most significant octet first
    exponent_at: int | None = None  # a register of the same table with a power of ten, an int16 (SunSpec's sunssf)

    @property
    def first(self) -> int:
        """The first register that must be read for the value."""
        return self.address if self.exponent_at is None else min(self.address, self.exponent_at)

    @property
    def end(self) -> int:
        """The register after the last one that must be read for the value."""
        end = self.address + self.type.registers
        return end if self.exponent_at is None else max(end, self.exponent_at + 1)


@dataclass(frozen=True, slots=True)
class CosemAttribute:
    """Where a DLMS meter holds a measurement. Its scaler and unit are read from the meter itself."""

    class_id: int
    attribute: int


@dataclass(frozen=True, slots=True)
class DataSetAddress:
    """Where a meter of IEC 62056-21 tells a measurement: the address of the data set in its readout."""

    address: str


@dataclass(frozen=True, slots=True)
class Measurement:
    """One measurement of a model. ``unit`` is the meter's, ``base_unit(obis)`` the one that readings are kept in.

    ``every_ms`` is its own interval, where the group's makes no sense for it; a configuration may say another.
    """

    key: str
    obis: Obis
    group: Group
    unit: str
    at: ModbusRegister | CosemAttribute | DataSetAddress
    source: str
    every_ms: int | None = None


@dataclass(frozen=True, slots=True)
class SerialSettings:
    """A line's settings as delivered by the vendor."""

    baud: int
    parity: str  # N, E or O
    stop_bits: int


@dataclass(frozen=True, slots=True)
class MeterModel:
    """A meter model; ``certainty`` says how sure its register table is."""

    key: str
    name: str
    version: int
    protocol: Protocol
    source: str
    certainty: str
    serial: SerialSettings
    measurements: tuple[Measurement, ...]
    dlms: DlmsSettings | None = None
    profile: LoadProfile | None = None
    logs: tuple[EventLog, ...] = ()
    registers_per_read_max: int = REGISTERS_PER_READ_MAX
    identity: Identity | None = None
    counters: CounterRules = field(default_factory=CounterRules)
    firmware: Firmware = field(default_factory=Firmware)
    frames: tuple[Frame, ...] = ()
    notes: tuple[str, ...] = ()

    def measurement(self, obis: Obis) -> Measurement | None:
        """Return the measurement of this OBIS code, or ``None`` if the model has none."""
        return next((each for each in self.measurements if each.obis == obis), None)


CERTAINTIES = ("vendor document", "public sources", "constructed")
_TYPES = {kind.value[0]: kind for kind in RegisterType}


def parse_model(text: str, key: str) -> MeterModel:
    """Return the model written in ``text``; raise :class:`UsageError` naming file, key and cure."""
    top = parse_toml(text, f"{key}.toml")
    protocol = Protocol(top.take("protocol", str, choices=[each.value for each in Protocol]))
    source = top.take("source", str)
    serial = top.table("serial")
    measurements = top.table("measurements")
    model = MeterModel(
        key=key,
        name=top.take("name", str),
        version=top.integer("version", 1, 9999),
        protocol=protocol,
        source=source,
        certainty=top.take("certainty", str, choices=CERTAINTIES),
        serial=SerialSettings(
            baud=serial.integer("baud", 300, 921_600),
            parity=serial.take("parity", str, choices=("N", "E", "O")),
            stop_bits=serial.integer("stop_bits", 1, 2),
        ),
        measurements=tuple(
            _parse_measurement(measurements.table(name), name, protocol, source) for name in measurements.names()
        ),
        dlms=parse_dlms(top.table("dlms")) if protocol is Protocol.DLMS else None,
        profile=parse_profile(top.table("profile")) if "profile" in top else None,
        logs=parse_logs(top.table("logs", required=False)),
        registers_per_read_max=top.integer(
            "registers_per_read_max", 4, REGISTERS_PER_READ_MAX, default=REGISTERS_PER_READ_MAX
        ),
        identity=parse_identity(top.table("identity"), protocol is Protocol.MODBUS) if "identity" in top else None,
        counters=parse_counters(top.table("counters", required=False)),
        firmware=parse_firmware(top.table("firmware", required=False)),
        frames=parse_frames(list(top.tables("frames")), frozenset(measurements.names())),
        notes=parse_notes(top),
    )
    if model.identity is not None and model.identity.measurement is not None:
        top.table("identity").take("measurement", str, choices=[each.key for each in model.measurements])
    serial.finish()
    top.finish()
    codes = [each.obis for each in model.measurements]
    if len(set(codes)) != len(codes):
        raise UsageError(f"{key}.toml: measurements: two measurements have one OBIS code; a channel has one source")
    return model


def _parse_measurement(table: Table, key: str, protocol: Protocol, source: str) -> Measurement:
    obis = Obis.parse(table.take("obis", str))
    unit = table.take("unit", str, choices=UNIT_FACTORS)
    if UNIT_FACTORS[unit][0] != base_unit(obis):
        raise table.error("unit", f"{unit} can't be turned into {base_unit(obis)}, the base unit of {obis}")
    measurement = Measurement(
        key=key,
        obis=obis,
        group=Group(table.take("group", str, default="billing", choices=[each.value for each in Group])),
        unit=unit,
        at=_parse_place(table, protocol, obis),
        source=table.take("source", str, default=source),
        every_ms=_parse_every(table),
    )
    table.finish()
    return measurement


def _parse_place(table: Table, protocol: Protocol, obis: Obis) -> ModbusRegister | CosemAttribute | DataSetAddress:
    if protocol is Protocol.MODBUS:
        return _parse_register(table)
    if protocol is Protocol.DLMS:
        return _parse_attribute(table)
    # IEC 62056-6-1, annex A.2: the usual shortened code; meters that write another one say so in the model.
    return DataSetAddress(table.take("address", str, default=f"{obis.c}.{obis.d}.{obis.e}"))


def _parse_every(table: Table) -> int | None:
    if "every" not in table:
        return None
    every_ms = parse_duration(table.take("every", str), table.place("every"))
    if every_ms < EVERY_MIN_MS or DAY_MS % every_ms:
        raise table.error("every", "expected 1 s or more that divides a day: 1m, 15m, 30m, 1h, 1d …")
    return every_ms


def _parse_register(table: Table) -> ModbusRegister:
    try:
        scale = Decimal(table.take("scale", str, default="1"))
    except InvalidOperation:
        raise table.error("scale", "expected a decimal number in quotes, such as '0.1'") from None
    if not scale.is_finite() or scale <= 0:
        raise table.error("scale", f"found {scale}; expected a positive number")
    register = ModbusRegister(
        table=table.take("table", str, choices=("input", "holding")),
        address=table.integer("address", 0, 0xFFFF),
        type=_TYPES[table.take("type", str, choices=_TYPES)],
        word_order=table.take("word_order", str, default="big", choices=("big", "little")),
        scale=scale,
        byte_order=table.take("byte_order", str, default="big", choices=("big", "little")),
        missing=_parse_missing(table),
        exponent_at=table.integer("exponent_at", 0, 0xFFFF) if "exponent_at" in table else None,
    )
    if register.end - register.first > REGISTERS_PER_READ_MAX:
        raise table.error("exponent_at", f"found {register.exponent_at}; expected a register read with the value")
    if register.missing and len(register.missing) != 2 * register.type.registers:
        raise table.error(
            "missing", f"found {len(register.missing)} octets; the type has {2 * register.type.registers}"
        )
    if register.address + register.type.registers > 0x10000:
        raise table.error("address", "the value reaches beyond the last register, 0xFFFF")
    return register


def _parse_missing(table: Table) -> bytes:
    text = table.take("missing", str, default="")
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise table.error("missing", f"found {text!r}; expected octets such as '7f ff ff ff'") from error


def _parse_attribute(table: Table) -> CosemAttribute:
    return CosemAttribute(class_id=table.integer("class", 1, 255), attribute=table.integer("attribute", 1, 127))
