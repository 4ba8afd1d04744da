"""What the exact recomputation says must come out of a district of random customers: each bill of each month.

What bills there must be is found day by day from the contracts (:func:`wanted_bills`), not from the code under test.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from fractions import Fraction

from deploy.demo.exact import DAY, consumed, exact_bill
from deploy.demo.exact_values import ExactBill, MeterPart, NotBillableError, Use
from ingest_server.billing.period import Period, midnight_of
from tests.billing_core.random_uses import CHANGES
from tests.billing_runs.random_district import Agreement, Life
from tests.billing_runs.random_metering import (
    RATES,
    SENT,
    Hung,
    highest_of_load,
    highest_shown,
    parts_of_meter,
    rates_of_load,
)


@dataclass(slots=True)
class Past:
    """What months hand on to the customers of a point: a surplus by register, and the demand of bills. [kWh, kW]"""

    surplus: dict[int, Mapping[str, Fraction]] = field(default_factory=dict)
    demand: dict[int, Fraction] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Days that are one bill: the contracts of one customer that follow one another and differ in people alone."""

    first_on: date
    last_on: date
    agreements: tuple[Agreement, ...]


def spans_of(life: Life, month: Period) -> Iterator[Span]:
    """Walk the days of a month."""
    found: list[Span] = []
    day = month.first_on
    while day <= month.last_on:
        for each in life.agreements:
            if each.first_on <= day and (each.last_on is None or day <= each.last_on):
                last = found[-1] if found else None
                if last is not None and last.last_on == day - DAY and last.agreements[-1].but_people == each.but_people:
                    own = last.agreements if last.agreements[-1] == each else (*last.agreements, each)
                    found[-1] = replace(last, last_on=day, agreements=own)
                else:
                    found.append(Span(first_on=day, last_on=day, agreements=(each,)))
        day += DAY
    yield from found


def wanted_bills(life: Life, month: Period, past: Past) -> dict[date, tuple[Use, ExactBill]]:
    """Return the bills of a month by their first day, none if one of them cannot be; keep what they hand on."""
    found: dict[date, tuple[Use, ExactBill]] = {}
    surplus, demand = dict(past.surplus), dict(past.demand)
    past.surplus.clear()
    past.demand.clear()
    try:
        for span in spans_of(life, month):
            customer = span.agreements[0].customer
            use = use_of(life, span, month, surplus.pop(customer, {}), demand.get(customer))
            found[span.first_on] = (use, exact_bill(use))
            bill = found[span.first_on][1]
            kept = dict(zip(RATES, bill.carry_out_by_rate_kwh, strict=True)) if bill.carry_out_by_rate_kwh else {}
            kept = kept or {"SG": bill.carry_out_kwh}
            if span.last_on == month.last_on:
                past.surplus[customer] = kept
            elif bill.carry_out_kwh:
                surplus[customer] = kept
            if use.demand_kw is not None:
                past.demand[customer] = max(use.demand_kw, past.demand.get(customer, Fraction(0)))
    except NotBillableError:
        past.surplus.clear()
        past.demand.clear()
        return {}
    return found


