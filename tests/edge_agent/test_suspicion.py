"""Values that can't be right are told, asked for again, marked if they stay so, and never mended."""

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.meter import Answer
from edge_agent.suspicion import REBASED_AFTER, Watch
from protocols.meters.catalogue import load_model
from protocols.meters.glitch import Verdict
from protocols.obis import Obis

MODEL = load_model("eastron_sdm630")
IMPORTED = MODEL.measurement(Obis.parse("1.0.1.8.0"))
assert IMPORTED is not None
HALF_HOUR = 1_800_000


def said(value: int) -> Answer:
    return Answer(((IMPORTED, value),))


def feed(watch: Watch, value: int, at_ms: int) -> tuple[bool, list[str]]:
    doubts = watch.doubts(said(value), at_ms)
    return bool(doubts), watch.take(said(value), at_ms, doubts)


@given(st.lists(st.integers(0, 10_000), max_size=30))
def test_a_counter_that_counts_is_never_doubted(rises: list[int]) -> None:
    watch, value = Watch(MODEL), 0
    for number, rise in enumerate(rises):
        value += rise
        assert feed(watch, value, number * HALF_HOUR) == (False, [])


def test_a_value_below_the_last_is_doubted_and_the_next_right_one_is_not() -> None:
    watch = Watch(MODEL)
    feed(watch, 5_000_000, 0)
    doubts = watch.doubts(said(4_000_000), HALF_HOUR)
    assert {each.verdict for each in doubts.values()} == {Verdict.GOING_BACK}
    watch.take(said(4_000_000), HALF_HOUR, doubts)
    assert feed(watch, 5_000_100, 2 * HALF_HOUR) == (False, [])


def test_an_exchanged_meter_is_believed_after_some_values_that_agree() -> None:
    watch = Watch(MODEL)
    feed(watch, 5_000_000, 0)
    found = [feed(watch, 100 * number, number * HALF_HOUR) for number in range(1, REBASED_AFTER + 2)]
    assert [doubted for doubted, _ in found] == [True] * REBASED_AFTER + [False]
    assert [rebased for _, rebased in found] == [[]] * (REBASED_AFTER - 1) + [["import_active"], []]


def test_values_that_do_not_agree_among_themselves_never_become_the_base() -> None:
    watch = Watch(MODEL)
    feed(watch, 5_000_000, 0)
    falling = [feed(watch, 1_000_000 - 1000 * number, number * HALF_HOUR) for number in range(1, 20)]
    assert all(doubted and not rebased for doubted, rebased in falling)
    assert feed(watch, 5_000_100, 20 * HALF_HOUR) == (False, [])
