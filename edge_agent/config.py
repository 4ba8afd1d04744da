"""The agent's configuration: what ``agent.toml`` says, checked whole before anything opens.

See ``docs/contracts/agent-configuration.md``. Every error names the file, the key and what to do.
"""

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from edge_agent.broker_tls import BrokerTls, parse_broker_tls
from edge_agent.demand import admit
from edge_agent.dlms_access import Access, KeySource, from_environment, parse_access, parse_title
from edge_agent.keys import KeyFile, parse_key_place
from edge_agent.learned import Learned
from edge_agent.remote.settings import CommandsConfig, MetricsConfig, parse_commands, parse_metrics
from edge_agent.secret import Secret
from edge_agent.serial_line import LineSettings
from protocols.dlms.control import SHIFT_S_MAX
from protocols.errors import UsageError
from protocols.meters.catalogue import load_model
from protocols.meters.evidence import POWER_MAX_W
from protocols.meters.model import Group, Measurement, MeterModel, Protocol
from protocols.modbus.messages import UNIT_MAX, UNIT_MIN
from protocols.strict_toml import Table, parse_duration, parse_toml
from protocols.telemetry.topics import check_identifier

DAY_MS = 86_400_000
EVERY_MIN_MS = 1000
REPLY_TIMEOUT_MIN_MS, REPLY_TIMEOUT_MAX_MS = 5, 60_000
METERS_MAX = 2000  # a concentrator reads up to so many
SPOOL_MEGABYTES_DEFAULT = 1024
KEEP_RECEIPTED_MAX_MS = 62 * DAY_MS  # as far as a status tells days
PORTS = {"mqtt": 1883, "mqtts": 8883}
# IEC 62056-46, 6.4.2.3: 0x3FFF is all stations, 0x3FFE reserved; 1 to 15 are reserved too, but found in the field.
DLMS_PHYSICAL_MIN, DLMS_PHYSICAL_MAX = 1, 0x3FFD
WPORT_MAX = 0xFFFF
DEVICE_ADDRESS = re.compile(r"[0-9A-Za-z ]{0,32}")  # IEC 62056-21, 6.3.1
BAUD_MIN, BAUD_MAX = 300, 921_600
INTERVALS_MAX = 6  # of one meter; the load of a bus is summed over all that may fall together


@dataclass(frozen=True, slots=True)
class BrokerConfig:
    """Where to publish. ``password`` is kept out of the repr."""

    host: str
    port: int
    tls: BrokerTls | None
    username: str | None
    password: Secret | None
    reconnect_max_s: float
    resend_after_s: float


@dataclass(frozen=True, slots=True)
class TcpPlace:
    """A host and a port."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class MeterConfig:
    """A meter on a bus. ``every_ms`` has the interval of each group that is read."""

    id: str
    model: MeterModel
    address: int
    every_ms: Mapping[Group, int]
    access: Access | None
    heal: bool
    clock_limit_s: int | None = None
    intervals: Mapping[str, int] = field(default_factory=dict)  # of single measurements, by their keys
    line: LineSettings | None = None  # how the port is set while this meter is asked; None by TCP
    device: str = ""  # IEC 62056-21: the device address of the sign-on

    def interval_of(self, measurement: Measurement) -> int:
        """Return how often ``measurement``, which is read, is read: its own interval, the model's, or its group's."""
        own = self.intervals.get(measurement.key, measurement.every_ms)
        return self.every_ms[measurement.group] if own is None else own

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        """What is read: the groups that have an interval, and what has one of its own in the configuration."""
        return tuple(
            each for each in self.model.measurements if each.group in self.every_ms or each.key in self.intervals
        )


@dataclass(frozen=True, slots=True)
class BusConfig:
    """A line or a TCP place, and the meters behind it. By TCP all speak one protocol."""

    id: str
    place: LineSettings | TcpPlace
    reply_timeout_s: float
    meters: tuple[MeterConfig, ...]
    push: bool = False

    @property
    def is_paced(self) -> bool:
        """Whether octets take time on it: not on a simulated line that knows no baud rate."""
        return isinstance(self.place, TcpPlace) or self.place.paced

    @property
    def protocols(self) -> frozenset[Protocol]:
        """What is spoken on it."""
        return frozenset(meter.model.protocol for meter in self.meters)


@dataclass(frozen=True, slots=True)
class PushConfig:
    """Where pushes are taken over the network, if anywhere."""

    udp: TcpPlace | None = None
    tcp: TcpPlace | None = None


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """The whole file."""

    gateway: str
    spool: Path
    spool_octets_max: int
    keep_receipted_ms: int
    broker: BrokerConfig
    world: Path | None
    counters: Path
    learned: Path
    buses: tuple[BusConfig, ...]
    push: PushConfig = PushConfig()
    commands: CommandsConfig = field(default_factory=CommandsConfig)
    metrics: MetricsConfig = field(default_factory=MetricsConfig)


def load_config(path: Path, environment: Mapping[str, str] = os.environ) -> AgentConfig:
    """Return the configuration in the file ``path``; raise :class:`UsageError`."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: can't be read: {error}") from error
    return parse_config(text, path.name, path.resolve().parent, environment)


