"""Bills by load profile: three rates and demand of meters with one register, profiles held against registers."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import psycopg
import pytest

from billing_core.control.thresholds import Signer, load_thresholds
from billing_core.explain import Language
from billing_core.tariff_files import load_tariffs
from ingest_server.billing import by_interval, profile_readings
from ingest_server.billing.acts import Actor, Role
from ingest_server.billing.corrections import decide_difference, differences_of
from ingest_server.billing.explain import explain_bill
from ingest_server.billing.gather import Selection
from ingest_server.billing.period import Period
from ingest_server.billing.replay import replay
from ingest_server.billing.run import Plan, run_billing
from ingest_server.billing.schedules import programmes_of, schedules_of
from ingest_server.billing.sentences import text_of
from ingest_server.billing.stored import load_bill
from ingest_server.registry.store import load_registry
from protocols.telemetry.reading import Quality
from tests.billing_core.exact_around import energy_by_minutes, highest_half_hour_kw
from tests.billing_runs.district import IMPORT, OCTOBER, RATES, Customer, District, household

pytestmark = pytest.mark.integration
UTILITY = Path(__file__).parents[1] / "billing_core" / "utility_elsewhere.toml"
RATCHET_PERCENT = 80  # of its plan "workshop"
PROFILE = "1.0.1.29.0"
HALF_HOUR = timedelta(minutes=30)
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
START_WH = 1_000_000
INTERVALS = OCTOBER.days * 48
LOAD = [300 + (37 * n) % 101 + (900 if 19 <= n % 48 < 23 else 0) for n in range(INTERVALS)]
TERMS: dict[str, Any] = {"category": "production", "voltage": "lt6", "three_rates": True}


def factory(number: int = 1, multiplier: int = 1, **terms: Any) -> Customer:
    """A customer with three rates whose meter has but one register."""
    registers = {IMPORT: (START_WH, START_WH + sum(LOAD))}
    return Customer(number=number, registers=registers, multiplier=multiplier, **{**TERMS, **terms})


def keep(district: District, meter: str, obis: str, rows: Sequence[tuple[datetime, int]], quality: int = 0) -> None:
    """Store readings of a channel, which is added if it is not there."""
    district.connection.execute(
        "insert into channel (meter_id, obis, unit) values (%s, %s, 'Wh') on conflict do nothing", [meter, obis]
    )
    channel = district.value("select channel_id from channel where meter_id = %s and obis = %s", [meter, obis])
    district.copy("reading", [(channel, at, value, quality) for at, value in rows])


def register_every_half_hour(district: District, meter: str, without: Sequence[int] = ()) -> None:
    index, rows = START_WH, []
    for n, energy in enumerate(LOAD[:-1], 1):
        index += energy
        if n not in without:
            rows.append((OCTOBER.start_at + n * HALF_HOUR, index))
    keep(district, meter, IMPORT, rows)


def energies(load: Sequence[int] = LOAD) -> list[tuple[datetime, int]]:
    return [(OCTOBER.start_at + n * HALF_HOUR, energy) for n, energy in enumerate(load, 1)]


def only(district: District) -> dict[str, Any]:
    [bill_id] = [row[0] for row in district.rows("select bill_id from bill order by bill_id")]
    found = load_bill(district.connection, bill_id)
    assert found is not None
    return found


def kwh_by_register(bill: dict[str, Any]) -> dict[str, Fraction]:
    return {line["register"]: Fraction(line["energy_wh"], 1000) for line in bill["lines"] if line["kind"] == "energy"}


@pytest.mark.parametrize("source", ["register", "profile"])
def test_three_rates_of_a_meter_with_one_register_come_from_its_load_profile_to_the_wh(district: District, source: str):
    customer = factory()
    district.add([customer])
    if source == "register":
        register_every_half_hour(district, customer.meter)
    else:
        keep(district, customer.meter, PROFILE, energies())
    assert run_billing(district.dsn, OCTOBER).billed == 1
    exact = energy_by_minutes(OCTOBER.start_at, 30, LOAD, [(LONG_AGO, "2014")])
    assert kwh_by_register(only(district)) == exact
    assert sum(exact.values()) * 1000 == sum(LOAD)


def test_a_bill_by_intervals_is_explained_and_replays_to_the_byte(district: District):
    customer = factory(multiplier=20)
    district.add([customer])
    register_every_half_hour(district, customer.meter)
    run_billing(district.dsn, OCTOBER)
    bill = only(district)
    told = {language: "\n".join(explain_bill(bill, language)) for language in Language}
    assert "1.488 khoảng 30 phút" in told[Language.VI]
    assert "1,488 intervals of 30 minutes" in told[Language.EN]
    assert [each.same for each in replay(district.connection, period=OCTOBER)] == [True]
    assert run_billing(district.dsn, OCTOBER).unchanged == 1


def held(district: District) -> tuple[str, dict[Language, str]]:
    """The one hold of October: its reason, and what it says in each language."""
    [hold] = run_billing(district.dsn, OCTOBER).holds
    return hold.reason, {language: text_of(hold.sentences, language) for language in Language}


def test_a_missing_interval_holds_the_bill_and_says_how_many_and_when(district: District):
    customer = factory()
    district.add([customer])
    register_every_half_hour(district, customer.meter, without=(100, 101))
    reason, told = held(district)
    assert reason == "interval_missing"
    assert f"3 trên {INTERVALS} khoảng 30 phút" in told[Language.VI]
    assert f"3 of {INTERVALS} intervals of 30 minutes" in told[Language.EN]


def test_a_small_difference_is_put_into_the_profile_and_a_large_one_holds_the_bill(district: District):
    near, far = factory(1), factory(2)
    district.add([near, far])
    keep(district, near.meter, PROFILE, energies([each - n % 2 for n, each in enumerate(LOAD)]))
    keep(district, far.meter, PROFILE, energies([each - each // 100 for each in LOAD]))
    summary = run_billing(district.dsn, OCTOBER)
    [hold] = summary.holds
    assert (hold.metering_point_id, hold.reason) == (far.point, "intervals_against_register")
    assert str(sum(LOAD)) in hold.detail
    bill = only(district)
    assert sum(kwh_by_register(bill).values()) * 1000 == sum(LOAD)
    assert bill["inputs"]["profiles"][0]["difference_wh"] == INTERVALS // 2
    assert all(each.same for each in replay(district.connection, period=OCTOBER))


@pytest.mark.parametrize(
    ("factor", "held_back"), [(100, False), (101, True), (99, True), (50, True)], ids=["same", "more", "less", "half"]
)
def test_a_profile_that_nothing_is_billed_by_is_held_against_the_register(
    district: District, factor: int, held_back: bool
):
    customer = household(1, energy_wh=sum(LOAD))
    district.add([customer])
    keep(district, customer.meter, PROFILE, energies([each * factor // 100 for each in LOAD]))
    if not held_back:
        assert run_billing(district.dsn, OCTOBER).billed == 1
        return
    reason, told = held(district)
    assert reason == "intervals_against_register"
    total = sum(each * factor // 100 for each in LOAD)
    assert all(f"{number} Wh" in told[language] for number in (total, sum(LOAD)) for language in Language)


def test_a_profile_with_gaps_holds_a_bill_by_registers_only_where_it_already_has_too_much(district: District):
    less, more = household(1, energy_wh=sum(LOAD)), household(2, energy_wh=sum(LOAD))
    district.add([less, more])
    keep(district, less.meter, PROFILE, energies()[10:])
    keep(district, more.meter, PROFILE, [(at, 2 * energy) for at, energy in energies()[10:]])
    summary = run_billing(district.dsn, OCTOBER)
    assert [hold.metering_point_id for hold in summary.holds] == [more.point]
    assert summary.billed == 1


def test_each_meter_keeps_the_schedule_it_was_programmed_with(district: District):
    customers = [factory(1), factory(2)]
    district.add(customers)
    for each in customers:
        register_every_half_hour(district, each.meter)
    programmed_at = OCTOBER.start_at + timedelta(days=9, hours=10, minutes=12)
    load_registry(
        district.connection,
        f"""
        [[meter_schedule]]
        meter = "{customers[1].meter}"
        since = {programmed_at.isoformat()}
        schedule = "2026"
        source = "Biên bản lập trình 7/2026"
        """,
        "programmed.toml",
    )
    assert run_billing(district.dsn, OCTOBER).billed == 2
    for customer, programmed in zip(customers, ([], [(programmed_at, "2026")]), strict=True):
        [bill_id] = district.rows("select bill_id from bill where metering_point_id = %s", [customer.point])[0]
        bill = load_bill(district.connection, bill_id)
        assert bill is not None
        exact = energy_by_minutes(OCTOBER.start_at, 30, LOAD, [(LONG_AGO, "2014"), *programmed])
        assert kwh_by_register(bill) == exact
        said = "\n".join(explain_bill(bill, Language.VI))
        assert ("Theo biểu giờ 2014, 2026 từ 10:12 10/10/2026" in said) == bool(programmed)
    assert all(each.same for each in replay(district.connection, period=OCTOBER))


def test_the_pilots_highest_half_hour_comes_from_the_profile_where_the_meter_keeps_none(district: District):
    customer = factory(three_rates=False, multiplier=40, voltage="22_110")
    district.add([customer])
    district.connection.execute("update contract set two_component = true")
    register_every_half_hour(district, customer.meter)
    assert run_billing(district.dsn, OCTOBER).held == 0
    bill = only(district)
    [demand] = [line for line in bill["lines"] if line["kind"] == "demand"]
    assert Fraction(str(demand["operands"]["kw"])) == highest_half_hour_kw(30, LOAD) * 40
    assert any("nửa giờ cao nhất" in said for said in explain_bill(bill, Language.VI))
    assert all(each.same for each in replay(district.connection, period=OCTOBER))


def test_an_exchange_within_a_half_hour_halves_no_demand(district: District):
    """Both meters' parts of the half hour count together."""
    customer = factory(three_rates=False, voltage="22_110")
    district.add([customer])
    exchanged_at = OCTOBER.start_at + 700 * HALF_HOUR + timedelta(minutes=11)
    load = [100] * INTERVALS
    load[700] = 5_000
    first, second = sum(load[:700]) + 2_000, 3_000 + sum(load[701:])
    district.connection.execute("update contract set two_component = true")
    district.connection.execute("update installation set removed_at = %s", [exchanged_at])
    district.connection.execute(
        "insert into meter (meter_id, gateway_id, model, digits) select 'M-NEW', gateway_id, model, 6 from meter"
    )
    district.connection.execute(
        "insert into installation (metering_point_id, meter_id, installed_at) values (%s, 'M-NEW', %s)",
        [customer.point, exchanged_at],
    )
    keep(
        district,
        customer.meter,
        IMPORT,
        [(OCTOBER.start_at + n * HALF_HOUR, START_WH + 100 * n) for n in range(1, 701)],
    )
    keep(district, customer.meter, IMPORT, [(exchanged_at, START_WH + first)])
    keep(district, "M-NEW", IMPORT, [(exchanged_at, 0)])
    keep(
        district,
        "M-NEW",
        IMPORT,
        [(OCTOBER.start_at + (701 + n) * HALF_HOUR, 3_000 + 100 * n) for n in range(INTERVALS - 700)],
    )
    assert run_billing(district.dsn, OCTOBER).held == 0
    bill = only(district)
    assert bill["energy_wh"] == first + second
    [demand] = [line for line in bill["lines"] if line["kind"] == "demand"]
    assert demand["operands"]["kw"] == 10
    assert all(each.same for each in replay(district.connection, period=OCTOBER))


