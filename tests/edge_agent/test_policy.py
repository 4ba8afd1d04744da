"""The agent's decisions, without a clock and a port."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from edge_agent import policy
from edge_agent.policy import Health, Stamp

intervals = st.sampled_from([1000, 10_000, 60_000, 900_000, 1_800_000, 86_400_000])
times = st.integers(policy.CLOCK_SANE_FROM_MS, 4_000_000_000_000)


@given(times, intervals)
def test_a_reading_carries_its_slots_beginning_or_a_second_within_the_slot(now_ms: int, every_ms: int) -> None:
    stamp = policy.stamp(now_ms, every_ms)
    assert stamp.slot_ms % every_ms == 0
    assert stamp.slot_ms <= stamp.at_ms <= now_ms < stamp.slot_ms + every_ms
    assert stamp.punctual == (stamp.at_ms == stamp.slot_ms)


@given(times, times, intervals)
def test_two_slots_never_share_a_time(first_ms: int, second_ms: int, every_ms: int) -> None:
    first, second = policy.stamp(first_ms, every_ms), policy.stamp(second_ms, every_ms)
    if first.slot_ms != second.slot_ms:
        assert first.at_ms != second.at_ms


@given(times, intervals, st.one_of(st.none(), st.integers(-20, 5)))
def test_slots_stay_on_the_grid_however_the_agent_starts(now_ms: int, every_ms: int, slots_ago: int | None) -> None:
    last_ms = None if slots_ago is None else policy.slot_of(now_ms, every_ms) + slots_ago * every_ms
    due_ms = policy.first_due(now_ms, every_ms, last_ms)
    assert due_ms % every_ms == 0
    assert due_ms >= policy.slot_of(now_ms, every_ms)
    if last_ms is not None and last_ms <= now_ms + policy.SLOT_AHEAD_MAX_MS:
        assert due_ms > last_ms  # a slot that is stored is never read again


def test_after_a_crash_the_slot_that_has_just_begun_is_still_read() -> None:
    noon = 1_767_225_600_000
    assert policy.first_due(noon + 30_000, 1_800_000, noon - 1_800_000) == noon
    assert policy.first_due(noon + 30_000, 1_800_000, noon) == noon + 1_800_000
    assert policy.first_due(noon + 61_000, 1_800_000, noon - 1_800_000) == noon + 1_800_000


def test_a_silent_meter_read_every_half_hour_is_tried_at_every_slot() -> None:
    health, slot_ms = Health(), 1_767_225_600_000
    for _ in range(50):
        health = policy.after_failure(health, slot_ms)
        due_ms = policy.next_due(slot_ms, 1_800_000, health)
        assert due_ms == slot_ms + 1_800_000
        slot_ms = due_ms


def test_a_silent_meter_read_every_ten_seconds_is_tried_ever_less_often() -> None:
    health, slot_ms = Health(), 1_767_225_600_000
    pauses = []
    for _ in range(12):
        health = policy.after_failure(health, slot_ms)
        due_ms = policy.next_due(slot_ms, 10_000, health)
        assert due_ms % 10_000 == 0
        pauses.append((due_ms - slot_ms) // 1000)
        slot_ms = due_ms
    assert pauses == [10, 10, 60, 120, 240, 480, 960, 1800, 1800, 1800, 1800, 1800]


def test_what_was_missed_is_between_the_last_slot_stored_and_the_one_read() -> None:
    every_ms, slot_ms = 1_800_000, 1_767_225_600_000
    punctual, late = Stamp(slot_ms, slot_ms, punctual=True), Stamp(slot_ms, slot_ms + 61_000, punctual=False)
    assert policy.missed_slots(None, punctual, every_ms) is None
    assert policy.missed_slots(slot_ms - every_ms, punctual, every_ms) is None
    assert policy.missed_slots(slot_ms - 3 * every_ms, punctual, every_ms) == (
        slot_ms - 2 * every_ms,
        slot_ms - every_ms,
    )
    assert policy.missed_slots(slot_ms - every_ms, late, every_ms) == (slot_ms, slot_ms)


@given(times, st.integers(0, 100 * policy.DAY_MS))
def test_a_hole_is_asked_for_day_by_day_without_gap_or_overlap(from_ms: int, length_ms: int) -> None:
    to_ms = from_ms + length_ms
    pieces = [policy.heal_chunk(from_ms, to_ms)]
    while pieces[-1][1] < to_ms:
        pieces.append(policy.heal_chunk(pieces[-1][1] + 1, to_ms))
    assert pieces[0][0] == from_ms
    assert pieces[-1][1] == to_ms
    assert all(first // policy.DAY_MS == last // policy.DAY_MS for first, last in pieces)


@given(st.integers(1, 1000), st.floats(0.2, 60), st.integers(0, 2**32))
def test_the_pause_before_connecting_again_is_bounded(failures: int, longest_s: float, seed: int) -> None:
    delay_s = policy.reconnect_delay_s(failures, longest_s, Random(seed))
    assert policy.RECONNECT_MIN_S / 2 <= delay_s <= longest_s


@given(times, st.integers(0, 3 * policy.DAY_MS), st.sampled_from([60_000, 900_000, 1_800_000]), st.integers(1, 200))
def test_a_piece_of_a_hole_has_no_more_slots_than_fit_and_ends_within_its_day(
    from_ms: int, length_ms: int, every_ms: int, rows_max: int
) -> None:
    first_ms, last_ms = policy.heal_chunk(from_ms, from_ms + length_ms, every_ms, rows_max)
    assert first_ms == from_ms <= last_ms <= from_ms + length_ms
    slots = range(-(-first_ms // every_ms) * every_ms, last_ms + 1, every_ms)
    assert len(slots) <= rows_max
    assert not slots or slots[0] // policy.DAY_MS == slots[-1] // policy.DAY_MS


@given(times, intervals, st.integers(0, 86_400_000))
def test_the_time_of_a_value_is_in_its_slot_and_no_other(slot: int, every_ms: int, late_ms: int) -> None:
    slot_ms = policy.slot_of(slot, every_ms)
    at_ms = policy.time_in(slot_ms, every_ms, slot_ms + late_ms)
    assert slot_ms <= at_ms < slot_ms + every_ms
    assert (at_ms == slot_ms) or late_ms >= min(every_ms, policy.PUNCTUAL_MS)
