"""A quote: the same engine with one row, and an answer a program or a person can read.

:func:`quote` takes a :class:`QuoteRequest` and gives a :class:`Quote`; both are plain values, and :meth:`Quote.to_json`
is what ``congto quote --json`` and the HTTP API print. A request that cannot be computed raises ``UsageError``: nothing
is guessed, and what is not certain is said in the notes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from billing_core.batch import NOT_MEASURED, Batch, batch_of
from billing_core.codes import (
    RATES,
    Category,
    Hold,
    LineKind,
    Solar,
    codes_of,
    member_of,
)
from billing_core.engine import charge
from billing_core.explain_names import Language
from billing_core.line import BillLine, bill_lines, purchase_line, vat_line, wh_as_kwh
from billing_core.mixed_use import WHOLE_BP, Uses, charge_uses
from billing_core.notes import Note, note_on_exempt, note_on_netting, notes_on, notes_text
from billing_core.quote_refusals import check_pilot, check_price_changes, check_solar, refusal_of
from billing_core.quote_request import QuoteRequest, ThreeRates, as_three_rates
from billing_core.rounding import Int64Array
from billing_core.tariff import Tariffs
from billing_core.tariff_files import load_tariffs
from protocols.errors import UsageError


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
    remarks
        What a reader must know beside the figures; ``notes`` are they in English.
    carry_out_wh, carry_out_rates_wh
        Surplus that net metering carries to the next cycle, and of a three-rate meter that of each rate. [Wh]
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
    carry_out_rates_wh: ThreeRates | None
    remarks: tuple[Note, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know beside the figures, in English."""
        return self.notes_in(Language.EN)

    def notes_in(self, language: Language) -> tuple[str, ...]:
        """Return what a reader must know beside the figures, in a language."""
        return notes_text(self.remarks, language)

    def all_lines(self) -> tuple[BillLine, ...]:
        """Return the lines, the tax and, if there is one, the purchase."""
        return (*self.lines, self.vat_line, *(() if self.purchase is None else (self.purchase,)))

    def to_json(self, language: Language = Language.EN) -> dict[str, Any]:
        """Return the quote as what JSON can hold. Energy in kWh, money in đồng; the notes are in ``language``."""
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
            "notes": list(self.notes_in(language)),
        }
        if self.request.solar is not Solar.NONE:
            answer["export_kwh"] = wh_as_kwh(_total(self.request.export_wh))
            answer["purchase"] = None if self.purchase is None else self.purchase.to_json()
            answer["purchase_hold"] = None if self.purchase_hold is None else self.purchase_hold.value
            answer["carry_out_kwh"] = wh_as_kwh(self.carry_out_wh)
            if self.carry_out_rates_wh is not None:
                kept = zip(RATES, self.carry_out_rates_wh, strict=True)
                answer["carry_out_rates_kwh"] = {rate.value: wh_as_kwh(energy) for rate, energy in kept}
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
    check_price_changes(request, tariffs)
    check_pilot(request, tariffs)
    check_solar(request, tariffs)
    batch = as_batch(request)
    plans = () if request.rate_plan is None else (request.rate_plan,)
    if request.uses:
        charges = charge_uses(batch, as_uses(request), tariffs, quota_rounding=request.quota_rounding)
    else:
        charges = charge(batch, tariffs, quota_rounding=request.quota_rounding, plans=plans)
    hold = member_of(Hold, int(charges.hold[0]))
    if hold is not Hold.NONE:
        raise UsageError(refusal_of(request, hold, tariffs))
    lines = bill_lines(batch, charges, 0)
    purchase_code = int(charges.purchase.hold[0])
    purchase_hold = member_of(Hold, purchase_code) if purchase_code else None
    bought = purchase_line(batch, charges, 0, tariffs)
    tax = vat_line(batch, charges, 0, tariffs, plans=plans)
    by_rate = request.solar is Solar.NET_2017 and isinstance(request.energy_wh, tuple)
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
        carry_out_rates_wh=_three(charges.purchase.carry_out_rates_wh[0])
        if by_rate and not request.settle_carry
        else None,
        remarks=(
            *notes_on(batch, charges, bought, tax, purchase_hold),
            *(note_on_netting(tariffs.solar_rule(Solar.NET_2017)) if by_rate else ()),
            *_exempt(request, tariffs),
        ),
    )


def _total(energy_wh: int | ThreeRates) -> int:
    """Return the energy of all rates. [Wh]"""
    return energy_wh if isinstance(energy_wh, int) else sum(energy_wh)


def _three(energy_wh: Int64Array) -> ThreeRates:
    normal, peak, off_peak = energy_wh.tolist()
    return normal, peak, off_peak


def _exempt(request: QuoteRequest, tariffs: Tariffs) -> Iterator[Note]:
    """Yield which uses pay nothing for the reactive energy that was asked about."""
    table = tariffs.power_factor_on(request.end_on)
    own_prices = request.rate_plan is not None and request.rate_plan.prices_energy
    if table is None or own_prices or request.reactive_varh is request.power_factor_percent is None:
        return
    for category in (request.category, *(other for other, _, _ in request.uses)):
        if category in table.exempt:
            yield note_on_exempt(category, table)


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
        "export_wh": _total(request.export_wh),
        "generation_wh": NOT_MEASURED if request.generation_wh is None else request.generation_wh,
        "settle_carry": request.settle_carry,
        "solar": request.solar.code,
        "solar_price": request.solar_price,
        "reactive_varh": NOT_MEASURED if request.reactive_varh is None else request.reactive_varh,
        "share_by_days": request.category is Category.RESIDENTIAL or bool(request.price_changes_on),
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
    if isinstance(request.export_wh, tuple):
        given["export_rates_wh"] = [request.export_wh]
    if isinstance(request.carry_in_wh, tuple):
        given["carry_in_rates_wh"] = [request.carry_in_wh]
    else:
        given["carry_in_wh"] = request.carry_in_wh
    if request.before_changes_wh:
        given["before_change_wh"] = [[as_three_rates(each) for each in request.before_changes_wh]]
    if request.export_before_changes_wh:
        given["export_before_change_wh"] = [[as_three_rates(each) for each in request.export_before_changes_wh]]
    return batch_of(energy_wh=[request.energy_wh], **given)
