"""What the second opinion on a bill is given and gives back, as exact fractions of a kWh."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from fractions import Fraction


class NotBillableError(Exception):
    """The rules give no bill for this; the message says which rule."""


@dataclass(frozen=True, slots=True)
class MeterPart:
    """What one register showed at the begin and end of a part of the period; ``digits`` is where it starts anew."""

    register: str
    old_kwh: Fraction
    new_kwh: Fraction
    digits: int | None = None
    multiplier: int = 1
    backwards: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnPlan:
    """A utility's own charges a month; energy at one price, three, by tiers up to so many kWh, or as the acts say."""

    single: int | None = None
    rates: tuple[int, int, int] | None = None
    tiers: tuple[tuple[int | None, int], ...] = ()
    fixed: int = 0
    minimum: int = 0
    demand: int = 0
    ratchet_percent: int | None = None
    least_kw: Fraction = Fraction(0)
    tax_permille: int | None = None

    @property
    def prices_energy(self) -> bool:
        """Whether energy has prices of the plan's own."""
        return self.single is not None or self.rates is not None or bool(self.tiers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What one customer used in one period, as exact kWh.

    ``kwh`` is by register: ``SG`` for a total, or ``BT``, ``CD``, ``TD``; empty if ``meters`` says what the registers
    showed. Both days are billed. ``household_changes`` are the first days of other numbers of households, in order, and
    those numbers; ``tenants`` and ``person_days`` say instead of ``households`` who lives in a shared house, and how
    many days of people there were; ``before_changes_kwh`` is what a meter read at each change of price had counted
    until then, and ``export_before_changes_kwh`` what it had exported; ``export_by_rate_kwh`` and
    ``carry_in_by_rate_kwh`` are for net metering of three rates; ``demand_kw`` asks for the two-component pilot;
    ``uses`` are other uses than ``category``, each with its voltage and its share. With a ``plan`` of the utility's
    own, ``demand_kw`` is what its demand charge asks for, and ``demand_before_kw`` the highest of the months before.
    """

    category: str
    start_on: date
    end_on: date
    kwh: Mapping[str, Fraction]
    voltage: str = "lt6"
    households: Fraction = Fraction(1)
    tenants: int | None = None
    person_days: int | None = None
    nominal_days: int | None = None
    share_by_days: bool = False
    export_kwh: Fraction = Fraction(0)
    generation_kwh: Fraction | None = None
    solar: str | None = None
    solar_price: int | None = None
    carry_in_kwh: Fraction = Fraction(0)
    settle_carry: bool = False
    reactive_kvarh: Fraction | None = None
    quota_unit_kwh: Fraction = Fraction(1)
    cosphi: Fraction | None = None
    undeclared_rental: bool = False
    refused_three_rates: bool = False
    household_changes: tuple[tuple[date, Fraction], ...] = ()
    before_changes_kwh: tuple[Mapping[str, Fraction], ...] = ()
    export_before_changes_kwh: tuple[Mapping[str, Fraction], ...] = ()
    export_by_rate_kwh: Mapping[str, Fraction] | None = None
    carry_in_by_rate_kwh: Mapping[str, Fraction] | None = None
    demand_kw: Fraction | None = None
    demand_before_kw: Fraction | None = None
    plan: OwnPlan | None = None
    uses: tuple[tuple[str, str, Fraction], ...] = ()
    meters: tuple[MeterPart, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExactBill:
    """The bill: ``lines`` as (kWh, price, amount), amounts in đồng. A purchase that waits for its price, or for
    the generation, is ``None``; a surplus of three rates is also by rate, BT, CD, TD."""

    lines: tuple[tuple[Fraction, int, int], ...]
    subtotal: int
    vat: int
    total: int
    bought_kwh: Fraction
    purchase: int | None
    carry_out_kwh: Fraction
    carry_out_by_rate_kwh: tuple[Fraction, ...] = ()


def half_up(value: Fraction) -> int:
    """Round to the nearest whole number, a half upwards."""
    return (value + Fraction(1, 2)).__floor__()
