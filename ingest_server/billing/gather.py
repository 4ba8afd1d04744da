"""Gather: what one chunk of metering points needs to be billed, read from one snapshot as columns."""

from dataclasses import dataclass, fields
from datetime import date, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection

from ingest_server.billing import queries
from ingest_server.billing.approved import with_approved
from ingest_server.billing.columns import (
    FOREVER,
    MISSING,
    NONE,
    PAST_PERIODS,
    REGISTERS,
    BoolArray,
    Contracts,
    Int64Array,
    Issued,
    Parts,
    Points,
    Previous,
    Terms,
    day_number,
    day_of,
    empty_registers,
)
from ingest_server.billing.period import Period, instant_of, midnight_of, us_of
from ingest_server.database.binary_rows import Field, fetch_columns

CHANNELS_SPREAD_MAX = 4  # a range of ids with more than so many others per wanted one is not worth reading through
HASH_OCTETS = 32
POSTGRES_EPOCH_US = 946_684_800_000_000  # 2000-01-01 UTC, where PostgreSQL's binary timestamps begin


@dataclass(frozen=True, slots=True)
class Selection:
    """Which points a run is about: those named, or a unit's (six characters), or a reading book's; or all."""

    points: tuple[str, ...] | None = None
    unit: str | None = None
    book: str | None = None

    @property
    def parameters(self) -> dict[str, Any]:
        """What the queries call them."""
        return {
            "wanted": None if self.points is None else list(self.points),
            "unit": self.unit,
            "book": self.book,
        }


@dataclass(frozen=True, slots=True)
class Chunk:
    """The points after one id up to another, and how many of the run's there are up to there."""

    after: str
    upto: str
    points_so_far: int


@dataclass(frozen=True, slots=True)
class Frame:
    """What all chunks of a run share: the period, the points, the terms, and the terms' numbers in the database."""

    period: Period
    selection: Selection
    terms: tuple[Terms, ...]
    terms_ids: tuple[int, ...]

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
            "obis": [register.value for register in REGISTERS],
            "categories": [each.category for each in self.terms],
            "voltages": [each.voltage for each in self.terms],
            "households": [each.households for each in self.terms],
            "three_rates": [each.three_rates for each in self.terms],
            "regimes": [each.solar_regime for each in self.terms],
            "places": list(range(len(self.terms))),
            "terms_ids": list(self.terms_ids),
        }


def terms_of_run(connection: Connection[Any], period: Period) -> tuple[Terms, ...]:
    """Return all terms that contracts of the period have."""
    span = {"first_on": period.first_on, "last_on": period.last_on}
    names = [each.name for each in fields(Terms)]
    rows = connection.execute(queries.SELECT_TERMS, span)
    return tuple(Terms(**dict(zip(names, row, strict=True))) for row in rows)


def chunks_of_run(connection: Connection[Any], selection: Selection, points_max: int) -> tuple[Chunk, ...]:
    """Return the chunks of a run, in order of ids."""
    after, found = "", []
    for upto, points in connection.execute(queries.SELECT_BOUNDS, selection.parameters | {"points_max": points_max}):
        found.append(Chunk(after, upto, points))
        after = upto
    return tuple(found)


def gather(connection: Connection[Any], frame: Frame, chunk: Chunk) -> Points:
    """Return a chunk's points that have a contract or a meter in the period, or were asked for by name.

    ``connection`` is in a repeatable read transaction, which makes all chunks of a run one picture.
    """
    parameters = frame.parameters | {"after": chunk.after, "upto": chunk.upto}
    ids = _texts(connection, queries.SELECT_IDS, parameters)
    book = _columns(connection, queries.SELECT_BOOKS, parameters, book="i4")["book"]
    contracts = Contracts(**_columns(connection, queries.SELECT_CONTRACTS, parameters, **_CONTRACT))
    parts = _gather_parts(connection, parameters)
    n = len(ids)
    kept = np.zeros(n, dtype=np.bool_)
    kept[contracts.point] = kept[parts["point"]] = True
    if frame.selection.points is not None:
        kept[:] = True
    renumbered = np.cumsum(kept) - 1
    contracts = Contracts(
        point=renumbered[contracts.point],
        first_day=contracts.first_day,
        last_day=contracts.last_day,
        terms=contracts.terms,
    )
    parts["point"] = renumbered[parts["point"]]
    first_day, last_day = _billed_days(frame.period, contracts, int(kept.sum()))
    start_us, end_us = midnights(first_day), midnights(last_day + 1)
    return Points(
        metering_point_id=tuple(each for each, keep in zip(ids, kept.tolist(), strict=True) if keep),
        book=np.unique(book[kept], return_inverse=True)[1],
        terms=frame.terms,
        contracts=contracts,
        first_day=first_day,
        last_day=last_day,
        start_us=start_us,
        end_us=end_us,
        issued=_gather_issued(connection, parameters, renumbered, int(kept.sum())),
        previous=_gather_previous(connection, frame, parameters, renumbered, int(kept.sum())),
        parts=_read_parts(connection, parts, start_us, end_us),
    )


