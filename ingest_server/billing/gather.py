"""Gather: what one chunk of metering points needs to be billed, read from one snapshot as columns."""

from dataclasses import dataclass, replace
from datetime import date
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection
from psycopg.rows import dict_row

from billing_core.codes import Solar
from billing_core.tariff_files import load_tariffs
from ingest_server.billing import queries
from ingest_server.billing.by_interval import needs_of_terms
from ingest_server.billing.columns import (
    FOREVER,
    INTERVAL_ENERGY,
    MISSING,
    NONE,
    REGISTERS,
    Int64Array,
    Points,
    Spans,
    Terms,
    day_number,
    day_of,
    empty_registers,
)
from ingest_server.billing.demands import ratchet_months, with_demands
from ingest_server.billing.fallen import gather_falls
from ingest_server.billing.history import (
    gather_issued,
    gather_previous,
    gather_previous_month,
    with_carried_by_rate,
)
from ingest_server.billing.period import Period, midnight_of, us_of
from ingest_server.billing.profile_readings import gather_profiles
from ingest_server.billing.readings import parts_within, read_parts
from ingest_server.billing.resets import gather_resets, gather_said_set
from ingest_server.billing.spans import Contracts, billed_spans
from ingest_server.billing.unbilled import with_unbilled
from ingest_server.database.binary_rows import Field, fetch_columns

REACTIVE_NEVER_KW = 2**31 - 1  # where no table of surcharges is in force
NET = Solar.NET_2017.value
METERS_SPREAD_MAX = 4  # a range of meters with more than so many others per wanted one is not worth reading through
POSTGRES_EPOCH_US = 946_684_800_000_000  # 2000-01-01 UTC, where PostgreSQL's binary timestamps begin


@dataclass(frozen=True, slots=True)
class Selection:
    """Which points a run is about: those named, or a unit's (six characters), or a reading book's; or all.

    ``books`` are those of one cycle, where a run has several.
    """

    points: tuple[str, ...] | None = None
    unit: str | None = None
    book: str | None = None
    books: tuple[str, ...] | None = None

    @property
    def parameters(self) -> dict[str, Any]:
        """What the queries call them."""
        return {
            "wanted": None if self.points is None else list(self.points),
            "unit": self.unit,
            "book": self.book,
            "books": None if self.books is None else list(self.books),
        }


@dataclass(frozen=True, slots=True)
class Chunk:
    """The points after one id up to another, and how many of the run's there are up to there."""

    after: str
    upto: str
    points_so_far: int


@dataclass(frozen=True, slots=True)
class Frame:
    """What all chunks of a run share: the period, the points, the terms, and the terms' numbers in the database.

    ``ever_terms`` are numbers that stand for the same terms, and their places: also those of a rate plan's other years.
    ``price_changes`` are the days inside the period on which another price comes into force: meters are read on them
    too. From ``reactive_from_kw`` contracted on, reactive energy is charged.
    """

    period: Period
    selection: Selection
    terms: tuple[Terms, ...]
    terms_ids: tuple[int, ...]
    price_changes: tuple[date, ...] = ()
    reactive_from_kw: int = REACTIVE_NEVER_KW
    ever_terms: tuple[tuple[int, int], ...] = ()

    @property
    def parameters(self) -> dict[str, Any]:
        """What the queries call them."""
        period = self.period
        return {
            **self.selection.parameters,
            "first_on": period.first_on,
            "last_on": period.last_on,
            "start_at": period.start_at,
            "end_at": period.end_at,
            "obis": [*(register.value for register in REGISTERS), INTERVAL_ENERGY],
            "categories": [each.category for each in self.terms],
            "voltages": [each.voltage for each in self.terms],
            "households": [each.households for each in self.terms],
            "households_parts": [each.households_parts for each in self.terms],
            "three_rates": [each.three_rates for each in self.terms],
            "regimes": [each.solar_regime for each in self.terms],
            "reactive": [each.reactive for each in self.terms],
            "undeclared": [each.undeclared_rental for each in self.terms],
            "refused": [each.refused_three_rates for each in self.terms],
            "two_component": [each.two_component for each in self.terms],
            "uses": [each.uses for each in self.terms],
            "plan_names": [each.plan_name for each in self.terms],
            "places": list(range(len(self.terms))),
            "reactive_from_kw": self.reactive_from_kw,
            "reactive_exempt": reactive_exempt(period.last_on),
            "ever_terms_ids": [number for number, _ in self.ever_terms],
            "ever_places": [place for _, place in self.ever_terms],
        }


