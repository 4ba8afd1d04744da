"""What a billing run decides: bills, purchases and holds, as values ready to be written.

How they are stored, and by which hash they are known, is in :mod:`ingest_server.billing.pack`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import Enum
from hashlib import sha256
from typing import Any


class HoldReason(Enum):
    """Why a point was not billed; beside these, the engine's own reasons (billing_core.codes.Hold)."""

    NO_CONTRACT = "no_contract"
    SEVERAL_CONTRACTS = "several_contracts"
    UNKNOWN_CONTRACT_TERM = "unknown_contract_term"
    NO_METER = "no_meter"
    MISSING_READING = "missing_register_reading"
    SUSPECT_READING = "suspect_register_reading"
    CONFLICTING_READINGS = "conflicting_register_readings"
    PREVIOUS_NOT_BILLED = "previous_period_not_billed"
    ISSUED_OTHERWISE = "issued_for_other_days"
    OPEN_FINDING = "open_validation_finding"
    SET_BACK = "register_set_back"
    BACKWARDS = "ran_backwards"


PURCHASE_PREFIX = "purchase_"
"""Begins the reason of a hold that keeps back the purchase of energy alone; the bill beside it is made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A point that could not be billed, the reason's name, and what exactly is wrong and cures it.

    ``detail`` is what ``sentences`` (:mod:`ingest_server.billing.sentences`) say in English.
    """

    metering_point_id: str
    reason: str
    detail: str
    sentences: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of a bill; ``operands`` hold all that is needed to compute it again. [Wh, đ/kWh, đ]"""

    kind: str
    tier: int | None
    register: str | None
    energy_wh: int | None
    price: int | None
    amount: int
    operands: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Purchase:
    """Energy bought from the customer's roof: a document beside the bill. [Wh, đ/kWh, đ]"""

    regime: str
    energy_wh: int
    price: int
    amount: int
    carried_in_wh: int
    carried_out_wh: int
    operands: dict[str, Any]
    carried_cd_wh: int = 0
    """Of the surplus handed on what is of the peak rate, and below of the off-peak rate."""
    carried_td_wh: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Amounts:
    """What a bill comes to, and the purchase beside it: nothing where there is none. [Wh, đ]"""

    energy_wh: int
    subtotal: int
    vat: int
    total: int
    purchased_wh: int
    purchased: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """A bill of one metering point. [Wh, đ]"""

    metering_point_id: str
    first_on: date
    last_on: date
    energy_wh: int
    subtotal: int
    vat: int
    total: int
    inputs: dict[str, Any]
    lines: tuple[Line, ...]
    purchase: Purchase | None

    @property
    def amounts(self) -> Amounts:
        """What the bill and its purchase come to."""
        return Amounts(
            energy_wh=self.energy_wh,
            subtotal=self.subtotal,
            vat=self.vat,
            total=self.total,
            purchased_wh=0 if self.purchase is None else self.purchase.energy_wh,
            purchased=0 if self.purchase is None else self.purchase.amount,
        )

    @property
    def text(self) -> str:
        """The whole bill in canonical form: equal bills are equal to the byte."""
        lines = [{name: getattr(line, name) for name in Line.__slots__} for line in self.lines]
        purchase = None if self.purchase is None else {n: getattr(self.purchase, n) for n in Purchase.__slots__}
        amounts = {name: getattr(self, name) for name in ("energy_wh", "subtotal", "vat", "total")}
        return canonical_text({"inputs": self.inputs, **amounts, "lines": lines, "purchase": purchase})


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A point whose issued bill rests on other inputs than are there now; it is left as it is. [đ]"""

    metering_point_id: str
    bill_id: int
    issued_hash: str
    computed_hash: str
    issued_total: int
    computed_total: int


def canonical_text(value: Any) -> str:
    """Return ``value`` as JSON in the one form that is hashed."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def hash_of(text: str) -> str:
    """Return the SHA-256 of ``text``, in hexadecimal."""
    return sha256(text.encode()).hexdigest()


def instant_text(instant: datetime) -> str:
    """Return an instant as ISO 8601 in UTC with Z; fractions of a second only where there are any."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")
