"""Estimates are nearer to the truth than a flat line: the part of ``masked_gaps`` that needs no download."""

from pathlib import Path

import numpy as np
import pytest

from tests.billing_core.estimation.masked_gaps import KNOWN, TARGET, measure
from tests.billing_core.estimation.samples import Sample, simulated, uneven, whole

PROFILES = Path(__file__).with_name("standard_profiles.csv")


def standard_profiles() -> Sample:
    week = np.loadtxt(PROFILES, delimiter=",", skiprows=3, dtype=np.int64).T
    return uneven("standard profiles", np.tile(week, 10), 3)


@pytest.mark.parametrize("known", KNOWN)
def test_chance_is_estimated_no_worse_than_by_a_flat_line(known):
    rng = np.random.default_rng(11)
    spread = rng.exponential(300, (40, 70 * 48)) * rng.uniform(0.2, 3, (40, 1))
    found = measure(whole("chance", spread.astype(np.int64)), known, seed=2)
    assert found.exact, found
    assert found.ratio <= 1.01, found


@pytest.mark.parametrize("known", KNOWN)
def test_estimates_err_at_most_six_tenths_of_a_flat_line(known):
    for sample in (standard_profiles(), *simulated(60, 9)):
        found = measure(sample, known, seed=2)
        assert found.exact, found
        assert found.ratio <= TARGET, found
