"""A district of random customers for billing runs; :mod:`tests.billing_runs.wanted_bills` says what must be billed.

A point has contracts that begin, end, change households, category or customer within the months; meters that are
exchanged, roll over and have multipliers; registers read at all instants a bill needs, or by hand at the end alone.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from datetime import date, timedelta
from fractions import Fraction
from itertools import pairwise
from random import Random
from typing import Any

from deploy.demo.exact import DAY
from deploy.demo.exact_values import OwnPlan
from ingest_server.billing.period import Period, midnight_of
from protocols.telemetry.reading import Quality
from tests.billing_core.random_uses import CHANGES, as_rate_plan, random_plan
from tests.billing_runs.district import GATEWAY, District
from tests.billing_runs.random_metering import (
    OBIS,
    RATES,
    SENT,
    Hung,
    read_meter,
)

UNITS = {"VC": "varh", "Pmax": "W"}
REGISTERS = OBIS.keys() - {"interval"}
SINCE = date(2025, 1, 1)
REACTIVE_FROM_KW = 40
MANUAL = int(Quality.MANUAL)
REGIMES = ("net_2017", "separate_2019", "separate_2020", "surplus_2024", "surplus_2026")
VOLTAGES = {
    "production": ("lt6", "6_22", "22_110", "ge110"),
    "business": ("lt6", "6_22", "ge22"),
    "hospital_school": ("lt6", "ge6"),
    "lighting_admin": ("lt6", "ge6"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """A contract; ``customer`` counts the customers of the point."""

    first_on: date
    last_on: date | None
    category: str
    voltage: str | None
    customer: int = 0
    households: int = 1
    tenants: int | None = None
    three_rates: bool = False
    solar: str | None = None
    contracted_kw: int | None = None
    undeclared: bool = False
    refused: bool = False
    pilot: bool = False
    uses: tuple[tuple[str, str | None, int], ...] = ()
    plan: OwnPlan | None = None

    @property
    def people(self) -> Fraction:
        return Fraction(self.households) if self.tenants is None else Fraction(self.tenants, 4)

    @property
    def but_people(self) -> "Agreement":
        charged = REACTIVE_FROM_KW if self.reactive else None
        return replace(self, first_on=SINCE, last_on=None, households=1, tenants=None, contracted_kw=charged)

    @property
    def reactive(self) -> bool:
        """Whether reactive energy is charged: of enough power, and not of a household alone, prepaid or not."""
        used = {self.category, *(category for category, _, _ in self.uses)}
        return bool(used - {"residential", "prepaid"}) and (self.contracted_kw or 0) >= REACTIVE_FROM_KW


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """What happened at one point."""

    number: int
    agreements: tuple[Agreement, ...]
    meters: tuple[Hung, ...]
    by_hand: bool

    @property
    def point(self) -> str:
        return f"PD0100{self.number:07d}001"

    def customer(self, place: int) -> str:
        return f"PD01{place:02d}{self.number:07d}"


def random_life(rng: Random, number: int, months: tuple[Period, ...]) -> Life:
    """Return what happened at a point in months that follow one another."""
    agreements = random_agreements(rng, months)
    by_hand = rng.random() < 0.4
    inside = [day for day in CHANGES if months[0].first_on < day <= months[-1].last_on]
    days = {day for month in months for day in (month.first_on, month.last_on + DAY)}
    days |= {each.first_on for each in agreements} | {each.last_on + DAY for each in agreements if each.last_on}
    days |= set() if by_hand or rng.random() < 0.3 else set(inside)
    begin, end = months[0].start_at, months[-1].end_at
    instants = {midnight_of(day) for day in days if months[0].first_on <= day <= months[-1].last_on + DAY}
    three = any(each.three_rates for each in agreements)
    profiled = rng.choice(("", "", "half hours", "energies")) if three or rng.random() < 0.05 else ""
    registers = REGISTERS if three and not profiled else REGISTERS - RATES.keys()
    registers -= set() if three else SENT.keys()
    registers -= {"Pmax"} if profiled and rng.random() < 0.5 else set()
    meters, at = [], begin - timedelta(days=rng.randint(1, 90))
    exchanged = sorted(begin + (end - begin) * rng.random() for _ in range(rng.choice((0, 0, 0, 1, 1, 2))))
    exchanged = exchanged[:1] + [later for before, later in pairwise(exchanged) if later - before > timedelta(hours=1)]
    for place, until in enumerate([*exchanged, end + timedelta(days=3)]):
        name = f"M-{number:06d}-{place}"
        multiplier, digits = rng.choice((1, 1, 1, 20, 400)), rng.choice((5, 6, 7))
        hung = Hung(meter=name, start_at=at, end_at=until, multiplier=multiplier, digits=digits)
        hung.half_hours, hung.energies = bool(profiled), profiled == "energies"
        if profiled and rng.random() < 0.4:
            hung.programmed = [(at + (until - at) * rng.random(), "2026")]
            hung.programmed = [(at.replace(second=0, microsecond=0), name) for at, name in hung.programmed]
        meters.append(hung)
        at = until + timedelta(minutes=rng.choice((0, 0, 45)))
        at = until if any(until < instant < at for instant in instants) else at
    if any(each.solar and each.solar.startswith("surplus") for each in agreements) and rng.random() < 0.8:
        since = begin - timedelta(days=9)
        generating = Hung(
            meter=f"G-{number:06d}", start_at=since, end_at=end + DAY, multiplier=1, digits=6, generation=True
        )
        meters.append(generating)
    for meter in meters:
        ends = {month.end_at for month in months}
        read_meter(rng, meter, instants, {"SG"} if meter.generation else registers, ends)
    return Life(number=number, agreements=agreements, meters=tuple(meters), by_hand=by_hand)


def random_agreements(rng: Random, months: tuple[Period, ...]) -> tuple[Agreement, ...]:
    """Return the contracts of a point: one, or several after one another, perhaps with a gap."""
    first = random_terms(rng, SINCE)
    month = rng.choice(months)
    day = month.first_on + timedelta(days=rng.randrange(month.days))
    story = rng.randrange(7)
    if story == 0:
        return (replace(first, first_on=day),)
    if story == 1:
        return (replace(first, last_on=day),)
    if story == 2:
        return _with_people(rng, first, month)
    if story == 3 and day > SINCE:
        other = random_terms(rng, day)
        return (replace(first, last_on=day - DAY), other)
    if story == 4:
        other = first if rng.random() < 0.5 else random_terms(rng, day)
        gap = timedelta(days=rng.choice((0, 0, 0, 3)))
        return (replace(first, last_on=day - DAY), replace(other, first_on=day + gap, customer=1))
    return (first,)


def _with_people(rng: Random, first: Agreement, month: Period) -> tuple[Agreement, ...]:
    days = sorted(rng.sample(range(1, month.days), rng.randint(1, 3)))
    found = [first]
    for day in days:
        on = month.first_on + timedelta(days=day)
        found[-1] = replace(found[-1], last_on=on - DAY)
        people = {"households": rng.randint(1, 5), "tenants": None}
        if first.category == "residential" and rng.random() < 0.4 and not first.undeclared:
            people = {"households": 1, "tenants": rng.randint(1, 20)}
        found.append(replace(first, first_on=on, **people))
    return tuple(found)


def random_terms(rng: Random, first_on: date) -> Agreement:
    """Return a contract from a day on."""
    category = rng.choice(("residential",) * 4 + ("prepaid", "production", "production", *VOLTAGES))
    voltage = rng.choice(VOLTAGES[category]) if category in VOLTAGES else None
    home, rated = category == "residential", category in ("production", "business")
    solar = rng.choice(REGIMES) if rng.random() < 0.3 else None
    three = rated and rng.random() < 0.6
    tenants = rng.randint(1, 30) if home and rng.random() < 0.15 else None
    found = Agreement(
        first_on=first_on,
        last_on=None,
        category=category,
        voltage=voltage,
        households=rng.choice((1, 1, 2, 3, 12)) if home and tenants is None else 1,
        tenants=tenants,
        three_rates=three,
        solar=solar,
        contracted_kw=None if home and rng.random() < 0.9 else rng.choice((None, 39, 40, 500)),
        undeclared=home and tenants is None and rng.random() < 0.06,
        refused=rated and not three and rng.random() < 0.1,
    )
    if category == "production" and rng.random() < 0.2:
        return replace(found, pilot=True)
    if rng.random() < 0.1 and not found.undeclared and not found.refused:
        return replace(found, plan=random_plan(rng))
    if rng.random() < 0.15 and not found.undeclared and not found.refused:
        names = rng.sample([name for name in ("residential", "business", "lighting_admin") if name != category], 1)
        uses = tuple(
            (name, rng.choice(VOLTAGES[name]) if name in VOLTAGES else None, rng.randint(1, 99)) for name in names
        )
        return replace(found, uses=uses)
    return found


# Into the tables.


def enter(district: District, lives: list[Life]) -> None:
    """Write customers, contracts, meters and readings."""
    people = [(life, place) for life in lives for place in sorted({each.customer for each in life.agreements} | {0})]
    district.copy("customer (customer_id, name)", [(life.customer(place), "Hoa") for life, place in people])
    district.copy("metering_point (metering_point_id, customer_id)", [(life.point, life.customer(0)) for life in lives])
    hung = [(life, meter) for life in lives for meter in life.meters]
    district.copy(
        "meter (meter_id, gateway_id, model, digits)", [(m.meter, GATEWAY, "test", m.digits) for _, m in hung]
    )
    district.copy(
        "installation (metering_point_id, meter_id, installed_at, removed_at, multiplier, role)",
        [
            (life.point, m.meter, m.start_at, m.end_at, m.multiplier, "generation" if m.generation else "supply")
            for life, m in hung
        ],
    )
    registers = [(m.meter, name) for _, m in hung for name in sorted({name for name, _ in m.said})]
    district.copy(
        "channel (meter_id, obis, unit)", [(meter, OBIS[name], UNITS.get(name, "Wh")) for meter, name in registers]
    )
    plans = dict.fromkeys(each.plan for life in lives for each in life.agreements if each.plan is not None)
    figures = [(_name(plan), SINCE, replace(as_rate_plan(plan), name=_name(plan)).text) for plan in plans]
    district.copy("rate_plan (name, effective_on, figures)", figures)
    columns = (
        "metering_point_id, valid_from, valid_to, category, voltage, households, tenants, three_rates, solar_regime, "
        "contracted_kw, undeclared_rental, refused_three_rates, two_component, uses, rate_plan, customer_id"
    )
    district.copy(f"contract ({columns})", [_contract(life, each) for life in lives for each in life.agreements])
    district.copy(
        "register_reset (meter_id, reset_at, obis, before, after, source)",
        [(m.meter, at, OBIS[name], *values, "record") for _, m in hung for (name, at), values in m.set_back.items()],
    )
    district.copy(
        "meter_schedule (meter_id, since_at, schedule, source)",
        [(m.meter, at, name, "record") for _, m in hung for at, name in m.programmed],
    )
    channels = {(meter, obis): channel for channel, meter, obis in district.rows(CHANNELS)}
    district.copy(
        "reading",
        [
            (channels[m.meter, OBIS[name]], at, value, MANUAL if life.by_hand else 0)
            for life, m in hung
            for (name, at), value in m.said.items()
        ],
    )


CHANNELS = "select channel_id, meter_id, obis from channel"


def _name(plan: OwnPlan) -> str:
    return "plan " + hashlib.sha256(repr(plan).encode()).hexdigest()[:12]


def _contract(life: Life, each: Agreement) -> tuple[Any, ...]:
    uses = [
        {"category": name, "share_percent": share} | ({} if voltage is None else {"voltage": voltage})
        for name, voltage, share in each.uses
    ]
    return (
        *(life.point, each.first_on, each.last_on, each.category, each.voltage, each.households, each.tenants),
        *(each.three_rates, each.solar, each.contracted_kw, each.undeclared, each.refused, each.pilot),
        json.dumps(uses) if uses else None,
        None if each.plan is None else _name(each.plan),
        life.customer(each.customer) if each.customer else None,
    )
