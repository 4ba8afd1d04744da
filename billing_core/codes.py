"""The closed sets a bill is made of, with the numbers that stand for them in arrays.

A code of an array is the place of the member in its set: ``Category.RESIDENTIAL.code == 0``. Places are never
reordered, new members go to the end: stored bills refer to them by their text, never by their number.
"""

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray


class Coded(Enum):
    """A closed set whose members have a text for people and files, and a number for arrays."""

    @property
    def code(self) -> int:
        """The place of the member in its set, for int8 columns."""
        return list(type(self)).index(self)


class Category(Coded):
    """What the electricity is used for: it decides the price list.

    Wholesale is what is sold on: in the countryside; in residential clusters of a city or a town, by whether the
    transformer is the seller's or the buyer's; in complexes of shops, offices and flats. ``OTHER`` is what is sold on
    for other uses than living. Tourist lodging and the charging of vehicles have prices of their own only in acts after
    Decision 14/2025.
    """

    RESIDENTIAL = "residential"
    PRODUCTION = "production"
    BUSINESS = "business"
    HOSPITAL_SCHOOL = "hospital_school"
    LIGHTING_ADMIN = "lighting_admin"
    PREPAID = "prepaid"
    WHOLESALE_RURAL = "wholesale_rural"
    WHOLESALE_RURAL_OTHER = "wholesale_rural_other"
    WHOLESALE_CITY_SELLER = "wholesale_city_seller"
    WHOLESALE_CITY_BUYER = "wholesale_city_buyer"
    WHOLESALE_TOWN_SELLER = "wholesale_town_seller"
    WHOLESALE_TOWN_BUYER = "wholesale_town_buyer"
    WHOLESALE_CLUSTER_OTHER = "wholesale_cluster_other"
    WHOLESALE_COMPLEX = "wholesale_complex"
    WHOLESALE_COMPLEX_OTHER = "wholesale_complex_other"
    TOURISM = "tourism"
    CHARGING = "charging"


class Voltage(Coded):
    """The voltage of delivery in kV; which of them are told apart depends on the category and the act.

    Acts up to 2025 part at 6, 22 and 110 kV; Decision 14/2025 parts at 1, 35 and 220 kV (``LE1`` and what follows).
    """

    LT6 = "lt6"
    KV6_22 = "6_22"
    KV22_110 = "22_110"
    GE110 = "ge110"
    GE22 = "ge22"
    GE6 = "ge6"
    LE1 = "le1"
    GT1 = "gt1"
    KV1_35 = "1_35"
    KV35_220 = "35_220"
    GE220 = "ge220"


class Register(Coded):
    """A register of the meter, by its Vietnamese code: normal, peak, off-peak, total, reactive, export, demand."""

    BT = "BT"
    CD = "CD"
    TD = "TD"
    SG = "SG"
    VC = "VC"
    EXPORT = "export"
    PMAX = "Pmax"


RATES = (Register.BT, Register.CD, Register.TD)
"""The three registers of a time-of-use meter, in the order of every ``[n, 3]`` column: normal, peak, off-peak."""


class Solar(Coded):
    """The rooftop solar regime of the contract; it stays what it was when the contract was made."""

    NONE = "none"
    NET_2017 = "net_2017"
    SEPARATE_2019 = "separate_2019"
    SEPARATE_2020 = "separate_2020"
    SURPLUS_2024 = "surplus_2024"
    SURPLUS_2026 = "surplus_2026"


class QuotaRounding(Coded):
    """To what a tier's quota is rounded: EVN's formula says whole kWh; others keep 62.5."""

    KWH = "kwh"
    WH = "wh"


class LineKind(Coded):
    """What a line of a bill or of a purchase document charges."""

    ENERGY = "energy"
    REACTIVE = "reactive"
    VAT = "vat"
    SOLAR_PURCHASE = "solar_purchase"
    DEMAND = "demand"
    FIXED = "fixed"
    MINIMUM = "minimum"


class Certainty(Coded):
    """How sure a figure of a tariff file is. Read at an official page, copied by several, computed, or remembered."""

    OFFICIAL = "official"
    PUBLISHED = "published"
    DERIVED = "derived"
    UNVERIFIED = "unverified"


