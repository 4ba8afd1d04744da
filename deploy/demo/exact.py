"""A second opinion on every bill: slow, exact, and written apart from the engine.

It takes nothing from the billing core but the tariff files, which it reads with its own few lines. It computes one bill
at a time with fractions, from the rules' text (``docs/domain/billing.md``), and where there is a choice it goes another
way than the engine: tiers by their bounds and not by what is left, the nominal cycle by walking the calendar day by
day, the power factor by trying all hundredths. So a bill on which both agree is wrong only if the rule was misread
twice.
"""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from fractions import Fraction
from functools import cache
from importlib import resources
from itertools import pairwise
from typing import Any

from deploy.demo.exact_solar import added_up, netted, settle, stretches_of
from deploy.demo.exact_values import ExactBill, MeterPart, NotBillableError, OwnPlan, Use, half_up

DAY = timedelta(days=1)
BUSINESS_TOP = ("ge22", "22_110", "ge110")
PEOPLE_PER_HOUSEHOLD = 4
PLANNED_DAYS_MAX = 62
RATES = ("BT", "CD", "TD")
SINGLE_PRICE = ("hospital_school", "lighting_admin")
LIVING = ("residential", "prepaid")  # what is used for neither production nor business nor services


def exact_bill(use: Use, files: Mapping[str, dict[str, Any]] | None = None) -> ExactBill:
    """Compute the bill of ``use``; raise :class:`NotBillableError` where the rules give none.

    ``files`` are the tariff files by name, those of the billing core if not given.
    """
    files = tariff_files() if files is None else files
    if use.meters:
        use = replace(use, kwh=consumed(use.meters))
    billed, bought, carried, price = settle(use, files["solar.toml"])
    if use.solar == "net_2017" and use.before_changes_kwh:
        use = replace(use, before_changes_kwh=netted(use))
    cosphi = _power_factor(use, sum(billed.values(), Fraction(0)))
    if use.plan is not None:
        lines, rate = _planned(use, use.plan, billed, cosphi, files)
    else:
        lines = [line for one, kwh in _by_use(use, billed) for line in _lines_of(one, kwh, cosphi, files)]
        rate = _vat_rate(use.end_on, files["vat.toml"])
    subtotal = sum(amount for _, _, amount in lines)
    vat = half_up(subtotal * rate)
    return ExactBill(
        lines=tuple(lines),
        subtotal=subtotal,
        vat=vat,
        total=subtotal + vat,
        bought_kwh=bought,
        purchase=0 if not bought else None if price is None else half_up(bought * price),
        carry_out_kwh=sum(carried.values(), Fraction(0)),
        carry_out_by_rate_kwh=tuple(carried[rate] for rate in RATES) if set(carried) == set(RATES) else (),
    )


def consumed(meters: Sequence[MeterPart]) -> dict[str, Fraction]:
    """Return the energy of each register, by counting each part from its lower to its higher index."""
    found: dict[str, Fraction] = {}
    for part in meters:
        low, high = (part.new_kwh, part.old_kwh) if part.backwards else (part.old_kwh, part.new_kwh)
        if high < low:
            if part.digits is None:
                raise NotBillableError("the register fell")
            high += 10**part.digits
            if 2 * (high - low) > 10**part.digits:
                raise NotBillableError("the register fell by more than it can have gone round")
        found[part.register] = found.get(part.register, Fraction(0)) + (high - low) * part.multiplier
    return found


def _planned(
    use: Use,
    plan: OwnPlan,
    billed: Mapping[str, Fraction],
    cosphi: Fraction | None,
    files: Mapping[str, dict[str, Any]],
) -> tuple[list[tuple[Fraction, int, int]], Fraction]:
    """Return the lines of a utility's own plan, and its rate of tax; a month's charge is taken by the days billed."""
    days = (use.end_on - use.start_on).days + 1
    if use.uses or days > PLANNED_DAYS_MAX or (plan.demand and use.demand_kw is None):
        raise NotBillableError("a plan is for one use, up to two months, and needs the demand it charges")
    if use.undeclared_rental and use.category != "residential":
        raise NotBillableError("tenants are a residential use")
    tax = plan.tax_permille
    rate = Fraction(tax, 1000) if tax is not None else _vat_rate(use.end_on, files["vat.toml"])
    if not plan.prices_energy:
        lines = _lines_of(replace(use, plan=None, demand_kw=None), billed, cosphi, files)
    else:
        lines = [(kwh, price, half_up(kwh * price)) for kwh, price in _own_energy(use, plan, billed) if kwh]
    cycle = use.nominal_days or nominal_cycle(use.start_on)
    if plan.demand and use.demand_kw is not None:
        kw = use.demand_kw
        if plan.ratchet_percent is not None:
            earlier = Fraction(half_up((use.demand_before_kw or 0) * 1000 * plan.ratchet_percent / Fraction(100)), 1000)
            kw = max(kw, plan.least_kw, earlier)
        lines.append((kw, plan.demand, half_up(kw * plan.demand * days / cycle)))
    lines.append((Fraction(0), plan.fixed, half_up(Fraction(plan.fixed * days, cycle))))
    least = half_up(Fraction(plan.minimum * days, cycle))
    lines.append((Fraction(0), plan.minimum, max(0, least - sum(amount for _, _, amount in lines))))
    return [(kwh, price, amount) for kwh, price, amount in lines if kwh or amount], rate


