"""Meters of a random district: how they count, are read, exchanged, set back, and keep load profiles.

What they counted is known from the simulation, interval by interval; what the recomputation takes of it is cut and
walked here, and nothing comes from the code under test.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction
from random import Random

from deploy.demo.exact_values import MeterPart
from tests.billing_core.exact_around import energy_by_minutes

RATES = {"BT": "1.0.1.8.1", "CD": "1.0.1.8.2", "TD": "1.0.1.8.3"}
SENT = {f"export {name}": code.replace("1.8", "2.8") for name, code in RATES.items()}
OBIS = {
    "SG": "1.0.1.8.0",
    **RATES,
    "export": "1.0.2.8.0",
    **SENT,
    "VC": "1.0.3.8.0",
    "Pmax": "1.0.1.6.0",
    "interval": "1.0.1.29.0",
}
HALF_HOUR = timedelta(minutes=30)
OLDEST = "2014"
LOAD_WH_MAX = 3_000  # of a half hour, before the multiplier


@dataclass(slots=True, kw_only=True)
class Hung:
    """A meter at a point from when until when, and what its registers said at each instant they were read.

    ``set_back`` is what registers showed just before and just after people set them. A meter with a load profile is
    read each half hour, or keeps the energy of half hours (``energies``); ``flowed`` is what really went through it
    in each half hour, and ``programmed`` from when it ran which schedule.
    """

    meter: str
    start_at: datetime
    end_at: datetime
    multiplier: int
    digits: int
    generation: bool = False
    said: dict[tuple[str, datetime], int] = field(default_factory=dict, repr=False)
    set_back: dict[tuple[str, datetime], tuple[int, int]] = field(default_factory=dict)
    half_hours: bool = False
    energies: bool = False
    flowed: dict[datetime, int] = field(default_factory=dict, repr=False)
    programmed: list[tuple[datetime, str]] = field(default_factory=list)

    def before(self, name: str, at: datetime) -> int:
        """What a register showed at an instant that ends a part."""
        return self.set_back[name, at][0] if (name, at) in self.set_back else self.said[name, at]

    def after(self, name: str, at: datetime) -> int:
        """What it showed at an instant that begins one."""
        return self.set_back[name, at][1] if (name, at) in self.set_back else self.said[name, at]

    @property
    def set_at(self) -> list[datetime]:
        return sorted({at for _, at in self.set_back})


def half_hours_within(start_at: datetime, end_at: datetime) -> list[datetime]:
    """Return the half hours of the clock after an instant, up to another."""
    at, found = _half_hour_of(start_at) + HALF_HOUR, []
    while at <= end_at:
        found.append(at)
        at += HALF_HOUR
    return found


def read_meter(
    rng: Random, meter: Hung, instants: set[datetime], registers: set[str], month_ends: set[datetime]
) -> None:
    """Let a meter count, and be read at instants, when it was hung and when it was taken down; perhaps set it back."""
    asked = sorted({at for at in instants if meter.start_at <= at <= meter.end_at} | {meter.start_at, meter.end_at})
    since, until = max(meter.start_at, min(instants)), min(meter.end_at, max(instants))
    grid = half_hours_within(since, until) if meter.half_hours else []
    resets = _resets(rng, meter, asked, grid)
    gained = dict.fromkeys(asked, 0)  # since the reading before, on the three rates together: their total says the same
    for register in sorted(registers - {"Pmax"}, key=lambda name: (name == "SG", name)):
        if register == "SG" and meter.half_hours:
            _read_half_hours(rng, meter, asked, resets, grid)
            continue
        limit = 10 ** (meter.digits + 3)
        index = limit - rng.randrange(10**6) if rng.random() < 0.2 else rng.randrange(limit)
        largest = rng.choice((10**5, 10**6, 5 * 10**6))
        summed = register == "SG" and registers.issuperset(RATES)
        step = 0
        for at in sorted({*asked, *resets}):
            index += gained.get(at, 0) if summed else step
            index = _shown(rng, meter, register, at, index % limit, read=at in asked, reset=at in resets)
            if register in RATES and at in gained:
                gained[at] += step
            step = rng.choice((0, rng.randrange(largest), rng.randrange(largest)))
            step = 0 if register in RATES and _before_reset(at, asked, resets) else step
    if "Pmax" in registers:
        _draw(rng, meter, asked, resets, month_ends)


def _before_reset(at: datetime, asked: list[datetime], resets: list[datetime]) -> bool:
    """Say whether the next thing that happens is a reset: then rates stand still, so that totals need no more care."""
    later = [each for each in (*asked, *resets) if each > at]
    return bool(later) and min(later) in resets


def _resets(rng: Random, meter: Hung, asked: list[datetime], grid: list[datetime]) -> list[datetime]:
    """Return when people set registers back: at any minute, or exactly when they are read too.

    What a meter keeps as energy of a half hour is cut by nothing but its own end here.
    """
    if meter.generation or rng.random() > 0.12:
        return []
    if meter.energies:
        return [rng.choice(grid)] if grid else []
    whole = [at for at in asked if meter.start_at < at < meter.end_at]
    minutes = (meter.end_at - meter.start_at) // timedelta(minutes=1)
    any_time = meter.start_at + timedelta(minutes=rng.randrange(1, minutes))
    return [rng.choice(whole) if whole and rng.random() < 0.3 else any_time]


def _shown(rng: Random, meter: Hung, register: str, at: datetime, index: int, *, read: bool, reset: bool) -> int:
    """Keep what a register showed, and return from where it goes on."""
    if read:
        meter.said[register, at] = index
    if not reset:
        return index
    now = rng.choice((0, 0, rng.randrange(10**6)))
    meter.set_back[register, at] = (index, now)
    return now


def _read_half_hours(
    rng: Random, meter: Hung, asked: list[datetime], resets: list[datetime], grid: list[datetime]
) -> None:
    """Let the total register count a load that changes each half hour, and keep what flowed."""
    limit = 10 ** (meter.digits + 3)
    index, before = rng.randrange(limit), meter.start_at
    read = {*asked} if meter.energies else {*asked, *grid}
    for at in sorted({*asked, *resets, *grid}):
        step = rng.randrange(LOAD_WH_MAX) if at > before else 0
        begin = _half_hour_of(before)
        meter.flowed[begin] = meter.flowed.get(begin, 0) + step
        index = _shown(rng, meter, "SG", at, (index + step) % limit, read=at in read, reset=at in resets)
        before = at
    if meter.energies:
        meter.said |= {("interval", at): meter.flowed[at - HALF_HOUR] for at in grid}


def _half_hour_of(at: datetime) -> datetime:
    return at - timedelta(minutes=at.minute % 30, seconds=at.second, microseconds=at.microsecond)


def _draw(rng: Random, meter: Hung, asked: list[datetime], resets: list[datetime], month_ends: set[datetime]) -> None:
    """Let a meter keep its highest demand, which it begins anew at the end of a month."""
    highest = 0
    for at in sorted({*asked, *resets}):
        highest = max(highest, rng.randrange(10**5))
        shown = _shown(rng, meter, "Pmax", at, highest, read=at in asked, reset=at in resets)
        highest = 0 if at in month_ends and at not in resets else shown


def parts_of_meter(meter: Hung, start_at: datetime, end_at: datetime, names: Iterable[str]) -> list[MeterPart]:
    """Return what registers showed at both ends of each part of some days."""
    found = []
    for since, until in cuts(meter, start_at, end_at):
        for name in names:
            old, new = Fraction(meter.after(name, since), 1000), Fraction(meter.before(name, until), 1000)
            found.append(MeterPart(name, old, new, meter.digits, meter.multiplier))
    return found


def cuts(meter: Hung, start_at: datetime, end_at: datetime) -> list[tuple[datetime, datetime]]:
    """Return the parts of some days in which a meter hung and was not set."""
    since, until = max(meter.start_at, start_at), min(meter.end_at, end_at)
    if since >= until:
        return []
    inside = [at for at in meter.set_at if since < at < until]
    return list(zip([since, *inside], [*inside, until], strict=True))


def highest_shown(meter: Hung, start_at: datetime, end_at: datetime) -> Fraction:
    """Return the highest demand that the meter's own register kept of some days. [kW]"""
    shown = [meter.before("Pmax", until) for _, until in cuts(meter, start_at, end_at)]
    return Fraction(max(shown) * meter.multiplier, 1000)


