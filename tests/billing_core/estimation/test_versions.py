"""Versions: nothing is updated in place, nothing is lost, nobody approves their own work."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_core.estimation.provenance import Method, Quality, Reason
from billing_core.estimation.versions import Change, Limit, Series, propose_edit, refuse_beyond
from protocols.errors import UsageError

AT = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)


def series() -> Series:
    return Series(np.array([100, 0, 300], dtype=np.int64), np.array([0, Quality.MISSING, 0], dtype=np.int8))


def change(*slots: int, energy: int = 200) -> Change:
    column = np.array(slots, dtype=np.int64)
    codes = np.ones(column.shape, dtype=np.int8)
    return Change(
        slot=column,
        energy_wh=np.full(column.shape, energy),
        quality=codes * np.int8(Quality.ESTIMATED),
        method=codes * np.int8(Method.E1_LINEAR),
        reason=codes * np.int8(Reason.GAP),
    )


def signed(minutes: int = 0) -> dict:
    return {
        "made_by": "lan",
        "approved_by": "minh",
        "made_at": AT + timedelta(minutes=minutes),
        "why": "gap of one hour",
        "rule_set": "f00d",
    }


def test_a_new_version_leaves_the_old_ones_as_they_were():
    before = series()
    after = before.append(change(1), **signed())
    assert before.versions == ()
    assert after.at(0).energy_wh.tolist() == [100, 0, 300]
    assert after.at(1).energy_wh.tolist() == [100, 200, 300]
    assert after.at(1).quality.tolist() == [0, Quality.ESTIMATED, 0]
    with pytest.raises(ValueError, match="read-only"):
        after.versions[0].change.energy_wh[0] = 7


def test_undoing_is_a_new_version_that_restores_values_and_provenance():
    after = series().append(change(1), **signed()).undo(**signed(1))
    assert len(after.versions) == 2
    assert after.at(2).energy_wh.tolist() == [100, 0, 300]
    assert after.at(2).quality.tolist() == [0, Quality.MISSING, 0]
    assert after.at(2).reason[1] == Reason.UNDONE
    with pytest.raises(UsageError, match="nothing to undo"):
        series().undo(**signed())


def test_a_version_that_was_altered_breaks_the_chain():
    chain = series().append(change(1), **signed()).append(change(0), **signed(1)).append(change(2), **signed(2))
    assert chain.broken_link() is None
    forged = (chain.versions[0], replace(chain.versions[1], why="no reason at all"), chain.versions[2])
    assert Series(chain.original_wh, chain.original_quality, forged).broken_link() == 3
    left_out = (chain.versions[0], chain.versions[2])
    assert Series(chain.original_wh, chain.original_quality, left_out).broken_link() == 2
    other = Series(chain.original_wh + 1, chain.original_quality, chain.versions)
    assert other.broken_link() == 1


@given(st.lists(st.lists(st.integers(0, 2), unique=True, min_size=1), max_size=6))
def test_every_version_can_be_seen_again(changes):
    chain = series()
    seen = [chain.at(0).energy_wh.tolist()]
    for number, slots in enumerate(changes):
        chain = chain.append(change(*sorted(slots), energy=number), **signed(number))
        seen.append(chain.at(number + 1).energy_wh.tolist())
    assert [chain.at(number).energy_wh.tolist() for number in range(len(changes) + 1)] == seen
    assert chain.broken_link() is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"approved_by": "lan"}, "expected somebody else to approve"),
        ({"why": " "}, "say who, who else, and why"),
        ({"made_at": datetime(2026, 1, 5)}, "aware datetime"),  # noqa: DTZ001 - the mistake is the point
    ],
)
def test_a_version_without_its_signatures_is_refused(wrong, message):
    with pytest.raises(UsageError, match=message):
        series().append(change(1), **(signed() | wrong))


def test_slots_out_of_range_or_order_are_refused():
    with pytest.raises(UsageError, match="slots up to 3"):
        series().append(change(3), **signed())
    with pytest.raises(UsageError, match="slots that do not rise"):
        change(2, 1)


def test_an_edit_shows_its_effect_and_a_role_may_approve_up_to_its_limit():
    edit = propose_edit(series(), np.array([1]), np.array([60_000]), effect_vnd=150_000)
    assert edit.effect_wh == 60_000
    limits = {"clerk": Limit(kwh=50, vnd=200_000), "head": Limit(kwh=None, vnd=None)}
    refuse_beyond(edit, "head", limits)
    with pytest.raises(UsageError, match="a higher limit must approve"):
        refuse_beyond(edit, "clerk", limits)
    with pytest.raises(UsageError, match="no limit for it"):
        refuse_beyond(edit, "guest", limits)
