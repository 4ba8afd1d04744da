"""Random bills, as the exact recomputation takes them and as a row of the engine's batch."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from fractions import Fraction
from itertools import pairwise
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from billing_core.batch import NO_PLAN, NOT_MEASURED, Batch, batch_of
from billing_core.codes import Category, Certainty, Solar, Voltage, codes_of
from billing_core.consumption import consume
from billing_core.mixed_use import Uses
from billing_core.rate_plan import Ratchet, RatePlan
from billing_core.tariff_files import load_tariffs
from deploy.demo.exact_values import MeterPart, OwnPlan, Use

FIRST_DAY, DAYS = date(2015, 3, 16), (date(2026, 12, 31) - date(2015, 3, 16)).days
UP_TO_2025 = ("lt6", "6_22", "22_110", "ge110", "ge22", "ge6")
VOLTAGES = {
    "production": UP_TO_2025[:4],
    "business": UP_TO_2025[:5],
    "hospital_school": UP_TO_2025,
    "lighting_admin": (*UP_TO_2025, "le1"),
    "tourism": ("le1", "gt1"),
    "charging": ("35_220",),
}
RATE_PLACES = {"SG": 0, "BT": 0, "CD": 1, "TD": 2}
BY_RATE = ("production", "business", "wholesale_complex_other")
CHANGES = [act.effective_on for act in load_tariffs().acts[1:]]


def random_use(rng: Random) -> Use:
    """Return what one customer used: any category, regime, period and size, and often something at its edge."""
    category = rng.choice([member.value for member in Category] + ["residential"] * 12 + ["production"] * 4)
    start_on, days = random_period(rng, category)
    end_on = start_on + timedelta(days=days - 1)
    solar = rng.choice([member.value for member in Solar if member is not Solar.NONE]) if rng.random() < 0.3 else None
    three = category in BY_RATE and rng.random() < 0.7
    names = ("BT", "CD", "TD") if three else ("SG",)
    meters = random_meters(rng, names) if rng.random() < 0.2 else ()
    pilot = category == "production" and rng.random() < 0.2
    people = rng.random() if category == "residential" else 1
    changes = random_changes(rng, start_on, days) if people >= 0.1 and rng.random() < 0.1 else ()
    use = Use(
        category=category,
        start_on=start_on,
        end_on=end_on,
        kwh={} if meters else {name: random_kwh(rng) for name in names},
        meters=meters,
        voltage=rng.choice(VOLTAGES.get(category, ("lt6",))),
        households=random_households(rng),
        household_changes=changes,
        tenants=rng.randint(1, 60) if people < 0.05 else None,
        person_days=rng.randint(1, 60 * days) if 0.05 <= people < 0.1 else None,
        quota_unit_kwh=Fraction(1, 1000) if rng.random() < 0.1 else Fraction(1),
        undeclared_rental=category == "residential" and rng.random() < 0.05,
        refused_three_rates=rng.random() < 0.1,
        nominal_days=days if pilot and rng.random() < 0.7 else rng.choice((None, None, 30, 31)),
        share_by_days=category == "residential" or rng.random() < 0.5,
        export_kwh=random_kwh(rng) if solar else Fraction(0),
        generation_kwh=rng.choice((None, random_kwh(rng) * 2)) if solar else None,
        solar=solar,
        solar_price=rng.choice((None, None, 671, 1_012)) if solar else None,
        carry_in_kwh=random_kwh(rng) if solar == "net_2017" else Fraction(0),
        settle_carry=rng.random() < 0.5,
        reactive_kvarh=random_kwh(rng) if rng.random() < 0.3 else None,
        cosphi=Fraction(rng.randint(1, 100), 100) if rng.random() < 0.1 else None,
        demand_kw=Fraction(rng.randint(0, 10**7), 1000) if pilot else None,
        uses=random_shares(rng, category, three) if rng.random() < 0.1 and not pilot else (),
    )
    return with_exports_by_rate(use, rng)


def with_own_plan(use: Use, rng: Random) -> Use:
    """Return ``use`` billed by a utility's own plan, if it has one use and no pilot."""
    if use.uses or use.demand_kw is not None:
        return use
    plan = random_plan(rng)
    drawn = Fraction(rng.randint(0, 10**6), 1000) if plan.demand else None
    before = Fraction(rng.randint(0, 10**6), 1000) if rng.random() < 0.7 else None
    return replace(use, plan=plan, demand_kw=drawn, demand_before_kw=before)


