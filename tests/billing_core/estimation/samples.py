"""Series of known values for gaps on purpose: of two wheels, and simulated. The wheels are only read as archives.

``eemeter`` 4.1.1 (OpenEEmeter, Apache-2.0) brings five hourly electricity samples. The two of Illinois are made: its
``metadata.json`` names the annual base, heating and cooling load and the balance temperatures that they were made from,
and each hour is that line over the hour's temperature times independent, about exponential chance. The three of
the United Kingdom are meters' (two of them half-hourly, in spite of their names), with days without readings.
``demandlib`` 0.2.2 (oemof, MIT) brings the standard profiles of BDEW. pip downloads both into ``build/wheels``; neither
they nor pandas are installed.
"""

import csv
import gzip
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from tests.billing_core.validation.population import KINDS, PER_DAY, make_district

WHEELS = ("eemeter==4.1.1", "demandlib==0.2.2")
ILLINOIS = ("il-electricity-cdd-hdd-hourly", "il-electricity-cdd-only-hourly")
KINGDOM = tuple(
    (f"uk-electricity-hdd-only-hourly-sample-{number}", per_day) for number, per_day in ((0, 24), (1, 48), (2, 48))
)
WEEKS, PRESENT_DAYS_LEAST = 10, 55
BALANCE_HEATING_F, BALANCE_COOLING_F = 60, 65  # metadata.json of eemeter
CHOOSE, REPORT = 0, 1


@dataclass(frozen=True, slots=True)
class Sample:
    """Series of known values, ten weeks each. [Wh, series × slots]

    ``present`` says on which days all values are known; on others they are 0 and no gap is made. [series × days]
    ``first_weekday`` is one per series, Monday 0. ``expected_wh`` is what somebody would expect of each interval who
    knows the weather and all of the series, the gaps too; None if no weather is known. [Wh, series × slots]
    """

    name: str
    true_wh: np.ndarray
    present: np.ndarray
    per_day: int
    first_weekday: np.ndarray
    expected_wh: np.ndarray | None = None


def fetch(folder: Path) -> dict[str, zipfile.ZipFile]:
    """Return the wheels by the name of their package, downloading them if they are not there."""
    folder.mkdir(parents=True, exist_ok=True)
    for wanted in WHEELS:
        name, version = wanted.split("==")
        if not list(folder.glob(f"{name}-{version}-*.whl")):
            command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder), wanted]
            subprocess.run(command, check=True)
    return {path.name.split("-")[0]: zipfile.ZipFile(path) for path in sorted(folder.glob("*.whl"))}


def read_column(wheel: zipfile.ZipFile, name: str, column: str) -> tuple[list[datetime], np.ndarray]:
    """Return the instants and values of a file of eemeter's samples."""
    text = gzip.decompress(wheel.read(f"eemeter/eemeter/samples/{name}.csv.gz")).decode()
    rows = list(csv.reader(text.splitlines()))
    place, first = rows[0].index(column), rows[0].index("dt") if "dt" in rows[0] else 0
    at = [datetime.fromisoformat(row[first]).replace(tzinfo=UTC) for row in rows[1:]]
    return at, np.array([float(row[place]) for row in rows[1:]])


