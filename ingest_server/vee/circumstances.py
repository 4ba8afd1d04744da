"""What is known beside the profile: what meters said of themselves, and what their registers showed at months' ends."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection

from billing_core.validation.series import Status
from ingest_server.billing.columns import MeterRegister
from ingest_server.billing.period import Period, midnight_of
from ingest_server.vee.plates import EVERY_MODEL, UNKNOWN, load_checks, load_log_codes, load_plates
from protocols.telemetry.reading import Quality

if TYPE_CHECKING:
    from ingest_server.vee.gather import Channel

CYCLES = 4  # months' ends that are looked at, the period's own last
LOG_STATUS: Mapping[int, Status] = {
    1: Status.POWER_FAIL, 2: Status.POWER_FAIL, 12: Status.MEMORY_ERROR, 13: Status.MEMORY_ERROR,
    14: Status.MEMORY_ERROR, 15: Status.WATCHDOG, 16: Status.MEMORY_ERROR, 40: Status.COVER_OPEN,
    42: Status.MAGNET, 44: Status.COVER_OPEN,
}  # fmt: skip
"""What entries of a meter's event logs (0.0.99.98.x) say, where ``meter_log_code`` says nothing else of a model's.

Certainty: these ten numbers are those of the enum ``EventType`` in OSGP/open-smart-grid-platform (Apache-2.0), by which
Dutch operators read DLMS meters after DSMR and IDIS; the text of IDIS package 2 itself was not at hand. Makers depart
from it: there are meters that call a memory error 14 to 16 and the watchdog 17. Whoever has a model's manual enters its
codes with that source (``congto meters load``). Overflow, test mode and reverse flow have no number in that enum and
are known only so."""
SHIFT_PART = 4  # V08: a clock set by more than a quarter of the interval makes intervals long or short

SELECT_EVENTS = """
    select h.channel_id, civil_day(e.happened_at), e.kind, m.model, e.code, max(abs(e.value))
    from channel h join meter_event e using (meter_id) join meter m using (meter_id)
    where h.channel_id = any (%(channels)s::integer[])
      and e.happened_at >= %(from_at)s and e.happened_at < %(to_at)s
      and (e.kind in ('clock', 'clock_shifted') or (e.kind = 'log' and e.object like '0.0.99.98.%%'))
    group by 1, 2, 3, 4, 5
"""
SELECT_CLOCKS = """
    select h.channel_id, civil_day(c.told_at), c.ahead_ms
    from channel h join meter_clock c using (meter_id)
    where h.channel_id = any (%(channels)s::integer[]) and c.told_at >= %(from_at)s and c.told_at < %(to_at)s
"""
SELECT_AT_ENDS = """
    select channel_id, measured_at, value, quality from billing_reading
    where channel_id = any (%(channels)s::integer[]) and measured_at = any (%(instants)s)
"""
SELECT_SIBLINGS = """
    select t.channel_id, c.obis, c.channel_id
    from channel t join channel c using (meter_id)
    where t.channel_id = any (%(channels)s::integer[]) and t.obis = %(total)s and c.obis = any (%(obis)s::text[])
"""
# Who keyed a reading that an approved change put in.
SELECT_READERS = """
    select v.channel_id, v.measured_at, c.made_by
    from reading_version v
    join reading_change c using (change_id)
    join reading_change_act a on a.change_id = v.change_id and a.act = 'approve'
    where v.channel_id = any (%(channels)s::integer[]) and v.measured_at = any (%(instants)s)
      and v.quality & %(manual)s <> 0
    order by a.act_id
"""
# Last digits, in kWh, of what each person keyed within a year.
SELECT_DIGITS = """
    select c.made_by, (v.value / 1000 %% 10)::integer, count(*)
    from reading_version v
    join reading_change c using (change_id)
    where v.quality & %(manual)s <> 0 and v.value is not null
      and v.measured_at > %(end_at)s - interval '1 year' and v.measured_at <= %(end_at)s
    group by 1, 2
"""


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What is known of channels beside their readings on a grid; the rows are those of the channels.

    Parameters
    ----------
    status
        Sums of ``Status`` flags. [rows × days]
    offset_ms, shift_ms
        The largest distance of the meter's clock from the gateway's, and the largest shift of it. [rows × days]
    value, quality
        The register at the ends of months, the period's last; quality is ``UNKNOWN`` where nobody knows. [rows × 4]
    reader
        Who keyed it, a number; ``UNKNOWN`` where nobody did. [rows × 4]
    peak_w, reactive_varh
        Highest demand, and reactive energy over the period, before the multiplier; ``UNKNOWN`` where not read. [rows]
    plate
        What the meter says of itself, columns as in :mod:`ingest_server.vee.plates`. [rows × 8]
    check
        What a check meter counted over the period, the multiplier applied, and its class. [rows × 2]
    digits
        Counts of last digits that each reader keyed. [readers × 10]
    """

    status: NDArray[np.int32]
    offset_ms: NDArray[np.int64]
    shift_ms: NDArray[np.int64]
    value: NDArray[np.int64]
    quality: NDArray[np.int64]
    reader: NDArray[np.int64]
    peak_w: NDArray[np.int64]
    reactive_varh: NDArray[np.int64]
    plate: NDArray[np.int64]
    check: NDArray[np.int64]
    digits: NDArray[np.int64]

    def chosen(self, rows: Sequence[int]) -> "Circumstances":
        """Return those of some rows."""
        at = np.array(rows, dtype=np.int64)
        own = {name: getattr(self, name)[at] for name in Circumstances.__slots__ if name != "digits"}
        return Circumstances(**own, digits=self.digits)

    def hash_of(self, row: int) -> bytes:
        """Return what names all that is known of a row."""
        digest = hashlib.sha256()
        for name in Circumstances.__slots__:
            if name != "digits":
                digest.update(np.asarray(getattr(self, name)[row]).astype("<i8").tobytes())
        for who in self.reader[row].tolist():
            digest.update(self.digits[who].astype("<i8").tobytes() if who != UNKNOWN else b"-")
        return digest.digest()