@cache
def reactive_exempt(day: date) -> list[str]:
    """Return the uses that pay no surcharge for reactive energy in a period that ends on ``day``."""
    table = load_tariffs().power_factor_on(day)
    return [] if table is None else [each.value for each in table.exempt]


def terms_of_run(
    connection: Connection[Any], period: Period, reactive_from_kw: int = REACTIVE_NEVER_KW
) -> tuple[Terms, ...]:
    """Return all terms that contracts of the period have."""
    span = {
        "first_on": period.first_on,
        "last_on": period.last_on,
        "reactive_from_kw": reactive_from_kw,
        "reactive_exempt": reactive_exempt(period.last_on),
    }
    with connection.cursor(row_factory=dict_row) as cursor:
        return tuple(Terms(**row) for row in cursor.execute(queries.SELECT_TERMS, span))


def chunks_of_run(connection: Connection[Any], selection: Selection, points_max: int) -> tuple[Chunk, ...]:
    """Return the chunks of a run, in order of ids."""
    after, found = "", []
    bounds = connection.execute(queries.SELECT_BOUNDS, selection.parameters | {"points_max": points_max}).fetchall()
    last = connection.execute(queries.SELECT_LAST, selection.parameters).fetchall()
    for upto, points in dict([*bounds, *last]).items():
        found.append(Chunk(after, upto, points))
        after = upto
    return tuple(found)


def gather(connection: Connection[Any], frame: Frame, chunk: Chunk) -> Points:
    """Return a chunk's points that have a contract or a meter in the period, or were asked for by name.

    ``connection`` is in a repeatable read transaction, which makes all chunks of a run one picture.
    """
    parameters = frame.parameters | {"after": chunk.after, "upto": chunk.upto}
    connection.execute(queries.RANGES_JOINED_WHOLE)
    points = _columns(connection, queries.SELECT_POINTS, parameters, id="T", book="i4")
    ids, book = points["id"].tolist(), points["book"]
    contracts, customers = _gather_contracts(connection, parameters)
    parameters["customers"] = list(customers)
    parts = _gather_parts(connection, parameters)
    kept = np.full(len(ids), frame.selection.points is not None)
    kept[contracts.point] = kept[parts["point"]] = True
    spans = billed_spans(frame.period, contracts, len(ids), frame.terms)
    spans = Spans(**{name: getattr(spans, name)[kept[spans.point]] for name in Spans.__slots__})
    if frame.period.closes_year:
        spans = replace(spans, ends=spans.ends | (spans.last_day == day_number(frame.period.last_on)))
    start_us, end_us = midnights(spans.first_day), midnights(spans.last_day + 1)
    issued = gather_issued(connection, parameters, spans)
    before = gather_previous_month(connection, parameters)
    connection.execute(queries.AS_PLANNED)
    previous = gather_previous(connection, frame.period.first_on, parameters, spans, before)
    netted = np.array([*(each.three_rates and each.solar_regime == NET for each in frame.terms), False], dtype=np.bool_)
    previous = with_carried_by_rate(connection, previous, netted[spans.place])
    months = ratchet_months(frame.terms)
    previous = with_unbilled(connection, parameters, spans, previous, terms=frame.terms, months=months)
    resets = gather_resets(connection, parameters, parts["meter_id"])
    parts_read = read_parts(connection, parts_within(parts, spans, start_us, end_us), frame.price_changes, resets)
    profiles, sums = gather_profiles(connection, parts_read, needs_of_terms(frame.terms, spans.place))
    return Points(
        metering_point_id=tuple(ids[point] for point in spans.point.tolist()),
        book=np.unique(book[spans.point], return_inverse=True)[1],
        terms=frame.terms,
        customers=customers,
        spans=spans,
        start_us=start_us,
        end_us=end_us,
        nominal_days=np.full(len(spans), frame.period.nominal_days or NONE, dtype=np.int64),
        issued=issued,
        previous=with_demands(connection, parameters, spans, previous, months),
        parts=parts_read,
        exempt_surcharged=np.zeros(len(spans), dtype=np.bool_),
        profiles=profiles,
        sums=sums,
        falls=gather_falls(connection, parts_read),
        said_set=gather_said_set(connection, parameters, parts_read),
    )


_CONTRACT = {"point": "i4", "first_day": "i4", "last_day": "i4", "terms": "i4"}
_OTHER_CUSTOMER = {"point": "i4", "first_day": "i4", "customer": "T"}
_INSTALLED = {
    "point": "i4",
    "meter_id": "T",
    "start_us": "i8",
    "end_us": "i8",
    "generation": "i4",
    "multiplier": "i4",
}
_REGISTER = {"meter_id": "T", "digits": "i2", "register": "i4", "channel": "i4"}


