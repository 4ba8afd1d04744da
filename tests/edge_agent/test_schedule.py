"""The order of questions and the budget of probes, as properties."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from edge_agent import policy
from edge_agent.config import parse_config
from edge_agent.costs import ProfileCost
from edge_agent.meter import Question
from edge_agent.schedule import PROBE_CREDIT_MS_MAX, PROBE_SHARE, Job, ProbeBudget, Standing, choose, deadline
from edge_agent.series import Got, Polled
from tests.edge_agent.test_demand import HEAD

T0 = 1_767_225_600_000
times = st.integers(0, 10_000_000).map(lambda ms: T0 + ms)
jobs = st.lists(
    st.builds(Job, st.sampled_from(["a", "b", "c"]), st.sampled_from(Standing), times, times), min_size=1, max_size=8
)


@given(jobs, times)
def test_what_is_chosen_is_due_and_nothing_due_of_its_standing_has_an_earlier_deadline(
    given_jobs: list[Job], now_ms: int
) -> None:
    chosen = choose(given_jobs, now_ms)
    due = [each for each in given_jobs if each.due_ms <= now_ms]
    if chosen is None:
        assert not due
        return
    assert chosen in due
    assert all(chosen.standing <= each.standing for each in due)
    assert all(chosen.deadline_ms <= each.deadline_ms for each in due if each.standing is chosen.standing)


@given(st.integers(0, 10**6), st.sampled_from([1000, 60_000, 1_800_000, 86_400_000]), st.integers(0, 10**8))
def test_a_deadline_lies_within_its_slot_and_ahead_while_the_slot_lasts(slot: int, every_ms: int, late: int) -> None:
    slot_ms = T0 - T0 % every_ms + slot * every_ms
    now_ms = slot_ms + late % every_ms
    assert now_ms < deadline(slot_ms, every_ms, now_ms) <= slot_ms + every_ms


@given(st.lists(st.tuples(st.integers(0, 600_000), st.floats(1, 5000)), min_size=1, max_size=200))
def test_probes_never_take_more_than_their_share_of_the_time_that_passed(tries: list[tuple[int, float]]) -> None:
    """Whenever a silent meter is due, and however long its probe takes: it is made only if the budget has it."""
    budget, now_ms, spent_ms = ProbeBudget(T0), T0, 0.0
    for pause_ms, cost_ms in tries:
        now_ms += pause_ms
        budget = budget.at(now_ms)
        if budget.ready_ms(cost_ms) <= now_ms:
            budget = budget.spend(cost_ms)
            spent_ms += cost_ms
        assert spent_ms <= PROBE_SHARE * (now_ms - T0) + 1e-6


@given(st.floats(1, PROBE_CREDIT_MS_MAX), st.floats(-200_000, PROBE_CREDIT_MS_MAX))
def test_every_probe_has_its_time(cost_ms: float, credit_ms: float) -> None:
    """No silent meter waits forever, whatever was spent before."""
    budget = ProbeBudget(T0, credit_ms)
    ready_ms = budget.ready_ms(cost_ms)
    assert budget.at(ready_ms + 1).ready_ms(cost_ms) <= ready_ms + 1
    assert ready_ms - T0 <= (cost_ms + 200_000) / PROBE_SHARE + 1


@given(st.integers(-(10**9), 0))
def test_a_clock_that_is_set_back_gives_no_credit(back_ms: int) -> None:
    assert ProbeBudget(T0, 5.0).at(T0 + back_ms).credit_ms == 5.0


@given(st.floats(0, 10_000_000), st.lists(st.tuples(st.integers(1, 96), st.floats(1, 60_000)), max_size=10))
def test_a_piece_of_a_load_profile_fits_into_the_time_that_is_left(
    left_ms: float, told: list[tuple[int, float]]
) -> None:
    cost = ProfileCost(session_ms=400.0, slot_ms=40.0)
    for slots, took_ms in told:
        cost = cost.learn(slots, took_ms)
    slots = cost.slots_in(left_ms)
    assert slots == 0 or cost.of(slots) <= left_ms + 1e-6
    assert cost.of(slots + 1) > left_ms - 1e-6


def polled_meter() -> Polled:
    text = HEAD + (
        '[[bus.meter]]\nid = "M-1"\nmodel = "eastron_sdm630"\naddress = 1\nevery = "1m"\n'
        'instantaneous_every = "10s"\nintervals = { voltage_l1 = "1s" }\n'
    )
    (bus,) = parse_config(text, "agent.toml", Path(), {}).buses
    return Polled(bus.meters[0], {})


@given(
    st.integers(0, 50_000),
    st.lists(st.tuples(st.sampled_from(["answer", "fail", "wait", "back"]), st.integers(0, 15_000)), max_size=120),
)
def test_no_sample_has_two_keys_and_no_key_two_samples(begin: int, steps: list[tuple[str, int]]) -> None:
    """Whatever answers, fails, takes long or is set back: each channel has each time once, within an open slot."""
    polled, now_ms = polled_meter(), T0 + begin
    budget = ProbeBudget(now_ms, PROBE_CREDIT_MS_MAX)
    polled.begin(now_ms)
    keys: set[tuple[str, int]] = set()
    slots: set[tuple[str, int]] = set()

    def finish(done: list) -> None:
        for each in done:
            assert (each.series.key, each.stamp.slot_ms) not in slots
            slots.add((each.series.key, each.stamp.slot_ms))
            for got in each.got:
                assert each.stamp.slot_ms <= got.at_ms < each.stamp.slot_ms + each.series.every_ms
                assert (got.measurement.key, got.at_ms) not in keys
                keys.add((got.measurement.key, got.at_ms))

    for what, amount_ms in steps:
        if what in ("wait", "back"):
            now_ms += amount_ms if what == "wait" else -amount_ms
            continue
        kept, job = polled.job(now_ms, budget, 500.0), polled.job(now_ms, budget, 500.0)
        polled.health = polled.health  # forgets what was reckoned before
        assert kept == job == polled.job(now_ms, budget, 500.0)
        if job.due_ms > now_ms:
            continue
        finish(polled.expire(now_ms))
        wanted = polled.open_due(now_ms)
        polled.add([Question((each,), 10.0) for each in wanted], now_ms)
        if not polled.questions:
            finish(polled.fail())
        elif what == "answer":
            (measurement,) = polled.questions[0].measurements
            at_ms = polled.stamp(measurement, now_ms)
            got = [] if at_ms is None else [Got(measurement, 1, at_ms, 0)]
            finish(polled.take(polled.questions[0], got, ()))
            polled.health = policy.Health()
        else:
            finish(polled.fail())
            polled.health = policy.after_failure(polled.health, now_ms)