def random_plan(rng: Random) -> OwnPlan:
    """Return a plan with any of its charges."""
    energy = rng.choice(({}, {"single": rng.randint(0, 2_000)}, {"rates": (900, 1_400, 600)}, {"tiers": TIERS}))
    demand, ratchet = rng.choice((0, 0, 30_000)), rng.random() < 0.5
    return OwnPlan(
        **energy,
        fixed=rng.choice((0, 5_000, 40_001)),
        minimum=rng.choice((0, 25_000, 10**7)),
        demand=demand,
        ratchet_percent=rng.choice((50, 80, 100)) if demand and ratchet else None,
        least_kw=Fraction(rng.choice((0, 20))) if demand and ratchet else Fraction(0),
        tax_permille=rng.choice((None, 0, 70, 100)),
    )


TIERS = ((25, 400), (150, 600), (None, 1_100))


def plans_of(uses: list[Use]) -> list[OwnPlan]:
    """Return the plans there are, in the order in which batches refer to them."""
    return list(dict.fromkeys(use.plan for use in uses if use.plan is not None))


def as_rate_plan(plan: OwnPlan) -> RatePlan:
    """Return a plan as the engine takes it."""
    ends = [0, *(end for end, _ in plan.tiers if end is not None)]
    ratchet = None
    if plan.ratchet_percent is not None:
        ratchet = Ratchet(percent=plan.ratchet_percent, months=3, least_w=wh(plan.least_kw))
    return RatePlan(
        name="own",
        effective_on=date(2015, 1, 1),
        source="invented",
        certainty=Certainty.UNVERIFIED,
        single=plan.single,
        rates=plan.rates,
        tiers=tuple(price for _, price in plan.tiers),
        widths_kwh=tuple(end - before for before, end in pairwise(ends)),
        fixed_monthly=plan.fixed,
        minimum_monthly=plan.minimum,
        demand=plan.demand,
        ratchet=ratchet,
        tax_permille=plan.tax_permille,
    )


def random_period(rng: Random, category: str) -> tuple[date, int]:
    """Return the first day and the number of days; one in eight has a change of price in it, a few have several."""
    days = rng.choice((1, 15, 28, 29, 30, 31, 31, 57, 90))
    if rng.random() < 0.02:
        return rng.choice(CHANGES) - timedelta(days=rng.randrange(200)), rng.choice((250, 400, 800))
    if rng.random() < 0.125:
        return rng.choice(CHANGES) - timedelta(days=rng.randrange(days)), days
    # Wholesale prices are known for the first act only: most of its bills are to be priced, not held. The pilot is new.
    span = 800 if category.startswith("wholesale") and rng.random() < 0.9 else DAYS - 120
    if category == "production" and rng.random() < 0.3:
        return date(2025, 10, 9) + timedelta(days=rng.randrange(300)), days
    return FIRST_DAY + timedelta(days=rng.randrange(span)), days


def random_households(rng: Random) -> Fraction:
    return Fraction(rng.randint(1, 12), rng.choice((1, 1, 1, 2, 4, 120, 7)))


def random_changes(rng: Random, start_on: date, days: int) -> tuple[tuple[date, Fraction], ...]:
    """Return one to four changes of the number of households after the first day; none in a period of one day."""
    many = min(rng.choice((1, 1, 2, 3, 4)), days - 1)
    chosen = sorted(rng.sample(range(1, days), many))
    return tuple((start_on + timedelta(days=day), random_households(rng)) for day in chosen)


def random_shares(rng: Random, category: str, three: bool) -> tuple[tuple[str, str, Fraction], ...]:
    """Return one or two other uses, with shares that leave some for ``category``."""
    others = [name for name in ("residential", "business", "production", "lighting_admin") if name != category]
    chosen = rng.sample(others, rng.randint(1, 2))
    return tuple(
        (name, rng.choice(VOLTAGES.get(name, ("lt6",))), Fraction(rng.randint(1, 4_999), 10_000)) for name in chosen
    )


def random_meters(rng: Random, names: tuple[str, ...]) -> tuple[MeterPart, ...]:
    """Return one to three parts of the period: exchanged, rolled over, with another multiplier, or run backwards."""
    parts = []
    for _ in range(rng.randint(1, 3)):
        digits, multiplier, backwards = rng.choice((5, 6, None)), rng.choice((1, 1, 20, 400)), rng.random() < 0.1
        for name in names:
            used, limit = rng.randint(0, 30_000_000), 10 ** (digits or 7) * 1000
            old = rng.randrange(limit) if digits else rng.randrange(limit) + used
            new = old - used if backwards else old + used
            indexes = (Fraction(value % limit if digits else value, 1000) for value in (old, new))
            parts.append(MeterPart(name, *indexes, digits, multiplier, backwards))
    return tuple(parts)


