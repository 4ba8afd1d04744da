"""A bad line, as a function."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import UsageError
from simulators.faults import NO_FAULTS, FaultPlan, disturb, is_within

plans = st.builds(FaultPlan, *(st.integers(0, 1000) for _ in range(6)))


@given(st.binary(max_size=300), st.integers())
def test_without_faults_everything_arrives(data, seed):
    assert b"".join(disturb(data, NO_FAULTS, Random(seed))) == data


@given(st.binary(max_size=300), plans, st.integers())
def test_the_same_chance_does_the_same_damage(data, plan, seed):
    assert disturb(data, plan, Random(seed)) == disturb(data, plan, Random(seed))


@given(st.binary(min_size=2, max_size=300), st.integers())
def test_each_fault_does_what_its_name_says(data, seed):
    def after(**plan):
        return disturb(data, FaultPlan(**plan), Random(seed))

    assert after(drop=1000) == []
    (corrupted,) = after(corrupt=1000)
    assert sum((a ^ b).bit_count() for a, b in zip(data, corrupted, strict=True)) == 1
    truncated = b"".join(after(truncate=1000))
    assert data.startswith(truncated)
    assert len(truncated) < len(data)
    assert after(delay=1000) == [b"", data]
    assert after(duplicate=1000) == [data, data]
    halves = after(split=1000)
    assert len(halves) == 2
    assert b"".join(halves) == data
    assert all(halves)


def test_chances_are_thousandths():
    with pytest.raises(UsageError, match="0 to 1000"):
        FaultPlan(drop=1001)
    rng = Random(3)
    lost = sum(not disturb(b"x", FaultPlan(drop=100), rng) for _ in range(10_000))
    assert 900 < lost < 1100


def test_windows_are_half_open():
    assert [is_within(at, [(10, 20), (30, 31)]) for at in (9, 10, 19, 20, 30, 31)] == [
        False, True, True, False, True, False,
    ]  # fmt: skip
