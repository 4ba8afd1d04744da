"""The registry's file: what a TOML text says, checked as far as it can be without the database.

The format and an example are in ``docs/contracts/registry.md``.
"""

from dataclasses import dataclass
from datetime import date, datetime
from typing import NamedTuple

from billing_core.rate_plan import parse_rate_plan
from ingest_server.registry.contract import Contract, parse_contract
from ingest_server.registry.set_meters import MeterSchedule, RegisterReset, parse_resets, parse_schedule
from protocols.errors import UsageError
from protocols.meters.catalogue import load_model, model_keys
from protocols.obis import Obis, base_unit
from protocols.strict_toml import Table, parse_toml
from protocols.telemetry.topics import check_identifier

CUSTOMER_CHARACTERS = 13  # EVN's customer code: six of the unit, seven of the customer
POINT_CHARACTERS_MAX = 32
TEXT_CHARACTERS_MAX = 500
DIGITS_MIN, DIGITS_MAX, DIGITS_DEFAULT = 4, 12, 9
INTERVAL_MIN_DEFAULT = 30
DAY_MIN = 1440
MULTIPLIER_MAX = 10_000_000  # CT × VT, as billing takes it


UNIT_CHARACTERS = 6  # of EVN's customer code
BOOK_CHARACTERS_MAX = 32
CYCLES = ("monthly", "twice", "three_times")
ROLES = ("supply", "generation")


class Gateway(NamedTuple):
    """A concentrator, known by the name in its topics."""

    gateway_id: str


class Meter(NamedTuple):
    """A meter, the gateway that reads it, how its registers count, and how often a reading of it is expected."""

    meter_id: str
    gateway_id: str
    model: str
    serial: str | None
    digits: int
    interval_min: int = INTERVAL_MIN_DEFAULT
    feeder: str | None = None


class Channel(NamedTuple):
    """What a meter measures under one OBIS code."""

    meter_id: str
    obis: str
    unit: str


class Customer(NamedTuple):
    """Who pays."""

    customer_id: str
    name: str
    address: str


class ReadingBook(NamedTuple):
    """Points that are read and billed together, by the day they are read on."""

    book_id: str
    unit: str
    reading_day: int
    cycle: str
    reader: str


class MeteringPoint(NamedTuple):
    """Where a customer's energy is measured."""

    metering_point_id: str
    customer_id: str
    book_id: str | None


class Installation(NamedTuple):
    """Which meter measures a point from when until when (half-open), and by what its registers are multiplied."""

    metering_point_id: str
    installed_at: datetime
    meter_id: str
    removed_at: datetime | None
    multiplier: int
    role: str = "supply"

    @property
    def key(self) -> tuple[object, ...]:
        """Its place among ``Registry.places``: a meter of generation may be hung up when the one that bills is."""
        return ("installation", self.metering_point_id, self.installed_at, self.role)


class DatedPlan(NamedTuple):
    """A rate plan from a day on; ``figures`` are JSON."""

    name: str
    effective_on: date
    figures: str


@dataclass(frozen=True, slots=True)
class Registry:
    """A file's rows, and where in the file each stands: ``places["meter", "M-0001"]`` is ``village.toml: meter[3]``."""

    name: str
    gateways: tuple[Gateway, ...]
    meters: tuple[Meter, ...]
    channels: tuple[Channel, ...]
    customers: tuple[Customer, ...]
    reading_books: tuple[ReadingBook, ...]
    metering_points: tuple[MeteringPoint, ...]
    installations: tuple[Installation, ...]
    contracts: tuple[Contract, ...]
    rate_plans: tuple[DatedPlan, ...]
    register_resets: tuple[RegisterReset, ...]
    meter_schedules: tuple[MeterSchedule, ...]
    places: dict[tuple[object, ...], str]