def with_reading_at_change(use: Use, rng: Random, days: Sequence[date] = CHANGES) -> Use:
    """Return ``use`` with its meter read at each change of price, if there are any and the energy is known."""
    changes = [day for day in days if use.start_on < day <= use.end_on]
    if not changes or use.meters or use.demand_kw is not None or (len(changes) > 1 and rng.random() < 0.3):
        return use
    before = random_readings(use.kwh, len(changes), rng)
    exported: tuple[dict[str, Fraction], ...] = ()
    if use.solar == "net_2017" and rng.random() < 0.9:
        whole = {"SG": use.export_kwh} if use.export_by_rate_kwh is None else use.export_by_rate_kwh
        exported = random_readings(whole, len(changes), rng)
    return replace(use, before_changes_kwh=before, export_before_changes_kwh=exported)


def random_readings(kwh: Mapping[str, Fraction], count: int, rng: Random) -> tuple[dict[str, Fraction], ...]:
    """Return what each register had counted at so many moments before it had counted all."""
    counted = {
        name: sorted(rng.randint(0, int(all_of_it * 1000)) for _ in range(count)) for name, all_of_it in kwh.items()
    }
    return tuple({name: Fraction(each[at], 1000) for name, each in counted.items()} for at in range(count))


def with_exports_by_rate(use: Use, rng: Random) -> Use:
    """Return ``use`` with what a three-rate meter exported and carried by rate, if it is netted; of some unknown."""
    if use.solar != "net_2017" or "BT" not in use.kwh or rng.random() < 0.1:
        return use
    exported = {name: random_kwh(rng) for name in use.kwh}
    kept = {name: random_kwh(rng) for name in use.kwh} if rng.random() < 0.5 else None
    return replace(
        use,
        export_by_rate_kwh=exported,
        export_kwh=sum(exported.values(), Fraction(0)),
        carry_in_by_rate_kwh=kept,
        carry_in_kwh=use.carry_in_kwh if rng.random() < 0.3 else Fraction(0),
    )


def random_kwh(rng: Random) -> Fraction:
    """Return 0, whole kWh around the tiers' bounds, or any number of Wh up to a large factory's month."""
    return rng.choice(
        (
            Fraction(0),
            Fraction(rng.randint(1, 999), 1000),
            Fraction(rng.randint(1, 700)),
            Fraction(rng.randint(1, 700_000), 1000),
            Fraction(rng.randint(1, 10**10), 1000),
        )
    )


def households(use: Use) -> Fraction:
    """Return the households behind the meter; four tenants are one, or four people's days for each day."""
    if use.tenants is not None:
        return Fraction(use.tenants, 4)
    if use.person_days is not None:
        return Fraction(use.person_days, 4 * ((use.end_on - use.start_on).days + 1))
    return use.households


def wh(kwh: Fraction | None) -> int:
    return NOT_MEASURED if kwh is None else int(kwh * 1000)


def as_batch(uses: list[Use]) -> tuple[Batch, NDArray[np.int8]]:
    """Return ``uses`` as the engine takes them, and why registers could not be read."""
    metered_wh, hold = metered(uses)
    read = np.array([bool(use.meters) for use in uses])
    energy = np.array([by_rate(use.kwh) for use in uses])
    places = {plan: place for place, plan in enumerate(plans_of(uses))}
    batch = batch_of(
        energy_wh=np.where(read[:, np.newaxis], metered_wh, energy),
        start_on=[use.start_on for use in uses],
        end_on=[use.end_on for use in uses],
        nominal_days=[use.nominal_days or 0 for use in uses],
        category=[Category(use.category).code for use in uses],
        voltage=[Voltage(use.voltage).code for use in uses],
        three_rates=["BT" in (use.kwh or {part.register for part in use.meters}) for use in uses],
        households=[households(use).numerator for use in uses],
        households_parts=[households(use).denominator for use in uses],
        **changes_of(uses),
        share_by_days=[use.share_by_days for use in uses],
        export_wh=[wh(use.export_kwh) for use in uses],
        generation_wh=[wh(use.generation_kwh) for use in uses],
        carry_in_wh=[wh(use.carry_in_kwh) for use in uses],
        export_rates_wh=[
            [NOT_MEASURED] * 3 if use.export_by_rate_kwh is None else by_rate(use.export_by_rate_kwh) for use in uses
        ],
        carry_in_rates_wh=[by_rate(use.carry_in_by_rate_kwh or {}) for use in uses],
        settle_carry=[use.settle_carry for use in uses],
        solar=[(Solar(use.solar) if use.solar else Solar.NONE).code for use in uses],
        solar_price=[use.solar_price or 0 for use in uses],
        reactive_varh=[wh(use.reactive_kvarh) for use in uses],
        power_factor_percent=[NOT_MEASURED if use.cosphi is None else int(use.cosphi * 100) for use in uses],
        undeclared_rental=[use.undeclared_rental for use in uses],
        refused_three_rates=[use.refused_three_rates for use in uses],
        before_change_wh=at_changes([use.before_changes_kwh for use in uses]),
        export_before_change_wh=at_changes([use.export_before_changes_kwh for use in uses]),
        two_component=[use.demand_kw is not None and use.plan is None for use in uses],
        demand_w=[wh(use.demand_kw) for use in uses],
        demand_before_w=[wh(use.demand_before_kw) for use in uses],
        rate_plan=[NO_PLAN if use.plan is None else places[use.plan] for use in uses],
    )
    return batch, hold