def of_eemeter(wheel: zipfile.ZipFile, name: str, per_day: int, half: int) -> Sample:
    """Return every second ten weeks of a series, as days of its own clock."""
    at, value = read_column(wheel, name, "value")
    begin = at[0].replace(hour=0, minute=0)
    step = timedelta(days=1) / per_day
    places = np.array([round((each - begin) / step) for each in at])
    expect = _by_the_line if name in ILLINOIS else _by_hour_weather_and_season
    energy = np.full(((places[-1] // per_day + 1) * per_day, 2), np.nan)
    energy[places, 0] = value * 1_000
    energy[places, 1] = expect(at, value, _temperature_of(wheel, name, at), per_day) * 1_000
    days = energy.reshape(-1, per_day, 2)
    rows, expected, present, weekdays = [], [], [], []
    for first in range(half * 7 * WEEKS, days.shape[0] - 7 * WEEKS + 1, 2 * 7 * WEEKS):
        some = days[first : first + 7 * WEEKS]
        known = ~np.isnan(some[:, :, 0]).any(axis=1)
        if known.sum() >= PRESENT_DAYS_LEAST:
            filled = np.where(known[:, None, None], some, 0)
            rows.append(np.rint(filled[:, :, 0]).astype(np.int64).ravel())
            expected.append(filled[:, :, 1].ravel())
            present.append(known)
            weekdays.append((begin.weekday() + first) % 7)
    return Sample(name, np.array(rows), np.array(present), per_day, np.array(weekdays), np.array(expected))


def _temperature_of(wheel: zipfile.ZipFile, name: str, at: list[datetime]) -> np.ndarray:
    """Return the temperature of the hour of each interval."""
    if name in ILLINOIS:
        return read_column(wheel, "il-tempF", "tempF")[1]
    hours, degrees = read_column(wheel, "uk-tempC-sample-" + ("0" if name.endswith("0") else "1_2"), "tempC")
    known = dict(zip(hours, degrees.tolist(), strict=True))
    nearest = np.array([known.get(each.replace(minute=0), np.nan) for each in at])
    return np.where(np.isnan(nearest), np.nanmean(nearest), nearest)


def _fitted(columns: list[np.ndarray], value: np.ndarray) -> np.ndarray:
    stacked = np.stack(columns, axis=1).astype(float)
    return (stacked @ np.linalg.lstsq(stacked, value, rcond=None)[0]).clip(1e-9)


def _by_the_line(at: list[datetime], value: np.ndarray, fahrenheit: np.ndarray, per_day: int) -> np.ndarray:
    """Return what the line expects that a series of Illinois was made from, fitted to all of its hours."""
    heating = np.maximum(BALANCE_HEATING_F - fahrenheit, 0)
    return _fitted([np.ones(len(at)), np.maximum(fahrenheit - BALANCE_COOLING_F, 0), heating], value)


def _by_hour_weather_and_season(at: list[datetime], value: np.ndarray, celsius: np.ndarray, per_day: int) -> np.ndarray:
    """Return a line for each time of day over Saturday, Sunday, temperature and season, fitted to all of the series."""
    slot = np.array([(each.hour * 60 + each.minute) * per_day // 1440 for each in at])
    weekday = np.array([each.weekday() for each in at])
    angle = np.array([each.timetuple().tm_yday for each in at]) * (2 * np.pi / 365.25)
    season = [np.sin(angle), np.cos(angle), np.sin(2 * angle), np.cos(2 * angle)]
    columns = [np.ones(len(at)), weekday == 5, weekday == 6, celsius, *season]
    expected = np.zeros(len(at))
    for place in range(per_day):
        mine = slot == place
        expected[mine] = _fitted([column[mine] for column in columns], value[mine])
    return expected


def standard_profiles(wheel: zipfile.ZipFile, half: int) -> Sample:
    """BDEW's profiles H0, G0 to G6 and L0 to L2, half-hourly, ten weeks of each season.

    Days of a standard profile are all alike, so each is multiplied by a factor of its own between 0.7 and 1.3.
    """
    text = wheel.read("demandlib/bdew/bdew_data/selp_series.csv").decode()
    rows = list(csv.DictReader(text.splitlines()))
    names = [name for name in rows[0] if name[:1] in "hgl" and name[1:].isdigit()][half::2]
    series = []
    for season in ("winter", "summer", "transition"):
        week = [row for weekday in "1234567" for row in rows if row["period"] == season and row["weekday"] == weekday]
        for name in names:
            quarter = np.array([float(row[name]) for row in week])
            series.append(np.tile(np.rint(quarter.reshape(-1, 2).sum(axis=1) * 5_000).astype(np.int64), WEEKS))
    return uneven(f"demandlib, BDEW {' '.join(names).upper()}", np.array(series), 11 + half)


def uneven(name: str, energy_wh: np.ndarray, seed: int) -> Sample:
    """Return half-hourly series from a Monday on, each day times a factor of its own between 0.7 and 1.3."""
    shape = energy_wh.shape[0], energy_wh.shape[1] // PER_DAY
    factor = np.random.default_rng(seed).uniform(0.7, 1.3, shape).repeat(PER_DAY, axis=1)
    return whole(name, np.rint(energy_wh * factor).astype(np.int64))


def whole(name: str, energy_wh: np.ndarray) -> Sample:
    """Return half-hourly series from a Monday on without a missing day."""
    series, slots = energy_wh.shape
    present = np.ones((series, slots // PER_DAY), dtype=bool)
    return Sample(name, energy_wh, present, PER_DAY, np.zeros(series, dtype=np.int64))


def simulated(meters: int, seed: int) -> list[Sample]:
    """Return a simulated district, a sample for each kind of customer."""
    district = make_district(meters, 7 * WEEKS, seed)
    return [
        whole(f"simulated, {kind.value}", district.true_wh[district.kind == place])
        for place, kind in enumerate(KINDS)
        if (district.kind == place).any()
    ]