def test_an_estimated_interval_marks_the_bill(district: District):
    customer = factory()
    district.add([customer])
    register_every_half_hour(district, customer.meter, without=(500,))
    keep(
        district,
        customer.meter,
        IMPORT,
        [(OCTOBER.start_at + 500 * HALF_HOUR, START_WH + sum(LOAD[:500]))],
        int(Quality.ESTIMATED),
    )
    thresholds = replace(load_thresholds(), estimated=Signer.HEAD)
    assert run_billing(district.dsn, OCTOBER, Plan(thresholds=thresholds)).billed == 1
    assert district.value("select rules from bill_control") == ["estimated"]
    assert only(district)["inputs"]["profiles"][0]["estimated"] == 1


def test_rates_registers_are_billed_where_the_meter_has_them_whatever_the_profile_says(district: District):
    registers = dict.fromkeys(RATES, (0, 100_000)) | {IMPORT: (START_WH, START_WH + 300_000)}
    customer = Customer(number=1, registers=registers, **TERMS)
    district.add([customer])
    register_every_half_hour(district, customer.meter)
    run_billing(district.dsn, OCTOBER)
    assert set(kwh_by_register(only(district)).values()) == {Fraction(100)}


def test_a_ratchet_remembers_a_demand_that_came_from_a_profile(district: District):
    """In September one half hour drew 200 kW, in October none more than 2: 80 % of 200 kW are billed."""
    september = Period.of_month("2026-09")
    customer = household(1, category="business", voltage="lt6")
    district.add([customer], september)
    with psycopg.connect(district.dsn) as connection:
        contract = f"""
        [[contract]]
        metering_point = "{customer.point}"
        valid_from = 2025-01-01
        category = "business"
        voltage = "lt6"
        rate_plan = "workshop"
        """
        load_registry(connection, UTILITY.read_text() + contract, UTILITY.name)
    load = [1_000] * ((september.days + OCTOBER.days) * 48)
    load[700] = 100_000
    index, rows = START_WH, []
    for n, energy in enumerate(load, 1):
        index += energy
        rows.append((september.start_at + n * HALF_HOUR, index))
    district.forget(customer.meter, IMPORT, september.end_at)
    keep(district, customer.meter, IMPORT, rows)
    kilowatts = []
    for period in (september, OCTOBER):
        [bill] = run_billing(district.dsn, period).bills
        kilowatts += [line.operands["kw"] for line in bill.lines if line.kind == "demand"]
    assert kilowatts == [200, 200 * RATCHET_PERCENT / 100]
    assert [each.why for each in replay(district.connection) if not each.same] == []


