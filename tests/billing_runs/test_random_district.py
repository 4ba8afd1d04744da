"""A district of random customers, billed from database to database, beside the exact recomputation."""

from collections import Counter

import pytest

from tests.billing_runs.many_runs import MONTHS, compare

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("place", range(2), ids=lambda place: "-".join(MONTHS[place]))
def test_every_bill_of_a_random_district_is_that_of_the_recomputation(database: str, place: int):
    counted: Counter[str] = Counter()
    found = compare(database, f"suite/{place}", 300, place, counted)
    assert not found, f"{len(found)} differ:\n" + "\n".join(found[:2])
    assert counted["bills"] > 300
    wanted = ("meter exchanged", "part of a month", "mixed use", "households changed several times", "reactive energy")
    metering = ("registers set back", "three rates by load profile", "three rates by registers")
    assert all(counted[name] for name in (*wanted, *metering)), counted
