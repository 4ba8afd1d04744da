"""How a DLMS meter model is addressed, entered and asked: the tables ``[dlms]``, ``[profile]`` and ``[logs]``.

Words only: what they mean on the wire is :mod:`protocols.meters.dlms_rules`, which programs without a line need not
know.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from protocols.obis import Obis
from protocols.strict_toml import Table, parse_duration

MECHANISMS = ("none", "low", "high", "high-md5", "high-sha1", "high-gmac", "high-sha256", "high-ecdsa")
SECURITIES = ("none", "authenticated", "encrypted", "authenticated and encrypted")
ASSOCIATIONS = ("as needed", "kept", "reopened")
PUBLIC_CLIENT_SAP = 16  # IEC 62056-5-3, annex B
LIST_ITEMS_MAX = 64  # an answer of so many registers fills a PDU of 1 kB; more are asked for in further lists
LIST_ITEMS_DEFAULT = 10  # an answer of ten registers fits a PDU of 128 octets, so no meter needs blocks for it
INFO_OCTETS_DEFAULT, INFO_OCTETS_MAX = 128, 2030  # IEC 62056-46, 6.4.4.4.3.2; what eleven bits of length leave
WINDOW_MAX = 7  # HDLC counts frames modulo eight
LOGS_MAX = 16


@dataclass(frozen=True, slots=True)
class DlmsSettings:
    """How a DLMS meter is addressed and entered as delivered.

    ``info_octets`` and ``window`` are proposed for HDLC: larger ones make load profiles faster where the meter has
    them. With ``address_octets`` 1 the meter's address is its logical device. ``association`` is "as needed" (kept
    when the meter is read again soon), "kept" (until the meter ends it) or "reopened" (for each reading anew).
    With ``general_blocks`` what is longer than a PDU is asked for in general blocks, if the meter grants them.
    ``security`` protects every APDU; ``counter`` is the object in which the meter tells the public client our
    invocation counter. ``quirks`` are fields of ``protocols.dlms.quirks.Quirks``.
    """

    client_sap: int
    server_logical: int
    mechanism: str  # one of MECHANISMS
    with_list: bool  # several attributes may be asked for in one request
    list_items_max: int = LIST_ITEMS_DEFAULT
    short_names: bool = False
    address_octets: int | None = None  # of the HDLC server address; None: two, or four where they are needed
    info_octets: int = INFO_OCTETS_DEFAULT
    window: int = 1
    association: str = "as needed"
    security: str = "none"
    suite: int = 0
    general: bool = False
    dedicated_key: bool = False
    general_blocks: bool = False
    counter: Obis | None = None
    public_client_sap: int = PUBLIC_CLIENT_SAP
    relay: Obis | None = None
    quirks: Mapping[str, bool | int | str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LoadProfile:
    """A DLMS meter's load profile: which object, at what interval it captures."""

    obis: Obis
    interval_ms: int


@dataclass(frozen=True, slots=True)
class EventLog:
    """One of a DLMS meter's event logs (profile 0.0.99.98.e): its name here and its object."""

    name: str
    obis: Obis


def parse_dlms(table: Table) -> DlmsSettings:
    """Return the settings in ``[dlms]``; raise :class:`protocols.errors.UsageError`."""
    settings = DlmsSettings(
        client_sap=table.integer("client_sap", 1, 127),
        server_logical=table.integer("server_logical", 1, 0x3FFF),
        mechanism=table.take("mechanism", str, choices=MECHANISMS),
        with_list=table.take("with_list", bool),
        list_items_max=table.integer("list_items_max", 1, LIST_ITEMS_MAX, default=LIST_ITEMS_DEFAULT),
        short_names=table.take("short_names", bool, default=False),
        address_octets=None if "address_octets" not in table else table.take("address_octets", int, choices=(1, 2, 4)),
        info_octets=table.integer("info_octets", 1, INFO_OCTETS_MAX, default=INFO_OCTETS_DEFAULT),
        window=table.integer("window", 1, WINDOW_MAX, default=1),
        association=table.take("association", str, default="as needed", choices=ASSOCIATIONS),
        security=table.take("security", str, default="none", choices=SECURITIES),
        suite=table.integer("suite", 0, 2, default=0),
        general=table.take("general", bool, default=False),
        dedicated_key=table.take("dedicated_key", bool, default=False),
        general_blocks=table.take("general_blocks", bool, default=False),
        counter=_obis(table, "counter"),
        public_client_sap=table.integer("public_client_sap", 1, 127, default=PUBLIC_CLIENT_SAP),
        relay=_obis(table, "relay"),
        quirks=_quirks(table),
    )
    if settings.security == "none" and (settings.general or settings.dedicated_key):
        raise table.error("security", "general and dedicated_key are ways of ciphering; say with which security")
    table.finish()
    return settings


def parse_profile(table: Table) -> LoadProfile:
    """Return the load profile in ``[profile]``."""
    profile = LoadProfile(
        obis=Obis.parse(table.take("obis", str)),
        interval_ms=parse_duration(table.take("interval", str), table.place("interval")),
    )
    table.finish()
    return profile


def parse_logs(table: Table) -> tuple[EventLog, ...]:
    """Return the event logs in ``[logs]``: name and OBIS code."""
    logs = tuple(EventLog(name, Obis.parse(table.take(name, str))) for name in table.names())
    if len(logs) > LOGS_MAX:
        raise table.error(logs[LOGS_MAX].name, f"more than {LOGS_MAX} event logs")
    return logs


def _obis(table: Table, key: str) -> Obis | None:
    text = table.take(key, str, default=None)
    return None if text is None else Obis.parse(text)


def _quirks(table: Table) -> dict[str, bool | int | str]:
    """Return the quirks as they stand; :mod:`protocols.meters.dlms_rules` knows which there are and of what kind."""
    quirks = table.table("quirks", required=False)
    found: dict[str, bool | int | str] = {}
    for name in quirks.names():
        kind = quirks.kind(name)
        if kind is bool:
            found[name] = quirks.take(name, bool)
        elif kind is int:
            found[name] = quirks.take(name, int)
        else:
            found[name] = quirks.take(name, str)
    return found
