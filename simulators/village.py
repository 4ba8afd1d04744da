"""A village: gateways, buses and meters as a TOML file says, with the truth about every meter's energy.

The file ``villages/default.toml`` comes with congto and explains each key. A village starts on a date, the first day of
the month that is to be replayed; its meters were installed 62 days before, so their load profiles have a past. Silent
windows are days of that month and times of day in Vietnam.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from enum import Enum
from importlib.resources import files
from pathlib import Path
from typing import Any

from protocols.errors import UsageError
from protocols.meters.catalogue import load_model
from protocols.meters.model import Protocol
from protocols.obis import Obis
from protocols.strict_toml import Table, parse_toml
from protocols.utf8 import decode_text
from simulators.chance import key_of
from simulators.dlms.hdlc_line import PHYSICAL_ADDRESSES
from simulators.dlms.tcp import WPORTS
from simulators.faults import NO_FAULTS, FaultPlan
from simulators.loads import SIZE_KWH_MAX, Consumer, Kind
from simulators.meter import SimulatedMeter
from simulators.modbus.rtu import UNITS
from simulators.modbus.slave import Holes
from simulators.modbus.tcp import TCP_UNITS
from simulators.serial_line import LineSettings
from simulators.sky import PLACES
from simulators.vietnam_days import DAY_MS, local_midnight_ms

DAYS_BEFORE_START = 62  # the load profiles keep 60 days
PANELS_W_MAX = 10_000_000
SEED_MAX = (1 << 63) - 1  # TOML's largest integer
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")  # it becomes part of file names and MQTT topics


class BusKind(Enum):
    """What is spoken on a bus, and over what."""

    MODBUS_RTU = "modbus_rtu"
    MODBUS_TCP = "modbus_tcp"
    DLMS_HDLC = "dlms_hdlc"
    DLMS_TCP = "dlms_tcp"

    @property
    def protocol(self) -> Protocol:
        """The language of its meters."""
        return Protocol.MODBUS if self in {BusKind.MODBUS_RTU, BusKind.MODBUS_TCP} else Protocol.DLMS

    @property
    def is_serial(self) -> bool:
        """Whether it is a serial line."""
        return self in {BusKind.MODBUS_RTU, BusKind.DLMS_HDLC}

    @property
    def addresses(self) -> range:
        """Which addresses its meters may have: see the module that serves it for each source."""
        return _ADDRESSES[self]


_ADDRESSES = {
    BusKind.MODBUS_RTU: UNITS,
    BusKind.MODBUS_TCP: TCP_UNITS,
    BusKind.DLMS_HDLC: PHYSICAL_ADDRESSES,
    BusKind.DLMS_TCP: WPORTS,
}


@dataclass(frozen=True, slots=True)
class Bus:
    """A bus of a gateway; ``line`` is None for TCP."""

    name: str
    gateway: str
    kind: BusKind
    line: LineSettings | None
    turnaround_ms: int
    holes: Holes
    faults: FaultPlan


@dataclass(frozen=True, slots=True)
class VillageMeter:
    """A meter of the village: where it hangs, whom it serves, what the simulated device knows."""

    name: str
    bus: Bus
    device: SimulatedMeter
    consumer: Consumer
    secret: str  # DLMS low-level security; "" where there is none
    contract: Mapping[str, Any]  # the commercial side, as written in the file; means nothing to the simulator

    @property
    def model_key(self) -> str:
        """The key of its model."""
        return self.device.model.key

    @property
    def address(self) -> int:
        """Its address on the bus."""
        return self.device.address

    @property
    def serial(self) -> str:
        """The serial number on its face, ten digits; DLMS meters also tell it."""
        return self.device.serial

    @property
    def secret_env(self) -> str:
        """The environment variable from which an agent may take the secret."""
        return "CONGTO_SECRET_" + re.sub(r"[^A-Z0-9]", "_", self.name.upper())

    def true_wh(self, obis: Obis | str, at_ms: int) -> int:
        """Return what its register ``obis`` has counted at a time [Wh, varh]; UsageError for what is no register."""
        return self.device.true_wh(obis, at_ms)


@dataclass(frozen=True, slots=True)
class AgentBus:
    """A bus as an agent's configuration describes it: ``port`` or ``tcp``, and its meters."""

    gateway: str
    bus: Bus
    port: str | None
    tcp: str | None
    meters: tuple[VillageMeter, ...]


