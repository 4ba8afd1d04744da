"""What a run knows of a gap when it fills it: night, power failures, holidays, what the meter's like take."""

from datetime import date, datetime, timedelta
from itertools import pairwise

import pytest
from psycopg.errors import RaiseException

from billing_core.estimation.context import SATURDAY, SUNDAY, WORKDAY
from billing_core.estimation.provenance import Method
from ingest_server.billing.acts import Actor, Role
from ingest_server.billing.gather import Chunk, Selection
from ingest_server.billing.limits import limits_from
from ingest_server.vee.cases import queue_of
from ingest_server.vee.class_days import ClassDay, Kind
from ingest_server.vee.class_sample import classes_of_run
from ingest_server.vee.decisions import decide_change
from ingest_server.vee.edit import propose_edit
from ingest_server.vee.fill import day_types
from ingest_server.vee.gather import gather
from ingest_server.vee.judge import Judged, judge
from ingest_server.vee.run import run_vee
from tests.billing_runs.district import EXPORT, GATEWAY, IMPORT, OCTOBER, Customer, District
from tests.vee.village import HALF_HOUR, NOW, install, lose, registers, usage

YEAR = timedelta(weeks=52)
LAN, MINH = Actor("Lan", Role.BILLER, "phúc tra"), Actor("Minh", Role.DIRECTOR, "đúng")


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


@pytest.mark.integration
def test_an_approved_estimate_of_many_days_is_not_called_a_copy_and_nobody_is_asked_again(district: District) -> None:
    one, _ = install(district, [1, 2])
    lose(district, one, OCTOBER.start_at + timedelta(days=3), 500)
    assert len(proposed(district)) == 500  # average days: each is like the others
    [[why]] = district.rows("select why from reading_change")
    assert "fails again" not in why
    decide_change(district.connection, 1, "approve", MINH, limits_from(None))
    again = run_vee(district.dsn, OCTOBER, actor="Lan", now=NOW)
    assert (again.judged, again.proposed) == (1, 0)
    assert not {"V26", "V28"} & set(again.findings)
    assert queue_of(district.connection, OCTOBER, Selection()).cases == []


@pytest.mark.integration
def test_a_reading_that_somebody_keyed_is_told_when_it_fails_and_not_proposed_away(district: District) -> None:
    [one] = install(district, [1])
    district.connection.execute("update contract set contracted_kw = 2")
    at = OCTOBER.start_at + timedelta(days=9, hours=15)
    lost = lose(district, one, at, 1)
    district.connection.execute("update reading set value = value + 4000 where measured_at > %s", [at])
    propose_edit(district.connection, one.point, IMPORT, at, lost[at] + 3_900, by_hand=True, actor=LAN, now=NOW)
    decide_change(district.connection, 1, "approve", MINH, limits_from(None))
    outcome = run_vee(district.dsn, OCTOBER, actor="Lan", now=NOW)
    assert (outcome.findings["V21"], outcome.proposed) == (1, 0)


@pytest.mark.integration
@pytest.mark.parametrize("peers", [5, 4])
def test_a_meter_that_has_no_whole_day_takes_the_day_of_its_class_if_there_are_enough_like_it(
    district: District, peers: int
) -> None:
    *_, new = install(district, list(range(1, peers + 2)))
    district.connection.execute(
        "delete from reading r using channel c where c.channel_id = r.channel_id and c.meter_id = %s"
        " and civil_day(measured_at + interval '1 hour') <> civil_day(measured_at)",
        [new.meter],
    )  # nothing of it from eleven to midnight
    lost = lose(district, new, OCTOBER.start_at + timedelta(days=9, hours=5), 26)
    found = proposed(district)
    methods = {found[at][1] for at in lost}
    assert methods == ({Method.E7_CLASS_PROFILE} if peers == 5 else {Method.E1_LINEAR})
    off = max(abs(found[at][0] - value) for at, value in lost.items())
    assert (off < 300) == (peers == 5)  # the evening peak comes in time; a straight line has it all day long


@pytest.mark.integration
def test_the_days_of_classes_are_asked_for_once_and_only_where_a_meter_has_no_whole_day(district: District) -> None:
    *_, last = install(district, [1, 2])
    lose(district, last, OCTOBER.start_at + timedelta(days=9, hours=5), 26)
    asked = []

    def classes() -> dict[Kind, ClassDay]:
        asked.append(last)
        return {}

    def judged() -> Judged:
        [profile] = gather(district.connection, OCTOBER, Selection(), Chunk("", last.point, 2)).profiles
        return judge(profile, OCTOBER, classes)

    assert (len(judged().proposed), asked) == (1, [])
    district.connection.execute(
        "delete from reading r using channel c where c.channel_id = r.channel_id and c.meter_id = %s"
        " and civil_day(measured_at + interval '1 hour') <> civil_day(measured_at)",
        [last.meter],
    )
    assert (len(judged().proposed), asked) == (1, [last])


@pytest.mark.integration
def test_the_day_of_a_class_is_the_same_however_a_run_is_cut_and_whatever_it_is_about(district: District) -> None:
    *_, new = install(district, list(range(1, 10)))
    district.connection.execute(
        "delete from reading r using channel c where c.channel_id = r.channel_id and c.meter_id = %s"
        " and civil_day(measured_at + interval '1 hour') <> civil_day(measured_at)",
        [new.meter],
    )
    lose(district, new, OCTOBER.start_at + timedelta(days=9, hours=5), 26)
    found = []
    for chunk_points, selection in ((500, None), (3, None), (1, None), (500, Selection((new.point,)))):
        district.connection.execute(  # so that it is judged anew
            "update contract set contracted_kw = %s where metering_point_id = %s", [100 + len(found), new.point]
        )
        run_vee(district.dsn, OCTOBER, selection, actor="Lan", now=NOW, chunk_points=chunk_points)
        change = district.value("select max(change_id) from reading_change")
        told = "select measured_at, value, method from reading_version where change_id = %s order by 1"
        found.append(district.rows(told, [change]))
        decide_change(district.connection, change, "reject", MINH, limits_from(None))
    assert Method.E7_CLASS_PROFILE in {row[2] for row in found[0]}
    assert all(each == found[0] for each in found[1:])
    assert district.value("select count(*) from vee_class_day where meters >= 5") == 4


