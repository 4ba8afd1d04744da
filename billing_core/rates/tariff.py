"""A tariff of any utility as a value.

Prices are integers in millionths of the currency per kWh or kW, so that Wh × price is in thousand-millionths (*nano*)
of the currency, exactly; a bill is rounded to money once, at its end (:func:`billing_core.rates.bill.as_money`).
"""

from dataclasses import dataclass
from enum import Enum

PRICE_MICRO_MAX = 10**11  # 100,000 of the currency for a kWh: dearer than any, in any currency
LEVELS_MAX = 12


class Metering(Enum):
    """How solar energy is settled.

    ``CARRY_OVER``
        Import and export are netted by month and period; a surplus is carried to the next month as energy of that
        period. What is left at the year's settlement is bought at its own price.
    ``MONTHLY_CREDIT``
        Netted likewise; a surplus becomes money at the sell price, and is taken off later charges for energy.
    ``NET_BILLING``
        Each interval's surplus is bought, each interval's deficit charged; a bill may be below zero.
    ``NET_BILLING_CARRY_OVER``
        The same, but money for surplus is taken off charges for energy, next month's too.
    ``BUY_ALL``
        All load is charged and all generation bought, as if there were two meters.
    """

    CARRY_OVER = "carry_over"
    MONTHLY_CREDIT = "monthly_credit"
    NET_BILLING = "net_billing"
    NET_BILLING_CARRY_OVER = "net_billing_carry_over"
    BUY_ALL = "buy_all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """A tier: up to how much of the month's energy or demand, and at what price.

    Parameters
    ----------
    upto
        Upper end of the tier [Wh or W]; ``None`` for the last.
    price
        [micro per kWh or kW]
    sell
        What surplus energy is bought at; demand has none. [micro per kWh]
    """

    upto: int | None
    price: int
    sell: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratchet:
    """What is billed as demand at least: a share of the highest demand of the months before, and a floor.

    Parameters
    ----------
    months
        How many months back, in the year that is billed.
    percent
        Share of the highest of them.
    least_w
        The floor. [W]
    """

    months: int
    percent: int
    least_w: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RateTariff:
    """A tariff; see :class:`Metering` and :class:`Level`.

    Parameters
    ----------
    energy
        Tiers of each period; all periods have as many tiers with the same ends, which are those of the month's total.
    demand
        Tiers of the month's highest interval; none without a charge for demand.
    demand_by_period
        Tiers of the highest interval in each period; none, or one entry for each period.
    fixed_monthly, minimum_monthly, minimum_annual
        [micro]
    settle_month
        Month (1 to 12) at whose end credits are settled; credits of money then expire unless they are ``carried``.
    settle_price
        What a kWh left over then is bought at; 0: it expires. [micro per kWh]
    bought_percent_max
        At most this share of a month's generation is bought; 100: all of it.
    """

    energy: tuple[tuple[Level, ...], ...]
    metering: Metering = Metering.NET_BILLING
    demand: tuple[Level, ...] = ()
    demand_by_period: tuple[tuple[Level, ...], ...] = ()
    ratchet: Ratchet | None = None
    fixed_monthly: int = 0
    minimum_monthly: int = 0
    minimum_annual: int = 0
    settle_month: int = 12
    settle_price: int = 0
    bought_percent_max: int = 100

    def __post_init__(self) -> None:
        ends = [[level.upto for level in levels] for levels in self.energy]
        if not ends or any(each != ends[0] for each in ends):
            raise ValueError("energy: found periods whose tiers end differently, expected the same ends in all")
        for levels in (*self.energy, self.demand, *self.demand_by_period):
            _check(levels)
        if self.demand_by_period and len(self.demand_by_period) != len(self.energy):
            raise ValueError("demand_by_period: expected none, or one entry for each period")
        amounts = (self.fixed_monthly, self.minimum_monthly, self.minimum_annual, self.settle_price)
        if not all(0 <= amount <= PRICE_MICRO_MAX for amount in amounts):
            raise ValueError(f"found a fixed or minimum charge or price outside 0 to {PRICE_MICRO_MAX}")
        if not (1 <= self.settle_month <= 12 and 0 <= self.bought_percent_max <= 100):
            raise ValueError("settle_month is 1 to 12, bought_percent_max 0 to 100")


def _check(levels: tuple[Level, ...]) -> None:
    if not levels:
        return
    ends = [level.upto for level in levels]
    rising = [end for end in ends[:-1] if end is not None]
    if ends[-1] is not None or len(rising) != len(ends) - 1 or sorted(set(rising)) != rising or len(ends) > LEVELS_MAX:
        raise ValueError(f"levels: found ends {ends}, expected at most {LEVELS_MAX} that rise, and none for the last")
    if not all(0 <= price <= PRICE_MICRO_MAX for level in levels for price in (level.price, level.sell)):
        raise ValueError(f"levels: found a price outside 0 to {PRICE_MICRO_MAX}")
