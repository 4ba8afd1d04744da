"""What is on its way: live before backlog, as much backlog as the link settles, and again what is not receipted."""

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.joining import Outgoing
from edge_agent.window import (
    ALLOWED_OCTETS_FIRST,
    ALLOWED_OCTETS_MAX,
    ALLOWED_OCTETS_MIN,
    BACKLOG_MESSAGES_MAX,
    LIVE_MESSAGES_MAX,
    PAUSE_MAX_S,
    Window,
)

GENERATION = "5f0c2e9a1b7d4463"


def message(first: int, last: int, octets: int = 100) -> Outgoing:
    return Outgoing(GENERATION, ((first, last),), last, bytes(octets))


def test_a_backlog_never_takes_the_room_of_live_messages() -> None:
    window = Window(10)
    for number in range(BACKLOG_MESSAGES_MAX):
        window.note_sent(message(number + 1, number + 1, 1), live=False, now_s=0)
    assert window.room(live=False) == 0
    assert window.room(live=True) > 0
    for number in range(LIVE_MESSAGES_MAX):
        window.note_sent(message(1000 + number, 1000 + number), live=True, now_s=0)
    assert window.room(live=True) == 0


def test_the_backlog_grows_on_a_fast_link_and_shrinks_on_a_slow_one() -> None:
    window = Window(10)
    window.note_sent(message(1, 5, 60_000), live=False, now_s=0)
    assert window.room(live=False) == ALLOWED_OCTETS_FIRST - 60_000
    window.note_receipt(GENERATION, ((1, 5),), 0.2)
    assert window.room(live=False) == 2 * ALLOWED_OCTETS_FIRST
    for number in range(20):
        window.note_sent(message(10 + number, 10 + number), live=False, now_s=number * 10)
        window.note_receipt(GENERATION, ((10 + number, 10 + number),), number * 10 + 4)
    assert window.room(live=False) == ALLOWED_OCTETS_MIN
    for number in range(20):
        window.note_sent(message(50 + number, 50 + number), live=False, now_s=number)
        window.note_receipt(GENERATION, ((1, 100),), number + 0.1)
    assert window.room(live=False) == ALLOWED_OCTETS_MAX


def test_a_message_is_done_when_all_its_batches_are_receipted_by_their_generation() -> None:
    window = Window(10)
    window.note_sent(message(1, 5), live=False, now_s=0)
    window.note_receipt("0000000000000000", ((1, 5),), 1)
    window.note_receipt(GENERATION, ((1, 2), (5, 9)), 1)
    assert len(window.under_way) == 1
    window.note_receipt(GENERATION, ((3, 4),), 1)
    assert window.under_way == []
    assert window.due_s() is None


def test_what_is_not_receipted_is_sent_again_after_pauses_that_double() -> None:
    window = Window(10)
    window.note_sent(message(1, 1), live=True, now_s=0)
    window.note_sent(message(2, 2), live=True, now_s=4)
    assert window.overdue(9.9) == []
    assert [each.last_key for each in window.overdue(10)] == [1]  # and the other in its own time
    times, now_s = [], 10.0
    for _ in range(8):
        now_s = window.due_s() or 0
        times.append(now_s)
        assert window.overdue(now_s)
    pauses = [after - before for before, after in zip(times[1:], times[3:], strict=False)]
    assert max(pauses) <= PAUSE_MAX_S
    assert pauses == sorted(pauses)
    window.note_receipt(GENERATION, ((1, 1),), now_s)  # the server is there again
    assert window.pause_s == 10


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 5000), st.floats(0, 30)), max_size=80))
def test_what_is_under_way_is_bounded(steps: list[tuple[bool, int, float]]) -> None:
    window, now_s, number = Window(10), 0.0, 0
    for live, octets, passes_s in steps:
        now_s += passes_s
        room = window.room(live=live)
        if room:
            number += 1
            window.note_sent(message(number, number, min(octets, room)), live=live, now_s=now_s)
        elif window.under_way:
            window.note_receipt(GENERATION, window.under_way[0].outgoing.sequences, now_s)
        backlog = [each for each in window.under_way if not each.live]
        assert len(window.under_way) <= LIVE_MESSAGES_MAX + BACKLOG_MESSAGES_MAX
        assert ALLOWED_OCTETS_MIN <= window.allowed_octets <= ALLOWED_OCTETS_MAX
        assert sum(len(each.outgoing.payload) for each in backlog) <= ALLOWED_OCTETS_MAX