def parse_registry(text: str, name: str) -> Registry:
    """Return what ``text`` says; ``name`` is the file's name, for errors.

    Raises
    ------
    UsageError
        Naming file, key and cure, if a key is missing, unknown, of a wrong type or value, or something stands twice.
    """
    top = parse_toml(text, name)
    places: dict[tuple[object, ...], str] = {}
    gateways, meters, channels, customers, points, installations, contracts = [], [], [], [], [], [], []
    books: list[ReadingBook] = []
    for table in top.tables("gateway"):
        gateways.append(Gateway(_identifier(table, "id")))
        _note(places, ("gateway", gateways[-1].gateway_id), table, "id")
    serials: dict[tuple[str, str], str] = {}
    for table in top.tables("meter"):
        meter = _meter(table, serials)
        meters.append(meter)
        channels += _channels(table, meter)
        _note(places, ("meter", meter.meter_id), table, "id")
    for table in top.tables("customer"):
        customers.append(_customer(table))
        _note(places, ("customer", customers[-1].customer_id), table, "id")
    for table in top.tables("reading_book"):
        books.append(_reading_book(table))
        _note(places, ("reading_book", books[-1].book_id), table, "id")
    for table in top.tables("metering_point"):
        points.append(_metering_point(table))
        _note(places, ("metering_point", points[-1].metering_point_id), table, "id")
    for table in top.tables("installation"):
        installation = _installation(table)
        installations.append(installation)
        _note(places, installation.key, table, "installed_at")
    for table in top.tables("contract"):
        contract = parse_contract(table, _text(table, "metering_point"))
        contracts.append(contract)
        _note(places, ("contract", *contract[:2]), table, "valid_from")
    plans: list[DatedPlan] = []
    for table in top.tables("rate_plan"):
        plan = parse_rate_plan(table)
        plans.append(DatedPlan(plan.name, plan.effective_on, plan.text))
        _note(places, ("rate_plan", *plans[-1][:2]), table, "effective_on")
    resets, schedules = _set_meters(top, places)
    top.finish()
    return Registry(
        name,
        tuple(gateways),
        tuple(meters),
        tuple(channels),
        tuple(customers),
        tuple(books),
        tuple(points),
        tuple(installations),
        tuple(contracts),
        tuple(plans),
        tuple(resets),
        tuple(schedules),
        places,
    )


def _set_meters(top: Table, places: dict[tuple[object, ...], str]) -> tuple[list[RegisterReset], list[MeterSchedule]]:
    resets: list[RegisterReset] = []
    for table in top.tables("register_reset"):
        own = parse_resets(table, _identifier(table, "meter"), _instant(table, "at"))
        resets += own
        _note(places, ("register_reset", *own[0][:2]), table, "at")
    schedules: list[MeterSchedule] = []
    for table in top.tables("meter_schedule"):
        schedules.append(parse_schedule(table, _identifier(table, "meter"), _instant(table, "since")))
        _note(places, ("meter_schedule", *schedules[-1][:2]), table, "since")
    return resets, schedules


def _note(places: dict[tuple[object, ...], str], key: tuple[object, ...], table: Table, last: str) -> None:
    """Remember where ``key`` stands; all keys of its table have been asked for by now."""
    if key in places:
        found = " from ".join(map(str, key[1:3])) + "".join(f" as {role}" for role in key[3:])
        raise table.error(last, f"{found} stands twice; the first is {places[key].rpartition(': ')[2]}: keep one")
    places[key] = table.where
    table.finish()


def _identifier(table: Table, key: str) -> str:
    text = table.take(key, str)
    try:
        return check_identifier(text, key)
    except UsageError as error:
        raise table.error(key, str(error)) from error


def _text(table: Table, key: str, characters_max: int = TEXT_CHARACTERS_MAX, *, default: str | None = None) -> str:
    text = table.take(key, str) if default is None else table.take(key, str, default=default)
    if len(text) > characters_max or (text and not text.isprintable()) or text != text.strip():
        raise table.error(key, f"found {text[:60]!r}; expected at most {characters_max} printable characters")
    if not text and default is None:
        raise table.error(key, "is empty")
    return text


