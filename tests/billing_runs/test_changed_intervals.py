"""Bills by load profile rest on every interval: who changed one lets none pass, and a later change stops them."""

from datetime import UTC, datetime

import pytest

from ingest_server.billing import acts
from ingest_server.billing.acts import Actor, Role
from ingest_server.billing.corrections import decide_difference
from ingest_server.billing.doubted import doubted_bills
from ingest_server.billing.gather import Selection
from ingest_server.billing.limits import limits_from
from ingest_server.billing.makers import makers_of_bill
from ingest_server.billing.refused import RefusedError
from ingest_server.billing.run import Plan, run_billing
from ingest_server.vee.changes import Change, Kind, Version, propose
from ingest_server.vee.decisions import decide_change
from protocols.telemetry.reading import Quality
from tests.billing_runs.district import IMPORT, OCTOBER, Customer, District
from tests.billing_runs.test_load_profiles import (
    HALF_HOUR,
    LOAD,
    PROFILE,
    START_WH,
    energies,
    factory,
    keep,
    register_every_half_hour,
)

pytestmark = pytest.mark.integration
ALL = Selection()
LAN, MINH, HOA, THU = (Actor(name, Role.DIRECTOR, "phúc tra") for name in ("Lân", "Minh", "Hoa", "Thu"))
NOW = datetime(2026, 11, 2, tzinfo=UTC)
CHANGED = 500  # the interval whose end is changed
SHIFT_WH = 40  # from the interval after it
SOURCES = pytest.mark.parametrize("obis", [IMPORT, PROFILE], ids=["register", "profile"])


def billed_by(district: District, obis: str, start_wh: int = START_WH) -> Customer:
    """A factory whose profile is its register at each half hour, or the energies of half hours."""
    customer = factory()
    if start_wh != START_WH:
        customer.registers[IMPORT] = (start_wh, (start_wh + sum(LOAD)) % 10**9)
    district.add([customer])
    if obis == PROFILE:
        keep(district, customer.meter, PROFILE, energies())
    elif start_wh == START_WH:
        register_every_half_hour(district, customer.meter)
    else:
        at = ((n, (start_wh + sum(LOAD[:n])) % 10**9) for n in range(1, len(LOAD)))
        keep(district, customer.meter, IMPORT, [(OCTOBER.start_at + n * HALF_HOUR, value) for n, value in at])
    return customer


def changed(district: District, obis: str, *, undoes: int | None = None) -> int:
    """Put another value in at the end of an interval, or take that back, and let Minh approve it."""
    point, channel = district.rows(
        "select metering_point_id, channel_id from channel join installation using (meter_id) where obis = %s", [obis]
    )[0]
    at = OCTOBER.start_at + CHANGED * HALF_HOUR
    read = district.value("select value from reading where channel_id = %s and measured_at = %s", [channel, at])
    value = None if undoes is not None else read + SHIFT_WH
    versions = [Version(at, value, 0 if value is None else int(Quality.MANUAL), 0, 0)]
    change = Change(
        point=point,
        channel_id=channel,
        kind=Kind.EDIT if undoes is None else Kind.UNDO,
        made_by=LAN.name,
        made_at=NOW,
        why="sai",
        rule_set="r",
        versions=tuple(versions),
        undoes=undoes,
    )
    number = propose(district.connection, change)
    decide_change(district.connection, number, "approve", MINH, limits_from(None))
    return number


def only_bill(district: District) -> int:
    found: int = district.value("select max(bill_id) from bill")
    return found


@SOURCES
def test_who_changed_an_interval_does_not_release_the_bill_that_is_made_of_it(district: District, obis: str) -> None:
    billed_by(district, obis)
    number = changed(district, obis)
    assert run_billing(district.dsn, OCTOBER).billed == 1
    bill_id = only_bill(district)
    assert makers_of_bill(district.connection, bill_id) == ((number, LAN.name),)
    acts.hold(district.connection, bill_id, HOA)
    with pytest.raises(RefusedError, match=f"readings that {LAN.name} put in with change {number}"):
        acts.release(district.connection, bill_id, LAN)
    acts.release(district.connection, bill_id, THU)


@SOURCES
def test_a_bill_of_whose_intervals_one_was_changed_since_waits_for_the_next_run(district: District, obis: str) -> None:
    billed_by(district, obis)
    run_billing(district.dsn, OCTOBER)
    assert doubted_bills(district.connection, OCTOBER, ALL, ("ready",)) == []
    number = changed(district, obis)
    assert makers_of_bill(district.connection, only_bill(district)) == ()
    [kept] = doubted_bills(district.connection, OCTOBER, ALL, ("ready",))
    assert kept.to_json()["why"] == "readings_changed"
    assert acts.issue(district.connection, OCTOBER, ALL, HOA) == 0
    changed(district, obis, undoes=number)
    assert doubted_bills(district.connection, OCTOBER, ALL, ("ready",)) == []
    assert acts.issue(district.connection, OCTOBER, ALL, HOA) == 1


@SOURCES
def test_an_interval_that_was_changed_before_the_bill_was_made_doubts_it_not(district: District, obis: str) -> None:
    billed_by(district, obis)
    changed(district, obis)
    run_billing(district.dsn, OCTOBER)
    assert acts.issue(district.connection, OCTOBER, ALL, HOA) == 1


def test_a_register_that_starts_again_within_the_month_showed_what_it_showed(district: District) -> None:
    """It turns over long before the changed interval; its values there are small ones."""
    customer = billed_by(district, IMPORT, start_wh=10**9 - sum(LOAD[:100]))
    district.connection.execute("update meter set digits = 6 where meter_id = %s", [customer.meter])
    number = changed(district, IMPORT)
    assert run_billing(district.dsn, OCTOBER).billed == 1
    assert makers_of_bill(district.connection, only_bill(district)) == ((number, LAN.name),)
    assert doubted_bills(district.connection, OCTOBER, ALL, ("ready",)) == []


@SOURCES
def test_who_changed_an_interval_does_not_approve_the_difference_it_makes(district: District, obis: str) -> None:
    billed_by(district, obis)
    run_billing(district.dsn, OCTOBER, Plan(issue_as="Hoa"))
    changed(district, obis)
    assert run_billing(district.dsn, OCTOBER, Plan(correct_as=("Hoa", "phúc tra"))).proposed == 1
    difference = district.value("select max(difference_id) from bill_difference")
    with pytest.raises(RefusedError, match=f"{LAN.name} can't approve it"):
        decide_difference(district.connection, difference, "approve", LAN)
    decide_difference(district.connection, difference, "approve", THU)
