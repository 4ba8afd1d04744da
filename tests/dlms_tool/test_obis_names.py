"""Logical names in words: what the standard names, and nothing made up for the rest."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.dlms_tool.obis_names import NAMES, name_of
from protocols.obis import Obis


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("1.0.1.8.0", "active import, energy"),
        ("1.0.1.8.3", "active import, energy, rate 3"),
        ("1.0.5.8.0", "reactive Q1, energy"),
        ("1.0.21.7.0", "active import L1, now"),
        ("1.0.52.7.0", "voltage L2, now"),
        ("1.0.71.7.0", "current L3, now"),
        ("1.0.33.7.0", "power factor L1, now"),
        ("1.0.91.7.0", "current N, now"),
        ("1.0.1.6.2", "active import, maximum demand, rate 2"),
        ("1.0.1.8.0.101", "active import, energy, stored value 101"),
        ("1.0.32.7.5", "voltage L1, harmonic 5"),
        ("1.0.81.7.10", "angle 10, now"),
        ("1.1.1.8.0", "active import, energy, channel 1"),
        ("0.0.99.98.1", "event log: fraud"),
        ("0.0.99.98.7", "event log 7"),
        ("0.1.24.1.0", "M-Bus client or port"),
        ("1.0.0.2.0", "active firmware"),
        ("7.0.3.0.0", ""),
        ("1.0.200.8.0", ""),
    ],
)
def test_a_logical_name_in_words(code, words):
    assert name_of(Obis.parse(code)) == words


@given(st.tuples(*[st.integers(0, 255)] * 6))
def test_any_code_has_words_or_none_and_no_place_left_open(groups):
    assert "{" not in name_of(Obis(*groups))


def test_every_row_of_the_table_is_found():
    for pattern, words in NAMES.items():
        found = name_of(Obis.parse(pattern.replace("*", "7")))
        assert found == words.format(e=7) or "*" in pattern, pattern