class Hold(Coded):
    """Why a bill was not computed. ``NONE`` is a bill that was."""

    NONE = "none"
    NEGATIVE_ENERGY = "negative_energy"
    ENERGY_TOO_LARGE = "energy_too_large"
    HOUSEHOLDS_INVALID = "households_invalid"
    PERIOD_INVALID = "period_invalid"
    NO_PRICE = "no_price"
    VOLTAGE_NOT_PRICED = "voltage_not_priced"
    PRICE_CHANGE_NOT_READ = "price_change_not_read"
    NO_VAT_RATE = "no_vat_rate"
    NO_SOLAR_PRICE = "no_solar_price"
    GENERATION_UNKNOWN = "generation_unknown"
    NET_METERING_THREE_RATES = "net_metering_three_rates"
    REACTIVE_INVALID = "reactive_invalid"
    INDEX_FELL = "index_fell"
    INDEX_OUT_OF_RANGE = "index_out_of_range"
    ROLLOVER_IMPLAUSIBLE = "rollover_implausible"
    MULTIPLIER_INVALID = "multiplier_invalid"
    CODE_UNKNOWN = "code_unknown"
    READING_MISSING = "reading_missing"
    RATES_AGAINST_TOTAL = "rates_against_total"
    INTERVALS_AGAINST_REGISTER = "intervals_against_register"
    INTERVAL_MISSING = "interval_missing"
    DEMAND_INVALID = "demand_invalid"
    CHANGE_READING_UNUSABLE = "change_reading_unusable"
    POWER_FACTOR_INVALID = "power_factor_invalid"
    SHARES_INVALID = "shares_invalid"
    TENANTS_NOT_RESIDENTIAL = "tenants_not_residential"
    NOT_ONE_MONTH = "not_one_month"


HOLD_TEXTS: Mapping[Hold, str] = {
    Hold.NONE: "computed",
    Hold.NEGATIVE_ENERGY: "energy is negative: check the readings",
    Hold.ENERGY_TOO_LARGE: "energy is over 10 TWh in one bill: check digits and multiplier",
    Hold.HOUSEHOLDS_INVALID: "households must be more than 0 and at most 1,000,000: correct the contract",
    Hold.PERIOD_INVALID: "the period ends before it begins, or it or its nominal cycle exceeds ten years: correct it",
    Hold.NO_PRICE: "no act in the tariff files has a price for this category on these dates",
    Hold.VOLTAGE_NOT_PRICED: "this category has no price at this voltage: correct the contract's voltage",
    Hold.PRICE_CHANGE_NOT_READ: "the price changes inside the period; this category's meter is read on each such day: "
    "give what it stood at",
    Hold.NO_VAT_RATE: "no VAT rate is known for the day the period ends: add it to vat.toml with its source",
    Hold.NO_SOLAR_PRICE: "no purchase price is known for this regime and year: give the price, or add it to solar.toml",
    Hold.GENERATION_UNKNOWN: "this regime buys up to a share of what the panels generated: give the generation "
    "(of the register 1.0.1.8.0 of a meter installed with role = generation)",
    Hold.NET_METERING_THREE_RATES: "net metering of three rates asks what was exported at each rate: give it by rate; "
    "or, if the contract went over to Decision 02/2019, correct the regime (separate_2019)",
    Hold.REACTIVE_INVALID: "reactive energy is over 10 Tvarh: check digits and multiplier",
    Hold.INDEX_FELL: "the register stands lower than before and is not known to roll over: read again",
    Hold.INDEX_OUT_OF_RANGE: "an index is negative or has more digits than the register: read again",
    Hold.ROLLOVER_IMPLAUSIBLE: "rolling over would mean more than half of the register's range: read again",
    Hold.MULTIPLIER_INVALID: "the multiplier (CT × VT) must be 1 to 10,000,000: correct the meter point",
    Hold.CODE_UNKNOWN: "a category, voltage or regime code is not one of the known ones",
    Hold.READING_MISSING: "a register was not read at the begin or end of the period or of a part of it: read it",
    Hold.RATES_AGAINST_TOTAL: "the three rates do not sum to the total register: check all four, and the multiplier",
    Hold.INTERVALS_AGAINST_REGISTER: "the intervals do not sum to what the register counted: check gaps and multiplier",
    Hold.INTERVAL_MISSING: "an interval of the period is missing: estimate it, with its reason",
    Hold.DEMAND_INVALID: "the highest demand is missing, negative or over 10 GW: read it again",
    Hold.CHANGE_READING_UNUSABLE: "readings at changes of price are given, and there are more or fewer changes than "
    "readings, or net metering lacks those of export: give one for each change of the period",
    Hold.POWER_FACTOR_INVALID: "a power factor is 0 to 1.00: correct it",
    Hold.SHARES_INVALID: "the shares of a mixed use must be positive and sum to 100 %: correct the contract",
    Hold.TENANTS_NOT_RESIDENTIAL: "tenants without a registered contract are a residential use: correct the contract",
    Hold.NOT_ONE_MONTH: "capacity is priced per month and the period is not one: bill each month by itself",
}
"""What each hold means and what cures it, for people."""


Member = TypeVar("Member", bound=Coded)


def codes_of(members: Iterable[Coded]) -> NDArray[np.int8]:
    """Return the codes of ``members`` as a column."""
    listed = list(members)
    places = {member: member.code for member in set(listed)}
    return np.array([places[member] for member in listed], dtype=np.int8)


def member_of(kind: type[Member], code: int) -> Member:
    """Return the member of ``kind`` at ``code``."""
    return list(kind)[code]