@dataclass(frozen=True, slots=True)
class Village:
    """What a village file says, from the date on which it starts."""

    name: str
    seed: int
    starts_on: date
    buses: tuple[Bus, ...]
    meters: tuple[VillageMeter, ...]

    @property
    def starts_at_ms(self) -> int:
        """The midnight in Vietnam with which the village starts. [ms since 1970 UTC]"""
        return local_midnight_ms(self.starts_on)

    @property
    def gateways(self) -> tuple[str, ...]:
        """The gateways in the order of the file."""
        return tuple(dict.fromkeys(bus.gateway for bus in self.buses))

    def meters_of(self, bus: Bus) -> tuple[VillageMeter, ...]:
        """Return the meters on a bus in the order of the file."""
        return tuple(meter for meter in self.meters if meter.bus is bus)

    def agent_buses(self, world: Mapping[str, Any]) -> list[AgentBus]:
        """Return every bus with where it can be reached; ``world`` is what ``world.json`` holds."""
        places = world["buses"]
        return [
            AgentBus(bus.gateway, bus, places[bus.name].get("port"), places[bus.name].get("tcp"), self.meters_of(bus))
            for bus in self.buses
        ]


def previous_month(today: date) -> date:
    """Return the first day of the calendar month before that of ``today``."""
    return (today.replace(day=1) - timedelta(days=1)).replace(day=1)


def load_village(path: Path | None, *, starts_on: date, seed: int | None = None) -> Village:
    """Return the village of a file, or the one that comes with congto.

    Raises
    ------
    UsageError
        Naming file, key and cure for whatever is wrong in the file.
    """
    if path is None:
        text = decode_text((files("simulators") / "villages" / "default.toml").read_bytes(), "default.toml")
        return parse_village(text, "default.toml", starts_on=starts_on, seed=seed)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: can't be read: {error}") from error
    return parse_village(text, str(path), starts_on=starts_on, seed=seed)


def parse_village(text: str, name: str, *, starts_on: date, seed: int | None = None) -> Village:
    """Return the village written in ``text``; ``name`` is its file, for errors; ``seed`` replaces its seed."""
    top = parse_toml(text, name)
    village_name = top.take("name", str)
    file_seed = top.integer("seed", 0, SEED_MAX)
    seed = file_seed if seed is None else seed
    buses: dict[str, Bus] = {}
    for table in top.tables("bus"):
        bus = _parse_bus(table)
        if buses.setdefault(bus.name, bus) is not bus:
            raise table.error("id", f"{bus.name!r} is the id of two buses")
    contracts = [each.get("contract", {}) for each in tomllib.loads(text).get("meter", [])]
    meters: dict[str, VillageMeter] = {}
    addresses: set[tuple[str, int]] = set()
    for table, contract in zip(top.tables("meter"), contracts, strict=True):
        meter = _parse_meter(table, buses, seed, starts_on, contract)
        if meters.setdefault(meter.name, meter) is not meter:
            raise table.error("id", f"{meter.name!r} is the id of two meters")
        if (meter.bus.name, meter.address) in addresses:
            raise table.error(
                "address", f"{meter.address} is taken on bus {meter.bus.name!r}; each meter needs its own"
            )
        addresses.add((meter.bus.name, meter.address))
    top.finish()
    if not meters:
        raise UsageError(f"{name}: no [[meter]]; a village needs one at least")
    return Village(village_name, seed, starts_on, tuple(buses.values()), tuple(meters.values()))


def _take_name(table: Table, key: str) -> str:
    name = table.take(key, str)
    if not NAME.fullmatch(name):
        raise table.error(key, f"found {name!r}; expected up to 64 letters, digits, '.', '_' and '-'")
    return name