def test_a_schedule_that_becomes_known_after_the_bill_went_out_is_a_difference_and_then_stands(district: District):
    customer = factory()
    district.add([customer])
    register_every_half_hour(district, customer.meter)
    run_billing(district.dsn, OCTOBER, Plan(issue_as="Lan"))
    district.copy(
        "meter_schedule (meter_id, since_at, schedule, source)", [(customer.meter, OCTOBER.start_at, "2026", "book 7")]
    )
    assert run_billing(district.dsn, OCTOBER, Plan(correct_as=("Lan", "biên bản đến muộn"))).proposed == 1
    [found] = differences_of(district.connection, OCTOBER, Selection())
    assert (found["energy_wh"], found["total"] != 0) == (0, True)
    decide_difference(district.connection, found["difference_id"], "approve", Actor("Minh", Role.CONTROLLER, "đúng"))
    summary = run_billing(district.dsn, OCTOBER)
    assert (summary.unchanged, summary.differing) == (1, 0)
    said = "\n".join(explain_bill(only(district), Language.VI))
    assert "Theo biểu giờ 2014: " in said  # which it was billed by, whatever was learned since
    assert "Biểu thời gian năm 2014 của công tơ" in said
    assert "Biểu thời gian năm 2026" not in said


def test_a_meter_nobody_said_anything_of_runs_the_oldest_schedule_in_a_bill_and_in_its_explanation(district: District):
    customer = factory()
    district.add([customer])
    oldest = load_tariffs().schedules[0].name
    for year in (2014, 2099):  # before its first day too
        found = schedules_of(district.connection, [customer.meter], date(year, 1, 1), date(year, 1, 31))
        assert found == {customer.meter: [(oldest, None)]}
    assert programmes_of(district.connection, [customer.meter], OCTOBER.end_at) == {customer.meter: ((0, oldest),)}


