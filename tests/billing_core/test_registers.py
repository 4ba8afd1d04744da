"""Three rates beside their total, and registers that stand lower than before: what they say, and what they do not."""

from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_core.registers import FallKind, judge_fall, rates_apart

STEPS = st.lists(st.integers(1, 40_000), min_size=2, max_size=30)


@pytest.mark.parametrize("multiplier", [1, 40])
@pytest.mark.parametrize(("off_wh", "apart"), [(3_999, False), (-3_999, False), (4_000, True), (-4_000, True)])
def test_rates_and_total_may_differ_by_what_four_displays_drop_and_no_more(off_wh: int, apart: bool, multiplier: int):
    rates, total = np.array([30_000 * multiplier]), np.array([(30_000 + off_wh) * multiplier])
    assert rates_apart(rates, total, np.array([1_000 * multiplier])).tolist() == [apart]


@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)), min_size=3, max_size=3), st.integers(1, 400))
def test_what_displays_drop_never_sets_rates_and_their_total_apart(rates: list[tuple[int, int]], multiplier: int):
    """The registers count Wh and show kWh, each what it is at that instant; the total counts what the rates do."""

    def shown(index_wh: int) -> int:
        return index_wh // 1_000 * 1_000

    begins, ends = [begin for begin, _ in rates], [begin + used for begin, used in rates]
    by_rate = sum(shown(end) - shown(begin) for begin, end in zip(begins, ends, strict=True))
    total = shown(sum(ends)) - shown(sum(begins))
    unit = np.array([1_000 * multiplier])
    assert not rates_apart(np.array([by_rate * multiplier]), np.array([total * multiplier]), unit).any()


@given(STEPS, st.integers(0, 9_999_999), st.integers(4, 6))
def test_a_register_that_counts_past_its_end_rolled_over(steps: list[int], until_end: int, digits: int):
    limit = 10**digits * 1_000
    counted = list(accumulate(steps, initial=limit - 1 - until_end % sum(steps)))
    index = np.array(counted) % limit
    found = judge_fall(index, digits)
    assert (found.kind, found.steps) == (FallKind.ROLLED_OVER, 1)
    assert index[found.place] < index[found.place - 1]


@given(STEPS, st.integers(1, 10**7), st.data())
def test_a_register_that_was_set_back_while_its_digits_are_not_known_did_not_roll_over(steps, start, data):
    place = data.draw(st.integers(1, len(steps)))
    counted = list(accumulate(steps, initial=start))
    index = np.array([*counted[:place], *(value - counted[place] for value in counted[place:])])
    assert judge_fall(index, 0).kind is FallKind.SET_BACK


@given(st.lists(st.integers(1, 40_000), min_size=2, max_size=30), st.integers(0, 6))
def test_a_register_that_fell_more_than_once_ran_backwards(steps: list[int], digits: int):
    index = np.array(list(accumulate((-step for step in steps), initial=9_000_000)))
    found = judge_fall(index, digits)
    assert (found.kind, found.steps, found.place) == (FallKind.BACKWARDS, len(steps), 1)


def test_a_register_read_only_at_both_ends_says_not_why_it_fell():
    assert judge_fall(np.array([5_000, 4_000]), 5).kind is FallKind.UNKNOWN


def test_a_register_that_never_fell_is_not_judged():
    with pytest.raises(ValueError, match="never fell"):
        judge_fall(np.array([1, 2, 2, 9]), 5)
