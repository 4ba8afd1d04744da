"""Rooftop solar: what of the import is billed, and what of the export is bought.

The purchase of energy is a document of its own beside the bill. Where its price is not known the purchase is held, and
the bill goes out: what a customer owes for import does not wait for an exchange rate.

* ``net`` (Decision 11/2017): import less export less the surplus of the cycle before; what is below zero is carried to
  the next cycle, or bought where the surplus is settled (year end, contract end). Of a three-rate meter each rate is
  netted by itself, and its surplus stays its own: nobody has read a rule, and ``solar.toml`` says why this one.
* ``separate`` (Decisions 02/2019 and 13/2020): import is billed, export is bought.
* ``surplus`` (Decrees 135/2024 and 243/2026): as ``separate``, but bought only up to a share of what was generated.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from billing_core.batch import NOT_MEASURED, Batch
from billing_core.codes import Certainty, Hold, Solar
from billing_core.rounding import Int64Array, divide_half_up, multiply
from billing_core.tariff import ExchangeRate, SolarPrice, SolarRule, Tariffs
from billing_core.tiers import WH_PER_KWH


@dataclass(frozen=True, slots=True, kw_only=True)
class Purchase:
    """What the company buys from each customer.

    Parameters
    ----------
    energy_wh, price, amount
        Energy bought, its price, and what it costs; a price of 0 where none is needed or known. [Wh, đ/kWh, đ; n]
    carry_out_wh
        Surplus carried to the next cycle. [Wh, n]
    carry_out_rates_wh
        The same by rate; all in the first without three rates. [Wh, n × 3]
    hold
        Why the purchase could not be computed. [:class:`billing_core.codes.Hold` code, n]
    """

    energy_wh: Int64Array
    price: Int64Array
    amount: Int64Array
    carry_out_wh: Int64Array
    carry_out_rates_wh: Int64Array
    hold: NDArray[np.int8]

    def without(self, hold: NDArray[np.int8]) -> "Purchase":
        """Return the purchases with those of held bills held for the same reason: export and import settle together."""
        held = hold != 0
        if not held.any():
            return self
        columns = (self.energy_wh, self.price, self.amount, self.carry_out_wh)
        energy, price, amount, carry = (np.where(held, 0, column) for column in columns)
        return Purchase(
            energy_wh=energy,
            price=price,
            amount=amount,
            carry_out_wh=carry,
            carry_out_rates_wh=np.where(held[:, np.newaxis], 0, self.carry_out_rates_wh),
            hold=np.where(held, hold, self.hold),
        )


def price_in(rule: SolarRule, year: int, rates: tuple[ExchangeRate, ...]) -> SolarPrice | None:
    """Return what a kWh is bought at in ``year``: as published, or else cents × the year's exchange rate, half up."""
    for price in rule.prices:
        if price.year == year:
            return price
    if rule.cents_hundredths is None:
        return None
    for rate in rates:
        if rate.year == year:
            hundredths = np.array([rule.cents_hundredths * rate.vnd_per_usd], dtype=np.int64)
            in_dong = int(divide_half_up(hundredths, 100 * 100)[0])  # 1/100 cent to cents to dollars
            certainty = Certainty.UNVERIFIED if rate.certainty is Certainty.UNVERIFIED else rule.certainty
            return SolarPrice(year=year, price=in_dong, source=f"{rule.act}; {rate.source}", certainty=certainty)
    return None


