"""Half-hourly energy from registers, for a chart: differences where both ends were read, gaps where not.

Registers stand on the half hours of UTC, which are those of Vietnam too. A half hour is drawn only if the register was
read at both of its ends; a stretch without readings between two that are there is a *gap*: its energy is known as a
whole, and how it fell within the gap is not, so it is not spread.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection

from billing_core.consumption import consume
from ingest_server.api.queries import quality_names
from ingest_server.billing.documents import instant_text
from ingest_server.billing.period import instant_of, us_of
from protocols.telemetry.reading import Quality

Int64Array: TypeAlias = NDArray[np.int64]

STEP = timedelta(minutes=30)
STEP_US = STEP // timedelta(microseconds=1)
SPAN_MAX = timedelta(days=62)  # two months: more lines than a screen has points
DRAWN = {"1.0.1.8.0": "import", "1.0.2.8.0": "export"}

# The register at each half hour. A reading between them (a manual one) is not on the grid and plays no part.
SELECT_GRID = """
    select (extract(epoch from measured_at) * 1000000)::bigint, value, quality
    from reading
    where channel_id = %(channel)s and measured_at between %(from_at)s and %(to_at)s
      and extract(epoch from measured_at)::bigint %% 1800 = 0
      and date_trunc('second', measured_at) = measured_at
    order by measured_at
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Half-hourly energy of one register.

    Parameters
    ----------
    energy
        Energy of each half hour, −1 where it is not known. [Wh, n]
    quality
        What is known against its two readings, together. [flags of Quality, n]
    gaps
        First and last half hour not known, and the energy between the readings around them, −1 if that is not known
        either. [index, index, Wh; g × 3]
    """

    energy: Int64Array
    quality: Int64Array
    gaps: Int64Array


def half_hours(
    at_us: Int64Array, value: Int64Array, quality: Int64Array, *, from_us: int, slots: int, digits: int
) -> Series:
    """Return the energy of ``slots`` half hours from ``from_us`` on.

    Parameters
    ----------
    at_us
        When the register was read: on the grid, ascending, between both ends. [microseconds since 1970 UTC, n]
    value
        What it said. [Wh, n]
    digits
        Whole digits of the register in kWh, for rolling over.
    """
    energy = np.full(slots, -1, dtype=np.int64)
    marks = np.zeros(slots, dtype=np.int64)
    place = (at_us - from_us) // STEP_US
    used = consume(value[:-1], value[1:], digits=digits)
    between = np.where(used.hold == 0, used.energy_wh, -1)
    single = np.diff(place) == 1
    energy[place[:-1][single]] = between[single]
    marks[place[:-1][single]] = (quality[:-1] | quality[1:])[single]
    wide = np.flatnonzero(~single)
    gaps = [np.array([place[:-1][wide], place[1:][wide] - 1, between[wide]]).T.reshape(-1, 3)]
    # Before the first reading and after the last nothing is known, not even a sum.
    edges = [(0, slots - 1)] if not place.size else [(0, int(place[0]) - 1), (int(place[-1]), slots - 1)]
    open_ends = np.array([(first, last, -1) for first, last in edges if first <= last], dtype=np.int64).reshape(-1, 3)
    joined = np.concatenate([*gaps, open_ends])
    return Series(energy=energy, quality=marks, gaps=joined[np.argsort(joined[:, 0], kind="stable")])


def load_chart(
    connection: Connection[Any],
    meter: dict[str, Any],
    channels: dict[str, dict[str, Any]],
    *,
    from_at: datetime,
    to_at: datetime,
) -> dict[str, Any]:
    """Return the chart of a meter's import and export between two half hours."""
    slots = (to_at - from_at) // STEP
    series = []
    for obis, direction in DRAWN.items():
        if obis not in channels:
            continue
        parameters = {"channel": channels[obis]["channel_id"], "from_at": from_at, "to_at": to_at}
        rows = connection.execute(SELECT_GRID, parameters).fetchall()
        at_us, value, quality = np.array(rows, dtype=np.int64).reshape(-1, 3).T
        found = half_hours(at_us, value, quality, from_us=us_of(from_at), slots=slots, digits=meter["digits"])
        series.append(_series_json(obis, direction, found, from_at))
    return {
        "meter_id": meter["meter_id"],
        "from": instant_text(from_at),
        "to": instant_text(to_at),
        "step_s": int(STEP.total_seconds()),
        "multiplied": False,
        "multipliers": multipliers(meter["installations"], instant_text(from_at), instant_text(to_at)),
        "series": series,
    }


def multipliers(installations: list[dict[str, Any]], from_text: str, to_text: str) -> list[dict[str, Any]]:
    """Return by what a bill multiplies these energies, from when until when; both are texts that sort as times do."""
    return [
        {"from": each["installed_at"], "to": each["removed_at"], "multiplier": each["multiplier"]}
        for each in installations
        if each["installed_at"] < to_text and (each["removed_at"] is None or each["removed_at"] > from_text)
    ]


def _series_json(obis: str, direction: str, series: Series, from_at: datetime) -> dict[str, Any]:
    def edge(slot: int) -> str:
        return instant_text(instant_of(us_of(from_at) + slot * STEP_US))

    known = series.energy >= 0
    return {
        "obis": obis,
        "direction": direction,
        "unit": "Wh",
        "energy": [wh if wh >= 0 else None for wh in series.energy.tolist()],
        "quality": series.quality.tolist(),
        "quality_names": {str(flag.value): quality_names(flag)[0] for flag in Quality if flag.value},
        "known_energy": int(series.energy[known].sum()),
        "gaps": [
            {"from": edge(first), "to": edge(last + 1), "energy": wh if wh >= 0 else None}
            for first, last, wh in series.gaps.tolist()
        ],
    }