_CONTRACT = {"point": "i4", "first_day": "i4", "last_day": "i4", "terms": "i4"}
_SPAN = {"point": "i4", "start_us": "i8", "end_us": "i8", "multiplier": "i4", "digits": "i2"}
_PART = {"place": "i4", **_SPAN, "register": "i4", "channel": "i4"}
_READING = {"channel": "i4", "value": "i8", "quality": "i2"}
_AMOUNTS = ("energy_wh", "subtotal", "vat", "total", "purchased_wh", "purchased")


def _columns(connection: Connection[Any], query: str, parameters: dict[str, Any], **kinds: str) -> dict[str, Any]:
    return fetch_columns(connection, query, parameters, {name: Field(kind) for name, kind in kinds.items()})


def _texts(connection: Connection[Any], query: str, parameters: dict[str, Any]) -> list[str]:
    """Return the lines of the one text a query gives."""
    row = connection.execute(query, parameters).fetchone()
    return [] if row is None or row[0] is None else row[0].split("\n")


def _billed_days(period: Period, contracts: Contracts, n: int) -> tuple[Int64Array, Int64Array]:
    """Return the days one bill covers: the period, cut to its contract; several contracts will be held anyway."""
    first = np.full(n, day_number(period.first_on), dtype=np.int64)
    last = np.full(n, day_number(period.last_on), dtype=np.int64)
    alone = np.bincount(contracts.point, minlength=n)[contracts.point] == 1
    point = contracts.point[alone]
    first[point] = np.maximum(first[point], contracts.first_day[alone])
    last[point] = np.minimum(last[point], np.minimum(contracts.last_day[alone], FOREVER))
    return first, last


def midnights(days: Int64Array) -> Int64Array:
    """Return the instants at which days begin in Vietnam. [microseconds since 1970 UTC]"""
    different, which = np.unique(days, return_inverse=True)
    return np.array([us_of(midnight_of(day_of(day))) for day in different.tolist()], dtype=np.int64)[which]


def _gather_parts(connection: Connection[Any], parameters: dict[str, Any]) -> dict[str, Any]:
    rows = _columns(connection, queries.SELECT_PARTS, parameters, **_PART)
    _, first = np.unique(rows["place"], return_index=True)
    parts = {name: rows[name][first] for name in _SPAN}
    for name in ("start_us", "end_us"):
        parts[name] += POSTGRES_EPOCH_US
    parts["meter_id"] = _texts(connection, queries.SELECT_METERS, parameters)
    parts["channel"] = empty_registers(len(parts["point"]), fill=MISSING)
    parts["channel"][rows["place"], rows["register"]] = rows["channel"]
    return parts


def _read_parts(connection: Connection[Any], parts: dict[str, Any], first_us: Int64Array, last_us: Int64Array) -> Parts:
    """Return the parts within the billed days, with what their registers said."""
    point = parts["point"]
    start_us, end_us = np.maximum(parts["start_us"], first_us[point]), np.minimum(parts["end_us"], last_us[point])
    kept = start_us < end_us
    start_us, end_us, channel = start_us[kept], end_us[kept], parts["channel"][kept]
    value, quality = _gather_readings(connection, channel, start_us, end_us)
    return Parts(
        point=point[kept],
        meter_id=tuple(each for each, keep in zip(parts["meter_id"], kept.tolist(), strict=True) if keep),
        start_us=start_us,
        end_us=end_us,
        multiplier=parts["multiplier"][kept],
        digits=parts["digits"][kept],
        channel=channel,
        value=value,
        quality=quality,
        conflict=_gather_conflicts(connection, channel, start_us, end_us),
    )


def _gather_readings(
    connection: Connection[Any], channel: Int64Array, start_us: Int64Array, end_us: Int64Array
) -> tuple[Int64Array, Int64Array]:
    """Return what the registers said at both ends of each part, and with what quality. [parts, registers, 2]"""
    value = empty_registers(len(channel), 2)
    quality = empty_registers(len(channel), 2, fill=MISSING)
    for side, us in enumerate((start_us, end_us)):
        instants, which = np.unique(us, return_inverse=True)
        for place, instant in enumerate(instants.tolist()):
            rows = np.flatnonzero(which == place)
            wanted = channel[rows]
            stored = _registers_at(connection, instant, np.unique(wanted[wanted != MISSING]))
            known = stored["channel"]
            if not known.size:
                continue
            order = np.argsort(known, kind="stable")
            found = np.minimum(np.searchsorted(known, wanted, sorter=order), known.size - 1)
            hit = known[order][found] == wanted
            value[rows, :, side] = np.where(hit, stored["value"][order][found], 0)
            quality[rows, :, side] = np.where(hit, stored["quality"][order][found], MISSING)
    return value, quality


def _registers_at(connection: Connection[Any], us: int, channels: Int64Array) -> dict[str, Any]:
    """Return what counts for ``channels`` at one instant, and perhaps for others between them."""
    if not channels.size:
        return {name: np.empty(0, dtype=np.int64) for name in _READING}
    return with_approved(connection, us, channels, _stored_at(connection, us, channels))


