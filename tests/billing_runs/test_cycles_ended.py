"""Which reading cycles have ended, and can be billed."""

from datetime import date, datetime

import pytest

from ingest_server.billing.cycles import Asked, cycles_of
from ingest_server.billing.gather import Selection
from ingest_server.billing.period import midnight_of
from protocols.errors import UsageError
from tests.billing_runs.district import OCTOBER, District
from tests.billing_runs.test_cycles import NOVEMBER, book, people

pytestmark = pytest.mark.integration


def test_a_cycle_that_has_not_ended_is_left_out_and_if_none_has_it_is_refused(district: District):
    customers = people(district, 2)
    book(district, "S05", 5, points=customers[:1])
    book(district, "S16", 16, points=customers[1:])
    now: datetime = midnight_of(date(2026, 10, 6))
    [(period, _)] = cycles_of(district.connection, Asked(OCTOBER), Selection(), now)
    assert period.last_on == date(2026, 10, 5)
    with pytest.raises(UsageError, match="it ends in the future"):
        cycles_of(district.connection, Asked(NOVEMBER), Selection(), now)
