"""Half-hourly energy from registers: nothing lost, nothing spread, nothing invented."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ingest_server.api.chart import STEP_US, Series, half_hours, multipliers

FROM_US = 1_790_787_600_000_000  # 2026-09-30T17:00:00Z
SLOTS = 48


def drawn(readings: dict[int, int], qualities: dict[int, int] | None = None, digits: int = 6) -> Series:
    """The chart of a register read at the half hours ``readings`` names."""
    places = sorted(readings)
    return half_hours(
        np.array([FROM_US + place * STEP_US for place in places], dtype=np.int64),
        np.array([readings[place] for place in places], dtype=np.int64),
        np.array([(qualities or {}).get(place, 0) for place in places], dtype=np.int64),
        from_us=FROM_US,
        slots=SLOTS,
        digits=digits,
    )


# A register that only rises, read at some of the half hours.
READ = st.dictionaries(st.integers(0, SLOTS), st.integers(0, 5_000), max_size=SLOTS + 1).map(
    lambda steps: dict(zip(sorted(steps), np.cumsum([steps[place] for place in sorted(steps)]).tolist(), strict=True))
)


@given(READ)
def test_known_half_hours_and_gaps_add_up_to_what_the_register_counted(readings: dict[int, int]):
    series = drawn(readings)
    counted = max(readings.values(), default=0) - min(readings.values(), default=0)
    known = int(series.energy[series.energy >= 0].sum())
    assert known + int(series.gaps[series.gaps[:, 2] >= 0, 2].sum()) == counted


@given(READ)
def test_every_half_hour_is_known_or_in_exactly_one_gap(readings: dict[int, int]):
    series = drawn(readings)
    covered = (series.energy >= 0).astype(int)
    for first, last, _ in series.gaps.tolist():
        covered[first : last + 1] += 1
    assert (covered == 1).all()
    for slot in range(SLOTS):
        assert (series.energy[slot] >= 0) == (slot in readings and slot + 1 in readings)


def test_a_half_hour_carries_the_marks_of_both_its_readings():
    series = drawn({0: 0, 1: 10, 2: 20, 3: 30}, {1: 1, 2: 64})
    assert series.quality[:4].tolist() == [1, 65, 64, 0]


def test_a_register_that_passes_its_end_goes_on_and_one_that_fell_is_not_known():
    assert drawn({0: 9_999_900, 1: 100}, digits=4).energy[0] == 200
    assert drawn({0: 5_000_000, 1: 4_000_000}, digits=4).energy[0] == -1


def test_only_the_multipliers_of_the_days_drawn_are_told():
    hung = [
        {"installed_at": since, "removed_at": until, "multiplier": factor}
        for since, until, factor in (
            ("2025-01-01T00:00:00Z", "2026-09-30T17:00:00Z", 20),
            ("2026-09-30T17:00:00Z", "2026-10-05T02:00:00Z", 40),
            ("2026-10-05T02:00:00Z", None, 80),
            ("2026-11-01T00:00:00Z", None, 1),
        )
    ]
    assert multipliers(hung, "2026-09-30T17:00:00Z", "2026-10-31T17:00:00Z") == [
        {"from": "2026-09-30T17:00:00Z", "to": "2026-10-05T02:00:00Z", "multiplier": 40},
        {"from": "2026-10-05T02:00:00Z", "to": None, "multiplier": 80},
    ]


def test_a_register_that_was_never_read_is_one_gap_of_unknown_energy():
    assert drawn({}).gaps.tolist() == [[0, SLOTS - 1, -1]]