def month_ends(period: Period) -> list[date]:
    """Return the first days of the two months before, of this one and of the next; the last is the period's end."""
    days = [period.last_on + timedelta(days=1)]
    while len(days) < CYCLES:
        days.append((days[-1] - timedelta(days=1)).replace(day=1))
    return days[::-1]


def gather_circumstances(
    connection: Connection[Any], channels: Sequence["Channel"], period: Period, first_on: date, days: int
) -> Circumstances:
    """Return what is known of these channels over a window of days and at the months' ends."""
    ids = np.array([each.channel_id for each in channels], dtype=np.int64)
    known = sorted(set(ids.tolist()))
    shape = (len(known), days)
    status = np.zeros(shape, dtype=np.int32)
    offset, shift = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    window = {
        "channels": known,
        "from_at": midnight_of(first_on),
        "to_at": midnight_of(first_on + timedelta(days=days)),
    }
    place = {channel: row for row, channel in enumerate(known)}
    entered = load_log_codes(connection)
    for channel, on, kind, model, code, value in connection.execute(SELECT_EVENTS, window):
        cell = place[channel], (on - first_on).days
        if kind == "log":
            own = entered.get((model, code), entered.get((EVERY_MODEL, code), LOG_STATUS.get(code, Status(0))))
            status[cell] |= int(own)
        elif value is not None:
            column = offset if kind == "clock" else shift
            column[cell] = max(int(column[cell]), value)
    for channel, on, ahead in connection.execute(SELECT_CLOCKS, window):
        cell = place[channel], (on - first_on).days
        offset[cell] = max(offset[cell], abs(ahead))
    value, quality, reader, digits = _at_ends(connection, known, place, period)
    peak, reactive = _siblings(connection, known, place, period)
    back = np.searchsorted(known, ids)
    return Circumstances(
        status=status[back],
        offset_ms=offset[back],
        shift_ms=shift[back],
        value=value[back],
        quality=quality[back],
        reader=reader[back],
        peak_w=peak[back],
        reactive_varh=reactive[back],
        plate=load_plates(connection, known, period)[back],
        check=load_checks(connection, channels, period),
        digits=digits,
    )


def _at_ends(connection: Connection[Any], known: list[int], place: dict[int, int], period: Period) -> tuple[Any, ...]:
    instants = [midnight_of(day) for day in month_ends(period)]
    value = np.zeros((len(known), CYCLES), dtype=np.int64)
    quality, reader = np.full(value.shape, UNKNOWN), np.full(value.shape, UNKNOWN)
    parameters = {"channels": known, "instants": instants, "manual": int(Quality.MANUAL), "end_at": period.end_at}
    for channel, at, shown, flags in connection.execute(SELECT_AT_ENDS, parameters):
        cell = place[channel], instants.index(at)
        value[cell], quality[cell] = shown, flags
    counts = connection.execute(SELECT_DIGITS, parameters).fetchall()
    names = {name: number for number, name in enumerate(sorted({row[0] for row in counts}))}
    digits = np.zeros((len(names), 10), dtype=np.int64)
    for name, digit, count in counts:
        digits[names[name], digit] = count
    for channel, at, name in connection.execute(SELECT_READERS, parameters):
        reader[place[channel], instants.index(at)] = names.get(name, UNKNOWN)
    return value, quality, reader, digits


def _siblings(connection: Connection[Any], known: list[int], place: dict[int, int], period: Period) -> tuple[Any, ...]:
    peak, reactive = np.full(len(known), UNKNOWN), np.full(len(known), UNKNOWN)
    obis = [MeterRegister.PMAX.value, MeterRegister.VC.value]
    asked = {"channels": known, "total": MeterRegister.SG.value, "obis": obis}
    siblings = connection.execute(SELECT_SIBLINGS, asked).fetchall()
    if not siblings:
        return peak, reactive
    parameters = {"channels": [row[2] for row in siblings], "instants": [period.start_at, period.end_at]}
    read = {
        (channel, at): value
        for channel, at, value, flags in connection.execute(SELECT_AT_ENDS, parameters)
        if not flags & int(Quality.SUSPECT)
    }
    for own, what, sibling in siblings:
        old, new = read.get((sibling, period.start_at)), read.get((sibling, period.end_at))
        if what == MeterRegister.PMAX.value and new is not None:
            peak[place[own]] = new
        elif what == MeterRegister.VC.value and old is not None and new is not None and new >= old:
            reactive[place[own]] = new - old
    return peak, reactive
