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
    """What the electricity is used for: it decides the price list."""

    RESIDENTIAL = "residential"
    PRODUCTION = "production"
    BUSINESS = "business"
    HOSPITAL_SCHOOL = "hospital_school"
    LIGHTING_ADMIN = "lighting_admin"
    PREPAID = "prepaid"


class Voltage(Coded):
    """The voltage of delivery in kV; which of them are told apart depends on the category."""

    LT6 = "lt6"
    KV6_22 = "6_22"
    KV22_110 = "22_110"
    GE110 = "ge110"
    GE22 = "ge22"
    GE6 = "ge6"


class Register(Coded):
    """A register of the meter, by its Vietnamese code: normal, peak, off-peak, total, reactive, export."""

    BT = "BT"
    CD = "CD"
    TD = "TD"
    SG = "SG"
    VC = "VC"
    EXPORT = "export"


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


HOLD_TEXTS: Mapping[Hold, str] = {
    Hold.NONE: "computed",
    Hold.NEGATIVE_ENERGY: "energy is negative: check the readings",
    Hold.ENERGY_TOO_LARGE: "energy is over 10 TWh in one bill: check digits and multiplier",
    Hold.HOUSEHOLDS_INVALID: "households must be more than 0 and at most 1,000,000: correct the contract",
    Hold.PERIOD_INVALID: "the period ends before it begins, or it or its nominal cycle exceeds ten years: correct it",
    Hold.NO_PRICE: "no act in the tariff files has a price for this category on these dates",
    Hold.VOLTAGE_NOT_PRICED: "this category has no price at this voltage: correct the contract's voltage",
    Hold.PRICE_CHANGE_NOT_READ: "the price changes inside the period; this category's meter is read on that day: "
    "bill both parts apart",
    Hold.NO_VAT_RATE: "no VAT rate is known for the day the period ends: add it to vat.toml with its source",
    Hold.NO_SOLAR_PRICE: "no purchase price is known for this regime and year: give the price, or add it to solar.toml",
    Hold.GENERATION_UNKNOWN: "this regime buys up to a share of what the panels generated: give the generation",
    Hold.NET_METERING_THREE_RATES: "Decision 11/2017 does not say how three rates are netted: settle by hand",
    Hold.REACTIVE_INVALID: "reactive energy is over 10 Tvarh: check digits and multiplier",
    Hold.INDEX_FELL: "the register stands lower than before and is not known to roll over: read again",
    Hold.INDEX_OUT_OF_RANGE: "an index is negative or has more digits than the register: read again",
    Hold.ROLLOVER_IMPLAUSIBLE: "rolling over would mean more than half of the register's range: read again",
    Hold.MULTIPLIER_INVALID: "the multiplier (CT × VT) must be 1 to 10,000,000: correct the meter point",
    Hold.CODE_UNKNOWN: "a category, voltage or regime code is not one of the known ones",
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
