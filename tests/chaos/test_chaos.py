"""Real processes under faults; and that the verdict can be another, with readings tampered with and bugs planted."""

from collections.abc import Callable, Iterator

import pytest

from tests.chaos.faults import FAULTS
from tests.chaos.hunt import hunt
from tests.chaos.judge import Verdict
from tests.chaos.schedule import FAULTS_MIN, Outcome, Schedules
from tests.chaos.system import System

pytestmark = pytest.mark.integration

SCHEDULES = 25
SOME_READING = """
    (select channel_id, measured_at from reading join channel using (channel_id)
     where obis = '1.0.1.8.0' and quality = 0 order by measured_at desc limit 1)
"""
UNSET = ("clock unset", "ingest frozen", "cut one way")
LATE_AND_AWAY = ("ingest killed", "database frozen", "cut one way", "cut both ways", "database stopped immediately")


@pytest.fixture(scope="module")
def schedules() -> Iterator[Schedules]:
    system = System()
    try:
        yield Schedules(system)
    finally:
        system.close()


@pytest.fixture(scope="module")
def outcomes(schedules: Schedules) -> list[Outcome]:
    return [schedules.run(seed) for seed in range(1, SCHEDULES + 1)]


def test_nothing_is_lost_doubled_or_altered_whatever_is_killed_cut_stopped_or_full(
    schedules: Schedules, outcomes: list[Outcome]
) -> None:
    wrong = [
        (each.seed, each.faults, str(each.verdict), each.verdict.notes)
        for each in outcomes
        if not each.verdict.is_clean
    ]
    assert wrong == []
    everything = schedules.judge.judge_all()
    assert everything.is_clean, everything.notes
    assert sum(len(each.faults) for each in outcomes) >= FAULTS_MIN * SCHEDULES
    assert schedules.judge.readings > 100 * SCHEDULES, "too little was read for the verdict to mean anything"


def test_the_faults_have_come_about(schedules: Schedules, outcomes: list[Outcome]) -> None:
    """A harness whose faults do nothing finds nothing."""
    drawn = {name for each in outcomes for name in each.faults}
    assert len(drawn) >= len(FAULTS) - 3
    seen = schedules.effects()
    for what in (
        "connections cut in mid-message or at a commit",
        "times that the database was lost",
        "times that the agent lost the broker",
        "times that ingest lost it",
        "messages sent again",
        "queues overflown",
        *(["times that the spool's disk refused"] if schedules.system.spool_disk.is_small else []),
    ):
        assert seen[what] > 0, seen
    assert seen["starts of the agent"] > 1, seen


def test_the_verdict_sees_one_reading_tampered_with(schedules: Schedules, outcomes: list[Outcome]) -> None:
    judge: Callable[[], Verdict] = schedules.judge.judge_all
    with schedules.system.connect() as connection:

        def tamper(change: str) -> None:
            assert connection.execute(f"{change} where (channel_id, measured_at) = {SOME_READING}").rowcount == 1

        tamper("update reading set value = value + 1")
        assert judge().altered > 0
        tamper("update reading set value = value - 1")
        assert judge().is_clean
        tamper("update reading set measured_at = measured_at + interval '1 ms'")
        assert (judge().lost, judge().invented) == (1, 1)
        tamper("delete from reading")
        assert (judge().lost, judge().invented) == (1, 0)


@pytest.mark.parametrize(
    ("program", "bug", "what", "only"),
    [
        pytest.param("agent", "delete_on_acknowledgement", "lost", (), id="the control: the broker's word is believed"),
        pytest.param(
            "agent", "forget_what_1970_receipted", "invented", UNSET, id="the clock stamps receipts, whatever it says"
        ),
        pytest.param("ingest", "receipt_before_commit", "lost", LATE_AND_AWAY, id="receipts before the commit"),
        pytest.param("ingest", "give_up_on_errors", "lost", (), id="errors of the database are swallowed"),
        pytest.param("ingest", "receipt_all_before", "lost", (), id="receipts for all numbers before"),
        pytest.param("ingest", "store_twice", "doubled", (), id="no key and no comparison"),
    ],
)
def test_a_planted_bug_is_found(program: str, bug: str, what: str, only: tuple[str, ...]) -> None:
    found = hunt(program, bug, what, seed=1, schedules_max=8, only=only)
    assert getattr(found[-1].verdict, what) > 0, [str(each.verdict) for each in found]


def test_an_early_acknowledgement_costs_nothing_for_nothing_is_concluded_from_it() -> None:
    found = hunt("ingest", "acknowledge_early", "lost", seed=1, schedules_max=3)
    assert [str(each.verdict) for each in found] == ["clean"] * 3