def load_of(meter: Hung, start_at: datetime, end_at: datetime) -> dict[datetime, int]:
    """Return what flowed in the half hours of some days, by when they begin, the multiplier in it. [Wh]"""
    return {begin: wh * meter.multiplier for begin, wh in meter.flowed.items() if start_at <= begin < end_at}


def rates_of_load(meters: Iterable[Hung], start_at: datetime, end_at: datetime) -> dict[str, Fraction]:
    """Return the kWh of each rate, each meter's by what it was programmed with."""
    found = dict.fromkeys(RATES, Fraction(0))
    for meter in meters:
        load = load_of(meter, start_at, end_at)
        if not load:
            continue
        first, last = min(load), max(load)
        whole = [load.get(first + n * HALF_HOUR, 0) for n in range((last - first) // HALF_HOUR + 1)]
        programmed = [(datetime(2000, 1, 1, tzinfo=start_at.tzinfo), OLDEST), *meter.programmed]
        for name, kwh in energy_by_minutes(first, 30, whole, programmed).items():
            found[name] += kwh
    return found


def highest_of_load(meters: Iterable[Hung], start_at: datetime, end_at: datetime) -> Fraction:
    """Return the highest half hour of all meters together. [kW]"""
    together: dict[datetime, int] = {}
    for meter in meters:
        for begin, energy in load_of(meter, start_at, end_at).items():
            together[begin] = together.get(begin, 0) + energy
    return Fraction(2 * max(together.values()), 1000)