def _parse_bus(table: Table) -> Bus:
    kind = BusKind(table.take("kind", str, choices=[each.value for each in BusKind]))
    line = None
    if kind.is_serial:
        line = LineSettings(
            baud=table.integer("baud", 300, 921_600),
            parity=table.take("parity", str, default="N", choices=("N", "E", "O")),
            stop_bits=table.integer("stop_bits", 1, 2, default=1),
        )
    bus = Bus(
        name=_take_name(table, "id"),
        gateway=_take_name(table, "gateway"),
        kind=kind,
        line=line,
        turnaround_ms=table.integer("turnaround_ms", 0, 10_000, default=5) if kind.is_serial else 0,
        holes=_parse_holes(table) if kind.protocol is Protocol.MODBUS else Holes.ZERO,
        faults=_parse_faults(table.table("faults")) if kind.is_serial and "faults" in table else NO_FAULTS,
    )
    table.finish()
    return bus


def _parse_holes(table: Table) -> Holes:
    return Holes(table.take("holes", str, default="zero", choices=[each.value for each in Holes]))


def _parse_faults(table: Table) -> FaultPlan:
    names = ("drop", "corrupt", "truncate", "delay", "split", "duplicate")
    plan = FaultPlan(
        **{name: table.integer(name, 0, 1000, default=0) for name in names},
        pause_ms=table.integer("pause_ms", 0, 60_000, default=700),
    )
    table.finish()
    return plan


def _parse_meter(
    table: Table, buses: Mapping[str, Bus], seed: int, starts_on: date, contract: Mapping[str, Any]
) -> VillageMeter:
    name = _take_name(table, "id")
    bus = buses[table.take("bus", str, choices=buses)]
    model = load_model(table.take("model", str))
    if model.protocol is not bus.kind.protocol:
        raise table.error("model", f"{model.key} speaks {model.protocol.value}, bus {bus.name!r} {bus.kind.value}")
    consumer = Consumer(
        kind=Kind(table.take("kind", str, choices=[each.value for each in Kind])),
        size_kwh=table.integer("size_kwh", 1, SIZE_KWH_MAX),
        place=table.take("place", str, choices=PLACES),
        seed=key_of(seed, name),
        sky_seed=key_of(seed, "sky"),
        panels_w=table.integer("panels_w", 0, PANELS_W_MAX, default=0),
    )
    if (consumer.kind is Kind.SOLAR) != (consumer.panels_w > 0):
        raise table.error("panels_w", f"found {consumer.panels_w} with kind {consumer.kind.value}; solar has panels")
    table.table("contract", required=False)
    device = SimulatedMeter(
        name,
        model,
        table.integer("address", bus.kind.addresses[0], bus.kind.addresses[-1]),
        consumer,
        installed_at_ms=local_midnight_ms(starts_on) - DAYS_BEFORE_START * DAY_MS,
        silent=tuple(_parse_silence(each, starts_on) for each in table.tables("silent")),
    )
    low = model.dlms is not None and model.dlms.mechanism == "low"
    secret = table.take("secret", str, default=f"{key_of(seed, name, 'secret') % 10**8:08}" if low else "")
    table.finish()
    return VillageMeter(name, bus, device, consumer, secret, contract)


def _parse_silence(table: Table, starts_on: date) -> tuple[int, int]:
    start, end = _parse_moment(table, "from", starts_on), _parse_moment(table, "to", starts_on)
    if start >= end:
        raise table.error("to", "ends before it begins")
    table.finish()
    return start, end


def _parse_moment(table: Table, key: str, starts_on: date) -> int:
    """Return the time written as day of the village's month and time of day in Vietnam: ``"10 06:30"``."""
    text = table.take(key, str)
    match = re.fullmatch(r"(\d{1,2}) (\d{2}):(\d{2})", text, re.ASCII)
    if match is None:
        raise table.error(key, f"found {text!r}; expected the day and the time of day, such as '10 06:30'")
    day, hour, minute = map(int, match.groups())
    if not 1 <= day <= 31 or hour * 60 + minute > 24 * 60 or minute > 59:
        raise table.error(key, f"found {text!r}; expected day 1 to 31 and 00:00 to 24:00")
    return local_midnight_ms(starts_on) + (day - 1) * DAY_MS + (hour * 60 + minute) * 60_000
