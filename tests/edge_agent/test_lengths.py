"""No two questions of one length to one unit while an answer to the first may come, by property."""

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.lengths import LONGER_MAX, STEP, Lengths
from protocols.modbus.messages import Function, ReadIdentification, ReadRegisters

LATE_S = 10.0

questions = st.builds(
    lambda address, count: ReadRegisters(1, Function.READ_INPUT, min(address, 0x10000 - count), count),
    st.integers(0, 0xFFFF),
    st.integers(1, 125),
)


@given(st.lists(st.tuples(questions, st.floats(0, 3)), max_size=30))
def test_what_is_asked_begins_with_what_was_wanted_and_has_a_free_length(
    wanted: list[tuple[ReadRegisters, float]],
) -> None:
    lengths, now_s = Lengths(LATE_S), 100.0
    asked: list[tuple[ReadRegisters, float]] = []
    for question, pause_s in wanted:
        now_s += pause_s
        other = lengths.distinct(question, now_s)
        assert isinstance(other, ReadRegisters)
        assert (other.unit, other.function, other.address) == (question.unit, question.function, question.address)
        assert question.count <= other.count <= min(125, question.count + STEP * LONGER_MAX)
        alike = [each for each, at_s in asked if each.count == other.count and now_s < at_s + LATE_S]
        if all(each == other for each in alike[-1:]):
            assert lengths.rival(other, now_s) is None
        else:
            assert other == question, "no length was free: then it is asked as it is, and the master waits"
            assert lengths.rival(other, now_s) == alike[-1]
        lengths.note(other, now_s)
        asked.append((other, now_s))


def test_a_length_that_a_meter_refuses_is_not_tried_again() -> None:
    lengths = Lengths(LATE_S)
    first, second = ReadRegisters(1, Function.READ_INPUT, 0, 2), ReadRegisters(1, Function.READ_INPUT, 12, 2)
    lengths.note(first, 0.0)
    for steps in range(1, LONGER_MAX + 1):
        longer = lengths.distinct(second, 1.0)
        assert isinstance(longer, ReadRegisters)
        assert longer.count == 2 + STEP * steps
        lengths.refused(longer)
    assert lengths.distinct(second, 1.0) == second
    assert lengths.rival(second, 1.0) == first


def test_a_late_answer_is_awaited_longer_than_a_doubled_one() -> None:
    lengths = Lengths(LATE_S)
    first, second = ReadRegisters(1, Function.READ_INPUT, 0, 2), ReadRegisters(1, Function.READ_INPUT, 12, 2)
    lengths.note(first, 5.0)
    assert lengths.late_until(second) < 0
    assert lengths.doubled_until(second, 0.5) == 5.5
    lengths.note(first, 6.0, answered=False)
    lengths.note(first, 7.0)
    assert lengths.late_until(second) == 6.0 + LATE_S, "the second try was answered; the first may be still"


def test_an_identification_is_never_lengthened() -> None:
    lengths = Lengths(LATE_S)
    lengths.note(ReadIdentification(1), 0.0)
    other = ReadIdentification(1, first=3)
    assert lengths.distinct(other, 1.0) == other


def test_a_refusal_after_another_questions_is_doubtful_until_no_late_one_can_come() -> None:
    lengths = Lengths(LATE_S)
    first, second = ReadRegisters(1, Function.READ_INPUT, 0, 2), ReadRegisters(1, Function.READ_INPUT, 12, 4)
    assert not lengths.may_refuse_another(second, 1.0)
    lengths.note_without_values(first, 1.0)
    assert lengths.may_refuse_another(second, 1.0 + LATE_S / 2)
    assert not lengths.may_refuse_another(first, 1.0 + LATE_S / 2), "it would be its own"
    assert not lengths.may_refuse_another(second, 1.0 + LATE_S)
    assert not lengths.may_refuse_another(ReadRegisters(2, Function.READ_INPUT, 12, 4), 2.0), "another unit"