@pytest.mark.integration
def test_days_of_classes_that_cannot_be_made_are_tried_once_in_a_run(district: District) -> None:
    """A meter that gets whole days while the run goes on would be what they are made of at the second try."""
    install(district, [1])
    district.connection.execute("create table aside as table reading")
    district.connection.execute("delete from reading")
    district.connection.execute(
        "insert into vee_run (period_from, period_to, rule_set, actor) select '2026-10-01', '2026-10-31', 'x', 'Lan'"
        " from generate_series(1, 2)"
    )
    assert classes_of_run(district.dsn, 1, OCTOBER) == {}
    district.connection.execute("insert into reading table aside")
    assert classes_of_run(district.dsn, 1, OCTOBER) == {}
    [made] = classes_of_run(district.dsn, 2, OCTOBER).items()
    assert classes_of_run(district.dsn, 2, OCTOBER) == dict([made])
    for change in ("class_days_at = now()", "class_days_at = null", "actor = 'x'"):
        with pytest.raises(RaiseException):
            district.connection.execute(f"update vee_run set {change}")


def copy_to_last_year(district: District, one: Customer, begin: datetime, third_day: int) -> None:
    """Give the registers of a year ago: half of what is taken now, and so much of it on the gap's third day."""
    [[channel]] = district.rows("select channel_id from channel")
    district.connection.execute("update installation set installed_at = installed_at - interval '1 year'")
    first = registers(one.number)[0][0]
    with district.connection.cursor().copy("copy reading from stdin") as copy:
        shown = 0
        for at, _ in registers(one.number):
            copy.write_row((channel, at - YEAR, shown, 0))
            times = third_day if (at - begin).days == 2 else 1
            shown += usage(one.number, round((at - first) / HALF_HOUR)) * times // 2


@pytest.mark.integration
def test_a_gap_too_long_for_like_days_takes_the_same_weeks_of_the_year_before(district: District) -> None:
    [one] = install(district, [1])
    begin = OCTOBER.start_at + timedelta(days=5)
    copy_to_last_year(district, one, begin, 3)
    lost = lose(district, one, begin, 400)
    found = proposed(district)
    assert {found[at][1] for at in lost} == {Method.E4_LAST_YEAR}
    edges = [found[begin + day * timedelta(days=1)][0] for day in range(1, 8)]
    taken = [late - early for early, late in pairwise(edges)]
    assert taken[1] > 2 * max(taken[0], taken[2])
    assert run_vee(district.dsn, OCTOBER, actor="Lan", now=NOW).judged == 0


@pytest.mark.integration
def test_a_reading_of_the_year_before_that_is_out_of_line_does_not_make_the_estimates_small(district: District) -> None:
    [one] = install(district, [1])
    begin = OCTOBER.start_at + timedelta(days=20)
    copy_to_last_year(district, one, begin, 1)
    district.connection.execute(
        "update reading set value = value + 50000000 where measured_at = %s", [begin - YEAR - timedelta(days=3)]
    )
    lost = lose(district, one, begin, 18 * 48 + 1)  # and no reading follows
    found = proposed(district)
    assert {method for _, method in found.values()} == {Method.E4_LAST_YEAR}
    last = OCTOBER.start_at + timedelta(days=31)
    assert abs(found[last][0] - lost[last]) < (lost[last] - lost[begin]) // 10


@pytest.mark.integration
def test_a_proposal_that_a_late_reading_overtakes_is_named_by_the_next_one(district: District) -> None:
    [one] = install(district, [1])
    begin = OCTOBER.start_at + timedelta(days=9, hours=3)
    lost = lose(district, one, begin, 20)
    assert set(proposed(district)) == set(lost)
    middle = begin + 9 * HALF_HOUR
    district.store(one.meter, IMPORT, middle, lost[middle] + 150)
    assert run_vee(district.dsn, OCTOBER, actor="Lan", now=NOW).proposed == 1
    [_, why] = [row[0] for row in district.rows("select why from reading_change order by change_id")]
    assert "; instead of change 1: reject that" in why


@pytest.mark.integration
def test_a_reading_keyed_at_a_point_with_a_meter_of_generation_is_of_the_meter_that_bills(district: District) -> None:
    """Both have a register 1.0.1.8.0, and the younger one is not meant."""
    [one] = install(district, [1])
    district.connection.execute("insert into meter (meter_id, gateway_id, model, digits) values ('G', 'gw-01', 't', 6)")
    district.connection.execute("insert into channel (meter_id, obis, unit) values ('G', %s, 'Wh')", [IMPORT])
    district.connection.execute(
        "insert into installation (metering_point_id, meter_id, installed_at, role)"
        " select metering_point_id, 'G', installed_at + interval '1 hour', 'generation' from installation"
    )
    at = OCTOBER.start_at + timedelta(days=9, hours=15)
    lost = lose(district, one, at, 1)
    propose_edit(district.connection, one.point, IMPORT, at, lost[at], by_hand=True, actor=LAN, now=NOW)
    [[meter]] = district.rows("select meter_id from reading_change join channel using (channel_id)")
    assert meter == one.meter