def parse_config(text: str, name: str, directory: Path, environment: Mapping[str, str]) -> AgentConfig:
    """Return the configuration in ``text``; relative paths in it are relative to ``directory``."""
    top = parse_toml(text, name)
    gateway = top.table("gateway")
    clock = top.table("clock", required=False)
    world = clock.take("world", str, default=None)
    spool = directory / gateway.take("spool", str)
    if not spool.parent.is_dir():
        raise gateway.error(
            "spool", f"the directory {spool.parent} does not exist; create it, owned by the agent's user"
        )
    source = KeySource(
        directory,
        environment,
        KeyFile(parse_key_place(top.table("keys"), directory, environment)) if "keys" in top else None,
        parse_title(gateway, "system_title"),
    )
    own = top.table("models", required=False)
    models = directory / own.take("directory", str) if "models" in top else None
    own.finish()
    config = AgentConfig(
        gateway=_identifier(gateway, "id"),
        spool=spool,
        spool_octets_max=gateway.integer("spool_megabytes", 1, 1 << 20, default=SPOOL_MEGABYTES_DEFAULT) << 20,
        keep_receipted_ms=_duration(gateway, "keep_receipted", "7d", 1000, KEEP_RECEIPTED_MAX_MS),
        broker=_parse_broker(top.table("broker"), directory, environment),
        world=None if world is None else directory / world,
        counters=_companion(spool, directory, ".counters", gateway.take("counters", str, default=None)),
        learned=_companion(spool, directory, ".learned", gateway.take("learned", str, default=None)),
        buses=tuple(_parse_bus(bus, source, models) for bus in top.tables("bus")),
        push=_parse_push(top.table("push", required=False)),
        commands=parse_commands(top.table("commands", required=False)),
        metrics=parse_metrics(top.table("metrics", required=False), directory),
    )
    gateway.finish()
    clock.finish()
    top.finish()
    if not config.buses:
        raise top.error("bus", "missing; describe at least one line with [[bus]]")
    _check_unique(top, config.buses)
    admit(name, config, {bus.id: Learned(bus, config.learned).all for bus in config.buses})
    return config


def _companion(spool: Path, directory: Path, suffix: str, said: str | None) -> Path:
    """Return the directory that ``said`` names, by default one beside the spool.

    It once was beside the configuration; where one lies there it stays: counters that are left behind are used twice.
    """
    if said is not None:
        return directory / said
    name = spool.name + suffix
    return directory / name if (directory / name).is_dir() else spool.with_name(name)


def _parse_broker(table: Table, directory: Path, environment: Mapping[str, str]) -> BrokerConfig:
    url = table.take("url", str)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or PORTS.get(parts.scheme, 0)
    except ValueError as error:
        raise table.error("url", f"found {url!r}: {error}") from error
    if parts.scheme not in PORTS or not host or parts.username or parts.path.strip("/") or parts.query:
        raise table.error("url", f"found {url!r}; expected mqtt://HOST:PORT or mqtts://HOST:PORT and no more")
    password_env = table.take("password_env", str, default=None)
    broker = BrokerConfig(
        host=host,
        port=port,
        tls=parse_broker_tls(table, directory, tls=parts.scheme == "mqtts"),
        username=table.take("username", str, default=None),
        password=None if password_env is None else from_environment(table, "password_env", password_env, environment),
        reconnect_max_s=_duration(table, "reconnect_max", "60s", 200, 3_600_000) / 1000,
        resend_after_s=_duration(table, "resend_after", "10s", 100, 3_600_000) / 1000,
    )
    table.finish()
    return broker


