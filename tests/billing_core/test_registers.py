"""All registers of all meters of a period: parts add up, rates agree with totals, faults hold the bill."""

from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing_core.codes import Hold
from billing_core.registers import COLUMNS, NOT_READ, PartKind, parts_of, read_registers

NONE = [NOT_READ] * len(COLUMNS)


def reading(**registers: int) -> list[int]:
    """A row of indexes by the names of the registers."""
    names = [register.value for register in COLUMNS]
    return [registers.get(name, NOT_READ) for name in names]


def test_a_meter_of_three_rates_with_total_reactive_and_export_is_read_whole():
    found = read_registers(
        parts_of(
            bill=[0],
            old_wh=[reading(BT=1_000, CD=200, TD=300, SG=1_500, VC=70, export=10)],
            new_wh=[reading(BT=4_000, CD=700, TD=900, SG=5_600, VC=95, export=30)],
            multiplier=10,
            demand_w=[55_000],
        ),
        1,
    )
    assert found.energy_wh.tolist() == [[30_000, 5_000, 6_000, 41_000, 250, 200]]
    assert found.rates_wh.tolist() == [[30_000, 5_000, 6_000]]
    assert (found.difference_wh[0], found.demand_w[0], found.hold[0]) == (0, 550_000, 0)


def test_any_number_of_exchanges_and_a_change_of_multiplier_add_up_each_with_its_own():
    found = read_registers(
        parts_of(
            bill=[0, 0, 0, 0],
            kind=[PartKind.PERIODIC.code, PartKind.EXCHANGE.code, PartKind.MULTIPLIER.code, PartKind.EXCHANGE.code],
            old_wh=[reading(SG=99_850_000), reading(SG=0), reading(SG=5_000), reading(SG=700)],
            new_wh=[reading(SG=120_000), reading(SG=5_000), reading(SG=8_000), reading(SG=900)],
            digits=[5, 0, 0, 0],
            multiplier=[1, 20, 40, 40],
        ),
        1,
    )
    assert found.rates_wh[0, 0] == 270_000 + 5_000 * 20 + 3_000 * 40 + 200 * 40
    assert found.hold[0] == 0


def test_a_reset_register_starts_anew_and_a_meter_that_ran_backwards_counts_what_it_ran_down():
    found = read_registers(
        parts_of(
            bill=[0, 0, 1],
            kind=[PartKind.PERIODIC.code, PartKind.RESET.code, PartKind.REVERSED.code],
            old_wh=[reading(SG=50_000), reading(SG=0), reading(SG=120_000)],
            new_wh=[reading(SG=51_000), reading(SG=400), reading(SG=99_850_000)],
            digits=[0, 0, 5],
        ),
        2,
    )
    assert found.rates_wh[:, 0].tolist() == [1_400, 270_000]


@pytest.mark.parametrize(("off_wh", "held"), [(3_999, False), (-3_999, False), (4_000, True), (-4_000, True)])
def test_rates_and_total_may_differ_by_what_four_displays_drop_and_no_more(off_wh: int, held: bool):
    found = read_registers(
        parts_of(
            bill=[0],
            old_wh=[reading(BT=0, CD=0, TD=0, SG=0)],
            new_wh=[reading(BT=10_000, CD=10_000, TD=10_000, SG=30_000 + off_wh)],
        ),
        1,
    )
    assert found.difference_wh[0] == off_wh
    assert (found.hold[0] == Hold.RATES_AGAINST_TOTAL.code) == held
    assert (found.rates_wh.sum() == 0) == held


@pytest.mark.parametrize(
    ("old", "new", "hold"),
    [
        (NONE, NONE, Hold.READING_MISSING),
        (reading(SG=5), NONE, Hold.INDEX_OUT_OF_RANGE),
        (reading(BT=1, CD=1), reading(BT=2, CD=2), Hold.READING_MISSING),
        (reading(SG=9), reading(SG=5), Hold.INDEX_FELL),
    ],
)
def test_what_was_not_read_holds_its_bill_and_no_other(old, new, hold):
    found = read_registers(parts_of(bill=[0, 1], old_wh=[old, reading(SG=1)], new_wh=[new, reading(SG=8)]), 2)
    assert found.hold.tolist() == [hold.code, 0]
    assert found.rates_wh[:, 0].tolist() == [0, 7]


def test_a_register_read_in_one_part_only_holds_the_bill():
    found = read_registers(
        parts_of(
            bill=[0, 0],
            old_wh=[reading(SG=1, VC=1), reading(SG=1)],
            new_wh=[reading(SG=8, VC=2), reading(SG=2)],
        ),
        1,
    )
    assert found.hold[0] == Hold.READING_MISSING.code


def test_a_demand_that_cannot_be_holds_the_bill_and_the_highest_of_the_parts_counts():
    row = reading(SG=1)
    found = read_registers(
        parts_of(
            bill=[0, 0, 1],
            old_wh=[row] * 3,
            new_wh=[row] * 3,
            multiplier=[10, 1, 1],
            demand_w=[500, 4_000, -7],
        ),
        2,
    )
    assert found.demand_w.tolist() == [5_000, NOT_READ]
    assert found.hold.tolist() == [0, Hold.DEMAND_INVALID.code]


@settings(max_examples=60)
@given(st.integers(1, 30), st.integers(1, 6), st.integers(0, 2**32))
def test_a_history_cut_anywhere_into_parts_gives_what_was_counted_in_whatever_order(bills, cuts, seed):
    """Meters are simulated with their own counters; what they really counted is the judge."""
    rng, rows, counted = Random(seed), [], [0] * bills
    for bill in range(bills):
        for _ in range(rng.randint(1, cuts)):
            digits, multiplier = rng.randint(3, 6), rng.choice((1, 20, 2_200))
            limit, old = 10**digits * 1000, rng.randrange(10**digits * 1000)
            used = rng.randint(0, limit // 2)
            counted[bill] += used * multiplier
            down = rng.random() < 0.3
            before, after = (old, (old - used) % limit) if down else (old, (old + used) % limit)
            kind = PartKind.REVERSED if down else rng.choice((PartKind.PERIODIC, PartKind.EXCHANGE, PartKind.RESET))
            rows.append((bill, kind.code, before, after, digits, multiplier))
    rng.shuffle(rows)
    bill, kind, before, after, digits, multiplier = (np.array(column) for column in zip(*rows, strict=True))
    found = read_registers(
        parts_of(
            bill=bill,
            kind=kind.astype(np.int8),
            old_wh=[reading(SG=value) for value in before.tolist()],
            new_wh=[reading(SG=value) for value in after.tolist()],
            digits=digits,
            multiplier=multiplier,
        ),
        bills,
    )
    assert found.rates_wh[:, 0].tolist() == counted
    assert not found.hold.any()


def test_columns_of_another_shape_or_name_are_refused():
    with pytest.raises(ValueError, match=r"expected p × 6"):
        parts_of(bill=[0], old_wh=[[1, 2]], new_wh=[[1, 2]])
    with pytest.raises(TypeError, match="unknown columns"):
        parts_of(bill=[0], old_wh=[NONE], new_wh=[NONE], ratio=3)