def _stored_at(connection: Connection[Any], us: int, channels: Int64Array) -> dict[str, Any]:
    at = instant_of(us)
    day = _civil_day(us)
    lowest, highest = int(channels[0]), int(channels[-1])
    if day is None:
        parameters: dict[str, Any] = {"at": at, "channels": channels.tolist()}
        return _columns(connection, queries.SELECT_READINGS, parameters, **_READING)
    if highest - lowest < CHANNELS_SPREAD_MAX * channels.size:
        parameters = {"day": day, "lowest": lowest, "highest": highest}
        return _columns(connection, queries.SELECT_MIDNIGHT_RANGE, parameters, **_READING)
    parameters = {"day": day, "channels": channels.tolist()}
    return _columns(connection, queries.SELECT_MIDNIGHT, parameters, **_READING)


def _civil_day(us: int) -> date | None:
    """Return the day that begins at an instant in Vietnam, none if the instant is no midnight there."""
    day = (instant_of(us) + timedelta(hours=12)).date()
    return day if us_of(midnight_of(day)) == us else None


def _gather_conflicts(
    connection: Connection[Any], channel: Int64Array, start_us: Int64Array, end_us: Int64Array
) -> BoolArray:
    """Say of each reading whether another value was received for it too. [parts, registers, 2]"""
    conflict = empty_registers(len(channel), 2, fill=False, dtype=np.bool_)
    known = channel[channel != MISSING]
    if not known.size:
        return conflict
    instants = [instant_of(us) for us in np.unique(np.concatenate([start_us, end_us])).tolist()]
    parameters = {
        "lowest": int(known.min()),
        "highest": int(known.max()),
        "instants": instants,
        "first_at": instants[0],
        "last_at": instants[-1],
    }
    for channel_id, at_us in connection.execute(queries.SELECT_CONFLICTS, parameters):
        for side, us in enumerate((start_us, end_us)):
            conflict[..., side] |= (channel == channel_id) & (us == at_us)[:, np.newaxis]
    return conflict


def _gather_issued(connection: Connection[Any], parameters: dict[str, Any], renumbered: Int64Array, n: int) -> Issued:
    names = ("bill_id", "version", "schema", "in_ledger", "purchase_made", *_AMOUNTS)
    kinds = ("i8", "i4", "i2", "i4", "i4", *("i8",) * len(_AMOUNTS))
    layout = {"row": Field("i4"), **{name: Field(kind) for name, kind in zip(names, kinds, strict=True)}}
    found = fetch_columns(connection, queries.SELECT_ISSUED, parameters, {**layout, "hash": Field("S", HASH_OCTETS)})
    row = renumbered[found["row"]]
    columns = {name: np.zeros(n, dtype=np.int64) for name in names}
    for name in names:
        columns[name][row] = found[name]
    hashes = np.zeros(n, dtype=f"V{HASH_OCTETS}")
    hashes[row] = found["hash"]
    in_ledger, made = columns.pop("in_ledger") != 0, columns.pop("purchase_made") != 0
    return Issued(inputs_hash=hashes, in_ledger=in_ledger, purchase_made=made, **columns)


def _gather_previous(
    connection: Connection[Any], frame: Frame, parameters: dict[str, Any], renumbered: Int64Array, n: int
) -> Previous:
    kinds = {"row": "i4", "bill_id": "i8", "last_day": "i4", "days": "i4", "energy_wh": "i8", "carried": "i8"}
    layout = {name: Field(kind) for name, kind in kinds.items()}
    layout |= {"terms": Field("i4"), "before": Field("i4", PAST_PERIODS)}
    found = fetch_columns(connection, queries.SELECT_PREVIOUS, parameters, layout)
    row = renumbered[found["row"]]
    bill_id, last_day, carried, terms, daily = (np.zeros(n, dtype=np.int64) for _ in range(5))
    terms[:] = NONE
    for column, name in ((bill_id, "bill_id"), (last_day, "last_day"), (carried, "carried"), (terms, "terms")):
        column[row] = found[name]
    own = np.minimum(found["energy_wh"] // np.maximum(found["days"], 1), FOREVER)
    daily = np.full((n, PAST_PERIODS), NONE, dtype=np.int64)
    daily[row] = _handed_on(frame.period.first_on, found["last_day"], own, found["before"])
    return Previous(bill_id=bill_id, last_day=last_day, carried_out_wh=carried, terms=terms, daily_wh=daily)


def _handed_on(first_on: date, last_day: Int64Array, own: Int64Array, before: NDArray[Any]) -> Int64Array:
    """Return the energy a day of past periods, newest first: the last bill's own, those it had, moved by its age.

    A bill that ends in the month before this period is one period old; months that nobody billed are ``NONE``.
    """
    months = (last_day.astype("datetime64[D]").astype("datetime64[M]")).astype(np.int64)
    age = (first_on.year - 1970) * 12 + first_on.month - 1 - months
    all_known = np.concatenate([own[:, np.newaxis], before], axis=1)
    place = np.arange(PAST_PERIODS)[np.newaxis, :] - (age[:, np.newaxis] - 1)
    there = (place >= 0) & (place < all_known.shape[1])
    return np.where(there, np.take_along_axis(all_known, np.where(there, place, 0), axis=1), NONE)
