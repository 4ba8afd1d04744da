"""Whole Wh that add up exactly."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_core.estimation.conserve import share_out
from protocols.errors import UsageError

weights = st.lists(st.integers(0, 10**9), min_size=1, max_size=40)


@given(st.lists(st.tuples(st.integers(0, 10**13), weights), min_size=1, max_size=8), st.randoms())
def test_parts_add_up_exactly_and_are_within_one_wh_of_their_share(groups, random):
    group = np.concatenate([np.full(len(parts), place) for place, (_, parts) in enumerate(groups)])
    weight = np.concatenate([np.array(parts, dtype=np.int64) for _, parts in groups])
    total = np.array([each for each, _ in groups], dtype=np.int64)
    order = list(range(group.size))
    random.shuffle(order)
    share = np.zeros_like(weight)
    share[order] = share_out(total, weight[order], group[order])
    for place, (whole, parts) in enumerate(groups):
        mine = share[group == place]
        assert mine.sum() == whole
        assert (mine >= 0).all()
        if whole * sum(parts) < 2**58:  # beyond, weights are rounded so that 64 bits hold the products
            evenly = parts if sum(parts) else [1] * len(parts)
            exact = [Fraction(whole * part, sum(evenly)) for part in evenly]
            assert all(abs(got - want) < 1 for got, want in zip(mine.tolist(), exact, strict=True))


def test_what_is_left_goes_to_the_largest_remainders_the_earlier_first():
    assert share_out(np.array([10]), np.array([1, 1, 1]), np.zeros(3, dtype=np.int64)).tolist() == [4, 3, 3]
    assert share_out(np.array([10]), np.array([5, 2, 4]), np.zeros(3, dtype=np.int64)).tolist() == [4, 2, 4]


def test_a_negative_total_is_refused():
    with pytest.raises(UsageError, match="negative total"):
        share_out(np.array([-1]), np.array([1]), np.array([0]))
