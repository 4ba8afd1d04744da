"""The ledger: what each document moves between accounts, as columns whose rows sum to zero.

Double entry: a row is one document's entry, a column is one account, debits are positive and credits negative. Nothing
is changed once it is entered: a cancellation enters the same amounts with the other sign, a difference enters what is
missing. Entries are sealed in blocks, each digest resting on the one before, so that a row that is altered, left out or
put in afterwards breaks the chain from its block on.

Energy is not in here, money is: đồng as int64.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from billing_core.codes import Coded
from billing_core.rounding import INT64_MAX, Int64Array

SEAL = b"congto ledger 1"
GENESIS = bytes(32)
"""What the first block rests on."""


class Account(Coded):
    """Where money stands: what customers owe, and what it was charged or paid for."""

    RECEIVABLE = "receivable"
    ENERGY = "energy"
    TAX = "tax"
    SOLAR_PURCHASE = "solar_purchase"
    ADJUSTMENT = "adjustment"
    ROUNDING = "rounding"


ACCOUNTS = tuple(Account)
AMOUNT_MAX = INT64_MAX // len(ACCOUNTS)  # so that no sum over a row can leave 64 bits


class Posting(Coded):
    """Which kind of document an entry belongs to."""

    BILL = "bill"
    PURCHASE = "purchase"
    DIFFERENCE = "difference"
    CANCELLATION = "cancellation"
    PURCHASE_CANCELLATION = "purchase_cancellation"


CANCELLED_BY = {Posting.PURCHASE.code: Posting.PURCHASE_CANCELLATION.code}
"""The kinds whose cancellation is not simply :attr:`Posting.CANCELLATION`."""


class LedgerError(ValueError):
    """Entries that may not be in a ledger; the message says which row and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entries:
    """Entries in the order they are made.

    Parameters
    ----------
    posting
        Code of :class:`Posting`. [int8, n]
    document
        Number of the bill the entry belongs to. [n]
    amount
        Debits positive, credits negative, in the order of ``ACCOUNTS``; each row sums to zero. [đ, n × 6]
    """

    posting: NDArray[np.int8]
    document: Int64Array
    amount: Int64Array

    def __len__(self) -> int:
        return int(self.document.shape[0])

    def __post_init__(self) -> None:
        n = self.document.shape[0]
        if self.posting.shape != (n,) or self.amount.shape != (n, len(ACCOUNTS)):
            raise LedgerError(
                f"found shapes {self.posting.shape}, {self.document.shape} and {self.amount.shape}; "
                f"expected n, n and n × {len(ACCOUNTS)}"
            )
        too_large = np.flatnonzero(((self.amount > AMOUNT_MAX) | (self.amount < -AMOUNT_MAX)).any(axis=1))
        if too_large.size:
            raise LedgerError(f"{self._place(int(too_large[0]))}: an amount exceeds {AMOUNT_MAX} đ")
        unbalanced = np.flatnonzero(self.amount.sum(axis=1))
        if unbalanced.size:
            row = int(unbalanced[0])
            raise LedgerError(f"{self._place(row)}: the entry sums to {int(self.amount[row].sum())} đ, expected 0")

    def _place(self, row: int) -> str:
        return f"row {row}, document {int(self.document[row])}"


def joined(parts: Iterable[Entries]) -> Entries:
    """Return the entries of all parts, one after the other."""
    found = list(parts)
    if not found:
        return entries(Posting.BILL, np.empty(0, dtype=np.int64))
    return Entries(
        **{each.name: np.concatenate([getattr(part, each.name) for part in found]) for each in fields(Entries)}
    )


def entries(posting: Posting, document: Int64Array, **amounts: Int64Array) -> Entries:
    """Return one entry per document; accounts that are not named stay at zero."""
    columns = {Account(name): values for name, values in amounts.items()}
    amount = np.zeros((document.shape[0], len(ACCOUNTS)), dtype=np.int64)
    for account, values in columns.items():
        amount[:, account.code] = values
    return Entries(posting=np.full(document.shape[0], posting.code, dtype=np.int8), document=document, amount=amount)


def bill_entries(document: Int64Array, subtotal: Int64Array, vat: Int64Array, total: Int64Array) -> Entries:
    """Enter bills: the customer owes the total; what it differs from subtotal and tax by is rounding. [đ, n]"""
    return entries(
        Posting.BILL, document, receivable=total, energy=-subtotal, tax=-vat, rounding=subtotal + vat - total
    )


def purchase_entries(document: Int64Array, amount: Int64Array) -> Entries:
    """Enter energy bought from customers' roofs: we owe them, so their account is credited. [đ, n]"""
    return entries(Posting.PURCHASE, document, solar_purchase=amount, receivable=-amount)


def difference_entries(document: Int64Array, subtotal: Int64Array, vat: Int64Array, purchased: Int64Array) -> Entries:
    """Enter what a bill and the purchase beside it should have been less what they were: below zero a credit. [đ, n]"""
    return entries(
        Posting.DIFFERENCE,
        document,
        receivable=subtotal + vat - purchased,
        adjustment=-subtotal,
        tax=-vat,
        solar_purchase=purchased,
    )


def cancellation_entries(made: Entries) -> Entries:
    """Enter the opposite of ``made``, so that both together move nothing."""
    posting = np.full(len(made), Posting.CANCELLATION.code, dtype=np.int8)
    for kind, cancelled in CANCELLED_BY.items():
        posting[made.posting == kind] = cancelled
    return Entries(posting=posting, document=made.document, amount=-made.amount)


def balances(made: Entries, owner: Int64Array, owners: int) -> Int64Array:
    """Return what stands on each account of each owner.

    Parameters
    ----------
    owner
        Whose each entry is, from 0 to ``owners`` − 1. [n]

    Returns
    -------
    balances
        [đ, owners × 6]

    Raises
    ------
    OverflowError
        If a balance might leave 64 bits.
    """
    largest = int(np.abs(made.amount).max(initial=0))
    most = int(np.bincount(owner, minlength=1).max(initial=0))
    if largest * most > INT64_MAX:
        raise OverflowError(f"a balance may reach {largest * most} đ, 64 bits hold {INT64_MAX}: add up in parts")
    order = np.argsort(owner, kind="stable")
    found = np.zeros((owners, len(ACCOUNTS)), dtype=np.int64)
    if len(made):
        owned, first = np.unique(owner[order], return_index=True)
        found[owned] = np.add.reduceat(made.amount[order], first, axis=0)
    return found


def seal(before: bytes, made: Entries) -> bytes:
    """Return the digest of a block that rests on the digest ``before``: SHA-256 over the columns, little-endian."""
    digest = hashlib.sha256(SEAL)
    digest.update(before)
    digest.update(len(made).to_bytes(8, "little"))
    for column, kind in ((made.posting, "<i1"), (made.document, "<i8"), (made.amount, "<i8")):
        digest.update(np.ascontiguousarray(column, dtype=kind).tobytes())
    return digest.digest()


def first_broken(blocks: Iterable[tuple[Entries, bytes]], before: bytes = GENESIS) -> int | None:
    """Return the place of the first block whose digest is not that of its entries and the block before; else none."""
    for place, (made, digest) in enumerate(blocks):
        if seal(before, made) != digest:
            return place
        before = digest
    return None