def _own_energy(use: Use, plan: OwnPlan, billed: Mapping[str, Fraction]) -> list[tuple[Fraction, int]]:
    """Return (kWh, price) of a plan that prices energy itself; tiers widen with days and households as the acts' do."""
    total = sum(billed.values(), Fraction(0))
    if plan.single is not None:
        return [(total, plan.single)]
    if plan.rates is not None:
        prices = dict(zip(RATES, plan.rates, strict=True))
        return [(kwh, prices["BT" if register == "SG" else register]) for register, kwh in billed.items()]
    ends = [0, *(end for end, _ in plan.tiers if end is not None)]
    widths = [end - before for before, end in pairwise(ends)]
    return _by_tiers(use, (use.start_on, use.end_on), total, widths, [price for _, price in plan.tiers])


def _by_use(use: Use, kwh: Mapping[str, Fraction]) -> list[tuple[Use, Mapping[str, Fraction]]]:
    """Return each use with its energy: shares in whole kWh, counted from the first; the last use has the rest."""
    if not use.uses:
        return [(use, kwh)]
    if use.demand_kw is not None or use.undeclared_rental:
        raise NotBillableError("not defined for mixed use")
    first = (use.category, use.voltage, 1 - sum((share for _, _, share in use.uses), Fraction(0)))
    found: list[tuple[Use, Mapping[str, Fraction]]] = []
    given = Fraction(0)
    for category, voltage, share in (first, *use.uses):
        own = replace(use, category=category, voltage=voltage)
        # Read at changes of price: what flowed between one reading and the next is shared out apart.
        until = list(added_up([_between(part, given, given + share) for part in stretches_of(use, kwh)]))
        found.append((replace(own, before_changes_kwh=tuple(until[:-1])), until[-1]))
        given += share
    return found


def _between(kwh: Mapping[str, Fraction], low: Fraction, high: Fraction) -> dict[str, Fraction]:
    """Return what lies between two shares of the whole, each in whole kWh."""
    return {name: _share(total, high) - _share(total, low) for name, total in kwh.items()}


def _share(kwh: Fraction, share: Fraction) -> Fraction:
    return kwh if share == 1 else min(kwh, Fraction(half_up(kwh * share)))


def _lines_of(
    use: Use, billed: Mapping[str, Fraction], cosphi: Fraction | None, files: Mapping[str, dict[str, Any]]
) -> list[tuple[Fraction, int, int]]:
    """Return the lines of one use: (kWh, price, amount)."""
    if use.undeclared_rental and use.category != "residential":
        raise NotBillableError("tenants are a residential use")
    if use.demand_kw is not None:
        lines = _pilot(use, billed, files["two_component.toml"])
    else:
        lines = [
            (kwh, price, half_up(kwh * price))
            for days, act, share in _shared_out(use, billed, files)
            for kwh, price in _charges(use, act, share, days, files)
            if kwh
        ]
    active = sum(amount for _, _, amount in lines)
    surcharge = _reactive(use, cosphi, active, files["power_factor.toml"])
    if surcharge:
        lines.append((use.reactive_kvarh or Fraction(0), 0, surcharge))
    if use.demand_kw:
        capacity = files["two_component.toml"]["pilot"][-1][use.voltage]["capacity"]
        lines.append((use.demand_kw, capacity, half_up(use.demand_kw * capacity)))
    return lines


