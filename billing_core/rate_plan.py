"""A utility's own rate plan: prices of energy, a fixed charge, a minimum, demand with a ratchet, and its own tax.

The acts of Vietnam know no such charges but the pilot's, utilities elsewhere do. A contract that names a plan is billed
by it: what the plan has no price for is priced by the acts. A plan is dated data with its source, as an act is, and
is written whole into what a bill rests on, so that a bill can be computed again without the file.

All charges are for a month, the nominal cycle; of a shorter or longer period they are taken by its days, half up. Money
is in whole units of the one currency all bills are in.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from billing_core.codes import Category, Certainty, Voltage
from billing_core.rounding import DEMAND_W_MAX, PRICE_MAX
from billing_core.tariff import Act, RatePrices, TierStructure, VatRate
from billing_core.tariff_entries import take_rates, take_source, take_text
from protocols.errors import UsageError
from protocols.strict_toml import Table, parse_toml

CHARGE_MAX = 10**11  # a month: dearer than any, in any currency
DEMAND_PRICE_MAX = 10**6  # a kW
PLANNED_DAYS_MAX = 62  # two months; 10 GW at the dearest price for so many days fit in 64 bits
RATCHET_MONTHS_MAX = 24
NAME_CHARACTERS_MAX = 64
TIERS_MAX = 12
WIDTH_KWH_MAX = 1_000_000
VOLTAGE = Voltage.LT6  # stands for any: a plan has one price list


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratchet:
    """What is billed as demand at least: a share of the highest of the months before, and a floor. [%, months, W]"""

    percent: int
    months: int
    least_w: int = 0

    def to_json(self) -> dict[str, int]:
        """Return it as what JSON can hold."""
        return {"percent": self.percent, "months": self.months, "least_w": self.least_w}


@dataclass(frozen=True, slots=True, kw_only=True)
class RatePlan:
    """A rate plan from a day on.

    Parameters
    ----------
    single, rates, tiers, widths_kwh
        Prices of energy: one, three by rate, or those of tiers with the widths of all but the last; at most one of the
        three kinds. Without any the acts' price of the contract's category counts. [money/kWh; kWh a month]
    fixed_monthly, minimum_monthly
        What is charged however little is used, and what everything before tax comes to at least; 0 for none. [money]
    demand
        Price of the highest demand; 0 for none. [money/kW]
    tax_permille
        Rate of tax where it is the plan's own; else that of the acts. [1/1000]
    """

    name: str
    effective_on: date
    source: str
    certainty: Certainty
    single: int | None = None
    rates: RatePrices | None = None
    tiers: tuple[int, ...] = ()
    widths_kwh: tuple[int, ...] = ()
    fixed_monthly: int = 0
    minimum_monthly: int = 0
    demand: int = 0
    ratchet: Ratchet | None = None
    tax_permille: int | None = None

    @property
    def prices_energy(self) -> bool:
        """Whether energy is priced by the plan and not by the acts."""
        return self.single is not None or self.rates is not None or bool(self.tiers)

    def as_act(self, category: Category) -> Act:
        """Return the plan's prices of energy as an act, in which they are those of ``category``."""
        return Act(
            name=self.name,
            signed_on=self.effective_on,
            effective_on=self.effective_on,
            average=Decimal(0),
            source=self.source,
            certainty={category.value: self.certainty},
            tiered={category: self.tiers} if self.tiers else {},
            prepaid=0,
            rates={} if self.rates is None else {(category, VOLTAGE): self.rates},
            single={} if self.single is None else {(category, VOLTAGE): self.single},
        )

    @property
    def structure(self) -> TierStructure:
        """The widths of the tiers, none where there are none."""
        return TierStructure(
            name=self.name,
            effective_on=self.effective_on,
            widths=self.widths_kwh,
            undeclared_tier=1,
            source=self.source,
            certainty=self.certainty,
        )

    @property
    def tax(self) -> VatRate | None:
        """The plan's own rate of tax."""
        if self.tax_permille is None:
            return None
        return VatRate(
            start_on=self.effective_on,
            end_on=date.max,
            permille=self.tax_permille,
            act=self.name,
            source=self.source,
            certainty=self.certainty,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the plan as what JSON can hold; what it has not is left out."""
        found = {
            "name": self.name,
            "effective_on": self.effective_on.isoformat(),
            "source": self.source,
            "certainty": self.certainty.value,
            "single": self.single,
            "rates": None if self.rates is None else list(self.rates),
            "tiers": list(self.tiers) or None,
            "widths_kwh": list(self.widths_kwh) or None,
            "fixed_monthly": self.fixed_monthly or None,
            "minimum_monthly": self.minimum_monthly or None,
            "demand": self.demand or None,
            "ratchet": None if self.ratchet is None else self.ratchet.to_json(),
            "tax_permille": self.tax_permille,
        }
        return {key: value for key, value in found.items() if value is not None}

    @property
    def text(self) -> str:
        """The plan as the JSON it is stored as."""
        return json.dumps(self.to_json(), ensure_ascii=False, sort_keys=True)


def rate_plan_from_json(found: Mapping[str, Any]) -> RatePlan:
    """Return the plan that :meth:`RatePlan.to_json` gave."""
    ratchet, rates = found.get("ratchet"), found.get("rates")
    return RatePlan(
        name=found["name"],
        effective_on=date.fromisoformat(found["effective_on"]),
        source=found["source"],
        certainty=Certainty(found["certainty"]),
        single=found.get("single"),
        rates=None if rates is None else (rates[0], rates[1], rates[2]),
        tiers=tuple(found.get("tiers", ())),
        widths_kwh=tuple(found.get("widths_kwh", ())),
        fixed_monthly=found.get("fixed_monthly", 0),
        minimum_monthly=found.get("minimum_monthly", 0),
        demand=found.get("demand", 0),
        ratchet=None if ratchet is None else Ratchet(**ratchet),
        tax_permille=found.get("tax_permille"),
    )


def parse_rate_plan(table: Table) -> RatePlan:
    """Return the plan that a ``[[rate_plan]]`` of a file holds; the caller finishes the table.

    Raises
    ------
    UsageError
        With file, key and cure: a key that is missing or wrong, two kinds of energy prices, a ratchet without a price
        of demand, a plan that charges nothing, or one that does not begin with a month.
    """
    name = take_text(table, "name")
    if len(name) > NAME_CHARACTERS_MAX:
        raise table.error("name", f"found {len(name)} characters; expected at most {NAME_CHARACTERS_MAX}")
    effective_on = table.take("effective_on", date)
    if effective_on.day != 1:
        raise table.error("effective_on", f"found {effective_on}; expected the first day of a month, as bills begin")
    source, certainty = take_source(table)
    plan = RatePlan(
        name=name,
        effective_on=effective_on,
        source=source,
        certainty=certainty,
        **_energy(table),
        fixed_monthly=table.integer("fixed_monthly", 0, CHARGE_MAX, default=0),
        minimum_monthly=table.integer("minimum_monthly", 0, CHARGE_MAX, default=0),
        demand=table.integer("demand", 0, DEMAND_PRICE_MAX, default=0),
        ratchet=_ratchet(table.table("ratchet")) if "ratchet" in table else None,
        tax_permille=table.integer("tax_permille", 0, 1000) if "tax_permille" in table else None,
    )
    if plan.ratchet is not None and not plan.demand:
        raise table.error("ratchet", "found it without a price of demand; give demand, or remove the ratchet")
    if not (plan.prices_energy or plan.fixed_monthly or plan.minimum_monthly or plan.demand):
        raise table.error("name", f"{name} charges nothing; give energy, fixed_monthly, minimum_monthly or demand")
    return plan


def rate_plans_of(text: str, name: str) -> list[RatePlan]:
    """Return the rate plans of a file, which may hold other tables of a registry too; ``name`` is for errors."""
    found = []
    for table in parse_toml(text, name).tables("rate_plan"):
        found.append(parse_rate_plan(table))
        table.finish()
    return found


def plan_in_force(plans: Sequence[RatePlan], name: str, day: date) -> RatePlan:
    """Return the newest of the plans of a name that is in force on a day.

    Raises
    ------
    UsageError
        If there is none.
    """
    own = [plan for plan in plans if plan.name == name and plan.effective_on <= day]
    if not own:
        known = ", ".join(f"{plan.name} from {plan.effective_on}" for plan in plans)
        raise UsageError(f"plan-name: found {name!r} and no such plan on {day}; there are {known or 'none'}")
    return max(own, key=lambda plan: plan.effective_on)


def _energy(table: Table) -> dict[str, Any]:
    """Take the prices of energy: ``energy``, ``[rates]`` or ``[[tier]]``."""
    tiers = list(table.tables("tier"))
    kinds = [key for key in ("energy", "rates") if key in table] + ["tier"] * bool(tiers)
    if len(kinds) > 1:
        raise table.error(kinds[0], f"found {' and '.join(kinds)}; expected one of energy, rates and tier; keep one")
    if "energy" in table:
        return {"single": table.integer("energy", 0, PRICE_MAX)}
    if "rates" in table:
        return {"rates": take_rates(table.table("rates"), PRICE_MAX)}
    prices, ends = [], []
    for tier in tiers:
        prices.append(tier.integer("price", 0, PRICE_MAX))
        if len(prices) < len(tiers):
            ends.append(tier.integer("upto_kwh", 1, WIDTH_KWH_MAX))
        tier.finish()
    if len(prices) > TIERS_MAX or ends != sorted(set(ends)):
        raise table.error("tier", f"found ends {ends}; expected at most {TIERS_MAX} tiers whose ends rise")
    widths = tuple(end - before for before, end in zip([0, *ends], ends, strict=False))
    return {"tiers": tuple(prices), "widths_kwh": widths}


def _ratchet(table: Table) -> Ratchet:
    ratchet = Ratchet(
        percent=table.integer("percent", 1, 100),
        months=table.integer("months", 1, RATCHET_MONTHS_MAX),
        least_w=table.integer("least_kw", 0, DEMAND_W_MAX // 1000, default=0) * 1000,
    )
    table.finish()
    return ratchet
