"""What counts as altered when a register was read twice for one time, the clock having gone back in between."""

import pytest

from protocols.telemetry.reading import Quality
from tests.chaos.judge import Value, is_told

MEMORY = int(Quality.NOT_DURABLE)


@pytest.mark.parametrize(
    ("taken", "stored", "others", "expected"),
    [
        pytest.param([(5, 0)], (5, 0), [], True, id="stored as it was taken"),
        pytest.param([(5, 0)], (5, MEMORY), [], True, id="it came first from memory"),
        pytest.param([(5, 0), (7, 0)], (5, 0), [(7, 0)], True, id="taken twice, and the conflict tells"),
        pytest.param([(7, 0)], (5, MEMORY), [(7, 0)], True, id="from memory, then another, and the conflict tells"),
        pytest.param([(7, 0)], (5, MEMORY), [], False, id="from memory, then another, and no conflict"),
        pytest.param([(5, 0), (7, 0)], (5, 0), [], False, id="taken twice, and no conflict"),
        pytest.param([(7, 0)], (5, 0), [(7, 0)], False, id="a value that nobody took and that came from no memory"),
        pytest.param([(5, 0)], (5, 1), [], False, id="another quality"),
        pytest.param([(5, 0)], (5, 1 | MEMORY), [], False, id="another quality, from memory"),
    ],
)
def test_what_was_taken_is_stored_or_told(
    taken: list[Value], stored: Value, others: list[Value], expected: bool
) -> None:
    assert is_told(taken, stored, others) is expected
