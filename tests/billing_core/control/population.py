"""A district of customers over thirteen months, and the ways in which a bill comes to be wrong.

Honest life is in it: seasons that everybody shares and each feels differently, noise, empty homes, a new machine. The
wrong bills are made from slips that happen between a register and a bill; each changes the energy by a known amount.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from billing_core.control.judge import Controlled

Int64Array = NDArray[np.int64]
MONTHS = 13
DAYS = np.array([31, 30, 31, 30, 31, 31, 28, 31, 30, 31, 30, 31, 31], dtype=np.int64)
SEASON = np.array([1.0, 0.95, 0.9, 0.85, 0.85, 0.8, 0.85, 0.95, 1.1, 1.3, 1.4, 1.35, 1.15])
BOOK = 500  # customers in a reading book
SLIPS = ("times ten", "a digit left out", "transposed", "another's reading", "no advance", "read twice", "multiplier")


@dataclass(frozen=True, slots=True)
class District:
    """True energy by customer and month; the last month is the one to be billed. [Wh]"""

    true_wh: Int64Array
    first_index_kwh: Int64Array
    multiplier: Int64Array
    peers: Int64Array


def district(chance: np.random.Generator, customers: int) -> District:
    """Return honest customers: nine homes in ten, the others shops, some behind current transformers."""
    shop = chance.random(customers) < 0.1
    level = np.exp(chance.normal(np.log(np.where(shop, 900, 170)), np.where(shop, 0.9, 0.55)))
    feels = np.where(shop, 0.4, 1.0) * chance.lognormal(0, 0.5, customers)
    noise = chance.lognormal(0, 1, (customers, MONTHS)) ** chance.uniform(0.06, 0.22, (customers, 1))
    kwh = level[:, None] * SEASON[None, :] ** feels[:, None] * noise * DAYS / 30.4
    away = chance.random((customers, MONTHS)) < 0.008
    kwh[away] *= chance.uniform(0.05, 0.6, int(away.sum()))
    changes = chance.random(customers) < 0.06  # a new machine, a child, a tenant: from some month on
    since = chance.integers(1, MONTHS, customers)
    factor = chance.uniform(0.6, 1.9, customers)
    later = np.arange(MONTHS)[None, :] >= since[:, None]
    kwh = np.where(changes[:, None] & later, kwh * factor[:, None], kwh)
    multiplier = np.where(shop & (chance.random(customers) < 0.3), chance.choice([20, 40, 60], customers), 1)
    kwh = np.maximum(np.rint(kwh / multiplier[:, None]), 0) * multiplier[:, None]
    return District(
        true_wh=(kwh * 1000).astype(np.int64),
        first_index_kwh=chance.integers(1000, 60_000, customers),
        multiplier=multiplier.astype(np.int64),
        peers=np.arange(customers, dtype=np.int64) // BOOK,
    )


def with_slips(chance: np.random.Generator, found: District, share: float) -> tuple[Int64Array, NDArray[np.int8]]:
    """Return the last month's energy with slips in a share of the bills, and which slip each has (−1: none). [Wh]"""
    n = found.true_wh.shape[0]
    billed = found.true_wh[:, -1].copy()
    slip = np.where(chance.random(n) < share, chance.integers(0, len(SLIPS), n), -1).astype(np.int8)
    old = found.first_index_kwh
    used = billed // 1000 // found.multiplier
    new = old + used
    digits = [str(int(value)) for value in new]
    for row in np.flatnonzero(slip >= 0).tolist():
        text = digits[row]
        match SLIPS[slip[row]]:
            case "times ten":
                used[row] *= 10
            case "a digit left out":
                used[row] //= 10
            case "transposed":
                at = int(chance.integers(0, len(text) - 1))
                used[row] = int(text[:at] + text[at + 1] + text[at] + text[at + 2 :]) - old[row]
            case "another's reading":
                used[row] = used[int(chance.integers(0, n))]
            case "no advance":
                used[row] = 0
            case "read twice":
                used[row] *= 2
            case "multiplier":
                used[row] = used[row] * 20 if found.multiplier[row] == 1 else used[row] // found.multiplier[row]
    return used * found.multiplier * 1000, slip


def to_judge(found: District, billed_wh: Int64Array) -> Controlled:
    """Return the last month's bills with the twelve before as history."""
    n = found.true_wh.shape[0]
    no = np.zeros(n, dtype=np.bool_)
    history = found.true_wh[:, -2::-1]
    return Controlled(
        energy_wh=billed_wh,
        days=np.full(n, DAYS[-1]),
        total=billed_wh // 1000 * 2500,
        history_wh=history,
        history_days=np.broadcast_to(DAYS[-2::-1], history.shape),
        last_year_wh=found.true_wh[:, 0],
        last_year_days=np.full(n, DAYS[0]),
        peers=found.peers,
        estimated=no,
        first=no,
        solar_new=no,
        terms_changed=no,
    )