def settle_solar(batch: Batch, tariffs: Tariffs) -> tuple[Int64Array, Purchase]:
    """Return the energy to bill [Wh, n × 3] and what is bought beside it."""
    n = len(batch)
    billed = batch.energy_wh
    bought = np.zeros(n, dtype=np.int64)
    carry = np.broadcast_to(np.int64(0), (n, 3))
    price = np.zeros(n, dtype=np.int64)
    hold = np.zeros(n, dtype=np.int8)
    for rule in tariffs.solar:
        rows = np.flatnonzero(batch.solar == rule.regime.code)
        if not rows.size:
            continue
        match rule.method:
            case "net":
                billed, carry = billed.copy(), carry.copy()
                left = billed[rows] - _exported(batch, rows) - _carried_in(batch, rows)
                billed[rows] = np.maximum(left, 0)
                surplus, settled = np.maximum(-left, 0), batch.settle_carry[rows, np.newaxis]
                bought[rows] = np.where(settled, surplus, 0).sum(axis=1)
                carry[rows] = np.where(settled, 0, surplus)
            case "separate":
                bought[rows] = batch.export_wh[rows]
            case "surplus":
                assert rule.cap_percent is not None
                generated = batch.generation_wh[rows]
                cap = np.maximum(generated, 0) * rule.cap_percent // 100  # never above the cap, so rounded down
                bought[rows] = np.minimum(batch.export_wh[rows], cap)
                unknown = (generated < 0) & (batch.export_wh[rows] > 0)
                hold[rows[unknown]] = Hold.GENERATION_UNKNOWN.code
        price[rows] = _prices(batch, rows, rule, tariffs)
    hold[(bought > 0) & (price == 0)] = Hold.NO_SOLAR_PRICE.code
    bought[hold == Hold.GENERATION_UNKNOWN.code] = 0
    amount = divide_half_up(multiply(bought, price), WH_PER_KWH)
    purchase = Purchase(
        energy_wh=bought,
        price=price,
        amount=amount,
        carry_out_wh=carry[:, 0] + carry[:, 1] + carry[:, 2],
        carry_out_rates_wh=carry,
        hold=hold,
    )
    return billed, purchase


def _exported(batch: Batch, rows: Int64Array) -> Int64Array:
    """Return what is netted at each rate, all at the first without three rates. [Wh, m × 3]"""
    three = batch.three_rates[rows]
    exported = np.where(three[:, np.newaxis], batch.export_rates_wh[rows], 0)
    exported[:, 0] += np.where(three, 0, batch.export_wh[rows])
    return exported


def _carried_in(batch: Batch, rows: Int64Array) -> Int64Array:
    """Return the surplus of before at each rate; what was carried without rates is of the first. [Wh, m × 3]"""
    three = batch.three_rates[rows]
    carried = np.where(three[:, np.newaxis], batch.carry_in_rates_wh[rows], 0)
    carried[:, 0] += batch.carry_in_wh[rows]
    return carried


def with_netted_change(batch: Batch, billed_wh: Int64Array) -> Batch:
    r"""Return the batch with what is billed of the energy up to each change of price, where the meter was read then.

    Decision 11/2017 nets by cycle, so a surplus of one part is taken off the others, first those after it, as it would
    be carried on, then those before it, the last first; and all sum to what is billed:

    .. math:: B_{\le j} = \min\Bigl(\max_{i \le j}\bigl(0,\ \sum_{p \le i}(I_p - E_p) - C\bigr),\ B\Bigr)

    with import I and export E of each part, what was carried in C, and B what is billed of the whole period; each rate
    by itself.

    Parameters
    ----------
    billed_wh
        What :func:`settle_solar` says. [Wh, n × 3]
    """
    rows = np.flatnonzero((batch.solar == Solar.NET_2017.code) & (batch.before_change_wh[:, 0, 0] != NOT_MEASURED))
    if not rows.size:
        return batch
    before = batch.before_change_wh.copy()
    carried, read = _carried_in(batch, rows), before[rows, :, :1] != NOT_MEASURED
    own = before[rows] - batch.export_before_change_wh[rows] - carried[:, np.newaxis]
    netted = np.minimum(np.maximum.accumulate(np.maximum(own, 0), axis=1), billed_wh[rows, np.newaxis])
    before[rows] = np.where(read, netted, before[rows])
    return replace(batch, before_change_wh=before)


def _prices(batch: Batch, rows: Int64Array, rule: SolarRule, tariffs: Tariffs) -> Int64Array:
    """Return the price of each row: the one given with it, or else the dated one of the year its period ends in."""
    years = batch.end_on[rows].astype("datetime64[Y]").astype(np.int64) + 1970
    dated = np.zeros(rows.shape[0], dtype=np.int64)
    for year in np.unique(years):
        found = price_in(rule, int(year), tariffs.exchange_rates)
        dated[years == year] = 0 if found is None else found.price
    given = batch.solar_price[rows]
    return np.where(given > 0, given, dated)


def solar_holds(batch: Batch) -> NDArray[np.bool_]:
    """Return the rows that ask for net metering by three rates whose export was not read by rate. [n]"""
    netted: NDArray[np.bool_] = batch.solar == Solar.NET_2017.code
    unread: NDArray[np.bool_] = batch.export_rates_wh[:, 0] == NOT_MEASURED
    return batch.three_rates & netted & unread
