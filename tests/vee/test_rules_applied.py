"""Each rule of the catalogue that the store has data for is applied by a run over the database."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from billing_core.validation.catalogue import RULES
from ingest_server.billing.acts import Actor, Role
from ingest_server.billing.gather import Chunk, Selection
from ingest_server.billing.limits import limits_from
from ingest_server.billing.period import Period
from ingest_server.billing.run import run_billing
from ingest_server.vee.cases import queue_of
from ingest_server.vee.decisions import decide_change
from ingest_server.vee.edit import propose_edit
from ingest_server.vee.gather import gather
from ingest_server.vee.judge import judge
from ingest_server.vee.run import Outcome, run_vee
from tests.billing_runs.district import EXPORT, GATEWAY, IMPORT, OCTOBER, RATES, Customer, District, household
from tests.vee.village import HALF_HOUR, NOW, install

ROOT = Path(__file__).parents[2]
CATALOGUE = {
    *(f"V{number:02}" for number in range(1, 17)), *(f"V{number}" for number in range(20, 35)),
    *(f"V{number}" for number in range(36, 44)), *(f"V{number}" for number in range(50, 56)),
}  # fmt: skip
BEFORE_THE_RUN = {"V01", "V02"}
AFTER_THE_CHUNKS = {"V15", "V43"}
MINH = Actor("Minh", Role.DIRECTOR, "đúng")
HOA = Actor("Hoa", Role.BILLER, "đọc")


def validated(district: District, period: Period = OCTOBER) -> Outcome:
    return run_vee(district.dsn, period, actor="Lan", now=NOW)


def rows_of_the_document() -> dict[str, list[str]]:
    text = (ROOT / "docs/domain/validation-applied.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (V\d\d(?:, V\d\d)*) \| (.*?) \| (.*?) \|$", text, re.MULTILINE)
    return {rule: [where, tests] for rules, where, tests in rows for rule in rules.split(", ")}


def test_no_rule_of_the_catalogue_is_missing_and_the_document_says_of_each_where_it_is_applied_and_tested() -> None:
    assert set(RULES) == CATALOGUE
    rows = rows_of_the_document()
    assert set(rows) == CATALOGUE
    assert not [rule for rule, (where, _) in rows.items() if where.startswith("not")]
    for rule, (_, tests) in rows.items():
        files = re.findall(r"`([\w./]+)`", tests)
        assert files
        spelled = (rule, rule.lower())
        texts = [(ROOT / file).read_text(encoding="utf-8") for file in files]
        beyond_the_table = [re.sub(r"^\| V.*$", "", text, flags=re.MULTILINE) for text in texts]
        assert any(word in text for text in beyond_the_table for word in spelled), rule


@pytest.mark.integration
def test_a_run_applies_every_rule_that_the_document_says_it_applies(district: District) -> None:
    install(district, [1, 2])
    both = Customer(number=3, registers=dict.fromkeys((IMPORT, *RATES, EXPORT), (0, 0)), category="business",
                    three_rates=True, solar_regime="net_2017")  # fmt: skip
    district.add([both])
    district.connection.execute(
        "insert into reading select c.channel_id, r.measured_at, r.value, 0 from channel c, reading r"
        " where c.meter_id = %s and r.channel_id = (select min(channel_id) from reading) on conflict do nothing",
        [both.meter],
    )
    chunk = Chunk("", both.point, 3)
    applied = set()
    for profile in gather(district.connection, OCTOBER, Selection(), chunk).profiles:
        applied |= judge(profile, OCTOBER).applied
    assert applied == CATALOGUE - BEFORE_THE_RUN - AFTER_THE_CHUNKS


def event(district: District, customer: Customer, day: int, kind: str, **more: object) -> None:
    columns = {"kind": kind, "object": None, "code": None, "value": None} | more
    district.connection.execute(
        "insert into meter_event (meter_id, happened_at, fingerprint, kind, object, code, value, gateway_id)"
        " values (%(meter)s, %(at)s, %(print)s, %(kind)s, %(object)s, %(code)s, %(value)s, %(gateway)s)",
        columns
        | {"meter": customer.meter, "at": OCTOBER.start_at + timedelta(days=day, hours=8), "gateway": GATEWAY,
           "print": repr((day, kind, more)).encode()},
    )  # fmt: skip


@pytest.mark.integration
def test_what_a_meter_says_of_itself_is_found_on_its_day(district: District) -> None:
    [one, *_] = install(district, [1, 2])
    event(district, one, 1, "clock", value=-61_000)
    event(district, one, 2, "clock", value=451_000)
    event(district, one, 3, "clock_shifted", value=2_000)
    event(district, one, 4, "clock_shifted", value=-460_000)
    for day, code in ((5, 1), (6, 13), (7, 15), (8, 42), (9, 44), (10, 17)):
        event(district, one, day, "log", object="0.0.99.98.1.255", code=code)
    event(district, one, 11, "log", object="1.0.99.1.0.255", code=42)
    validated(district)
    found = district.rows(
        "select f.rule, extract(day from f.found_on)::int, f.severity from vee_finding f where f.rule between 'V07' and"
        " 'V13' order by 1, 2"
    )
    assert found == [
        ("V07", 2, 2), ("V07", 3, 4), ("V08", 5, 4), ("V09", 6, 1), ("V12", 7, 4), ("V12", 8, 4), ("V13", 9, 3),
        ("V13", 10, 3),
    ]  # fmt: skip
    [case] = queue_of(district.connection, OCTOBER, Selection()).cases
    assert {reason[0] for reason in case.reasons} == {"V07", "V08", "V12", "V13"}


@pytest.mark.integration
def test_a_new_event_is_judged_although_no_reading_changed(district: District) -> None:
    [one, *_] = install(district, [1, 2])
    validated(district)
    event(district, one, 8, "log", object="0.0.99.98.1.255", code=42)
    again = validated(district)
    assert (again.judged, again.unchanged, again.findings) == (1, 1, {"V13": 1})


@pytest.mark.integration
def test_a_peak_unlike_the_two_weeks_before_and_a_meter_without_contract_are_found(district: District) -> None:
    one, two = install(district, [1, 2])
    [[channel]] = district.rows("select channel_id from channel where meter_id = %s", [one.meter])
    at = OCTOBER.start_at + timedelta(days=9, hours=12)
    district.connection.execute(
        "update reading set value = value + 3000 where channel_id = %s and measured_at > %s", [channel, at]
    )
    district.connection.execute("delete from contract where metering_point_id = %s", [two.point])
    assert validated(district).findings["V24"] == 1
    rows = district.rows(
        "select j.metering_point_id, count(*) from vee_finding join vee_judgement j using (judgement_id)"
        " where rule = 'V04' group by 1"
    )
    assert rows == [(two.point, 31)]


@pytest.mark.integration
def test_a_sibling_that_does_not_come_for_a_day_is_found_at_its_own_register(district: District) -> None:
    one = Customer(number=1, registers=dict.fromkeys((IMPORT, *RATES), (0, 0)), category="business", three_rates=True)
    district.add([one])
    district.connection.execute("delete from reading")
    for slot in range(-48, 31 * 48 + 1):
        at = OCTOBER.start_at + slot * HALF_HOUR
        for obis in (IMPORT, *RATES):
            if obis != RATES[1] or not 481 <= slot <= 528:
                district.store(one.meter, obis, at, (slot + 48) * (300 if obis == IMPORT else 100))
    validated(district)
    found = district.rows(
        "select h.obis, extract(day from found_on)::int, evidence->>'present' from vee_finding"
        " join vee_judgement using (judgement_id) join channel h using (channel_id) where rule = 'V05'"
    )
    assert found == [(RATES[1], 11, "3")]


@pytest.mark.integration
def test_a_transposed_digit_of_a_hand_read_register_is_found_with_what_was_meant(district: District) -> None:
    september, one = Period.of_month("2026-09"), household(1)
    district.add([one], september)
    assert run_billing(district.dsn, september).billed == 1
    district.store(one.meter, IMPORT, OCTOBER.end_at, 3_130_000, quality=64)
    outcome = validated(district)
    assert (outcome.judged, outcome.findings) == (1, {"V34": 1, "V37": 1})
    [[evidence]] = district.rows("select evidence from vee_finding where rule = 'V37'")
    assert (evidence["energy_wh"], evidence["proposed_wh"]) == (1_965_000, 1_330_000)
    assert validated(district).unchanged == 1


@pytest.mark.integration
def test_demand_and_reactive_energy_that_do_not_fit_are_found(district: District) -> None:
    registers = {IMPORT: (1_000_000, 1_165_000), "1.0.3.8.0": (0, 2_000_000), "1.0.1.6.0": (0, 100)}
    district.add([Customer(number=1, registers=registers, category="business", voltage="lt6")])
    assert validated(district).findings == {"V39": 1, "V40": 1}


@pytest.mark.integration
def test_three_estimates_in_a_row_of_a_household_call_for_a_visit(district: District) -> None:
    august, one = Period.of_month("2026-07"), household(1)
    district.add([one], august)
    for month, times in (("2026-08", 0), ("2026-09", 0), ("2026-10", 1)):
        period = Period.of_month(month)
        validated(district, period)
        [change] = [row[0] for row in district.rows("select max(change_id) from reading_change")]
        decide_change(district.connection, change, "approve", MINH, limits_from(None))
        assert validated(district, period).findings.get("V38", 0) == times
    [[evidence]] = district.rows("select evidence from vee_finding where rule = 'V38'")
    assert evidence == {"periods": 3}


@pytest.mark.integration
def test_a_reader_whose_digits_no_register_shows_and_who_brings_one_reading_thrice_is_found(district: District) -> None:
    one, two = household(1), household(2)
    district.add([one, two], Period.of_month("2026-08"))
    now = datetime(2026, 11, 2, tzinfo=UTC)

    def key(customer: Customer, at: datetime, value_wh: int) -> int:
        return propose_edit(district.connection, customer.point, IMPORT, at, value_wh, by_hand=True, actor=HOA, now=now)

    for hour in range(60):
        key(two, OCTOBER.start_at + timedelta(hours=hour + 1), 1_200_000 + hour * 10_000)
    months = [Period.of_month(text) for text in ("2026-09", "2026-10")]
    for at in (months[0].start_at, *(month.end_at for month in months)):
        decide_change(district.connection, key(one, at, 1_170_000), "approve", MINH, limits_from(None))
    outcome = validated(district)
    assert (outcome.findings["V53"], outcome.findings["V55"]) == (1, 1)
    [case] = [case for case in queue_of(district.connection, OCTOBER, Selection()).cases if case.point == one.point]
    assert {reason[0] for reason in case.reasons} == {"V53", "V55"}
