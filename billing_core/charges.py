"""What the engine gives back: bills as columns, and their lines.

Bills that share a period and a price list are charged together, as one :class:`Group`: its *slots* are the lines such a
bill can have (a tier or a rate, in a part of the period), and energy and amount are arrays of slots × bills. Everything
a line needs to explain itself is in its slot, once for all bills, or in the bill's own columns.
"""

from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from billing_core.codes import Certainty, LineKind, Register
from billing_core.rate_plan import Ratchet
from billing_core.rounding import Int64Array
from billing_core.solar import Purchase


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A line that each bill of a group can have.

    Parameters
    ----------
    tier
        1 for the first; 0 where there are no tiers.
    price
        [đ/kWh; đ/kW for demand, đ a month for a fixed or minimum charge]; 0 for reactive energy, which is charged by a
        share of the active energy's cost.
    formula
        Which rule computes the amount: ``tier``, ``rate``, ``single``, ``undeclared``, ``refused``, ``reactive``,
        ``demand``, ``ratchet``, ``fixed`` or ``minimum``.
    clause
        The act and the place in its price list.
    width_kwh
        Width of the tier for one household and one nominal cycle; 0 for the last tier and where there are none.
    days, nominal_days, period_days
        Days of this part, of the nominal cycle, and of the whole period.
    """

    kind: LineKind
    tier: int
    register: Register
    price: int
    formula: str
    act: str
    clause: str
    certainty: Certainty
    start_on: date
    end_on: date
    days: int
    nominal_days: int
    period_days: int
    width_kwh: int = 0
    ratchet: Ratchet | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Bills that share a period and a price list.

    Parameters
    ----------
    rows
        Their places in the batch. [m]
    energy_wh, amount, quota_wh
        Energy (varh for reactive, W for demand), amount and quota of each line; quota −1 where the line has none.
        [Wh, đ, Wh; slots × m]
    factor, surcharge_bp
        Power factor, −1 where reactive energy is not charged, and the surcharge it makes. [1/100, 1/100 %; m]
    own
        Of lines of a rate plan what was drawn of the demand that is billed, and what a minimum comes to; else −1; none
        without a rate plan. [W, đ; slots × m]
    """

    rows: Int64Array
    slots: tuple[Slot, ...]
    energy_wh: Int64Array
    amount: Int64Array
    quota_wh: Int64Array | None
    factor: Int64Array | None = None
    surcharge_bp: Int64Array | None = None
    own: Int64Array | None = None

    def charged(self) -> NDArray[np.bool_]:
        """Return which lines each bill has: those with energy, and those that charge without. [slots × m]"""
        found: NDArray[np.bool_] = self.energy_wh != 0
        if self.factor is not None or self.own is not None:
            found |= self.amount != 0
        return found

    def surcharges(self, slot: Int64Array, place: Int64Array, otherwise: Int64Array) -> Int64Array:
        """Return for lines of the group what ``Lines.extra`` says of reactive energy, elsewhere ``otherwise``."""
        assert self.factor is not None
        assert self.surcharge_bp is not None
        reactive = np.array([each.kind is LineKind.REACTIVE for each in self.slots])[slot]
        return np.where(reactive, self.factor[place] * SURCHARGE_STEP + self.surcharge_bp[place], otherwise)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """Lines of all computed bills as flat columns, in order of bill and then of the bill's own lines. [L]

    Parameters
    ----------
    bill
        Row in the batch.
    slot
        Place in ``slots``, where everything else about the line is.
    kind, register
        Codes of :class:`billing_core.codes.LineKind` and :class:`billing_core.codes.Register`.
    tier
        0 where there are none.
    energy_wh, price, amount
        [Wh, đ/kWh, đ]; varh and a price of 0 for reactive energy, W and đ/kW for demand.
    quota_wh
        Width of the tier for this bill, −1 where the line has none. [Wh]
    extra
        The quota; of a surcharge for reactive energy, power factor [1/100] × 100,000 + surcharge [1/100 %]; of demand
        by a rate plan what was drawn [W], of a minimum charge what it comes to [đ].
    """

    slots: tuple[Slot, ...]
    bill: Int64Array
    slot: NDArray[np.int32]
    kind: NDArray[np.int8]
    tier: NDArray[np.int8]
    register: NDArray[np.int8]
    energy_wh: Int64Array
    price: Int64Array
    amount: Int64Array
    quota_wh: Int64Array
    extra: Int64Array


SURCHARGE_STEP = 100_000
"""Parts power factor and surcharge in :attr:`Lines.extra`; the surcharge is under 1,000 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Charges:
    """Bills of a batch, one row each; a held bill has zeros and its reason.

    Parameters
    ----------
    subtotal, vat, total
        [đ, n]
    vat_permille
        Rate of value-added tax. [1/1000, n]
    billed_wh
        Energy that is billed: the import, less what net metering takes off it. [Wh, n]
    hold
        Code of :class:`billing_core.codes.Hold`; 0 is a bill that was computed. [n]
    purchase
        Solar energy bought, a document beside the bill.
    """

    subtotal: Int64Array
    vat: Int64Array
    total: Int64Array
    vat_permille: Int64Array
    billed_wh: Int64Array
    hold: NDArray[np.int8]
    purchase: Purchase
    groups: tuple[Group, ...]

    def lines(self) -> Lines:
        """Return the lines that charge something, as flat columns ready to store."""
        slots: list[Slot] = []
        bills, places, energies, amounts, quotas, extras = [], [], [], [], [], []
        for group in self.groups:
            held, slot = np.nonzero(group.charged().T)
            bills.append(group.rows[held])
            places.append(slot + len(slots))
            energies.append(group.energy_wh[slot, held])
            amounts.append(group.amount[slot, held])
            quotas.append(np.full_like(slot, -1) if group.quota_wh is None else group.quota_wh[slot, held])
            extra = quotas[-1] if group.factor is None else group.surcharges(slot, held, quotas[-1])
            if group.own is not None:
                extra = np.where(group.own[slot, held] >= 0, group.own[slot, held], extra)
            extras.append(extra)
            slots.extend(group.slots)
        bill, slot = _joined(bills), _joined(places)
        order = np.argsort(bill, kind="stable")
        slot = slot[order]
        return Lines(
            slots=tuple(slots),
            bill=bill[order],
            slot=slot.astype(np.int32),
            kind=np.array([item.kind.code for item in slots], dtype=np.int8)[slot],
            tier=np.array([item.tier for item in slots], dtype=np.int8)[slot],
            register=np.array([item.register.code for item in slots], dtype=np.int8)[slot],
            energy_wh=_joined(energies)[order],
            price=np.array([item.price for item in slots], dtype=np.int64)[slot],
            amount=_joined(amounts)[order],
            quota_wh=_joined(quotas)[order],
            extra=_joined(extras)[order],
        )


def _joined(columns: list[Int64Array]) -> Int64Array:
    return np.concatenate(columns) if columns else np.empty(0, dtype=np.int64)
