"""What the registers of a chunk said at both ends of each part, and where the price changes in between."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import numpy as np
from psycopg import Connection

from ingest_server.billing import queries
from ingest_server.billing.approved import with_approved
from ingest_server.billing.columns import (
    DEMAND,
    ENERGIES,
    MISSING,
    BoolArray,
    Int64Array,
    Parts,
    Spans,
    chosen_parts,
    empty_registers,
)
from ingest_server.billing.period import instant_of, midnight_of, us_of
from ingest_server.billing.resets import Reset, split, split_at_resets, with_what_was_set
from ingest_server.database.binary_rows import Field, fetch_columns
from protocols.telemetry.reading import Quality

CHANNELS_SPREAD_MAX = 4  # a range of ids with more than so many others per wanted one is not worth reading through
_READING = {"channel": Field("i4"), "value": Field("i8"), "quality": Field("i2")}


def parts_within(installed: dict[str, Any], spans: Spans, start_us: Int64Array, end_us: Int64Array) -> Parts:
    """Return what was installed when, cut to the days of each row and not read yet.

    ``installed`` has the columns of :class:`Parts`, of metering points and not of rows.
    """
    first, after = (np.searchsorted(spans.point, installed["point"], side=side) for side in ("left", "right"))
    count = after - first
    part = np.repeat(np.arange(len(count)), count)
    row = first[part] + np.arange(len(part)) - np.repeat(np.cumsum(count) - count, count)
    start = np.maximum(installed["start_us"][part], start_us[row])
    end = np.minimum(installed["end_us"][part], end_us[row])
    kept = np.flatnonzero(start < end)
    kept = kept[np.lexsort((part[kept], row[kept]))]
    part, row = part[kept], row[kept]
    meters = installed["meter_id"]
    return Parts(
        point=row,
        meter_id=tuple(meters[each] for each in part.tolist()),
        start_us=start[kept],
        end_us=end[kept],
        generation=installed["generation"][part] != 0,
        multiplier=installed["multiplier"][part],
        digits=installed["digits"][part],
        channel=installed["channel"][part],
        profile=installed["profile"][part],
        value=empty_registers(len(part), 2),
        quality=empty_registers(len(part), 2, fill=MISSING),
        conflict=empty_registers(len(part), 2, fill=False, dtype=np.bool_),
    )


def read_parts(
    connection: Connection[Any], parts: Parts, price_changes: tuple[date, ...], resets: Sequence[Reset] = ()
) -> Parts:
    """Return the parts with what their registers said.

    One that was read at a change of price is two, and so is one whose registers were set.
    """
    changes = [us_of(midnight_of(day)) for day in price_changes]
    parts = split_at_resets(parts, resets)
    for us in changes:
        parts = split(parts, us)
    parts = with_what_was_set(_with_readings(connection, parts), resets)
    for us in changes:
        parts = _rejoined(parts, us, {each.meter for each in resets if each.at_us == us})
    conflict = _gather_conflicts(connection, parts.channel, parts.start_us, parts.end_us)
    return with_what_was_set(replace(parts, conflict=conflict), resets)


def _rejoined(parts: Parts, us: int, meters_set: set[str]) -> Parts:
    """Return the parts with those in one again of which a register was not read, or is doubted, at an instant.

    Meters whose registers were set then stay apart.
    """
    n = len(parts.point)
    second = np.flatnonzero(parts.start_us == us)
    second = second[(second > 0) & (parts.end_us[second - 1] == us) & (parts.point[second - 1] == parts.point[second])]
    meters = [(parts.meter_id[each - 1], parts.meter_id[each]) for each in second.tolist()]
    second = second[[one == other and one not in meters_set for one, other in meters]]
    read = _read_around(parts)[second]
    there = parts.quality[second, ENERGIES, 0]
    whole = (~read | ((there != MISSING) & ((there & int(Quality.SUSPECT)) == 0))).all(axis=1)
    joined = second[~whole]
    end_us, value, quality = parts.end_us.copy(), parts.value.copy(), parts.quality.copy()
    end_us[joined - 1] = parts.end_us[joined]
    value[joined - 1, :, 1], quality[joined - 1, :, 1] = parts.value[joined, :, 1], parts.quality[joined, :, 1]
    kept = np.ones(n, dtype=np.bool_)
    kept[joined] = False
    return chosen_parts(replace(parts, end_us=end_us, value=value, quality=quality), np.flatnonzero(kept))


def _read_around(parts: Parts) -> BoolArray:
    """Say of each part which registers were read where its meter begins and ends in the row, whatever lies between.

    [parts × energies]
    """
    goes_on = (parts.point[1:] == parts.point[:-1]) & (parts.start_us[1:] == parts.end_us[:-1])
    goes_on &= (parts.channel[1:] == parts.channel[:-1]).all(axis=1)
    meter = np.concatenate([[0], np.cumsum(~goes_on)])
    first, last = (np.searchsorted(meter, meter, side=side) for side in ("left", "right"))
    begun, ended = (parts.quality[:, ENERGIES, side] != MISSING for side in (0, 1))
    return np.asarray(begun[first] & ended[last - 1])


def _with_readings(connection: Connection[Any], parts: Parts) -> Parts:
    """Return the parts with what the registers said at both ends, and with what quality; demand at the end alone."""
    channel = parts.channel
    value = empty_registers(len(channel), 2)
    quality = empty_registers(len(channel), 2, fill=MISSING)
    for side, us in enumerate((parts.start_us, parts.end_us)):
        instants, which = np.unique(us, return_inverse=True)
        for place, instant in enumerate(instants.tolist()):
            rows = np.flatnonzero(which == place)
            asked = [(_registers_at, ENERGIES)] if side == 0 else [(_registers_at, ENERGIES), (_demand_at, DEMAND_ONLY)]
            for ask, columns in asked:
                wanted = channel[rows, columns]
                stored = ask(connection, instant, np.unique(wanted[wanted != MISSING]))
                known = stored["channel"]
                if not known.size:
                    continue
                order = np.argsort(known, kind="stable")
                found = np.minimum(np.searchsorted(known, wanted, sorter=order), known.size - 1)
                hit = known[order][found] == wanted
                value[rows, columns, side] = np.where(hit, stored["value"][order][found], 0)
                quality[rows, columns, side] = np.where(hit, stored["quality"][order][found], MISSING)
    return replace(parts, value=value, quality=quality)


DEMAND_ONLY = slice(DEMAND, DEMAND + 1)


def _demand_at(connection: Connection[Any], us: int, channels: Int64Array) -> dict[str, Any]:
    """Return the highest demands that stood in registers at one instant; the daily snapshot has none."""
    if not channels.size:
        return {name: np.empty(0, dtype=np.int64) for name in _READING}
    return fetch_columns(
        connection, queries.SELECT_READINGS, {"at": instant_of(us), "channels": channels.tolist()}, _READING
    )


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
        return fetch_columns(connection, queries.SELECT_READINGS, parameters, _READING)
    if highest - lowest < CHANNELS_SPREAD_MAX * channels.size:
        parameters = {"day": day, "lowest": lowest, "highest": highest}
        return fetch_columns(connection, queries.SELECT_MIDNIGHT_RANGE, parameters, _READING)
    parameters = {"day": day, "channels": channels.tolist()}
    return fetch_columns(connection, queries.SELECT_MIDNIGHT, parameters, _READING)


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
