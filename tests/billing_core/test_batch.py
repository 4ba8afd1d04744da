"""What a batch takes, and what it refuses before a figure is lost."""

import numpy as np
import pytest

from billing_core.batch import batch_of
from billing_core.codes import Category, Hold, Solar, codes_of, member_of
from billing_core.engine import charge
from billing_core.tariff_files import load_tariffs

ONE = {"start_on": "2025-12-01", "end_on": "2025-12-31", "category": Category.RESIDENTIAL.code}


def test_one_value_serves_all_rows():
    batch = batch_of(energy_wh=[1, 2, 3], **ONE)
    assert len(batch) == 3
    assert batch.households.tolist() == [1, 1, 1]
    assert batch.energy_wh.tolist() == [[1, 0, 0], [2, 0, 0], [3, 0, 0]]
    assert batch.share_by_days.all()


def test_no_rows_are_no_bills():
    charges = charge(batch_of(energy_wh=np.empty(0, dtype=np.int64), **ONE), load_tariffs())
    assert charges.total.shape == (0,)
    assert charges.lines().bill.shape == (0,)


@pytest.mark.parametrize(
    "columns",
    [
        {"energy_wh": [1.5]},
        {"energy_wh": [2**64]},
        {"energy_wh": [1], "category": 1_000},
        {"energy_wh": [1], "households": 1.25},
        {"energy_wh": [1], "energie": 5},
    ],
)
def test_nothing_is_rounded_or_wrapped_to_make_it_fit(columns):
    with pytest.raises((TypeError, OverflowError)):
        batch_of(**ONE | columns)


@pytest.mark.parametrize("columns", [{"energy_wh": [[1, 2]]}, {"energy_wh": [1, 2], "export_wh": [1, 2, 3]}])
def test_columns_have_one_length(columns):
    with pytest.raises(ValueError, match="shape"):
        batch_of(**ONE | columns)


def test_a_column_that_must_be_given_is_missed():
    with pytest.raises(TypeError, match="end_on"):
        batch_of(energy_wh=[1], start_on="2025-12-01", category=0)


def test_codes_go_there_and_back():
    codes = codes_of(Solar)
    assert [member_of(Solar, int(code)) for code in codes] == list(Solar)
    assert Hold.NONE.code == 0
