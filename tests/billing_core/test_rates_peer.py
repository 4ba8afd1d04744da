"""The general engine against NREL's utilityrate5, a process of its own: a part here, ten thousand by hand.

``python -m tests.peers.compare`` compares as many as one likes; docs/domain/oracle.md says what came out.
"""

import pytest

from billing_core.rates.tariff import Metering
from tests.peers.compare import LIMIT, differences

CASES, SEED = 400, 20_261_124


@pytest.mark.integration
def test_random_tariffs_loads_and_suns_give_the_same_bills():
    found = differences(CASES, SEED)
    worst = max(found, key=lambda pair: pair[0])
    assert len(found) == CASES
    assert worst[0] <= LIMIT, f"seed {SEED}: {worst}"
    for metering in Metering:
        assert sum(tariff.metering is metering for _, tariff in found) > CASES // 10
    assert sum(len(tariff.energy[0]) > 1 for _, tariff in found) > CASES // 10
    assert sum(bool(tariff.demand) for _, tariff in found) > CASES // 10
    assert sum(tariff.ratchet is not None for _, tariff in found) > CASES // 20
