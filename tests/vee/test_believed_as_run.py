"""What a run believes of a meter's days serves V15 as well as what the campaign believes of them.

The campaign knows intervals and registers apart; a run knows registers alone, half-hourly. Both see the same districts
here, with the same midnights lost and the same meters counting wrongly.
"""

import numpy as np
import pytest

from billing_core.validation.balance import v15_balance
from billing_core.validation.believed import believed_daily, believed_of_registers
from billing_core.validation.catalogue import Severity
from billing_core.validation.validate import validate
from tests.billing_core.validation.population import PER_DAY, District, copy_of, make_district

METERS, DAYS, STEP_ON = 240, 42, 24


def spoilt(seed: int) -> tuple[District, np.ndarray]:
    """Return a district in which a few meters count two thirds from a day on, and which those are."""
    district = copy_of(make_district(METERS, DAYS, seed, "country"))
    rng = np.random.default_rng(seed)
    plain = np.flatnonzero((district.transformer >= 0) & ~district.data.solar)
    wrong = np.sort(rng.choice(plain, 8, replace=False))
    energy = district.data.intervals.energy_wh
    energy[wrong, STEP_ON * PER_DAY :] = energy[wrong, STEP_ON * PER_DAY :] * 2 // 3
    registers = district.data.registers
    counted = np.zeros((METERS, DAYS + 1), dtype=np.int64)
    np.cumsum(energy.reshape(METERS, DAYS, PER_DAY).sum(axis=2), axis=1, out=counted[:, 1:])
    registers.index_wh[:] = registers.index_wh[:, :1] + counted // registers.multiplier[:, None]
    return district, wrong


def drawn(district: District) -> np.ndarray:
    """Return each midnight as a straight line between the half hours before and after it has it. [Wh]"""
    registers = district.data.registers
    energy = district.data.intervals.energy_wh.reshape(METERS, DAYS, PER_DAY)
    before, after = np.zeros((2, METERS, DAYS + 1), dtype=np.int64)
    before[:, 1:], after[:, :-1] = energy[:, :, -1], energy[:, :, 0]
    return registers.index_wh + (after - before) // (2 * registers.multiplier[:, None])


@pytest.mark.parametrize("seed", [3, 14, 15, 16, 17, 18])
def test_a_run_names_the_meters_that_the_campaign_names_and_no_others(seed: int) -> None:
    district, wrong = spoilt(seed)
    data = district.data
    result = validate(data, district.parameters)
    failed = result.verdict.at_least(Severity.FAIL)
    given = data.export.energy_wh.reshape(METERS, DAYS, -1).sum(axis=2)

    def named(taken: np.ndarray) -> set[int]:
        finding = v15_balance(
            taken, given, np.ones(taken.shape, dtype=bool), transformer=district.transformer,
            supplied_wh=district.supplied_wh, supplied=np.ones(district.supplied_wh.shape, dtype=bool),
        )  # fmt: skip
        return set(np.flatnonzero(finding.mask.any(axis=1)).tolist())

    registers = data.registers
    index = np.where(registers.actual, registers.index_wh, drawn(district))
    figure, told = believed_of_registers(index, np.ones(index.shape, dtype=bool), registers.range_wh(), failed)
    assert told.all()
    of_run = named(figure * registers.multiplier[:, None])
    of_campaign = named(believed_daily(result.scan, result.sums, failed))
    really = set(wrong.tolist())
    assert len(of_run & really) >= max(1, len(of_campaign & really))
    assert not of_run - really
