"""Readings that no register can show are told, and the run goes on for everybody else."""

from datetime import timedelta

import pytest

from ingest_server.billing.gather import Selection
from ingest_server.vee.cases import queue_of
from ingest_server.vee.run import run_vee
from tests.billing_runs.district import GATEWAY, IMPORT, OCTOBER, Customer, District, household
from tests.vee.village import HALF_HOUR, NOW, install, lose

pytestmark = pytest.mark.integration
HUGE = [2**63 - 1, 9 * 10**15, 5 * 10**12]


@pytest.mark.parametrize("huge", HUGE)
def test_a_profile_with_impossible_readings_is_told_and_the_others_are_judged(district: District, huge: int) -> None:
    one, two, three = install(district, [1, 2, 3])
    district.connection.execute("update installation set multiplier = 4000 where metering_point_id = %s", [three.point])
    at = OCTOBER.start_at + timedelta(days=12)
    for step in range(3):
        district.forget(one.meter, IMPORT, at + step * HALF_HOUR)
        district.store(one.meter, IMPORT, at + step * HALF_HOUR, huge)
    lose(district, two, at, 9)
    outcome = run_vee(district.dsn, OCTOBER, actor="Lan", now=NOW)
    assert outcome.judged == 3
    told = {
        case.point: {reason[0] for reason in case.reasons}
        for case in queue_of(district.connection, OCTOBER, Selection()).cases
    }
    assert "V03" in told[one.point]  # more digits than the register has
    assert told[two.point] == {"V06"}


@pytest.mark.parametrize("huge", HUGE)
@pytest.mark.parametrize("multiplier", [1, 10_000_000])
def test_a_register_without_a_profile_that_shows_the_impossible_is_told_and_the_others_are_judged(
    district: District, huge: int, multiplier: int
) -> None:
    one, two = household(1), household(2, multiplier=multiplier)
    district.add([one, two])
    district.connection.execute("update reading set value = %s where measured_at = %s", [huge, OCTOBER.end_at])
    outcome = run_vee(district.dsn, OCTOBER, actor="Lan", now=NOW)
    assert outcome.judged == 2
    told = {
        case.point: {reason[0] for reason in case.reasons}
        for case in queue_of(district.connection, OCTOBER, Selection()).cases
    }
    assert all("V03" in told[each.point] for each in (one, two))


@pytest.mark.parametrize("huge", HUGE)
def test_an_impossible_reading_behind_a_transformer_leaves_its_balance_unknown(district: District, huge: int) -> None:
    one = Customer(number=1, registers={IMPORT: (1_000_000, huge)}, multiplier=10_000_000)
    district.add([one, household(2)])
    district.copy("meter (meter_id, gateway_id, model, digits)", [("T-1", GATEWAY, "test", 6)])
    district.copy("channel (meter_id, obis, unit)", [("T-1", IMPORT, "Wh")])
    district.connection.execute("update meter set feeder = 'f' where meter_id <> 'T-1'")
    district.copy(
        "transformer (transformer_id, feeder, meter_id, valid_from, multiplier, source, entered_by)",
        [("TBA-1", "f", "T-1", "2026-01-01", 200, "x", "Lan")],
    )
    district.store("T-1", IMPORT, OCTOBER.start_at, 0)
    district.store("T-1", IMPORT, OCTOBER.end_at, huge)
    assert run_vee(district.dsn, OCTOBER, actor="Lan", now=NOW).balances_left == 1