def _parse_bus(table: Table, source: KeySource, models: Path | None) -> BusConfig:
    bus_id = _identifier(table, "id")
    tcp = "tcp" in table
    tables = list(table.tables("meter"))
    meters = tuple(_parse_meter(meter, source, models, tcp) for meter in tables)
    if not meters:
        raise table.error("meter", "missing; a bus needs at least one [[bus.meter]]")
    place: LineSettings | TcpPlace
    if tcp:
        place = _tcp_place(table, "tcp")
        if len({meter.model.protocol for meter in meters}) > 1:
            raise table.error("meter", "two protocols at one TCP place; give each a bus of its own")
    else:
        first = meters[0].model.serial
        place = _line(table, LineSettings(str(source.directory / table.take("port", str)), *astuple(first)))
        place = replace(place, paced=table.take("paced", bool, default=True))
        _check_settings(table, tables, meters)
        mixed = len({meter.model.protocol for meter in meters}) > 1
        meters = tuple(
            replace(meter, line=_line(own, _bus_settings(table, place, meter.model, mixed=mixed)))
            for own, meter in zip(tables, meters, strict=True)
        )
    for own in tables:
        own.finish()
    bus = BusConfig(
        id=bus_id,
        place=place,
        reply_timeout_s=_duration(table, "reply_timeout", "500ms", REPLY_TIMEOUT_MIN_MS, REPLY_TIMEOUT_MAX_MS) / 1000,
        meters=meters,
        push=False if tcp else table.take("push", bool, default=False),
    )
    if bus.push and bus.protocols != {Protocol.DLMS}:
        raise table.error("push", "only DLMS meters push, on a line of their own; leave this key out")
    table.finish()
    return bus


def _line(table: Table, default: LineSettings) -> LineSettings:
    """Return the line's settings as ``table`` says, and else ``default``."""
    return replace(
        default,
        baud=table.integer("baud", BAUD_MIN, BAUD_MAX, default=default.baud),
        parity=table.take("parity", str, default=default.parity, choices=("N", "E", "O")),
        stop_bits=table.integer("stop_bits", 1, 2, default=default.stop_bits),
    )


def _bus_settings(table: Table, place: LineSettings, model: MeterModel, *, mixed: bool) -> LineSettings:
    """Return what a meter's line is set to if it says nothing itself: the bus's word, else its model's.

    Meters of IEC 62056-21 are 7E1 whatever their neighbours of another protocol are.
    """
    serial = model.serial
    if mixed and model.protocol is Protocol.IEC62056_21:
        return replace(place, baud=place.baud if "baud" in table else serial.baud, parity=serial.parity, stop_bits=1)
    return replace(
        place,
        baud=place.baud if "baud" in table else serial.baud,
        parity=place.parity if "parity" in table else serial.parity,
        stop_bits=place.stop_bits if "stop_bits" in table else serial.stop_bits,
    )


def _parse_push(table: Table) -> PushConfig:
    push = PushConfig(
        udp=_tcp_place(table, "udp") if "udp" in table else None,
        tcp=_tcp_place(table, "tcp") if "tcp" in table else None,
    )
    table.finish()
    return push


def _tcp_place(table: Table, key: str) -> TcpPlace:
    text = table.take(key, str)
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 1 <= int(port) <= 65_535:
        raise table.error(key, f"found {text!r}; expected HOST:PORT")
    return TcpPlace(host.strip("[]"), int(port))


def _check_settings(table: Table, tables: Sequence[Table], meters: tuple[MeterConfig, ...]) -> None:
    """Refuse a line whose settings are left to the models when those of one protocol disagree."""
    for key in ("baud", "parity", "stop_bits"):
        for protocol in {meter.model.protocol for meter in meters}:
            wanted = {
                str(getattr(meter.model.serial, key))
                for own, meter in zip(tables, meters, strict=True)
                if meter.model.protocol is protocol and key not in own
            }
            if key not in table and len(wanted) > 1:
                raise table.error(
                    key,
                    f"the models on this bus are delivered with {', '.join(sorted(wanted))}; say which holds, "
                    "here or at the meters",
                )


