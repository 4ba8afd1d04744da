"""What a quote is asked for, as plain values."""

from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from typing import TypeAlias

from billing_core.codes import Category, QuotaRounding, Solar, Voltage
from billing_core.rate_plan import RatePlan

ThreeRates: TypeAlias = tuple[int, int, int]
"""Energy at the normal, peak and off-peak rate."""


def as_three_rates(energy_wh: int | ThreeRates) -> ThreeRates:
    """Return energy at the three rates; that of no rate is at the first. [Wh]"""
    return energy_wh if isinstance(energy_wh, tuple) else (energy_wh, 0, 0)


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
    price_changes_on
        First days at a new price. Each must be one on which an act came into force inside the period. Household meters
        are shared out by days at such days anyway; for others, whose meters are read on them, giving all of them asks
        for the same as an estimate.
    export_wh, generation_wh, solar, solar_price, carry_in_wh, settle_carry
        Rooftop solar, as in :class:`billing_core.batch.Batch`; export and surplus by rate for net metering of three
        rates.
    reactive_varh, power_factor_percent
        Reactive energy if it is charged (from 40 kW), or the power factor where that is what is known. [varh; 1/100]
    undeclared_rental
        Whether tenants live there whose number was not declared (contract under 12 months).
    refused_three_rates
        Whether a three-rate meter that is mandatory was refused: all at the peak price.
    households_changes
        The first days of other numbers of households, in order, and these numbers.
    before_changes_wh
        Energy from the first day up to each change of price, of a meter that was read on these days. [Wh; three for a
        three-rate meter]
    export_before_changes_wh
        What it had exported by then, for net metering. [Wh; three likewise]
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
    energy_wh: int | ThreeRates
    voltage: Voltage = Voltage.LT6
    households: Fraction = Fraction(1)
    nominal_days: int = 0
    price_changes_on: tuple[date, ...] = ()
    export_wh: int | ThreeRates = 0
    generation_wh: int | None = None
    solar: Solar = Solar.NONE
    solar_price: int = 0
    carry_in_wh: int | ThreeRates = 0
    settle_carry: bool = False
    reactive_varh: int | None = None
    power_factor_percent: int | None = None
    undeclared_rental: bool = False
    refused_three_rates: bool = False
    households_changes: tuple[tuple[date, Fraction], ...] = ()
    before_changes_wh: tuple[int | ThreeRates, ...] = ()
    export_before_changes_wh: tuple[int | ThreeRates, ...] = ()
    demand_w: int | None = None
    uses: tuple[tuple[Category, Voltage, int], ...] = ()
    quota_rounding: QuotaRounding = QuotaRounding.KWH
    rate_plan: RatePlan | None = None
    demand_before_w: int | None = None
