"""What fails validation is not billed before somebody has decided, whichever way, and then it is."""

from datetime import timedelta

import pytest

from ingest_server.billing.acts import Actor, Role
from ingest_server.billing.limits import limits_from
from ingest_server.billing.run import Plan, run_billing
from ingest_server.vee.accept import accept
from ingest_server.vee.changes import undo
from ingest_server.vee.decisions import decide_change
from ingest_server.vee.run import run_vee
from protocols.errors import UsageError
from tests.billing_runs.district import IMPORT, OCTOBER, Customer, District
from tests.vee.village import NOW, install, lose

pytestmark = pytest.mark.integration
MINH = Actor("Minh", Role.HEAD, "đúng")
BEGIN = OCTOBER.start_at + timedelta(days=9, hours=3)
REASON = "open_validation_finding"


@pytest.fixture
def failed(district: District) -> Customer:
    """Two households; the second lost three half hours of 10 October, and an estimate of them waits (change 1)."""
    [_, two] = install(district, [1, 2])
    lose(district, two, BEGIN, 3)
    run_vee(district.dsn, OCTOBER, actor="Lan", now=NOW)
    return two


def case_of(district: District) -> int:
    """The newest judgement that failed."""
    found = district.value("select max(judgement_id) from vee_judgement where severity >= 4")
    assert isinstance(found, int)
    return found


def test_a_point_with_an_undecided_finding_is_held_with_rule_day_case_and_cure_and_its_neighbour_is_billed(
    district: District, failed: Customer
) -> None:
    dry = run_billing(district.dsn, OCTOBER, Plan(dry_run=True))
    summary = run_billing(district.dsn, OCTOBER)
    [hold] = summary.holds
    assert (summary.billed, hold.metering_point_id, hold.reason) == (1, failed.point, REASON)
    case = case_of(district)
    for named in ("V06 10/10/2026", f"case {case}", failed.meter, IMPORT, "--period 2026-10", f"vee accept {case}"):
        assert named in hold.detail
    assert (dry.digest, dry.holds) == (summary.digest, summary.holds)


def test_an_approved_estimate_releases_at_the_next_run_and_its_effect_is_that_of_the_readings_alone(
    district: District, failed: Customer
) -> None:
    [effect] = decide_change(district.connection, 1, "approve", MINH, limits_from(None))
    assert (effect.before.held, effect.energy_wh, effect.vnd) == (None, 0, 0)
    assert run_billing(district.dsn, OCTOBER).held == 0
    run_vee(district.dsn, OCTOBER, actor="Lan", now=NOW)
    assert run_billing(district.dsn, OCTOBER).held == 0
    assert district.value("select count(*) from bill where metering_point_id = %s", [failed.point]) == 1


@pytest.mark.parametrize(
    ("who", "held"),
    [(MINH, 0), (Actor("Hoa", Role.BILLER, "sai"), 1), (Actor("Lan", Role.HEAD, "sai"), 1)],
    ids=["another who may", "a biller", "who made it"],
)
def test_a_rejected_estimate_releases_if_another_person_of_a_role_that_may_rejected_it(
    district: District, failed: Customer, who: Actor, held: int
) -> None:
    decide_change(district.connection, 1, "reject", who, limits_from(None))
    assert run_billing(district.dsn, OCTOBER).held == held


def test_who_validated_or_may_not_sign_accepts_nothing_and_what_is_accepted_is_billed(
    district: District, failed: Customer
) -> None:
    case = case_of(district)
    with pytest.raises(UsageError, match="four eyes"):
        accept(district.connection, case, Actor("Lan", Role.HEAD, "đúng"))
    with pytest.raises(UsageError, match="controller"):
        accept(district.connection, case, Actor("Minh", Role.BILLER, "đúng"))
    with pytest.raises(UsageError, match="--note"):
        accept(district.connection, case, Actor("Minh", Role.HEAD, " "))
    with pytest.raises(UsageError, match="no case"):
        accept(district.connection, case + 99, MINH)
    assert accept(district.connection, case, MINH) == failed.point
    assert run_billing(district.dsn, OCTOBER).held == 0
    with pytest.raises(UsageError, match="accepted"):
        accept(district.connection, case, MINH)


def test_what_was_accepted_is_open_again_once_other_readings_fail(district: District, failed: Customer) -> None:
    accept(district.connection, case_of(district), MINH)
    lose(district, failed, BEGIN + timedelta(days=5), 2)
    run_vee(district.dsn, OCTOBER, actor="Lan", now=NOW)
    [hold] = run_billing(district.dsn, OCTOBER).holds
    assert "V06 10/10/2026, V06 15/10/2026" in hold.detail


def test_an_approved_estimate_of_one_day_leaves_the_finding_of_another_open(
    district: District, failed: Customer
) -> None:
    lose(district, failed, BEGIN + timedelta(days=5), 2)
    run_vee(district.dsn, OCTOBER, actor="Lan", now=NOW)
    decide_change(district.connection, 1, "approve", MINH, limits_from(None))
    [hold] = run_billing(district.dsn, OCTOBER).holds
    assert "15/10/2026" in hold.detail


def test_an_undone_estimate_opens_the_finding_again(district: District, failed: Customer) -> None:
    decide_change(district.connection, 1, "approve", MINH, limits_from(None))
    number = undo(district.connection, 1, made_by="Minh", made_at=NOW, why="nhầm")
    decide_change(district.connection, number, "approve", Actor("Hoa", Role.HEAD, "đúng"), limits_from(None))
    assert run_billing(district.dsn, OCTOBER).held == 1


def test_of_two_meters_of_a_point_the_one_that_failed_is_named(district: District) -> None:
    [one] = install(district, [1])
    lose(district, one, BEGIN, 3)
    half = OCTOBER.start_at + timedelta(days=20)
    district.connection.execute("update installation set removed_at = %s where meter_id = %s", [half, one.meter])
    district.connection.execute(
        "insert into meter (meter_id, gateway_id, model, digits) values ('M-NEW', 'gw-01', 'test', 6)"
    )
    district.connection.execute(
        "insert into installation (metering_point_id, meter_id, installed_at, multiplier) values (%s, 'M-NEW', %s, 1)",
        [one.point, half],
    )
    district.connection.execute("insert into channel (meter_id, obis, unit) values ('M-NEW', %s, 'Wh')", [IMPORT])
    [[channel]] = district.rows("select channel_id from channel where meter_id = 'M-NEW'")
    for at, value in ((half, 0), (OCTOBER.end_at, 90_000)):
        district.connection.execute("insert into reading values (%s, %s, %s, 0)", [channel, at, value])
    run_vee(district.dsn, OCTOBER, actor="Lan", now=NOW)
    [hold] = run_billing(district.dsn, OCTOBER).holds
    assert (hold.metering_point_id, hold.reason) == (one.point, REASON)
    assert f"meter {one.meter}" in hold.detail
