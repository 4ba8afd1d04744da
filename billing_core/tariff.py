"""Tariffs as values: acts, structures, taxes and tables, each in force from a date.

Structure (how many tiers, of what width) and price (đồng for each) are dated apart, because the law dates them apart:
Decision 14/2025 brings five tiers, but only with the first price adjustment after it. The values here are made by
:mod:`billing_core.tariff_files` from ``tariffs/*.toml`` and know nothing about files.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from operator import itemgetter

from billing_core.codes import Category, Certainty, Solar, Voltage

RatePrices = tuple[int, int, int]
"""Prices at the normal, peak and off-peak rate [đ/kWh]."""

WHOLESALE = frozenset(category for category in Category if category.value.startswith("wholesale_"))
TIERED = frozenset(
    {
        Category.RESIDENTIAL,
        Category.WHOLESALE_RURAL,
        Category.WHOLESALE_CITY_SELLER,
        Category.WHOLESALE_CITY_BUYER,
        Category.WHOLESALE_TOWN_SELLER,
        Category.WHOLESALE_TOWN_BUYER,
        Category.WHOLESALE_COMPLEX,
    }
)
"""What is priced by tiers, whose widths are those of a household times the households behind the meter."""
BY_RATE = frozenset(
    {
        Category.PRODUCTION,
        Category.BUSINESS,
        Category.WHOLESALE_COMPLEX_OTHER,
        Category.TOURISM,
        Category.CHARGING,
    }
)
"""What is priced by time of use. Everything else has one price."""

_BY_6_KV = dict.fromkeys((Voltage.KV6_22, Voltage.KV22_110, Voltage.GE110, Voltage.GE22, Voltage.GE6), Voltage.GE6)
_UP_TO_2025 = (Voltage.LT6, Voltage.KV6_22, Voltage.KV22_110, Voltage.GE110)
_AFTER_2025 = (Voltage.LE1, Voltage.KV1_35, Voltage.KV35_220, Voltage.GE220)
_BY_1_KV = {
    Voltage.LE1: Voltage.LE1,
    **dict.fromkeys((Voltage.GT1, Voltage.KV1_35, Voltage.KV35_220, Voltage.GE220), Voltage.GT1),
}
VOLTAGE_CLASSES: Mapping[Category, Mapping[Voltage, Voltage]] = {
    Category.RESIDENTIAL: {Voltage.LT6: Voltage.LT6, Voltage.LE1: Voltage.LT6},
    Category.PREPAID: {Voltage.LT6: Voltage.LT6, Voltage.LE1: Voltage.LT6},
    Category.PRODUCTION: {voltage: voltage for voltage in (*_UP_TO_2025, *_AFTER_2025)},
    Category.BUSINESS: {
        Voltage.LT6: Voltage.LT6,
        Voltage.KV6_22: Voltage.KV6_22,
        Voltage.GE22: Voltage.GE22,
        Voltage.KV22_110: Voltage.GE22,
        Voltage.GE110: Voltage.GE22,
        **_BY_1_KV,
    },
    Category.HOSPITAL_SCHOOL: {Voltage.LT6: Voltage.LT6, **_BY_6_KV, **_BY_1_KV},
    Category.LIGHTING_ADMIN: {Voltage.LT6: Voltage.LT6, **_BY_6_KV, **_BY_1_KV},
    Category.TOURISM: _BY_1_KV,
    Category.CHARGING: _BY_1_KV,
    **{category: dict.fromkeys(Voltage, Voltage.LT6) for category in WHOLESALE},
}
"""Which class of the price list a voltage of delivery falls in. A pair that is absent has no price: "22 kV and above"
is the top class of business, but says too little for production, which tells 110 kV apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One decision on retail prices: what a kWh costs from a date on, until the next act.

    Parameters
    ----------
    average
        The average retail price the act sets. [đ/kWh]
    tiered
        Prices of each category that has tiers, cheapest first. [đ/kWh]
    prepaid
        Price of residential energy bought by prepaid card. [đ/kWh]
    rates
        Prices by three rates, for each category and voltage class that is billed by time of use.
    single
        The one price of each category and voltage class that is not.
    certainty
        How sure each group of prices is: ``average`` and a key for each category, or ``production.lt6`` where one
        voltage class differs from its category.
    """

    name: str
    signed_on: date
    effective_on: date
    average: Decimal
    source: str
    certainty: Mapping[str, Certainty]
    tiered: Mapping[Category, tuple[int, ...]]
    prepaid: int
    rates: Mapping[tuple[Category, Voltage], RatePrices]
    single: Mapping[tuple[Category, Voltage], int]

    @property
    def tiers(self) -> tuple[int, ...]:
        """The residential prices. [đ/kWh]"""
        return self.tiered[Category.RESIDENTIAL]

    def has_price(self, category: Category, voltage: Voltage) -> bool:
        """Return whether the act has a price for ``category`` at ``voltage``; not each has those of wholesale."""
        priced = category in self.tiered or category is Category.PREPAID
        return priced or (category, voltage) in self.rates or (category, voltage) in self.single

    def priced_voltages(self, category: Category) -> tuple[Voltage, ...]:
        """Return at which voltages of delivery the act has a price for ``category``; none if it has none at all."""
        classes = VOLTAGE_CLASSES[category]
        return tuple(
            voltage for voltage in Voltage if voltage in classes and self.has_price(category, classes[voltage])
        )

    def certainty_of(self, category: Category, voltage: Voltage) -> Certainty:
        """Return how sure the prices of ``category`` at ``voltage`` are."""
        return self.certainty.get(f"{category.value}.{voltage.value}", self.certainty[category.value])


@dataclass(frozen=True, slots=True, kw_only=True)
class TierStructure:
    """The width of the residential tiers from a date on. [kWh a month; the last tier has no end]

    ``undeclared_tier`` is the one whose price tenants pay for all their energy where their number was not declared.
    """

    name: str
    effective_on: date
    widths: tuple[int, ...]
    undeclared_tier: int
    source: str
    certainty: Certainty


@dataclass(frozen=True, slots=True, kw_only=True)
class Percentages:
    """What each price is in percent of the average price: a check on the acts, not where prices come from.

    ``rates`` and ``single`` have the categories whose percentages are known, with all classes of voltage of each.
    """

    effective_on: date
    tiers: tuple[int, ...]
    prepaid: int
    rates: Mapping[tuple[Category, Voltage], RatePrices]
    single: Mapping[tuple[Category, Voltage], int]
    source: str
    certainty: Certainty


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingStructure:
    """A structure that is signed and waits for its first price act: widths of its tiers, prices in percent.

    ``others`` are the percentages of what has no tiers, by the decision's own classes.
    """

    name: str
    signed_on: date
    waits_for: str
    widths: tuple[int, ...]
    percent: tuple[int, ...]
    others: Mapping[str, tuple[int, ...]]
    source: str
    certainty: Certainty


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoComponent:
    """A price list of capacity and energy: so much for each kW of the month's highest half hour, so much a kWh.

    Parameters
    ----------
    capacity
        [đ/kW and month]
    energy
        At the normal, peak and off-peak rate. [đ/kWh]
    """

    act: str
    category: Category
    effective_on: date
    capacity: Mapping[Voltage, int]
    energy: Mapping[Voltage, RatePrices]
    source: str
    certainty: Certainty


@dataclass(frozen=True, slots=True, kw_only=True)
class VatRate:
    """A rate of value-added tax, from its first to its last day. [1/1000]"""

    start_on: date
    end_on: date
    permille: int
    act: str
    source: str
    certainty: Certainty


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerFactorTable:
    """From which power factor, and from what contracted power, reactive energy is charged, and of what use not.

    [1/100, kW]
    """

    effective_on: date
    required_percent: int
    floor_percent: int
    floor_surcharge_bp: int
    from_kw: int
    exempt: tuple[Category, ...]
    act: str
    source: str
    certainty: Certainty


@dataclass(frozen=True, slots=True, kw_only=True)
class SolarPrice:
    """What a kWh of rooftop solar is bought at in one calendar year. [đ/kWh]"""

    year: int
    price: int
    source: str
    certainty: Certainty


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeRate:
    """The central exchange rate of the last working day before ``year``. [đ for a US dollar]"""

    year: int
    vnd_per_usd: int
    source: str
    certainty: Certainty


@dataclass(frozen=True, slots=True, kw_only=True)
class SolarRule:
    """One rooftop solar regime: how export is settled, and at what prices.

    Parameters
    ----------
    method
        ``net`` (surplus is carried over), ``separate`` (import billed, export bought) or ``surplus`` (export bought up
        to ``cap_percent`` of what the panels generated).
    cents_hundredths
        The price in 1/100 US cent, which becomes đồng at the year's exchange rate. [0.01 ¢/kWh]
    prices
        Prices in đồng of single years, as published; they come before what the exchange rate gives.
    net_by_rate_source, net_by_rate_source_vi, net_by_rate_certainty
        Of ``net`` why three rates are netted each by itself, and how sure that is.
    """

    regime: Solar
    method: str
    act: str
    effective_on: date
    cents_hundredths: int | None
    cap_percent: int | None
    prices: tuple[SolarPrice, ...]
    source: str
    certainty: Certainty
    net_by_rate_source: str = ""
    net_by_rate_source_vi: str = ""
    net_by_rate_certainty: Certainty = Certainty.UNVERIFIED


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeOfUse:
    """A schedule of the three rates. [minutes after local midnight; an end before its start runs past midnight]

    Without ``effective_on`` it is issued but waits for something, which its source says.
    """

    name: str
    effective_on: date | None
    peak: tuple[tuple[int, int], ...]
    off_peak: tuple[tuple[int, int], ...]
    sunday_peak: bool
    source: str
    certainty: Certainty
    holidays_as_sunday: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Holiday:
    """A public holiday: a (month, day) of every year, or days of the lunar calendar, year by year."""

    name: str
    yearly: tuple[int, int] | None
    days: tuple[date, ...]
    source: str
    certainty: Certainty


@dataclass(frozen=True, slots=True, kw_only=True)
class Tariffs:
    """All dated data of the billing core, each list in order of its dates."""

    acts: tuple[Act, ...]
    structures: tuple[TierStructure, ...]
    percentages: tuple[Percentages, ...]
    waiting: tuple[WaitingStructure, ...]
    vat: tuple[VatRate, ...]
    power_factor: tuple[PowerFactorTable, ...]
    solar: tuple[SolarRule, ...]
    exchange_rates: tuple[ExchangeRate, ...]
    schedules: tuple[TimeOfUse, ...]
    holidays: tuple[Holiday, ...]
    two_component: tuple[TwoComponent, ...]

    def act_on(self, day: date) -> Act | None:
        """Return the act in force on ``day``; none before the first."""
        return next((act for act in reversed(self.acts) if act.effective_on <= day), None)

    def changes_within(self, start_on: date, end_on: date) -> tuple[date, ...]:
        """Return the days after ``start_on``, up to ``end_on``, on which another act came into force."""
        return tuple(act.effective_on for act in self.acts[1:] if start_on < act.effective_on <= end_on)

    def structure_on(self, day: date) -> TierStructure | None:
        """Return the tier structure in force on ``day``."""
        return next((item for item in reversed(self.structures) if item.effective_on <= day), None)

    def vat_on(self, day: date) -> VatRate | None:
        """Return the rate of value-added tax on ``day``."""
        return next((rate for rate in self.vat if rate.start_on <= day <= rate.end_on), None)

    def power_factor_on(self, day: date) -> PowerFactorTable | None:
        """Return the table of surcharges for reactive energy in force on ``day``."""
        return next((item for item in reversed(self.power_factor) if item.effective_on <= day), None)

    def schedule_on(self, day: date) -> TimeOfUse | None:
        """Return the newest time-of-use schedule in force on ``day``; a meter may still keep an older one."""
        dated = [(item.effective_on, item) for item in self.schedules if item.effective_on is not None]
        begun = [each for each in dated if each[0] <= day]
        return max(begun, key=itemgetter(0))[1] if begun else None

    def holidays_between(self, start_on: date, end_on: date) -> frozenset[date]:
        """Return the public holidays from ``start_on`` to ``end_on``, as far as the files know them."""
        years = range(start_on.year, end_on.year + 1)
        yearly = {date(year, *item.yearly) for item in self.holidays if item.yearly is not None for year in years}
        return frozenset(day for day in yearly.union(*(h.days for h in self.holidays)) if start_on <= day <= end_on)

    def two_component_on(self, day: date) -> TwoComponent | None:
        """Return the price list of the two-component pilot on ``day``."""
        return next((item for item in reversed(self.two_component) if item.effective_on <= day), None)

    def solar_rule(self, regime: Solar) -> SolarRule:
        """Return the rule of ``regime``; the loader has made sure that there is one for each."""
        return next(rule for rule in self.solar if rule.regime is regime)
