"""A line of a bill as a value: what it charges, and every operand needed to compute it again and to explain it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from typing import Any

import numpy as np

from billing_core.batch import NO_PLAN, Batch
from billing_core.charges import Charges, Group
from billing_core.codes import Certainty, LineKind, Register, Solar, member_of
from billing_core.households import households_of
from billing_core.rate_plan import Ratchet, RatePlan
from billing_core.rounding import Int64Array
from billing_core.solar import price_in
from billing_core.tariff import SolarRule, Tariffs

ENERGY_KEYS = {LineKind.REACTIVE: "kvarh", LineKind.DEMAND: "kw"}
"""What the quantity of a line is called in JSON, where it is not kWh."""
WITHOUT_QUANTITY = (LineKind.VAT, LineKind.FIXED, LineKind.MINIMUM)
"""Lines that charge money for no quantity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bought:
    """Why so much solar energy is bought at such a price.

    Parameters
    ----------
    method
        ``net``, ``separate`` or ``surplus`` (:mod:`billing_core.solar`).
    export_wh, generation_wh, cap_percent
        What was exported; of ``surplus`` also what was generated, and the share of it that is bought at most. [Wh; %]
    cents_hundredths, vnd_per_usd
        Of a price in US cents the cents [1/100] and the exchange rate; ``None`` where it is published in đồng.
    """

    method: str
    export_wh: int
    generation_wh: int | None = None
    cap_percent: int | None = None
    cents_hundredths: int | None = None
    vnd_per_usd: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as what JSON can hold; what it has not is left out."""
        return {name: value for name in self.__slots__ if (value := getattr(self, name)) is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class BillLine:
    """One line, with its operands.

    Parameters
    ----------
    kind
        What it charges.
    tier
        1 for the first tier; ``None`` where there are none.
    register
        The register the energy was read from: the total ``SG`` for tiers and single prices.
    energy_wh
        [Wh; varh for reactive energy; W for demand; 0 for tax]
    price
        [đ/kWh; đ/kW for demand, đ a month for fixed and minimum charges]; ``None`` for tax and reactive energy, which
        are shares of ``base_amount``.
    amount
        [đ]
    formula
        Which rule computed the amount: ``tier``, ``rate``, ``single``, ``undeclared``, ``refused``,
        ``reactive``, ``demand``, ``ratchet``, ``fixed``, ``minimum``, ``vat``, ``solar``.
    act, clause
        The act, and the place in it.
    start_on, end_on, days, period_days, nominal_days
        The part of the period this line is for, its days, those of the whole period, and of the nominal cycle T.
    quota_wh, width_kwh
        Width of the tier for this bill, and for one household and one cycle; ``None`` for the last tier and elsewhere.
    households
        h of a tier, the average over the days; 1 elsewhere.
    base_amount, share
        What a share is taken of [đ], and the share: 0.08 for tax, 0.125 for reactive energy.
    power_factor
        [1/100]
    drawn_w, before_w, ratchet
        Of demand by a rate plan what was drawn, the highest of the months before, and the plan's ratchet. [W]
    least
        What a minimum charge comes to, of which ``base_amount`` is charged already. [đ]
    bought
        Of a purchase of solar energy why it is so much; ``None`` elsewhere, and of purchases stored without it.
    """

    kind: LineKind
    tier: int | None
    register: Register | None
    energy_wh: int
    price: int | None
    amount: int
    formula: str
    act: str
    clause: str
    certainty: Certainty
    start_on: date
    end_on: date
    days: int
    period_days: int
    nominal_days: int
    quota_wh: int | None = None
    width_kwh: int | None = None
    households: Fraction = Fraction(1)
    base_amount: int | None = None
    share: Fraction | None = None
    power_factor: int | None = None
    drawn_w: int | None = None
    before_w: int | None = None
    ratchet: Ratchet | None = None
    least: int | None = None
    bought: Bought | None = None

    @property
    def has_quantity(self) -> bool:
        """Whether it charges for a quantity: not of tax, nor of reactive energy known by its power factor alone."""
        unmeasured = self.kind is LineKind.REACTIVE and not self.energy_wh
        return self.kind not in WITHOUT_QUANTITY and not unmeasured

    def to_json(self) -> dict[str, Any]:
        """Return the line as what JSON can hold: kWh for energy, đồng for money, what does not apply left out."""
        energy_key = ENERGY_KEYS.get(self.kind, "kwh")
        found: dict[str, Any] = {
            "kind": self.kind.value,
            "tier": self.tier,
            "register": None if self.tier or self.register is None else self.register.value,
            energy_key: wh_as_kwh(self.energy_wh) if self.has_quantity else None,
            "price": self.price,
            "amount": self.amount,
            "formula": self.formula,
            "act": self.act,
            "clause": self.clause,
            "certainty": self.certainty.value,
            "from": self.start_on.isoformat(),
            "to": self.end_on.isoformat(),
            "days": self.days,
            "period_days": self.period_days,
            "nominal_days": self.nominal_days,
            "quota_kwh": None if self.quota_wh is None else wh_as_kwh(self.quota_wh),
            "width_kwh": self.width_kwh,
            "households": str(self.households) if self.formula == "tier" else None,
            "base_amount": self.base_amount,
            "share": None if self.share is None else str(self.share),
            "power_factor": None if self.power_factor is None else self.power_factor / 100,
            "drawn_kw": None if self.drawn_w is None else wh_as_kwh(self.drawn_w),
            "before_kw": None if self.before_w is None else wh_as_kwh(self.before_w),
            "ratchet": None if self.ratchet is None else self.ratchet.to_json(),
            "least": self.least,
            "bought": None if self.bought is None else self.bought.to_json(),
        }
        return {key: value for key, value in found.items() if value is not None}

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> "BillLine":
        """Return the line that :meth:`to_json` gave."""
        kind, tier = LineKind(found["kind"]), found.get("tier")
        energy = found.get(ENERGY_KEYS.get(kind, "kwh"), 0)
        quota = found.get("quota_kwh")
        default = Register.SG if tier else None
        return cls(
            kind=kind,
            tier=tier,
            register=Register(found["register"]) if "register" in found else default,
            energy_wh=_kwh_as_wh(energy),
            price=found.get("price"),
            amount=found["amount"],
            formula=found["formula"],
            act=found["act"],
            clause=found["clause"],
            certainty=Certainty(found["certainty"]),
            start_on=date.fromisoformat(found["from"]),
            end_on=date.fromisoformat(found["to"]),
            days=found["days"],
            period_days=found["period_days"],
            nominal_days=found["nominal_days"],
            quota_wh=None if quota is None else _kwh_as_wh(quota),
            width_kwh=found.get("width_kwh"),
            households=Fraction(found.get("households", 1)),
            base_amount=found.get("base_amount"),
            share=Fraction(found["share"]) if "share" in found else None,
            power_factor=None if "power_factor" not in found else round(found["power_factor"] * 100),
            drawn_w=None if "drawn_kw" not in found else _kwh_as_wh(found["drawn_kw"]),
            before_w=None if "before_kw" not in found else _kwh_as_wh(found["before_kw"]),
            ratchet=Ratchet(**found["ratchet"]) if "ratchet" in found else None,
            least=found.get("least"),
            bought=Bought(**found["bought"]) if "bought" in found else None,
        )


def wh_as_kwh(energy_wh: int) -> int | float:
    """Return Wh as kWh for JSON: a whole number where it is one, else with at most three decimals, which is exact."""
    return energy_wh // 1000 if energy_wh % 1000 == 0 else energy_wh / 1000


def _kwh_as_wh(kwh: float) -> int:
    return round(kwh * 1000)  # the nearest Wh: what wh_as_kwh was given, up to 10¹² Wh at least


def bill_lines(batch: Batch, charges: Charges, row: int) -> tuple[BillLine, ...]:
    """Return the lines of one bill that charge something, in order. None if it is held or nothing was used."""
    lines: list[BillLine] = []
    for group in charges.groups:
        place = int(np.searchsorted(group.rows, row))
        if place < group.rows.shape[0] and group.rows[place] == row:
            charged = (group.energy_wh[:, place] != 0) | (group.amount[:, place] != 0)
            lines += [_line(group, number, place, batch, row) for number in np.flatnonzero(charged).tolist()]
    return tuple(lines)


def _line(group: Group, number: int, place: int, batch: Batch, row: int) -> BillLine:
    slot = group.slots[number]
    quota = -1 if group.quota_wh is None else int(group.quota_wh[number, place])
    reactive, planned = slot.kind is LineKind.REACTIVE, -1 if group.own is None else int(group.own[number, place])
    amount = int(group.amount[number, place])
    base = int(group.amount[:number, place].sum())
    return BillLine(
        kind=slot.kind,
        tier=slot.tier or None,
        register=slot.register,
        energy_wh=int(group.energy_wh[number, place]),
        price=None if reactive else slot.price,
        amount=amount,
        formula=slot.formula,
        act=slot.act,
        clause=slot.clause,
        certainty=slot.certainty,
        start_on=slot.start_on,
        end_on=slot.end_on,
        days=slot.days,
        period_days=slot.period_days,
        nominal_days=slot.nominal_days,
        quota_wh=None if quota < 0 else quota,
        width_kwh=slot.width_kwh or None,
        households=households_of(batch, row, slot.start_on, slot.end_on) if slot.formula == "tier" else Fraction(1),
        base_amount=base if reactive or slot.kind is LineKind.MINIMUM else None,
        share=Fraction(_at(group.surcharge_bp, place), 10_000) if reactive else None,
        power_factor=_at(group.factor, place) if reactive else None,
        drawn_w=planned if slot.kind is LineKind.DEMAND and planned >= 0 else None,
        before_w=None if slot.ratchet is None else max(int(batch.demand_before_w[row]), 0),
        ratchet=slot.ratchet,
        least=planned if slot.kind is LineKind.MINIMUM else None,
    )


def _at(column: Int64Array | None, place: int) -> int:
    assert column is not None
    return int(column[place])


def vat_line(batch: Batch, charges: Charges, row: int, tariffs: Tariffs, *, plans: Sequence[RatePlan] = ()) -> BillLine:
    """Return the tax of a computed bill as a line."""
    start_on, end_on = batch.start_on[row].item(), batch.end_on[row].item()
    plan = int(batch.rate_plan[row])
    rate = (None if plan == NO_PLAN else plans[plan].tax) or tariffs.vat_on(end_on)
    assert rate is not None
    return BillLine(
        kind=LineKind.VAT,
        tier=None,
        register=None,
        energy_wh=0,
        price=None,
        amount=int(charges.vat[row]),
        formula="vat",
        act=rate.act,
        clause=rate.source,
        certainty=rate.certainty,
        start_on=start_on,
        end_on=end_on,
        days=(end_on - start_on).days + 1,
        period_days=(end_on - start_on).days + 1,
        nominal_days=0,
        base_amount=int(charges.subtotal[row]),
        share=Fraction(rate.permille, 1000),
    )


def purchase_line(batch: Batch, charges: Charges, row: int, tariffs: Tariffs) -> BillLine | None:
    """Return what is bought from a customer with solar as a line of the purchase document; ``None`` if nothing is.

    A purchase that is held for want of a price is there with its energy, without price, and with an amount of 0.
    """
    energy = int(charges.purchase.energy_wh[row])
    if not energy:
        return None
    rule = tariffs.solar_rule(member_of(Solar, int(batch.solar[row])))
    start_on, end_on = batch.start_on[row].item(), batch.end_on[row].item()
    dated = price_in(rule, end_on.year, tariffs.exchange_rates)
    price = int(charges.purchase.price[row])
    given = int(batch.solar_price[row]) > 0
    return BillLine(
        kind=LineKind.SOLAR_PURCHASE,
        tier=None,
        register=Register.EXPORT,
        energy_wh=energy,
        price=price or None,
        amount=int(charges.purchase.amount[row]),
        formula="solar",
        act=rule.act,
        clause="price given with the bill" if given else rule.act if dated is None else dated.source,
        certainty=rule.certainty if given or dated is None else dated.certainty,
        start_on=start_on,
        end_on=end_on,
        days=(end_on - start_on).days + 1,
        period_days=(end_on - start_on).days + 1,
        nominal_days=0,
        bought=_bought(batch, row, rule, tariffs, given=given),
    )


def _bought(batch: Batch, row: int, rule: SolarRule, tariffs: Tariffs, *, given: bool) -> Bought:
    """Return why so much is bought, and how cents became the price, unless it was published or ``given``."""
    year, surplus = batch.end_on[row].item().year, rule.method == "surplus"
    rate = next((each for each in tariffs.exchange_rates if each.year == year), None)
    published = any(price.year == year for price in rule.prices)
    in_cents = rate is not None and rule.cents_hundredths is not None and not published and not given
    return Bought(
        method=rule.method,
        export_wh=int(batch.export_wh[row]),
        generation_wh=int(batch.generation_wh[row]) if surplus and batch.generation_wh[row] >= 0 else None,
        cap_percent=rule.cap_percent if surplus else None,
        cents_hundredths=rule.cents_hundredths if in_cents else None,
        vnd_per_usd=rate.vnd_per_usd if rate is not None and in_cents else None,
    )
