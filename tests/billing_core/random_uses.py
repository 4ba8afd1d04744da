"""Random bills, as the exact recomputation takes them and as a row of the engine's batch."""

from datetime import date, timedelta
from fractions import Fraction
from random import Random

from billing_core.batch import NOT_MEASURED, Batch, batch_of
from billing_core.codes import Category, Solar, Voltage
from deploy.demo.exact import Use

FIRST_DAY, DAYS = date(2015, 3, 16), (date(2026, 12, 31) - date(2015, 3, 16)).days
VOLTAGES = {
    "production": ("lt6", "6_22", "22_110", "ge110"),
    "business": ("lt6", "6_22", "ge22", "22_110", "ge110"),
    "hospital_school": tuple(voltage.value for voltage in Voltage),
    "lighting_admin": tuple(voltage.value for voltage in Voltage),
}


def random_use(rng: Random) -> Use:
    """Return what one customer used: any category, regime, period and size, and often something at its edge."""
    category = rng.choice([member.value for member in Category] + ["residential"] * 12)
    # Wholesale prices are known for the first act only: most of its bills are to be priced, not held.
    span = 800 if category.startswith("wholesale") and rng.random() < 0.9 else DAYS - 120
    start_on = FIRST_DAY + timedelta(days=rng.randrange(span))
    days = rng.choice((1, 15, 28, 29, 30, 31, 31, 57, 90))
    solar = rng.choice([member.value for member in Solar if member is not Solar.NONE]) if rng.random() < 0.3 else None
    three = (
        category in ("production", "business", "wholesale_complex_other") and rng.random() < 0.7 and solar != "net_2017"
    )
    kwh = {name: random_kwh(rng) for name in (("BT", "CD", "TD") if three else ("SG",))}
    return Use(
        category=category,
        start_on=start_on,
        end_on=start_on + timedelta(days=days - 1),
        kwh=kwh,
        voltage=rng.choice(VOLTAGES.get(category, ("lt6",))),
        households=Fraction(rng.randint(1, 12), rng.choice((1, 1, 1, 2, 4, 120, 7))),
        nominal_days=rng.choice((None, None, 30, 31)),
        share_by_days=category == "residential" or rng.random() < 0.5,
        export_kwh=random_kwh(rng) if solar else Fraction(0),
        generation_kwh=rng.choice((None, random_kwh(rng) * 2)) if solar else None,
        solar=solar,
        solar_price=rng.choice((None, None, 671, 1_012)) if solar else None,
        carry_in_kwh=random_kwh(rng) if solar == "net_2017" else Fraction(0),
        settle_carry=rng.random() < 0.5,
        reactive_kvarh=random_kwh(rng) if rng.random() < 0.3 else None,
    )


def random_kwh(rng: Random) -> Fraction:
    """Return 0, whole kWh around the tiers' bounds, or any number of Wh up to a large factory's month."""
    return rng.choice(
        (
            Fraction(0),
            Fraction(rng.randint(1, 999), 1000),
            Fraction(rng.randint(1, 700)),
            Fraction(rng.randint(1, 700_000), 1000),
            Fraction(rng.randint(1, 10**10), 1000),
        )
    )


def as_batch(uses: list[Use]) -> Batch:
    """Return ``uses`` as the engine takes them."""

    def wh(kwh: Fraction | None) -> int:
        return NOT_MEASURED if kwh is None else int(kwh * 1000)

    return batch_of(
        energy_wh=[[wh(use.kwh.get("SG", use.kwh.get("BT"))), *(wh(use.kwh.get(r, Fraction(0))) for r in ("CD", "TD"))]
                   for use in uses],
        start_on=[use.start_on for use in uses],
        end_on=[use.end_on for use in uses],
        nominal_days=[use.nominal_days or 0 for use in uses],
        category=[Category(use.category).code for use in uses],
        voltage=[Voltage(use.voltage).code for use in uses],
        three_rates=["BT" in use.kwh for use in uses],
        households=[use.households.numerator for use in uses],
        households_parts=[use.households.denominator for use in uses],
        share_by_days=[use.share_by_days for use in uses],
        export_wh=[wh(use.export_kwh) for use in uses],
        generation_wh=[wh(use.generation_kwh) for use in uses],
        carry_in_wh=[wh(use.carry_in_kwh) for use in uses],
        settle_carry=[use.settle_carry for use in uses],
        solar=[(Solar(use.solar) if use.solar else Solar.NONE).code for use in uses],
        solar_price=[use.solar_price or 0 for use in uses],
        reactive_varh=[wh(use.reactive_kvarh) for use in uses],
    )  # fmt: skip
