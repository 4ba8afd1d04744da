"""Registers that were set while their meter hung: before and after are parts of their own, with what each showed.

The registry says when a meter's registers were set, and what they showed just before and just after
(``register_reset``). A register that it does not name was not set; it needs a reading at that instant like any other
at the end of a part.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from psycopg import Connection

from ingest_server.billing.columns import MISSING, REGISTERS, Parts, chosen_parts
from protocols.telemetry.reading import Quality

SELECT_RESETS = """
    select meter_id, (extract(epoch from reset_at) * 1000000)::bigint,
           array_position(%(obis)s::text[], obis) - 1, before, after, source
    from register_reset
    where meter_id between %(lowest)s and %(highest)s and reset_at between %(start_at)s and %(end_at)s
      and obis = any (%(obis)s::text[])
    order by meter_id, reset_at, obis
"""


# Meters that logged that their registers were set, by what their models' codes mean, and within a day of it nobody
# entered what they showed. Most companies have no such code, and then nothing else is asked.
SELECT_SAID_SET = """
    select distinct e.meter_id, (extract(epoch from e.happened_at) * 1000000)::bigint
    from meter_log_code any_code
    join meter_event e on e.code = any_code.code
    join meter m using (meter_id)
    cross join lateral (
        select status from meter_log_code own where own.model in (m.model, '*') and own.code = e.code
        order by own.model = '*', own.log_code_id desc limit 1
    ) meant
    where any_code.status = 'registers_set' and meant.status = 'registers_set'
      and e.kind = 'log' and e.object like '0.0.99.98.%%'
      and e.meter_id between %(lowest)s and %(highest)s
      and e.happened_at > %(start_at)s and e.happened_at < %(end_at)s
      and not exists (
          select from register_reset r where r.meter_id = e.meter_id
          and r.reset_at between e.happened_at - interval '1 day' and e.happened_at + interval '1 day')
    order by 1, 2
"""
SELECT_ANY_CODE = "select exists (select from meter_log_code where status = 'registers_set')"


class Reset(NamedTuple):
    """What one register showed around an instant; ``register`` is its column."""

    meter: str
    at_us: int
    register: int
    before: int
    after: int
    source: str


def gather_resets(connection: Connection[Any], parameters: dict[str, Any], meters: Sequence[str]) -> list[Reset]:
    """Return what was set at meters of a chunk within the period."""
    if not len(meters):
        return []
    obis = [register.value for register in REGISTERS]
    bounds = {"lowest": min(meters), "highest": max(meters), "obis": obis}
    own = set(meters)  # others' ids may lie between them
    return [Reset(*row) for row in connection.execute(SELECT_RESETS, parameters | bounds) if row[0] in own]


def gather_said_set(
    connection: Connection[Any], parameters: dict[str, Any], parts: Parts
) -> tuple[tuple[int, int], ...]:
    """Return the parts within which a meter logged that its registers were set, unentered, and when."""
    if not parts.meter_id or connection.execute(SELECT_ANY_CODE).fetchone() == (False,):
        return ()
    bounds = {"lowest": min(parts.meter_id), "highest": max(parts.meter_id)}
    said: dict[str, list[int]] = {}
    for meter, us in connection.execute(SELECT_SAID_SET, parameters | bounds):
        said.setdefault(meter, []).append(us)
    return tuple(
        (part, us)
        for part, meter in enumerate(parts.meter_id)
        for us in said.get(meter, ())
        if parts.start_us[part] < us < parts.end_us[part]
    )


def split_at_resets(parts: Parts, resets: Sequence[Reset]) -> Parts:
    """Return the parts cut wherever a register was set within them."""
    if not resets:
        return parts
    instants: dict[str, set[int]] = {}
    for each in resets:
        instants.setdefault(each.meter, set()).add(each.at_us)
    cuts: dict[int, list[int]] = {}
    for meter, rows in _rows_of_meter(parts, instants).items():
        for row in rows:
            start_us, end_us = int(parts.start_us[row]), int(parts.end_us[row])
            cuts[row] = sorted(us for us in instants[meter] if start_us < us < end_us)
    pieces = np.array([1 + len(cuts.get(row, ())) for row in range(len(parts.point))], dtype=np.int64)
    found = chosen_parts(parts, np.repeat(np.arange(len(pieces)), pieces))
    starts, ends, first = found.start_us.copy(), found.end_us.copy(), np.cumsum(pieces) - pieces
    for row, own in cuts.items():
        place = int(first[row])
        starts[place + 1 : place + 1 + len(own)] = ends[place : place + len(own)] = own
    return replace(found, start_us=starts, end_us=ends)


def split(parts: Parts, us: int) -> Parts:
    """Return the parts with those in two that go on at an instant."""
    twice = (parts.start_us < us) & (us < parts.end_us)
    number = np.repeat(np.arange(len(twice)), 1 + twice)
    found = chosen_parts(parts, number)
    second = np.flatnonzero(np.concatenate([[False], np.diff(number) == 0]))
    start_us, end_us = found.start_us.copy(), found.end_us.copy()
    start_us[second], end_us[second - 1] = us, us
    return replace(found, start_us=start_us, end_us=end_us)


def with_what_was_set(parts: Parts, resets: Sequence[Reset]) -> Parts:
    """Return the parts with what registers showed just before and just after they were set, whatever was read then.

    Where the meter itself was read then too, people read no more than it did; elsewhere what they wrote down counts.
    """
    if not resets:
        return parts
    value, quality, conflict = parts.value.copy(), parts.quality.copy(), parts.conflict.copy()
    rows_of_meter = _rows_of_meter(parts, {each.meter for each in resets})
    for each in resets:
        own = np.array(rows_of_meter[each.meter], dtype=np.int64)
        for side, us, shown in ((0, parts.start_us, each.after), (1, parts.end_us, each.before)):
            rows = own[us[own] == each.at_us]
            value[rows, each.register, side] = shown
            own_quality = quality[rows, each.register, side]
            read = (own_quality != MISSING) & ((own_quality & int(Quality.SUSPECT)) == 0)
            quality[rows, each.register, side] = np.where(read, own_quality, int(Quality.MANUAL))
            conflict[rows, each.register, side] = False
    return replace(parts, value=value, quality=quality, conflict=conflict)


def _rows_of_meter(parts: Parts, meters: Collection[str]) -> dict[str, list[int]]:
    """Return the rows of each of these meters, none of those that no part is of."""
    found: dict[str, list[int]] = {meter: [] for meter in meters}
    if found:
        for row, meter in enumerate(parts.meter_id):
            if meter in found:
                found[meter].append(row)
    return found
