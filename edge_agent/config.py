"""The agent's configuration: what ``agent.toml`` says, checked whole before anything opens.

See ``docs/contracts/agent-configuration.md``. Every error names the file, the key and what to do.
"""

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from edge_agent.dlms_access import Access, KeySource, from_environment, parse_access, parse_title
from edge_agent.keys import KeyFile, parse_key_place
from edge_agent.secret import Secret
from edge_agent.serial_line import LineSettings
from protocols.dlms.control import SHIFT_S_MAX
from protocols.errors import UsageError
from protocols.meters.catalogue import load_model
from protocols.meters.model import Group, MeterModel, Protocol
from protocols.modbus.messages import UNIT_MAX, UNIT_MIN
from protocols.strict_toml import Table, parse_duration, parse_toml
from protocols.telemetry.topics import check_identifier

DAY_MS = 86_400_000
EVERY_MIN_MS = 1000
REPLY_TIMEOUT_MIN_MS, REPLY_TIMEOUT_MAX_MS = 5, 60_000
METERS_MAX = 2000  # a concentrator reads up to so many
SPOOL_MEGABYTES_DEFAULT = 1024
PORTS = {"mqtt": 1883, "mqtts": 8883}
# IEC 62056-46, 6.4.2.3: 0x3FFF is all stations, 0x3FFE reserved; 1 to 15 are reserved too, but found in the field.
DLMS_PHYSICAL_MIN, DLMS_PHYSICAL_MAX = 1, 0x3FFD
WPORT_MAX = 0xFFFF


@dataclass(frozen=True, slots=True)
class BrokerConfig:
    """Where to publish. ``password`` is kept out of the repr."""

    host: str
    port: int
    tls: bool
    ca_file: Path | None
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


@dataclass(frozen=True, slots=True)
class BusConfig:
    """A line or a TCP place, and the meters behind it; all speak one protocol."""

    id: str
    protocol: Protocol
    place: LineSettings | TcpPlace
    reply_timeout_s: float
    meters: tuple[MeterConfig, ...]
    push: bool = False


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
    broker: BrokerConfig
    world: Path | None
    counters: Path
    buses: tuple[BusConfig, ...]
    push: PushConfig = PushConfig()


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
        broker=_parse_broker(top.table("broker"), directory, environment),
        world=None if world is None else directory / world,
        counters=directory / gateway.take("counters", str, default=f"{spool.name}.counters"),
        buses=tuple(_parse_bus(bus, source, models) for bus in top.tables("bus")),
        push=_parse_push(top.table("push", required=False)),
    )
    gateway.finish()
    clock.finish()
    top.finish()
    if not config.buses:
        raise top.error("bus", "missing; describe at least one line with [[bus]]")
    _check_unique(top, config.buses)
    return config


def _parse_broker(table: Table, directory: Path, environment: Mapping[str, str]) -> BrokerConfig:
    url = table.take("url", str)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or PORTS.get(parts.scheme, 0)
    except ValueError as error:
        raise table.error("url", f"found {url!r}: {error}") from error
    if parts.scheme not in PORTS or not host or parts.username or parts.path.strip("/") or parts.query:
        raise table.error("url", f"found {url!r}; expected mqtt://HOST:PORT or mqtts://HOST:PORT and no more")
    ca_file = table.take("ca_file", str, default=None)
    if ca_file is not None and not (directory / ca_file).is_file():
        raise table.error("ca_file", f"{directory / ca_file} does not exist; put the authority's certificate there")
    password_env = table.take("password_env", str, default=None)
    broker = BrokerConfig(
        host=host,
        port=port,
        tls=parts.scheme == "mqtts",
        ca_file=None if ca_file is None else directory / ca_file,
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
    meters = tuple(_parse_meter(meter, source, models, tcp) for meter in table.tables("meter"))
    if not meters:
        raise table.error("meter", "missing; a bus needs at least one [[bus.meter]]")
    protocols = {meter.model.protocol for meter in meters}
    if len(protocols) > 1:
        raise table.error("meter", "Modbus and DLMS meters on one bus; put each protocol on a bus of its own")
    first = meters[0].model.serial
    place: LineSettings | TcpPlace
    if tcp:
        place = _tcp_place(table, "tcp")
    else:
        place = LineSettings(
            port=str(source.directory / table.take("port", str)),
            baud=table.integer("baud", 300, 921_600, default=first.baud),
            parity=table.take("parity", str, default=first.parity, choices=("N", "E", "O")),
            stop_bits=table.integer("stop_bits", 1, 2, default=first.stop_bits),
            paced=table.take("paced", bool, default=True),
        )
        _check_settings(table, meters)
    bus = BusConfig(
        id=bus_id,
        protocol=protocols.pop(),
        place=place,
        reply_timeout_s=_duration(table, "reply_timeout", "500ms", REPLY_TIMEOUT_MIN_MS, REPLY_TIMEOUT_MAX_MS) / 1000,
        meters=meters,
        push=False if tcp else table.take("push", bool, default=False),
    )
    if bus.push and bus.protocol is not Protocol.DLMS:
        raise table.error("push", "only DLMS meters push; leave this key out")
    table.finish()
    return bus


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


def _check_settings(table: Table, meters: tuple[MeterConfig, ...]) -> None:
    """Refuse a line whose settings are left to the models when these disagree."""
    for key in ("baud", "parity", "stop_bits"):
        wanted = {str(getattr(meter.model.serial, key)) for meter in meters}
        if key not in table and len(wanted) > 1:
            raise table.error(
                key, f"the models on this bus are delivered with {', '.join(sorted(wanted))}; say which holds"
            )


def _parse_meter(table: Table, source: KeySource, models: Path | None, tcp: bool) -> MeterConfig:
    try:
        model = load_model(table.take("model", str), models)
    except UsageError as error:
        raise table.error("model", str(error)) from error
    every = {Group.BILLING: _interval(table, "every", "30m")}
    if "instantaneous_every" in table:
        every[Group.INSTANTANEOUS] = _interval(table, "instantaneous_every", "30m")
    lowest, highest = UNIT_MIN, UNIT_MAX
    if model.protocol is Protocol.DLMS:
        lowest, highest = (1, WPORT_MAX) if tcp else (DLMS_PHYSICAL_MIN, DLMS_PHYSICAL_MAX)
    name = _identifier(table, "id")
    meter = MeterConfig(
        id=name,
        model=model,
        address=table.integer("address", lowest, highest),
        every_ms=every,
        access=parse_access(table, name, model, source),
        heal=table.take("heal", bool, default=model.profile is not None),
        clock_limit_s=_clock_limit(table, model),
    )
    if meter.heal and model.profile is None:
        raise table.error("heal", f"the model {model.key} has no load profile; leave this key out")
    table.finish()
    return meter


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
        _refuse_double(top, f"bus {bus.id}", "address", [meter.address for meter in bus.meters])
    count = sum(len(bus.meters) for bus in buses)
    if count > METERS_MAX:
        raise top.error("bus", f"{count} meters; a gateway reads up to {METERS_MAX}")


def _refuse_double(top: Table, where: str, key: str, found: Iterable[str | int]) -> None:
    for value, count in Counter(found).items():
        if count > 1:
            raise top.error(where, f"two have the same {key} {value!r}; give each its own")
