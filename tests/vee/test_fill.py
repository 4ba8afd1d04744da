"""What a run knows of a gap when it fills it: night, power failures, holidays, what the meter's like take."""

from datetime import date, datetime, timedelta

import pytest

from billing_core.estimation.context import SATURDAY, SUNDAY, WORKDAY
from billing_core.estimation.provenance import Method
from ingest_server.vee.fill import day_types
from ingest_server.vee.run import run_vee
from tests.billing_runs.district import EXPORT, GATEWAY, IMPORT, OCTOBER, Customer, District
from tests.vee.village import HALF_HOUR, NOW, install, lose


def test_a_public_holiday_is_a_sunday_and_the_day_after_it_is_not():
    weekday, kind = day_types(date(2026, 8, 28), 8)  # the second of September is a Wednesday
    assert weekday.tolist() == [4, 5, 6, 0, 1, 2, 3, 4]
    assert kind.tolist()[:3] == [WORKDAY, SATURDAY, SUNDAY]
    assert (kind[5], kind[7]) == (SUNDAY, WORKDAY)


def proposed(district: District) -> dict[datetime, tuple[int, int]]:
    run_vee(district.dsn, OCTOBER, actor="Lan", now=NOW)
    return {
        at: (value, method)
        for at, value, method in district.rows("select measured_at, value, method from reading_version")
    }


@pytest.mark.integration
@pytest.mark.parametrize("power_failed", [False, True])
def test_no_straight_line_is_drawn_on_a_day_on_which_the_power_failed(district: District, power_failed: bool) -> None:
    [one] = install(district, [1])
    begin = OCTOBER.start_at + timedelta(days=9, hours=15)
    lost = lose(district, one, begin, 2)
    if power_failed:
        district.connection.execute(
            "insert into meter_event (meter_id, happened_at, fingerprint, kind, object, code, gateway_id)"
            " values (%s, %s, 'p', 'log', '0.0.99.98.0.255', 1, %s)",
            [one.meter, begin, GATEWAY],
        )
    found = proposed(district)
    assert set(found) == set(lost)
    straight = {method == Method.E1_LINEAR for _, method in found.values()}
    assert straight == {not power_failed}


@pytest.mark.integration
def test_nothing_is_exported_after_sunset_in_a_gap_across_it(district: District) -> None:
    one = Customer(number=1, registers=dict.fromkeys((IMPORT, EXPORT), (0, 0)), solar_regime="net_2017")
    district.add([one])
    district.connection.execute("delete from reading")
    [[channel]] = district.rows("select channel_id from channel where obis = %s", [EXPORT])
    shown, sunset = 0, OCTOBER.start_at + timedelta(days=9, hours=19)
    with district.connection.cursor().copy("copy reading from stdin") as copy:
        for slot in range(-28 * 48, 38 * 48 + 1):
            at = OCTOBER.start_at + slot * HALF_HOUR
            if not sunset - HALF_HOUR <= at <= sunset + HALF_HOUR:
                copy.write_row((channel, at, shown, 0))
            shown += (800 + slot % 7) * (13 <= slot % 48 < 37)  # until half past six
    found = proposed(district)
    assert sorted(found) == [sunset - HALF_HOUR, sunset, sunset + HALF_HOUR]
    assert found[sunset][0] == found[sunset + HALF_HOUR][0]
    after = district.value(
        "select value from reading where channel_id = %s and measured_at = %s", [channel, sunset + 2 * HALF_HOUR]
    )
    assert found[sunset][0] == after