def _shared_out(
    use: Use, billed: Mapping[str, Fraction], files: Mapping[str, dict[str, Any]]
) -> Iterator[tuple[tuple[date, date], dict[str, Any], Mapping[str, Fraction]]]:
    """Yield the days, the act and the energy of each stretch of the period under one act."""
    parts, days = _parts(use, files), (use.end_on - use.start_on).days + 1
    for _, _, act in parts:
        _price_list(use, act)
    if use.before_changes_kwh:
        if len(parts) != len(use.before_changes_kwh) + 1:
            raise NotBillableError("readings at changes of price, and more or fewer changes")
        for (first, last, act), share in zip(parts, stretches_of(use, billed), strict=True):
            if min(share.values()) < 0:
                raise NotBillableError("an index that fell")
            yield (first, last), act, share
        return
    if len(parts) > 1 and use.category != "residential" and not use.share_by_days:
        raise NotBillableError("the price changes, and the meter is read on that day")
    before = 0
    for first, last, act in parts:
        until = (last - use.start_on).days + 1
        yield (
            (first, last),
            act,
            {n: until_day(kwh, until, days) - until_day(kwh, before, days) for n, kwh in billed.items()},
        )
        before = until


def _pilot(use: Use, billed: Mapping[str, Fraction], table: dict[str, Any]) -> list[tuple[Fraction, int, int]]:
    """Return the energy lines of the two-component pilot."""
    pilots = [pilot for pilot in table["pilot"] if pilot["effective_on"] <= use.start_on]
    if not pilots or pilots[-1]["category"] != use.category:
        raise NotBillableError("no pilot for this")
    if (use.end_on - use.start_on).days + 1 != (use.nominal_days or nominal_cycle(use.start_on)):
        raise NotBillableError("capacity is priced by the month")
    prices = pilots[-1][use.voltage]
    without = "CD" if use.refused_three_rates else "BT"
    named = [(kwh, prices[without if register == "SG" else register]) for register, kwh in billed.items() if kwh]
    return [(kwh, price, half_up(kwh * price)) for kwh, price in named]


@cache
def tariff_files() -> dict[str, dict[str, Any]]:
    """Return the tariff files by name, as they stand."""
    folder = resources.files("billing_core") / "tariffs"
    return {item.name: tomllib.loads(item.read_text("utf-8")) for item in folder.iterdir() if item.name[-5:] == ".toml"}


def _parts(use: Use, files: Mapping[str, dict[str, Any]]) -> list[tuple[date, date, dict[str, Any]]]:
    """Return the stretches of the period under one act each."""
    acts = sorted((table for name, table in files.items() if name[:4] == "act_"), key=lambda act: act["effective_on"])
    ends = [*(later["effective_on"] - DAY for _, later in pairwise(acts)), date.max]
    found = [
        (max(use.start_on, act["effective_on"]), min(use.end_on, end), act)
        for act, end in zip(acts, ends, strict=True)
        if act["effective_on"] <= use.end_on and end >= use.start_on
    ]
    if not found or found[0][0] != use.start_on:
        raise NotBillableError("no act for the first day")
    return found


def until_day(kwh: Fraction, day: int, days: int) -> Fraction:
    """Return what of ``kwh`` belongs to the first ``day`` of ``days`` days, in whole kWh until the last day."""
    return kwh if day == days else min(kwh, Fraction(half_up(kwh * day / days)))


def _charges(
    use: Use,
    act: dict[str, Any],
    kwh: Mapping[str, Fraction],
    days: tuple[date, date],
    files: Mapping[str, dict[str, Any]],
) -> list[tuple[Fraction, int]]:
    """Return (kWh, price) of each line of one part of the period."""
    total = sum(kwh.values(), Fraction(0))
    prices = _price_list(use, act)
    if isinstance(prices, list):
        structure = [table for table in files["structure.toml"]["tiers"] if table["effective_on"] <= days[0]][-1]
        if use.undeclared_rental:
            return [(total, prices[structure["undeclared_tier"] - 1])]
        return _by_tiers(use, days, total, structure["widths"], prices)
    if isinstance(prices, int):
        return [(total, prices)]
    without = "CD" if use.refused_three_rates else "BT"
    return [(energy, prices[without if register == "SG" else register]) for register, energy in kwh.items()]


