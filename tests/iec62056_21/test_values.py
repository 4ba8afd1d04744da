"""Data sets of a readout to integers, exactly."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.iec62056_21.readout import decode_data_sets
from protocols.iec62056_21.values import value_of
from protocols.meters.catalogue import load_model
from protocols.obis import Obis

IMPORTED = load_model("iec_residential").measurement(Obis.parse("1.0.1.8.0"))
assert IMPORTED is not None


@given(st.integers(0, 10**9), st.integers(0, 4))
def test_every_digit_that_a_meter_writes_counts(number: int, places: int) -> None:
    text = f"{Decimal(number).scaleb(-places):f}"
    value = value_of(IMPORTED, decode_data_sets(f"1.8.0({text}*kWh)"))
    numerator, denominator = number * 1000, 10**places
    assert value == (2 * numerator + denominator) // (2 * denominator)


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("1-0:1.8.0*255(0012.5*kWh)", 12_500),
        ("1-0:1.8.0(0.0125*MWh)", 12_500),
        ("1.8.0(0012.5)", 12_500),
        ("1.8.0*01(0001.0*kWh)1.8.0(0012.5*kWh)", 12_500),
    ],
)
def test_a_code_may_be_whole_or_short_and_a_stored_value_is_another_one(line: str, value: int) -> None:
    assert value_of(IMPORTED, decode_data_sets(line)) == value


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("1.8.0*01(0001.0*kWh)", "no data set 1.8.0"),
        ("1.8.0(0012.5*kvarh)", "unit 'kvarh', expected kWh"),
        ("1.8.0(------*kWh)", "is no number"),
        ("1.8.0(99999999999999999999*kWh)", "beyond"),
    ],
)
def test_what_is_no_value_is_told_in_words(line: str, words: str) -> None:
    found = value_of(IMPORTED, decode_data_sets(line))
    assert isinstance(found, str)
    assert words in found