def use_of(
    life: Life, span: Span, month: Period, carry_in: Mapping[str, Fraction], demand_before: Fraction | None
) -> Use:
    """Return what was used in a span, in the terms of the recomputation."""
    first, last = span.agreements[0], span.agreements[-1]
    start_at, end_at = midnight_of(span.first_on), midnight_of(span.last_on + DAY)
    names = tuple(RATES) if first.three_rates else ("SG",)
    supply = [meter for meter in life.meters if not meter.generation]
    by_load = first.three_rates and supply[0].half_hours
    meters = [] if by_load else _parts(life, start_at, end_at, names)
    changes = [day for day in CHANGES if span.first_on < day <= span.last_on]
    before: tuple[dict[str, Fraction], ...] = ()
    exported: tuple[dict[str, Fraction], ...] = ()
    by_days = first.category == "residential" and life.by_hand
    own_prices = first.plan is not None and first.plan.prices_energy
    if changes and not first.pilot and not own_prices and not (by_days and (first.solar == "net_2017" or first.uses)):
        instants = [midnight_of(day) for day in changes]
        if all(_read_on(life, at, "VC") for at in instants):
            before = tuple(
                rates_of_load(supply, start_at, at) if by_load else consumed(_parts(life, start_at, at, names))
                for at in instants
            )
            exported = tuple(_sent(life, start_at, at, first) for at in instants) if first.solar == "net_2017" else ()
    if changes and not before and not own_prices and first.category == "residential" and not life.by_hand:
        raise NotBillableError("a household that is read at a distance is read at a change of price too")
    by_rate, sent = first.three_rates and first.solar == "net_2017", _sent(life, start_at, end_at, first)
    plain = {} if by_rate and "SG" not in carry_in else carry_in
    surplus = first.solar is not None and first.solar.startswith("surplus")
    generation = _parts(life, start_at, end_at, ("SG",), generation=True)
    return Use(
        category=first.category,
        voltage=first.voltage or "lt6",
        start_on=span.first_on,
        end_on=span.last_on,
        kwh=rates_of_load(supply, start_at, end_at) if by_load else {},
        meters=tuple(meters),
        nominal_days=month.days,
        households=first.people,
        household_changes=tuple((each.first_on, each.people) for each in span.agreements[1:]),
        share_by_days=by_days,
        export_kwh=sum(sent.values(), Fraction(0)) if first.solar else Fraction(0),
        export_by_rate_kwh=sent if by_rate else None,
        generation_kwh=_sum(generation) if surplus and generation else None,
        solar=first.solar,
        carry_in_kwh=sum(plain.values(), Fraction(0)) if first.solar == "net_2017" else Fraction(0),
        carry_in_by_rate_kwh=None if plain is carry_in else carry_in,
        settle_carry=_settles(life, last) if last.last_on == span.last_on else span.last_on.strftime("%d%m") == "3112",
        reactive_kvarh=_sum(_parts(life, start_at, end_at, ("VC",))) if first.reactive else None,
        undeclared_rental=first.undeclared,
        refused_three_rates=first.refused,
        before_changes_kwh=before,
        export_before_changes_kwh=exported,
        demand_kw=_demand(supply, start_at, end_at) if _asks_demand(first) else None,
        demand_before_kw=demand_before,
        plan=first.plan,
        uses=tuple((name, voltage or "lt6", Fraction(share, 100)) for name, voltage, share in first.uses),
    )


def _asks_demand(first: Agreement) -> bool:
    return first.pilot or (first.plan is not None and bool(first.plan.demand))


def _demand(supply: list[Hung], start_at: datetime, end_at: datetime) -> Fraction:
    """Return the highest demand of some days: by the meters' own registers, or by their half hours. [kW]"""
    hung = [meter for meter in supply if meter.start_at < end_at and meter.end_at > start_at]
    if ("Pmax", hung[0].start_at) in hung[0].said:
        return max(highest_shown(meter, start_at, end_at) for meter in hung)
    return highest_of_load(hung, start_at, end_at)


def _parts(
    life: Life, start_at: datetime, end_at: datetime, names: Iterable[str], *, generation: bool = False
) -> list[MeterPart]:
    meters = [meter for meter in life.meters if meter.generation == generation]
    return [part for meter in meters for part in parts_of_meter(meter, start_at, end_at, names)]


def _sum(parts: list[MeterPart]) -> Fraction:
    return sum(consumed(parts).values(), Fraction(0))


def _sent(life: Life, start_at: datetime, end_at: datetime, first: Agreement) -> dict[str, Fraction]:
    """Return what was exported, by rate where three rates are netted."""
    names = SENT if first.three_rates and first.solar == "net_2017" else ["export"]
    return {name[7:] or "SG": _sum(_parts(life, start_at, end_at, (name,))) for name in names}


def _settles(life: Life, ended: Agreement) -> bool:
    """Say whether a contract's end is one of net metering too: with the year, or where none of the same goes on."""
    assert ended.last_on is not None
    following = [each for each in life.agreements if each.first_on == ended.last_on + DAY]
    goes_on = [each for each in following if (each.customer, each.solar) == (ended.customer, "net_2017")]
    return not goes_on or ended.solar != "net_2017" or ended.last_on.strftime("%d%m") == "3112"


def _read_on(life: Life, at: datetime, name: str) -> bool:
    """Say whether the meter that hung at an instant was read then; between two meters all is known."""
    hung = [meter for meter in life.meters if not meter.generation and meter.start_at < at < meter.end_at]
    return all((name, at) in meter.said for meter in hung)