def changes_of(uses: list[Use]) -> dict[str, NDArray[Any]]:
    """Return the changes of households as columns of a batch: one of each row, or n × k."""
    width = max(1, *(len(use.household_changes) for use in uses))
    none = (np.datetime64("NaT", "D"), Fraction(1))
    rows = [[*use.household_changes, *[none] * (width - len(use.household_changes))] for use in uses]
    shape = (len(uses), width) if width > 1 else (len(uses),)
    return {
        "households_changed_on": np.array([[day for day, _ in row] for row in rows], "datetime64[D]").reshape(shape),
        "households_after": np.array([[after.numerator for _, after in row] for row in rows]).reshape(shape),
        "households_after_parts": np.array([[after.denominator for _, after in row] for row in rows]).reshape(shape),
    }


def at_changes(readings: list[tuple[Mapping[str, Fraction], ...]]) -> NDArray[np.int64]:
    """Return what was counted up to each change of price as a column of a batch. [Wh, n × k × 3]"""
    found = np.full((len(readings), max(1, *map(len, readings)), 3), NOT_MEASURED, dtype=np.int64)
    for row, own in enumerate(readings):
        for change, kwh in enumerate(own):
            found[row, change] = by_rate(kwh)
    return found


def by_rate(kwh: Mapping[str, Fraction]) -> list[int]:
    return [wh(kwh.get("SG", kwh.get("BT", Fraction(0)))), *(wh(kwh.get(name, Fraction(0))) for name in ("CD", "TD"))]


def metered(uses: list[Use]) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    """Return what the meters of all uses counted by rate, and why registers could not be read; nothing of those.

    Through a part in which a meter ran backwards its registers ran down. [Wh, n × 3; Hold code, n]
    """
    rows = [(bill, part) for bill, use in enumerate(uses) for part in use.meters]
    bill = np.array([row for row, _ in rows], dtype=np.int64)
    ends = [(part.new_kwh, part.old_kwh) if part.backwards else (part.old_kwh, part.new_kwh) for _, part in rows]
    used = consume(
        [wh(before) for before, _ in ends],
        [wh(after) for _, after in ends],
        digits=[part.digits or 0 for _, part in rows],
        multiplier=[part.multiplier for _, part in rows],
    )
    rates_wh, hold = np.zeros((len(uses), 3), dtype=np.int64), np.zeros(len(uses), dtype=np.int8)
    np.add.at(rates_wh, (bill, [RATE_PLACES[part.register] for _, part in rows]), used.energy_wh)
    held = np.flatnonzero(used.hold)[::-1]  # backwards, so that the first reason of a bill is written last
    hold[bill[held]] = used.hold[held]
    rates_wh[hold != 0] = 0
    return rates_wh, hold


def as_uses(uses: list[Use]) -> Uses:
    """Return what the energy of each bill is used for."""
    rows = [
        (bill, category, voltage, int(share * 10_000))
        for bill, use in enumerate(uses)
        for category, voltage, share in (
            (use.category, use.voltage, 1 - sum((share for _, _, share in use.uses), Fraction(0))),
            *use.uses,
        )
    ]
    return Uses(
        bill=np.array([row[0] for row in rows]),
        category=codes_of(Category(row[1]) for row in rows),
        voltage=codes_of(Voltage(row[2]) for row in rows),
        share_bp=np.array([row[3] for row in rows]),
    )