def _meter(table: Table, serials: dict[tuple[str, str], str]) -> Meter:
    meter = Meter(
        meter_id=_identifier(table, "id"),
        gateway_id=_identifier(table, "gateway"),
        model=table.take("model", str, choices=model_keys()),
        serial=_text(table, "serial", 64) if "serial" in table else None,
        digits=table.integer("digits", DIGITS_MIN, DIGITS_MAX, default=DIGITS_DEFAULT),
        interval_min=table.integer("interval_min", 1, DAY_MIN, default=INTERVAL_MIN_DEFAULT),
        feeder=_text(table, "feeder", 64) if "feeder" in table else None,
    )
    if DAY_MIN % meter.interval_min:
        raise table.error(
            "interval_min", f"{meter.interval_min} minutes do not divide a day; take 1, 5, 10, 15, 30, 60"
        )
    if meter.serial is not None:
        other = serials.setdefault((meter.model, meter.serial), meter.meter_id)
        if other != meter.meter_id:
            raise table.error(
                "serial", f"{meter.serial!r} is also the serial of {other}; read the number on the meter again"
            )
    return meter


def _channels(table: Table, meter: Meter) -> list[Channel]:
    if "channels" not in table:
        codes = [measurement.obis for measurement in load_model(meter.model).measurements]
        return [Channel(meter.meter_id, str(code), base_unit(code)) for code in codes]
    given = table.take("channels", list)
    if not given or any(type(each) is not str for each in given):
        raise table.error("channels", 'expected a list of OBIS codes such as ["1.0.1.8.0"]')
    try:
        channels = [Channel(meter.meter_id, str(code), base_unit(code)) for code in map(Obis.parse, given)]
    except UsageError as error:
        raise table.error("channels", str(error)) from error
    if len(set(channels)) != len(channels):
        raise table.error("channels", "an OBIS code stands twice; keep one")
    return channels


def _customer(table: Table) -> Customer:
    customer = Customer(_text(table, "id"), _text(table, "name"), _text(table, "address", default=""))
    code = customer.customer_id
    if len(code) != CUSTOMER_CHARACTERS or not (code.isascii() and code.isalnum()):
        raise table.error("id", f"found {code!r}; expected {CUSTOMER_CHARACTERS} letters and digits: PD0100 + 0012345")
    return customer


def _reading_book(table: Table) -> ReadingBook:
    book = ReadingBook(
        book_id=_text(table, "id", BOOK_CHARACTERS_MAX),
        unit=_text(table, "unit"),
        reading_day=table.integer("reading_day", 1, 31),
        cycle=table.take("cycle", str, default=CYCLES[0], choices=CYCLES),
        reader=_text(table, "reader", default=""),
    )
    if len(book.unit) != UNIT_CHARACTERS:
        raise table.error(
            "unit", f"found {book.unit!r}; expected the {UNIT_CHARACTERS} characters customer codes begin with"
        )
    return book


def _metering_point(table: Table) -> MeteringPoint:
    return MeteringPoint(
        metering_point_id=_text(table, "id", POINT_CHARACTERS_MAX),
        customer_id=_text(table, "customer"),
        book_id=_text(table, "book", BOOK_CHARACTERS_MAX) if "book" in table else None,
    )


def _installation(table: Table) -> Installation:
    installation = Installation(
        metering_point_id=_text(table, "metering_point"),
        installed_at=_instant(table, "installed_at"),
        meter_id=_identifier(table, "meter"),
        removed_at=_instant(table, "removed_at") if "removed_at" in table else None,
        multiplier=table.integer("multiplier", 1, MULTIPLIER_MAX, default=1),
        role=table.take("role", str, default=ROLES[0], choices=ROLES),
    )
    if installation.removed_at is not None and installation.removed_at <= installation.installed_at:
        raise table.error("removed_at", f"{installation.removed_at} is not after installed_at")
    return installation


def _instant(table: Table, key: str) -> datetime:
    found = table.take(key, datetime)
    if found.tzinfo is None:
        raise table.error(key, f"found {found} without an offset; write {found.isoformat()}+07:00 for Vietnam's time")
    return found
