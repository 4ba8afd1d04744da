"""Registers become consumption, or a reason."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_core.codes import Hold
from billing_core.consumption import consume


def test_a_register_of_five_digits_rolls_over():
    """A published contest case: 99850 → 00120 is 270 kWh."""
    found = consume([99_850_000], [120_000], digits=5)
    assert (found.energy_wh[0], found.hold[0]) == (270_000, Hold.NONE.code)


def test_the_multiplier_is_of_the_transformers():
    assert consume([100_000], [150_500], multiplier=20 * 110).energy_wh[0] == 50_500 * 2_200


@pytest.mark.parametrize(
    ("old", "new", "arguments", "hold"),
    [
        (100, 99, {}, Hold.INDEX_FELL),
        (5_000_000, 4_999_000, {"digits": 5}, Hold.ROLLOVER_IMPLAUSIBLE),
        (0, 100_000_000, {"digits": 5}, Hold.INDEX_OUT_OF_RANGE),
        (-1, 5, {}, Hold.INDEX_OUT_OF_RANGE),
        (0, 5, {"digits": -1}, Hold.INDEX_OUT_OF_RANGE),
        (0, 5, {"digits": 99}, Hold.INDEX_OUT_OF_RANGE),
        (0, 5, {"multiplier": 0}, Hold.MULTIPLIER_INVALID),
        (0, 5, {"multiplier": 2**40}, Hold.MULTIPLIER_INVALID),
        (0, 2**62, {}, Hold.ENERGY_TOO_LARGE),
        (0, 10**10, {"multiplier": 10_000}, Hold.ENERGY_TOO_LARGE),
    ],
)
def test_what_cannot_be_consumption_is_held_and_counts_nothing(old, new, arguments, hold):
    found = consume([old, 0], [new, 7], **arguments)
    assert (found.hold[0], found.energy_wh[0]) == (hold.code, 0)


@given(st.integers(4, 12), st.data())
def test_rolling_over_is_counting_on(digits, data):
    limit = 10**digits * 1000
    old = data.draw(st.integers(0, limit - 1))
    counted = data.draw(st.integers(0, min(limit // 2, 10**12)))
    found = consume([old], [(old + counted) % limit], digits=digits)
    assert (found.energy_wh[0], found.hold[0]) == (counted, 0)


@given(st.lists(st.tuples(st.integers(-5, 10**8), st.integers(-5, 10**8), st.integers(-1, 6)), min_size=1, max_size=9))
def test_rows_do_not_touch_one_another(rows):
    old, new, digits = (np.array(column) for column in zip(*rows, strict=True))
    together = consume(old, new, digits=digits)
    for place, (before, after, places) in enumerate(rows):
        alone = consume([before], [after], digits=places)
        assert (alone.energy_wh[0], alone.hold[0]) == (together.energy_wh[place], together.hold[place])
    assert (together.energy_wh >= 0).all()


@given(st.lists(st.tuples(st.integers(3, 6), st.sampled_from((1, 20, 2_200)), st.data()), min_size=1, max_size=9))
def test_a_history_cut_into_parts_gives_what_was_counted_each_with_its_own_digits_and_multiplier(parts):
    """Meters are simulated with their own counters; what they really counted is the judge."""
    rows, counted = [], 0
    for digits, multiplier, data in parts:
        limit = 10**digits * 1_000
        old, used = data.draw(st.integers(0, limit - 1)), data.draw(st.integers(0, limit // 2))
        counted += used * multiplier
        rows.append((old, (old + used) % limit, digits, multiplier))
    old, new, digits, multiplier = (np.array(column) for column in zip(*rows, strict=True))
    found = consume(old, new, digits=digits, multiplier=multiplier)
    assert (int(found.energy_wh.sum()), found.hold.any()) == (counted, False)
