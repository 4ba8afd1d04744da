"""Contracts as columns: the texts of the database become the codes of the engine."""

from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from billing_core.codes import Category, Coded, Solar, Voltage, codes_of
from ingest_server.billing.columns import EXPORT, RATES, REGISTERS, TOTAL, Contract, Int64Array, Points


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What the contracts say, one row per point; a row without one known contract stands for nothing and is held.

    Parameters
    ----------
    category, voltage, solar
        Codes of :mod:`billing_core.codes`. [n]
    settle_carry
        Whether a surplus carried by net metering is bought now: the bill ends with the year (Decision 11/2017) or with
        the contract. [n]
    """

    category: NDArray[np.int8]
    voltage: NDArray[np.int8]
    solar: NDArray[np.int8]
    households: Int64Array
    three_rates: NDArray[np.bool_]
    settle_carry: NDArray[np.bool_]

    @property
    def needed(self) -> NDArray[np.bool_]:
        """The registers each bill needs: total or three rates, and export where it is settled. [n, registers]"""
        needed = np.zeros((len(self.category), len(REGISTERS)), dtype=np.bool_)
        needed[:, TOTAL] = ~self.three_rates
        needed[:, RATES] = self.three_rates[:, np.newaxis]
        needed[:, EXPORT] = self.solar != Solar.NONE.code
        return needed


# What stands in rows that are held.
NOBODY = Contract(
    valid_from=date.min,
    valid_to=None,
    category=Category.RESIDENTIAL.value,
    voltage=None,
    households=1,
    three_rates=False,
    solar_regime=None,
)


def read_terms(points: Points) -> tuple[Terms, dict[int, str]]:
    """Return the contracts' terms, and of each row with a term nobody knows what that is.

    A missing voltage is the low voltage homes are served at, a missing regime none.
    """
    unknown: dict[int, str] = {}
    rows: list[tuple[Coded, Coded, Coded]] = []
    contracts = [found[0] if len(found) == 1 else NOBODY for found in points.contracts]
    for row, contract in enumerate(contracts):
        given = (contract.category, contract.voltage or Voltage.LT6.value, contract.solar_regime or Solar.NONE.value)
        members = tuple(TEXTS[kind].get(text) for kind, text in zip(TEXTS, given, strict=True))
        category, voltage, solar = members
        if category is None or voltage is None or solar is None:
            text, kind = next((t, k) for t, k, m in zip(given, TEXTS, members, strict=True) if m is None)
            known = ", ".join(TEXTS[kind])
            unknown[row] = (
                f"the contract's {kind.__name__.lower()} is {text!r}, known are {known}: correct the contract"
            )
            category, voltage, solar = Category.RESIDENTIAL, Voltage.LT6, Solar.NONE
        rows.append((category, voltage, solar))
    return (
        Terms(
            category=codes_of(row[0] for row in rows),
            voltage=codes_of(row[1] for row in rows),
            solar=codes_of(row[2] for row in rows),
            households=np.array([contract.households for contract in contracts], dtype=np.int64),
            three_rates=np.array([contract.three_rates for contract in contracts], dtype=np.bool_),
            settle_carry=np.array(
                [
                    (last_on.month, last_on.day) == (12, 31) or contract.valid_to == last_on
                    for contract, last_on in zip(contracts, points.last_on, strict=True)
                ],
                dtype=np.bool_,
            ),
        ),
        unknown,
    )


TEXTS: dict[type[Coded], dict[str, Coded]] = {
    kind: {member.value: member for member in kind} for kind in (Category, Voltage, Solar)
}