def test_profiles_are_read_and_measured_in_lots_of_whatever_size(district: District, monkeypatch: Any):
    customers = [factory(number, multiplier=number) for number in range(1, 6)]
    district.add(customers)
    for each in customers:
        register_every_half_hour(district, each.meter)
    wanted = run_billing(district.dsn, OCTOBER, Plan(dry_run=True)).digest
    monkeypatch.setattr(profile_readings, "PROFILES_AT_ONCE", 2)
    monkeypatch.setattr(by_interval, "MEASURED_AT_ONCE", 2)
    assert run_billing(district.dsn, OCTOBER, Plan(dry_run=True)).digest == wanted
    assert run_billing(district.dsn, OCTOBER).billed == 5


def test_a_meter_that_was_read_at_midnights_alone_has_no_profile(district: District):
    customer = factory()
    district.add([customer])
    keep(
        district,
        customer.meter,
        IMPORT,
        [(OCTOBER.start_at + timedelta(days=day), START_WH + sum(LOAD[: 48 * day])) for day in range(1, OCTOBER.days)],
    )
    reason, told = held(district)
    assert (reason, RATES[0] in told[Language.EN]) == ("missing_register_reading", True)


def test_a_part_shorter_than_an_interval_needs_no_reading_within_it(district: District):
    """Registers were set twice within ten minutes."""
    customer = factory()
    district.add([customer])
    register_every_half_hour(district, customer.meter)
    channel = district.value("select channel_id from channel")
    for minute, before, after in ((31, 40, 0), (39, 7, 0)):
        at = OCTOBER.start_at + 1_000 * HALF_HOUR + timedelta(minutes=minute - 30)
        shown = START_WH + sum(LOAD[:1_000]) + before if minute == 31 else before
        district.copy(
            "register_reset (meter_id, reset_at, obis, before, after, source)",
            [(customer.meter, at, IMPORT, shown, after, "book 7")],
        )
    index = 0
    for n in range(1_001, INTERVALS + 1):
        index += LOAD[n - 1]
        at = OCTOBER.start_at + n * HALF_HOUR
        district.connection.execute(
            "update reading set value = %s where channel_id = %s and measured_at = %s", [index, channel, at]
        )
    assert run_billing(district.dsn, OCTOBER).held == 0
    bill = only(district)
    assert sum(kwh_by_register(bill).values()) * 1000 == sum(LOAD[:1_000]) + 40 + 7 + sum(LOAD[1_000:])
    assert len(bill["inputs"]["profiles"]) == 3
    assert all(each.same for each in replay(district.connection, period=OCTOBER))