def _by_tiers(
    use: Use, days: tuple[date, date], total: Fraction, widths: Sequence[int], prices: Sequence[int]
) -> list[tuple[Fraction, int]]:
    """Return what of ``total`` lies between the bounds of each tier, with its price."""
    stretch = _household_days(use, days) / (use.nominal_days or nominal_cycle(use.start_on))
    bounds = [Fraction(0)]
    for width in widths:
        bounds.append(bounds[-1] + half_up(width * stretch / use.quota_unit_kwh) * use.quota_unit_kwh)
    bounds.append(max(total, bounds[-1]))
    within = [max(Fraction(0), min(total, upper) - lower) for lower, upper in pairwise(bounds)]
    return list(zip(within, prices, strict=True))


def _price_list(use: Use, act: dict[str, Any]) -> list[int] | dict[str, int] | int:
    """Return prices by tier, by register, or one."""
    if use.category == "residential":
        return list(act["residential"]["tiers"])
    if use.category == "prepaid":
        return int(act["residential"]["prepaid"])
    found: Any = None
    if use.category[:10] == "wholesale_":
        found = act.get("wholesale", {}).get(use.category[10:])
    else:
        found = act.get(use.category, {}).get(_class_of(use.category, use.voltage))
    if found is None:
        raise NotBillableError("no price for this category at this voltage in this act")
    prices: list[int] | dict[str, int] | int = found
    return prices


def _class_of(category: str, voltage: str) -> str:
    """Return the class of the price list: acts after Decision 14/2025 part at other voltages than those before."""
    if category == "production":
        return voltage
    if voltage in ("le1", "gt1", "1_35", "35_220", "ge220"):
        return "le1" if voltage == "le1" else "gt1"
    if category in SINGLE_PRICE:
        return "lt6" if voltage == "lt6" else "ge6"
    return "ge22" if voltage in BUSINESS_TOP else voltage


def _household_days(use: Use, days: tuple[date, date]) -> Fraction:
    """Add up the households of each day; four tenants are one, and their days are counted over the whole period."""
    length = (days[1] - days[0]).days + 1
    if use.tenants is not None:
        return Fraction(use.tenants * length, PEOPLE_PER_HOUSEHOLD)
    if use.person_days is not None:
        whole = (use.end_on - use.start_on).days + 1
        return Fraction(use.person_days * length, PEOPLE_PER_HOUSEHOLD * whole)
    if not use.household_changes:
        return use.households * length
    found, day = Fraction(0), days[0]
    while day <= days[1]:
        now = use.households
        for changed_on, after in use.household_changes:
            now = after if changed_on <= day else now
        found += now
        day += DAY
    return found


def nominal_cycle(start_on: date) -> int:
    """Walk to the day before the same day of the next month, or to that month's end if it has no such day."""
    end_on = start_on
    while True:
        following = end_on + DAY
        same_day = following.day == start_on.day and following.month != start_on.month
        too_short = following.day == 1 and end_on.month != start_on.month and end_on.day < start_on.day
        if same_day or too_short:
            return (end_on - start_on).days + 1
        end_on = following


def _vat_rate(day: date, table: dict[str, Any]) -> Fraction:
    for rate in table["rate"]:
        if rate["start_on"] <= day <= rate["end_on"]:
            return Fraction(rate["permille"], 1000)
    raise NotBillableError("no rate of tax for the last day")


def _power_factor(use: Use, energy: Fraction) -> Fraction | None:
    """Return cosφ to two decimals, by trying all of them; ``None`` where reactive energy is not charged."""
    if use.cosphi is not None or use.reactive_kvarh is None:
        return use.cosphi
    whole = energy.denominator * use.reactive_kvarh.denominator  # both as whole numbers of the same unit
    active, reactive = int(energy * whole), int(use.reactive_kvarh * whole)
    apparent = active**2 + reactive**2
    if not apparent:
        return Fraction(1)
    fitting = [c for c in range(101) if (2 * c - 1) * abs(2 * c - 1) * apparent <= (200 * active) ** 2]
    return Fraction(max(fitting), 100)


def _reactive(use: Use, cosphi: Fraction | None, active: int, table: dict[str, Any]) -> int:
    """Return the surcharge for reactive energy."""
    if use.category in LIVING:
        return 0
    rules = [rule for rule in table["table"] if rule["effective_on"] <= use.end_on]
    if cosphi is None or not rules or cosphi * 100 >= rules[-1]["required_percent"]:
        return 0
    percent = Fraction(rules[-1]["floor_surcharge_bp"], 100)
    if cosphi * 100 >= rules[-1]["floor_percent"]:
        required = Fraction(rules[-1]["required_percent"], 100)
        percent = Fraction(half_up((required / cosphi - 1) * 10_000), 100)
    return half_up(active * percent / 100)
