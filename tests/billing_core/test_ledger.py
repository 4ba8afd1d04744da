"""The ledger: rows sum to zero, nothing is lost in histories, and the chain shows what was tampered with."""

from collections import Counter, defaultdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from billing_core.ledger import (
    ACCOUNTS,
    AMOUNT_MAX,
    GENESIS,
    Account,
    Entries,
    LedgerError,
    Posting,
    balances,
    bill_entries,
    cancellation_entries,
    difference_entries,
    entries,
    first_broken,
    joined,
    purchase_entries,
    seal,
)
from tests.billing_core.ledger_histories import play

MONEY = st.integers(0, 10**12)


def numbers(*values: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(values, dtype=np.int64)


@given(MONEY, MONEY, st.integers(-500, 500))
def test_a_bill_debits_the_customer_with_the_total_and_credits_energy_tax_and_rounding(
    subtotal: int, vat: int, rounding: int
) -> None:
    made = bill_entries(numbers(7), numbers(subtotal), numbers(vat), numbers(subtotal + vat + rounding))
    assert dict(zip(ACCOUNTS, made.amount[0].tolist(), strict=True)) == {
        Account.RECEIVABLE: subtotal + vat + rounding,
        Account.ENERGY: -subtotal,
        Account.TAX: -vat,
        Account.SOLAR_PURCHASE: 0,
        Account.ADJUSTMENT: 0,
        Account.ROUNDING: -rounding,
    }


def test_an_entry_that_does_not_sum_to_zero_is_refused_and_its_row_is_told() -> None:
    with pytest.raises(LedgerError, match=r"row 1, document 8: the entry sums to 1 đ, expected 0"):
        entries(Posting.BILL, numbers(7, 8), receivable=numbers(5, 6), energy=numbers(-5, -5))


def test_an_amount_whose_sum_could_leave_64_bits_is_refused() -> None:
    with pytest.raises(LedgerError, match=r"row 0, document 1: an amount exceeds"):
        bill_entries(numbers(1), numbers(AMOUNT_MAX + 1), numbers(0), numbers(AMOUNT_MAX + 1))


def test_columns_of_different_length_are_refused() -> None:
    with pytest.raises(LedgerError, match="found shapes"):
        Entries(posting=np.zeros(2, dtype=np.int8), document=numbers(1), amount=np.zeros((1, 6), dtype=np.int64))


def test_a_balance_that_might_leave_64_bits_is_refused() -> None:
    made = joined([purchase_entries(numbers(*range(7)), np.full(7, AMOUNT_MAX))])
    with pytest.raises(OverflowError, match="add up in parts"):
        balances(made, np.zeros(7, dtype=np.int64), 1)


def history(chance: np.random.Generator, documents: int) -> tuple[Entries, Entries, Entries, Entries]:
    """Bills, purchases beside a part of them, differences, and cancellations of a part of all these."""
    numbered = np.arange(documents, dtype=np.int64)
    subtotal, vat = chance.integers(0, 10**9, (2, documents))
    bills = bill_entries(numbered, subtotal, vat, subtotal + vat + chance.integers(-499, 500, documents))
    roofs = numbered[chance.random(documents) < 0.2]
    purchases = purchase_entries(roofs, chance.integers(0, 10**8, roofs.size))
    corrected = numbered[chance.random(documents) < 0.1]
    differences = difference_entries(corrected, *chance.integers(-(10**8), 10**8, (3, corrected.size)))
    made = joined([bills, purchases, differences])
    undone = np.flatnonzero(chance.random(len(made)) < 0.15)
    undone_entries = Entries(posting=made.posting[undone], document=made.document[undone], amount=made.amount[undone])
    return bills, purchases, differences, cancellation_entries(undone_entries)


def test_a_million_random_histories_sum_to_zero_and_add_up_to_what_plain_integers_say() -> None:
    chance = np.random.default_rng(20261124)
    documents = 1_000_000
    made = joined(history(chance, documents))
    order = chance.permutation(len(made))
    shuffled = Entries(posting=made.posting[order], document=made.document[order], amount=made.amount[order])
    found = balances(shuffled, shuffled.document, documents)
    assert not found.sum(axis=1).any()
    assert not shuffled.amount.sum()
    plain: dict[int, list[int]] = defaultdict(lambda: [0] * len(ACCOUNTS))
    sample = np.flatnonzero(made.document % 1000 == 0)
    for row in sample.tolist():
        for place, amount in enumerate(made.amount[row].tolist()):
            plain[int(made.document[row])][place] += amount
    assert len(plain) == documents // 1000
    assert all(found[document].tolist() == expected for document, expected in plain.items())


def test_histories_of_corrected_cancelled_and_new_bills_stand_as_plain_sums_do_and_seal_as_they_should() -> None:
    counted: Counter[str] = Counter()
    assert play(np.random.default_rng(20261124), 5_000, counted) == []
    assert min(counted.values()) >= 3
    assert counted["billed again after a cancellation"] > 500


@given(st.lists(st.tuples(MONEY, MONEY), min_size=1, max_size=20))
def test_what_is_cancelled_moves_nothing(money: list[tuple[int, int]]) -> None:
    columns = np.array(money, dtype=np.int64).T
    made = bill_entries(np.arange(len(money)), columns[0], columns[1], columns.sum(axis=0))
    both = joined([made, cancellation_entries(made)])
    assert not balances(both, both.document, len(money)).any()


def test_the_cancellation_of_a_purchase_is_told_from_that_of_a_bill() -> None:
    made = joined(
        [bill_entries(numbers(1), numbers(5), numbers(1), numbers(6)), purchase_entries(numbers(1), numbers(3))]
    )
    undone = cancellation_entries(made)
    assert undone.posting.tolist() == [Posting.CANCELLATION.code, Posting.PURCHASE_CANCELLATION.code]


def chain(blocks: list[Entries]) -> list[tuple[Entries, bytes]]:
    sealed, before = [], GENESIS
    for block in blocks:
        before = seal(before, block)
        sealed.append((block, before))
    return sealed


@given(st.integers(0, 4), st.integers(0, 9), st.sampled_from(("amount", "document", "posting")), st.integers(1, 9))
def test_whatever_is_altered_in_a_sealed_block_breaks_the_chain_there(
    place: int, row: int, column: str, by: int
) -> None:
    made = [purchase_entries(np.arange(10) + 10 * block, np.arange(10) * 7 + 1) for block in range(5)]
    sealed = chain(made)
    assert first_broken(sealed) is None
    block, digest = sealed[place]
    parts: dict[str, NDArray[Any]] = {
        "posting": block.posting.copy(),
        "document": block.document.copy(),
        "amount": block.amount.copy(),
    }
    if column == "amount":
        parts["amount"][row, 0] += by
        parts["amount"][row, 3] -= by
    else:
        parts[column][row] += by
    sealed[place] = (Entries(**parts), digest)
    assert first_broken(sealed) == place


def test_a_block_that_is_left_out_put_in_or_moved_breaks_the_chain() -> None:
    sealed = chain([purchase_entries(numbers(document), numbers(9)) for document in range(4)])
    assert first_broken([sealed[0], *sealed[2:]]) == 1
    assert first_broken([*sealed[:2], (entries(Posting.BILL, numbers()), sealed[1][1]), *sealed[2:]]) == 2
    assert first_broken([sealed[1], sealed[0], *sealed[2:]]) == 0


def test_no_parts_join_to_no_entries() -> None:
    assert len(joined([])) == 0