def _parse_meter(table: Table, source: KeySource, models: Path | None, tcp: bool) -> MeterConfig:
    try:
        model = load_model(table.take("model", str), models)
    except UsageError as error:
        raise table.error("model", str(error)) from error
    if "power_max_w" in table:  # behind transformers only the installer knows it
        power_max_w = table.integer("power_max_w", 1, POWER_MAX_W)
        model = replace(model, counters=replace(model.counters, power_max_w=power_max_w))
    every = {Group.BILLING: _interval(table, "every", "30m")}
    if "instantaneous_every" in table:
        every[Group.INSTANTANEOUS] = _interval(table, "instantaneous_every", "30m")
    name = _identifier(table, "id")
    address, device = _address(table, model, tcp)
    meter = MeterConfig(
        id=name,
        model=model,
        address=address,
        device=device,
        every_ms=every,
        access=parse_access(table, name, model, source),
        heal=table.take("heal", bool, default=model.profile is not None),
        clock_limit_s=_clock_limit(table, model),
        intervals=_intervals(table, model),
    )
    count = len({meter.interval_of(each) for each in meter.measurements})
    if count > INTERVALS_MAX:
        raise table.error("intervals", f"{count} different intervals; at most {INTERVALS_MAX} of one meter are kept")
    if meter.heal and model.profile is None:
        raise table.error("heal", f"the model {model.key} has no load profile; leave this key out")
    return meter


def _address(table: Table, model: MeterModel, tcp: bool) -> tuple[int, str]:
    """Return the number of a Modbus or DLMS meter, or the characters that wake one of IEC 62056-21."""
    if model.protocol is Protocol.IEC62056_21:
        if tcp:
            raise table.error("model", f"the model {model.key} is read on a serial line; give the bus a port")
        device = table.take("address", str, default="")
        if not DEVICE_ADDRESS.fullmatch(device):
            raise table.error("address", f"found {device!r}; expected up to 32 digits, letters and spaces in quotes")
        return 0, device
    if model.protocol is Protocol.MODBUS:
        return table.integer("address", UNIT_MIN, UNIT_MAX), ""
    lowest, highest = (1, WPORT_MAX) if tcp else (DLMS_PHYSICAL_MIN, DLMS_PHYSICAL_MAX)
    return table.integer("address", lowest, highest), ""


def _intervals(table: Table, model: MeterModel) -> dict[str, int]:
    own = table.table("intervals", required=False)
    known = {each.key for each in model.measurements}
    for name in own.names():
        if name not in known:
            raise own.error(name, f"the model {model.key} measures no such thing; it has {', '.join(sorted(known))}")
    found = {name: _interval(own, name, "") for name in own.names()}
    own.finish()
    return found


def _clock_limit(table: Table, model: MeterModel) -> int | None:
    if "clock_limit" not in table:
        return None
    limit_ms = _duration(table, "clock_limit", "", 1000, SHIFT_S_MAX * 1000)
    if model.dlms is None:
        raise table.error("clock_limit", f"the model {model.key} has no clock that could be set; leave this key out")
    return limit_ms // 1000


def _identifier(table: Table, key: str) -> str:
    text = table.take(key, str)
    try:
        return check_identifier(text, key)
    except UsageError as error:
        raise table.error(key, str(error)) from error


def _interval(table: Table, key: str, default: str) -> int:
    interval_ms = _duration(table, key, default, EVERY_MIN_MS, DAY_MS)
    if DAY_MS % interval_ms:
        raise table.error(key, "does not divide a day; readings lie on the clock's boundaries: 1m, 15m, 30m, 1h, 1d …")
    return interval_ms


def _duration(table: Table, key: str, default: str, lowest_ms: int, highest_ms: int) -> int:
    text = table.take(key, str, default=default)
    duration_ms = parse_duration(text, table.place(key))
    if not lowest_ms <= duration_ms <= highest_ms:
        raise table.error(key, f"found {text!r}; expected {lowest_ms} ms to {highest_ms} ms")
    return duration_ms


def _check_unique(top: Table, buses: tuple[BusConfig, ...]) -> None:
    """Refuse what would be two things under one name, or two meters that answer to one address."""
    _refuse_double(top, "bus", "id", [bus.id for bus in buses])
    _refuse_double(top, "bus", "port", [bus.place.port for bus in buses if isinstance(bus.place, LineSettings)])
    _refuse_double(top, "bus.meter", "id", [meter.id for bus in buses for meter in bus.meters])
    for bus in buses:
        for protocol in bus.protocols:
            addresses = [meter.device or meter.address for meter in bus.meters if meter.model.protocol is protocol]
            _refuse_double(top, f"bus {bus.id}", "address", addresses)
    count = sum(len(bus.meters) for bus in buses)
    if count > METERS_MAX:
        raise top.error("bus", f"{count} meters; a gateway reads up to {METERS_MAX}")


def _refuse_double(top: Table, where: str, key: str, found: Iterable[str | int]) -> None:
    for value, count in Counter(found).items():
        if count > 1:
            raise top.error(where, f"two have the same {key} {value!r}; give each its own")
