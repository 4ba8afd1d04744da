"""What stands around a bill, of the engine and of the exact recomputation: random profiles and wrong prices."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from random import Random
from typing import Any

import numpy as np

from billing_core.back_billing import correct_bills, corrected_from
from billing_core.codes import RATES, Category, Voltage
from billing_core.intervals import Profiles, energy_by_rate, highest_demand_w
from billing_core.tariff_files import load_tariffs
from billing_core.time_of_use import Programme
from deploy.demo.exact_values import NotBillableError, Use
from tests.billing_core.exact_around import (
    difference,
    energy_by_minutes,
    first_corrected_day,
    highest_half_hour_kw,
)
from tests.billing_core.random_uses import (
    FIRST_DAY,
    VOLTAGES,
    as_batch,
    as_rate_plan,
    plans_of,
    random_use,
    with_own_plan,
    with_reading_at_change,
)

DAY = timedelta(days=1)
PLANNED = 0.2  # of those billed at a wrong price have a utility's own plan


def profile_differences(rng: Random, profiles: int) -> tuple[list[str], list[Use]]:
    """Return where the rates of a load profile differ, and a production use of each, to be billed."""
    schedules = {schedule.name: schedule for schedule in load_tariffs().schedules}
    found, uses = [], []
    for _ in range(profiles):
        minutes, days = rng.choice((10, 15, 30, 30, 60)), rng.randint(1, 4)
        start_on = FIRST_DAY + timedelta(days=rng.randrange(4_000))
        start_at = datetime(start_on.year, start_on.month, start_on.day, tzinfo=UTC) - timedelta(hours=7)
        energy = [rng.choice((0, 1, rng.randrange(10**6))) for _ in range(days * 1440 // minutes)]
        programmed = [(start_at, rng.choice(list(schedules)))]
        if rng.random() < 0.3:
            programmed.append((start_at + timedelta(minutes=rng.randrange(days * 1440)), rng.choice(list(schedules))))
        kwh = energy_by_minutes(start_at, minutes, energy, programmed)
        starts = np.datetime64(start_at.replace(tzinfo=None), "m") + np.arange(len(energy)) * np.timedelta64(
            minutes, "m"
        )
        own = Profiles(start_at=starts, minutes=minutes, energy_wh=np.array([energy]))
        changes = tuple((np.datetime64(at.replace(tzinfo=None), "m"), schedules[name]) for at, name in programmed)
        rates, _ = energy_by_rate(own, [Programme(changes=changes)], np.array([0]))
        wanted: list[Fraction] = [kwh[rate.value] for rate in RATES]
        got = [Fraction(wh, 1000) for wh in rates[0].tolist()]
        if minutes <= 30:
            wanted.append(highest_half_hour_kw(minutes, energy))
            got.append(Fraction(int(highest_demand_w(own)[0]), 1000))
        if got != wanted:
            found.append(f"{start_at} {minutes} {programmed} {energy}\n exact  {wanted}\n engine {got}")
        last = start_on + timedelta(days=days - 1)
        voltage = rng.choice(VOLTAGES["production"])
        uses.append(Use(category="production", voltage=voltage, start_on=start_on, end_on=last, kwh=kwh))
    return found, uses


def correction_differences(rng: Random, bills: int) -> tuple[list[str], int]:
    """Return where differences of bills at a wrong price differ, and how many of them were computed."""
    found_on = FIRST_DAY + timedelta(days=rng.randrange(400, 4_200))
    since_on = found_on - timedelta(days=rng.randrange(700)) if rng.random() < 0.7 else None
    uses = []
    while len(uses) < bills:
        use = _near(random_use(rng), found_on, rng)
        if not use.uses and not use.meters and use.demand_kw is None:
            read = with_reading_at_change(use, rng)
            uses.append(with_own_plan(read, rng) if rng.random() < PLANNED else read)
    right, columns = _right(rng)
    plans = plans_of(uses)
    if plans and rng.random() < PLANNED:  # the plan itself was the wrong one
        right, columns = {"plan": plans[0]}, {"rate_plan": 0}
    first_on = first_corrected_day(found_on, since_on)
    found = [] if first_on == corrected_from(found_on, since_on) else [f"{found_on} {since_on}: {first_on}"]
    engine = correct_bills(
        as_batch(uses)[0],
        columns,
        load_tariffs(),
        found_on=found_on,
        since_on=since_on,
        plans=[as_rate_plan(plan) for plan in plans],
    )
    places = {bill: place for place, bill in enumerate(engine.bill.tolist())}
    computed = 0
    for number, use in enumerate(uses):
        wanted: object = None
        if use.end_on >= first_on and use.start_on <= found_on:
            try:
                wanted = difference(use, right, first_on)
                computed += 1
            except NotBillableError:
                wanted = "held"
        place = places.get(number)
        got: object = None
        if place is not None:
            amounts = tuple(int(getattr(engine, name)[place]) for name in ("subtotal", "vat", "total"))
            got = "held" if engine.hold[place] else amounts
        if wanted != got:
            found.append(f"{use}\n right {right}, from {first_on}\n exact  {wanted}\n engine {got}")
    return found, computed


def _near(use: Use, day: date, rng: Random) -> Use:
    """Return the use in another period, most of them within a year before ``day``; what is netted was netted before."""
    start_on, days = day - timedelta(days=rng.randrange(430)), use.end_on - use.start_on
    own = tuple((start_on + (on - use.start_on), households) for on, households in use.household_changes)
    plain = {"solar": None, "export_kwh": Fraction(0), "export_before_changes_kwh": (), "quota_unit_kwh": Fraction(1)}
    plain |= {"carry_in_kwh": Fraction(0), "export_by_rate_kwh": None, "carry_in_by_rate_kwh": None}
    return replace(use, start_on=start_on, end_on=start_on + days, household_changes=own, **plain)


def _right(rng: Random) -> tuple[Mapping[str, Any], dict[str, Any]]:
    """Return what is right, for the recomputation and as columns of a batch."""
    if rng.random() < 0.2:
        return {"undeclared_rental": True}, {"undeclared_rental": True}
    if rng.random() < 0.2:
        of_people = {"tenants": None, "person_days": None}
        return {"households": Fraction(3, 2), **of_people}, {"households": 3, "households_parts": 2}
    category = rng.choice(("residential", "business", "production", "lighting_admin", "hospital_school"))
    voltage = rng.choice(VOLTAGES.get(category, ("lt6",)))
    named = {"category": category, "voltage": voltage, "undeclared_rental": False}
    codes = {"category": Category(category).code, "voltage": Voltage(voltage).code, "undeclared_rental": False}
    return named, codes
