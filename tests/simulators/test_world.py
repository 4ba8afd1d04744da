"""The order of a world: who may work when. No socket."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.world import World


def joined(*names, now=0):
    world = World(now)
    for name in names:
        world.join(name)
    return world


def test_time_stands_still_while_anybody_works():
    world = joined("a", "b")
    world.start(100, 2)
    assert world.wait("a", 10) == []
    assert world.now_ms == 0
    assert world.wait("b", 20) == ["a"]
    assert world.now_ms == 10


def test_time_stands_still_before_the_director_says_start():
    world = joined("a")
    assert world.wait("a", 10) == []
    assert world.now_ms == 0
    assert world.start(100, 1) == ["a"]
    assert world.now_ms == 10


def test_a_run_waits_for_its_participants_and_not_for_those_who_left_since():
    world = joined("a")
    world.wait("a", 10)
    assert world.start(100, 2) == []
    world.join("b")
    assert world.wait("b", 10) == ["a", "b"]
    world.wait("a", 50)
    assert world.leave("b") == ["a"]
    assert world.now_ms == 50


def test_an_appointment_that_has_passed_is_answered_at_once():
    world = joined("a", "b", now=1000)
    assert world.wait("a", 999) == ["a"]
    assert world.wait("a", 1000) == ["a"]


def test_a_run_ends_at_its_last_moment_and_not_before_all_wait_for_later():
    world = joined("a", "b")
    world.start(100, 2)
    world.wait("a", 100)
    assert world.wait("b", 200) == ["a"]
    assert (world.now_ms, world.finished) == (100, False)
    assert world.wait("a", 150) == []
    assert (world.now_ms, world.finished) == (100, True)


def test_a_run_ends_on_its_moment_even_if_nobody_has_an_appointment_then():
    world = joined("a")
    world.wait("a", 150)
    world.start(100, 1)
    assert (world.now_ms, world.finished) == (100, True)


def test_with_nobody_joined_time_does_not_run_away():
    world = World(0)
    world.start(100, 0)
    assert (world.now_ms, world.finished) == (0, False)


def test_live_time_is_the_computers_and_never_runs_back():
    world = joined("a", "b", now=1000)
    world.wait("a", 1500)
    assert world.follow(900) == []
    assert world.now_ms == 1000
    assert world.tick(1499) == []
    assert world.tick(1600) == ["a"]
    assert world.tick(1550) == []
    assert world.now_ms == 1600


@given(st.lists(st.lists(st.integers(1, 50), min_size=1, max_size=20), min_size=1, max_size=5), st.randoms())
def test_every_participant_sees_each_of_its_appointments_in_order_and_exactly_on_time(steps, random):
    """Whatever the order in which those who are awake finish, the history is the same."""

    def history(pick):
        world = joined(*(f"p{number}" for number in range(len(steps))))
        world.start(10_000, len(steps))
        left = {f"p{number}": list(each) for number, each in enumerate(steps)}
        seen = {name: [] for name in left}
        awake = list(left)
        while awake:
            name = pick(awake)
            awake.remove(name)
            until = world.now_ms + left[name].pop(0) if left[name] else 20_000
            for woken in world.wait(name, until):
                seen[woken].append(world.now_ms)
                awake.append(woken)
        assert world.finished
        return seen

    first = history(min)
    assert first == history(random.choice)
    for number, each in enumerate(steps):
        assert first[f"p{number}"] == [sum(each[: place + 1]) for place in range(len(each))]


def test_joining_twice_under_one_name_is_a_bug_of_ours():
    world = joined("a")
    with pytest.raises(AssertionError):
        world.join("a")