def _columns(connection: Connection[Any], query: str, parameters: dict[str, Any], **kinds: str) -> dict[str, Any]:
    return fetch_columns(connection, query, parameters, {name: Field(kind) for name, kind in kinds.items()})


def _gather_contracts(connection: Connection[Any], parameters: dict[str, Any]) -> tuple[Contracts, tuple[str, ...]]:
    """Return the contracts, and the list of customers they count in."""
    columns = _columns(connection, queries.SELECT_CONTRACTS, parameters, **_CONTRACT)
    others = _columns(connection, queries.SELECT_OTHER_CUSTOMERS, parameters, **_OTHER_CUSTOMER)
    customers = tuple(dict.fromkeys(others["customer"]))
    place_of = {customer: place for place, customer in enumerate(customers)}
    contract_of = {}
    if customers:
        began = zip(columns["point"].tolist(), columns["first_day"].tolist(), strict=True)
        contract_of = {key: number for number, key in enumerate(began)}
    if NET in parameters["regimes"]:
        columns["last_day"] = _netted_on(connection, parameters, columns)
    customer = np.full(len(columns["point"]), NONE, dtype=np.int64)
    for point, day, name in zip(
        others["point"].tolist(), others["first_day"].tolist(), others["customer"], strict=True
    ):
        customer[contract_of[point, day]] = place_of[name]
    return Contracts(**columns, customer=customer), customers


def _netted_on(connection: Connection[Any], parameters: dict[str, Any], contracts: dict[str, Any]) -> NDArray[Any]:
    """Return the contracts' last days: one that ends with the period does not where net metering goes on. [k]"""
    found = _columns(connection, queries.SELECT_NETTED_ON, parameters, point="i4", first_day="i4")
    going_on = set(zip(found["point"].tolist(), found["first_day"].tolist(), strict=True))
    last_day: NDArray[Any] = contracts["last_day"].copy()
    began = zip(contracts["point"].tolist(), contracts["first_day"].tolist(), strict=True)
    for number, key in enumerate(began) if going_on else ():
        if key in going_on:
            last_day[number] = FOREVER
    return last_day


def midnights(days: Int64Array) -> Int64Array:
    """Return the instants at which days begin in Vietnam. [microseconds since 1970 UTC]"""
    different, which = np.unique(days, return_inverse=True)
    return np.array([us_of(midnight_of(day_of(day))) for day in different.tolist()], dtype=np.int64)[which]


def _gather_parts(connection: Connection[Any], parameters: dict[str, Any]) -> dict[str, Any]:
    parts = _columns(connection, queries.SELECT_INSTALLED, parameters, **_INSTALLED)
    for name in ("start_us", "end_us"):
        parts[name] += POSTGRES_EPOCH_US
    parts["channel"] = empty_registers(len(parts["point"]), fill=MISSING)
    parts["profile"] = np.full(len(parts["point"]), MISSING, dtype=np.int64)
    parts["digits"] = np.zeros(len(parts["point"]), dtype=np.int64)
    if not len(parts["point"]):
        return parts
    found = _registers(connection, parameters, sorted(set(parts["meter_id"])))
    place_of = {meter: place for place, meter in enumerate(dict.fromkeys(found["meter_id"]))}
    place = np.fromiter((place_of[meter] for meter in found["meter_id"]), dtype=np.int64, count=len(found["digits"]))
    digits = np.zeros(len(place_of), dtype=np.int64)
    channel = np.full((len(place_of), len(REGISTERS) + 1), MISSING, dtype=np.int64)  # and the load profile's
    channel[place, found["register"]] = found["channel"]
    digits[place] = found["digits"]
    own = np.fromiter((place_of[meter] for meter in parts["meter_id"]), dtype=np.int64, count=len(parts["point"]))
    registers, profile = np.ascontiguousarray(channel[own, :-1]), channel[own, -1]
    return parts | {"channel": registers, "profile": profile, "digits": digits[own]}


def _registers(connection: Connection[Any], parameters: dict[str, Any], meters: list[str]) -> dict[str, Any]:
    """Return the registers of meters, and perhaps of others between them."""
    meters_max = METERS_SPREAD_MAX * len(meters)
    span = {"lowest": meters[0], "highest": meters[-1], "meters_max": meters_max, "obis": parameters["obis"]}
    row = connection.execute(queries.SELECT_METERS_BETWEEN, span).fetchone()
    assert row is not None, "an aggregate gives a row"
    if row[0] < meters_max:
        return _columns(connection, queries.SELECT_REGISTERS_RANGE, span, **_REGISTER)
    return _columns(connection, queries.SELECT_REGISTERS, span | {"meters": meters}, **_REGISTER)
