"""A quote: the same engine with one row, and an answer a program or a person can read.

:func:`quote` takes a :class:`QuoteRequest` and gives a :class:`Quote`; both are plain values, and :meth:`Quote.to_json`
is what ``congto quote --json`` and the HTTP API print. A request that cannot be computed raises ``UsageError``: nothing
is guessed, and what is not certain is said in the notes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from typing import Any

import numpy as np

from billing_core.batch import NOT_MEASURED, Batch, batch_of
from billing_core.codes import HOLD_TEXTS, Category, Hold, LineKind, QuotaRounding, Solar, Voltage, codes_of, member_of
from billing_core.engine import charge
from billing_core.line import BillLine, bill_lines, purchase_line, vat_line, wh_as_kwh
from billing_core.mixed_use import WHOLE_BP, Uses, charge_uses
from billing_core.notes import notes_on
from billing_core.rate_plan import RatePlan
from billing_core.tariff import Tariffs
from billing_core.tariff_files import load_tariffs
from protocols.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoteRequest:
    """What is to be priced.

    Parameters
    ----------
    start_on, end_on
        First and last day, both billed.
    energy_wh
        Energy of the period: one number, or the registers at the normal, peak and off-peak rate. [Wh]
    households
        Households behind the meter; 5/4 for five people of a shared house.
    nominal_days
        Length of the nominal reading cycle if it is not the month that begins on ``start_on``; 0 for that. [days]
    price_change_on
        The first day at a new price. It must be one on which an act came into force inside the period. Household meters
        are shared out by days at such a day anyway; for others, whose meters are read on it, giving it asks for the
        same as an estimate.
    export_wh, generation_wh, solar, solar_price, carry_in_wh, settle_carry
        Rooftop solar, as in :class:`billing_core.batch.Batch`.
    reactive_varh, power_factor_percent
        Reactive energy if it is charged (from 40 kW), or the power factor where that is what is known. [varh; 1/100]
    undeclared_rental
        Whether tenants live there whose number was not declared (contract under 12 months).
    refused_three_rates
        Whether a three-rate meter that is mandatory was refused: all at the peak price.
    households_changes
        The first days of other numbers of households, in order, and these numbers.
    before_change_wh
        Energy up to the change of price, of a meter that was read on that day. [Wh; three for a three-rate meter]
    export_before_change_wh
        What it had exported by then, for net metering. [Wh]
    demand_w
        Highest half hour of the month, for a contract of the two-component pilot. [W]
    uses
        Mixed use: other uses than ``category``, with their voltage and share of the energy; the rest is
        ``category``'s. [1/100 %]
    rate_plan, demand_before_w
        A rate plan instead of the acts, or beside them; and the highest demand of the months its ratchet reaches. [W]
    """

    category: Category
    start_on: date
    end_on: date
    energy_wh: int | tuple[int, int, int]
    voltage: Voltage = Voltage.LT6
    households: Fraction = Fraction(1)
    nominal_days: int = 0
    price_change_on: date | None = None
    export_wh: int = 0
    generation_wh: int | None = None
    solar: Solar = Solar.NONE
    solar_price: int = 0
    carry_in_wh: int = 0
    settle_carry: bool = False
    reactive_varh: int | None = None
    power_factor_percent: int | None = None
    undeclared_rental: bool = False
    refused_three_rates: bool = False
    households_changes: tuple[tuple[date, Fraction], ...] = ()
    before_change_wh: int | tuple[int, int, int] | None = None
    export_before_change_wh: int | None = None
    demand_w: int | None = None
    uses: tuple[tuple[Category, Voltage, int], ...] = ()
    quota_rounding: QuotaRounding = QuotaRounding.KWH
    rate_plan: RatePlan | None = None
    demand_before_w: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """A computed bill.

    Parameters
    ----------
    lines
        What makes up the subtotal.
    vat_line
        The tax, explained like a line. Its amount is ``vat``.
    purchase
        Solar energy bought, a document beside the bill; its amount is not part of the total.
    purchase_hold
        Why the purchase could not be computed; ``None`` if it was, or there is none.
    carry_out_wh
        Surplus that net metering carries to the next cycle. [Wh]
    """

    request: QuoteRequest
    subtotal: int
    vat: int
    total: int
    vat_permille: int
    billed_wh: int
    acts: tuple[str, ...]
    lines: tuple[BillLine, ...]
    vat_line: BillLine
    purchase: BillLine | None
    purchase_hold: Hold | None
    carry_out_wh: int
    notes: tuple[str, ...]

    def all_lines(self) -> tuple[BillLine, ...]:
        """Return the lines, the tax and, if there is one, the purchase."""
        return (*self.lines, self.vat_line, *(() if self.purchase is None else (self.purchase,)))

    def to_json(self) -> dict[str, Any]:
        """Return the quote as what JSON can hold. Energy in kWh, money in đồng; ``energy_wh`` is exact."""
        answer: dict[str, Any] = {
            "currency": "VND",
            "category": self.request.category.value,
            "from": self.request.start_on.isoformat(),
            "to": self.request.end_on.isoformat(),
            "acts": list(self.acts),
            "subtotal": self.subtotal,
            "vat_rate": self.vat_permille / 1000,
            "vat": self.vat,
            "total": self.total,
            "lines": [line.to_json() for line in self.lines],
            "vat_line": self.vat_line.to_json(),
            "notes": list(self.notes),
        }
        if self.request.solar is not Solar.NONE:
            answer["export_kwh"] = wh_as_kwh(self.request.export_wh)
            answer["purchase"] = None if self.purchase is None else self.purchase.to_json()
            answer["purchase_hold"] = None if self.purchase_hold is None else self.purchase_hold.value
            answer["carry_out_kwh"] = wh_as_kwh(self.carry_out_wh)
        return answer


def quote(request: QuoteRequest, tariffs: Tariffs | None = None) -> Quote:
    """Price ``request``.

    Parameters
    ----------
    tariffs
        What is in force when; the package's own if not given.

    Raises
    ------
    UsageError
        If it cannot be priced: what was found, what was expected, and the cure.
    """
    tariffs = load_tariffs() if tariffs is None else tariffs
    check_price_change(request, tariffs)
    batch = as_batch(request)
    plans = () if request.rate_plan is None else (request.rate_plan,)
    if request.uses:
        charges = charge_uses(batch, as_uses(request), tariffs, quota_rounding=request.quota_rounding)
    else:
        charges = charge(batch, tariffs, quota_rounding=request.quota_rounding, plans=plans)
    hold = member_of(Hold, int(charges.hold[0]))
    if hold is not Hold.NONE:
        raise UsageError(_refusal(request, hold, tariffs))
    lines = bill_lines(batch, charges, 0)
    purchase_code = int(charges.purchase.hold[0])
    purchase_hold = member_of(Hold, purchase_code) if purchase_code else None
    bought = purchase_line(batch, charges, 0, tariffs)
    tax = vat_line(batch, charges, 0, tariffs, plans=plans)
    acts = dict.fromkeys(slot.act for group in charges.groups for slot in group.slots if slot.kind is LineKind.ENERGY)
    return Quote(
        request=request,
        subtotal=int(charges.subtotal[0]),
        vat=int(charges.vat[0]),
        total=int(charges.total[0]),
        vat_permille=int(charges.vat_permille[0]),
        billed_wh=int(charges.billed_wh[0]),
        acts=tuple(acts),
        lines=lines,
        vat_line=tax,
        purchase=bought,
        purchase_hold=purchase_hold,
        carry_out_wh=int(charges.purchase.carry_out_wh[0]),
        notes=(*notes_on(batch, charges, bought, tax, purchase_hold), *_exempt(request, tariffs)),
    )


def _exempt(request: QuoteRequest, tariffs: Tariffs) -> Iterator[str]:
    """Yield which uses pay nothing for the reactive energy that was asked about."""
    table = tariffs.power_factor_on(request.end_on)
    own_prices = request.rate_plan is not None and request.rate_plan.prices_energy
    if table is None or own_prices or request.reactive_varh is request.power_factor_percent is None:
        return
    for category in (request.category, *(other for other, _, _ in request.uses)):
        if category in table.exempt:
            yield f"no surcharge for reactive energy on {category.value} use: {table.act} exempts it"


def as_uses(request: QuoteRequest) -> Uses:
    """Return the uses of a request of mixed use."""
    rest = WHOLE_BP - sum(share for _, _, share in request.uses)
    uses = ((request.category, request.voltage, rest), *request.uses)
    return Uses(
        bill=np.zeros(len(uses), dtype=np.int64),
        category=codes_of(category for category, _, _ in uses),
        voltage=codes_of(voltage for _, voltage, _ in uses),
        share_bp=np.array([share for _, _, share in uses], dtype=np.int64),
    )


def as_batch(request: QuoteRequest) -> Batch:
    """Return ``request`` as a batch of one row."""
    three_rates = isinstance(request.energy_wh, tuple)
    given: dict[str, Any] = {
        "start_on": request.start_on,
        "end_on": request.end_on,
        "nominal_days": request.nominal_days,
        "category": request.category.code,
        "voltage": request.voltage.code,
        "three_rates": three_rates,
        "households": request.households.numerator,
        "households_parts": request.households.denominator,
        "export_wh": request.export_wh,
        "generation_wh": NOT_MEASURED if request.generation_wh is None else request.generation_wh,
        "carry_in_wh": request.carry_in_wh,
        "settle_carry": request.settle_carry,
        "solar": request.solar.code,
        "solar_price": request.solar_price,
        "reactive_varh": NOT_MEASURED if request.reactive_varh is None else request.reactive_varh,
        "share_by_days": request.category is Category.RESIDENTIAL or request.price_change_on is not None,
        "power_factor_percent": NOT_MEASURED if request.power_factor_percent is None else request.power_factor_percent,
        "undeclared_rental": request.undeclared_rental,
        "refused_three_rates": request.refused_three_rates,
        "two_component": request.demand_w is not None and request.rate_plan is None,
        "demand_w": NOT_MEASURED if request.demand_w is None else request.demand_w,
    }
    if request.rate_plan is not None:
        before = request.demand_before_w
        given |= {"rate_plan": 0, "demand_before_w": NOT_MEASURED if before is None else before}
    if request.households_changes:
        given |= {
            "households_changed_on": [[day for day, _ in request.households_changes]],
            "households_after": [[after.numerator for _, after in request.households_changes]],
            "households_after_parts": [[after.denominator for _, after in request.households_changes]],
        }
    if request.before_change_wh is not None:
        given["before_change_wh"] = [request.before_change_wh]
    if request.export_before_change_wh is not None:
        given["export_before_change_wh"] = request.export_before_change_wh
    return batch_of(energy_wh=[request.energy_wh], **given)


def check_price_change(request: QuoteRequest, tariffs: Tariffs) -> None:
    """Refuse a day of price change on which no act came into force inside the period."""
    day = request.price_change_on
    changes = tariffs.changes_within(request.start_on, request.end_on)
    if day is None or day in changes:
        return
    found = " and ".join(change.isoformat() for change in changes) or "none"
    raise UsageError(
        f"the price change: found {day}, expected the first day of a new act after {request.start_on} and up to "
        f"{request.end_on} (in this period: {found}); correct the date or leave it out"
    )


def _refusal(request: QuoteRequest, hold: Hold, tariffs: Tariffs) -> str:
    """Say why, with what was asked for."""
    asked = f"{request.category.value}, {request.voltage.value}, {request.start_on} to {request.end_on}"
    if hold in (Hold.NO_PRICE, Hold.VOLTAGE_NOT_PRICED) and (missing := _missing_price(request, tariffs)):
        return f"{asked}: {missing}"
    if hold is Hold.NO_PRICE:
        first = tariffs.acts[0]
        return f"{asked}: {HOLD_TEXTS[hold]}; the first is {first.name}, in force from {first.effective_on}"
    if hold is Hold.NO_VAT_RATE:
        return f"{asked}: {HOLD_TEXTS[hold]}; rates are known up to {tariffs.vat[-1].end_on}"
    if hold is Hold.PRICE_CHANGE_NOT_READ:
        days = ", ".join(str(day) for day in tariffs.changes_within(request.start_on, request.end_on))
        return (
            f"{asked}: {HOLD_TEXTS[hold]} (it changes on {days}), or give that day as the price change for an estimate"
        )
    return f"{asked}: {HOLD_TEXTS[hold]}"


def _missing_price(request: QuoteRequest, tariffs: Tariffs) -> str:
    """Say which act in force has no price for which use, and where it has one; nothing if no act is the reason."""
    days = (request.start_on, *tariffs.changes_within(request.start_on, request.end_on))
    uses = [(request.category, request.voltage), *((category, voltage) for category, voltage, _ in request.uses)]
    for act in filter(None, map(tariffs.act_on, days)):
        for category, voltage in uses:
            priced = act.priced_voltages(category)
            if not priced:
                where = f"{act.name}: none for {category.value}, at any voltage"
                return f"{HOLD_TEXTS[Hold.NO_PRICE]} ({where}): correct the category or the dates"
            if voltage not in priced:
                known = ", ".join(each.value for each in priced)
                return f"{category.value} has no price at this voltage, {voltage.value}; {act.name} has one at {known}"
    return ""
