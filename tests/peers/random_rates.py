"""Random tariffs, loads and suns, as the general engine takes them and as utilityrate5 does."""

from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from billing_core.rates.accumulate import Calendar, calendar_of
from billing_core.rates.tariff import Level, Metering, Ratchet, RateTariff

HOURS = 8_760
OPTIONS = tuple(Metering)  # in the order of ur_metering_option
NO_END = 1e38
# A year whose days fall as utilityrate5 counts them: 365 days that begin on a Monday.
FIRST_HOUR = np.datetime64("2018-01-01T00:00")


def random_tariff(rng: Random, periods: int) -> RateTariff:
    """Return a tariff of the common subset of both engines.

    Left out is where they mean different things: tiers and periods together where each hour is settled by itself (there
    the order of the hours decides, here the month's total does), a year-end price with several periods, and both minima
    at once.
    """
    metering = rng.choice(OPTIONS)
    timestep = metering not in (Metering.CARRY_OVER, Metering.MONTHLY_CREDIT)
    tiers = 1 if timestep and periods > 1 else rng.randint(1, 3)
    ends: list[int | None] = [*sorted(rng.sample(range(50_000, 900_000, 1_000), tiers - 1)), None]
    energy = tuple(
        tuple(Level(upto=end, price=rng.randint(20_000, 500_000), sell=rng.randint(0, 300_000)) for end in ends)
        for _ in range(periods)
    )
    if rng.random() < 0.4:
        demand_ends: list[int | None] = [*sorted(rng.sample(range(500, 6_000), rng.randint(0, 2))), None]
        demand = tuple(Level(upto=end, price=rng.randint(0, 20_000_000)) for end in demand_ends)
    else:
        demand = ()
    by_period = demand and rng.random() < 0.5
    minimum = rng.choice(((0, 0), (0, 0), (rng.randint(0, 60_000_000), 0), (0, rng.randint(0, 900_000_000))))
    return RateTariff(
        energy=energy,
        metering=metering,
        demand=demand,
        demand_by_period=tuple((Level(upto=None, price=rng.randint(0, 9_000_000)),) for _ in energy)
        if by_period
        else (),
        ratchet=Ratchet(months=rng.randint(1, 11), percent=rng.randint(1, 99), least_w=rng.randint(0, 900))
        if demand and not by_period and metering is not Metering.BUY_ALL and rng.random() < 0.5
        else None,
        fixed_monthly=rng.choice((0, rng.randint(0, 20_000_000))),
        minimum_monthly=minimum[0],
        minimum_annual=minimum[1],
        settle_price=rng.choice((0, rng.randint(0, 100_000))) if periods == 1 else 0,
    )


def random_schedules(rng: Random, periods: int) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
    """Return schedules of twelve equal months in which each period runs at one of the hours that carry a surplus on."""
    day = np.array([rng.randrange(periods) for _ in range(24)])
    corners = [0, 5, 11, 17]
    rng.shuffle(corners)
    for period in range(periods):
        day[corners[period]] = period
    rest = np.array([rng.randrange(periods) for _ in range(24)])
    return np.tile(day, (12, 1)), np.tile(rest, (12, 1))


def calendar(weekday: NDArray[np.integer], weekend: NDArray[np.integer]) -> Calendar:
    return calendar_of(FIRST_HOUR + np.arange(HOURS).astype("timedelta64[h]"), weekday, weekend, 60)


def random_year(rng: Random) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return an hourly load and generation. [Wh]"""
    chance = np.random.default_rng(rng.randrange(2**32))
    load = chance.integers(0, rng.choice((400, 1_500, 4_000)), HOURS, dtype=np.int32)
    hour = np.arange(HOURS) % 24
    sun = np.maximum(0, np.sin((hour - 6) / 12 * np.pi)) * rng.choice((0, 500, 3_000, 9_000))
    return load, (sun * chance.random(HOURS)).astype(np.int32)


def as_utilityrate5(tariff: RateTariff, weekday: NDArray[np.integer], weekend: NDArray[np.integer]) -> dict[str, Any]:
    """Return ``tariff`` in the words of utilityrate5."""
    energy = [
        [
            period + 1,
            tier + 1,
            NO_END if level.upto is None else level.upto / 1000,
            0,
            level.price / 1e6,
            level.sell / 1e6,
        ]
        for period, levels in enumerate(tariff.energy)
        for tier, level in enumerate(levels)
    ]
    flat = tariff.demand or (Level(upto=None, price=0),)
    by_period = tariff.demand_by_period or ((Level(upto=None, price=0),),) * len(tariff.energy)
    schedules = {"weekday": (weekday + 1).tolist(), "weekend": (weekend + 1).tolist()}
    return {
        "ur_metering_option": OPTIONS.index(tariff.metering),
        "ur_ec_tou_mat": energy,
        **{f"ur_{kind}_sched_{name}": table for kind in ("ec", "dc") for name, table in schedules.items()},
        "ur_dc_enable": int(bool(tariff.demand)),
        "ur_dc_flat_mat": [[month, tier + 1, _end_kw(level), level.price / 1e6]
                           for month in range(12) for tier, level in enumerate(flat)],
        "ur_dc_tou_mat": [[period + 1, tier + 1, _end_kw(level), level.price / 1e6]
                          for period, levels in enumerate(by_period) for tier, level in enumerate(levels)],
        "ur_enable_billing_demand": int(tariff.ratchet is not None),
        **_ratchet(tariff),
        "ur_monthly_fixed_charge": tariff.fixed_monthly / 1e6,
        "ur_monthly_min_charge": tariff.minimum_monthly / 1e6,
        "ur_annual_min_charge": tariff.minimum_annual / 1e6,
        "ur_nm_yearend_sell_rate": tariff.settle_price / 1e6,
        "ur_nm_credit_month": tariff.settle_month - 1,
        "ur_nm_credit_rollover": 0,
        "ur_nb_credit_expire": 1,
        "ur_nb_apply_credit_current_month": 1,
    }  # fmt: skip


def _ratchet(tariff: RateTariff) -> dict[str, Any]:
    """Return what is billed at least: a share of the months before in the same year, the month's own whole, a floor."""
    if tariff.ratchet is None:
        return {}
    return {
        "ur_billing_demand_minimum": tariff.ratchet.least_w / 1000,
        "ur_billing_demand_lookback_period": tariff.ratchet.months,
        "ur_billing_demand_lookback_percentages": [[tariff.ratchet.percent, 1]] * 12,
        "ur_dc_billing_demand_periods": [[period + 1, 1] for period in range(len(tariff.energy))],
        "ur_yearzero_usage_peaks": [0] * 12,
    }


def _end_kw(level: Level) -> float:
    return NO_END if level.upto is None else level.upto / 1000
