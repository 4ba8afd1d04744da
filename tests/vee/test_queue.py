"""The queue of cases: what is open stands in it, with the number that is accepted; pages are cut as one likes."""

import json
from datetime import date, timedelta
from importlib import resources
from pathlib import Path

import psycopg
import pytest

from deploy.cli import main
from ingest_server.billing.acts import Actor, Role
from ingest_server.billing.gather import Selection
from ingest_server.billing.limits import limits_from
from ingest_server.billing.run import run_billing
from ingest_server.database import migrate
from ingest_server.registry.bulk import load_bulk
from ingest_server.vee.case_scores import score_of_register, score_of_transformer
from ingest_server.vee.cases import FIRST, Case, Rank, page_of, queue_of
from ingest_server.vee.decisions import decide_change
from ingest_server.vee.run import run_vee
from simulators.customers import write_customers
from tests.billing_runs.district import OCTOBER, Customer, District
from tests.vee.village import NOW, install, lose

pytestmark = pytest.mark.integration
ALL = Selection()
MINH = Actor("Minh", Role.HEAD, "đúng")
METERS, PAGE = 3_000, 25
MANY_CASES = """
    insert into vee_run (period_from, period_to, rule_set, actor) values ('2026-10-01', '2026-10-31', 'x', 'Lan');
    insert into vee_judgement (vee_run_id, metering_point_id, channel_id, period_from, version, rule_set, inputs_hash,
                               severity, monthly_wh, score_wh, acts_before)
    select 1, i.metering_point_id, c.channel_id, '2026-10-01', 1, 'x', 'x', 4 * (c.channel_id % 2), 1,
           c.channel_id % 40, 0
    from channel c join installation i using (meter_id);
    insert into vee_finding
    select judgement_id, 'V06', '2026-10-10', 1, 4, '{}' from vee_judgement where severity = 4;
    update meter set feeder = 'F' || right(meter_id, 2);
    insert into transformer (transformer_id, feeder, meter_id, valid_from, source, entered_by)
    select distinct on (feeder) 'T' || feeder, feeder, meter_id, date '2026-01-01', 'x', 'x' from meter
    order by feeder, meter_id;
    insert into reading_change (metering_point_id, channel_id, kind, made_by, why, rule_set, acts_before, parent_hash,
                                hash)
    select metering_point_id, channel_id, 'estimate', 'Lan', 'x', 'x', 0, '', '' from vee_judgement where severity = 0;
    insert into reading_version
    select change_id, channel_id, timestamptz '2026-10-10 00:00+07', 1, 0, 1, 1 from reading_change;
"""
BALANCE = {
    "minded": True,
    "loss": 0.21,
    "usual": 0.09,
    "meters": [{"unaccounted_wh": -7_000}, {"unaccounted_wh": 40_000}],
}
WORDS = ("--period", "2026-10", "--language", "en")


@pytest.fixture
def six(district: District) -> list[Customer]:
    """Six households; the first five lost readings, and an estimate waits for each."""
    six = install(district, [1, 2, 3, 4, 5, 6])
    for place, customer in enumerate(six[:5]):
        lose(district, customer, OCTOBER.start_at + timedelta(days=3 + place), 2 + place)
    run_vee(district.dsn, OCTOBER, actor="Lan", now=NOW)
    return six


def paged(district: District, limit: int, *, every: bool = False) -> list[Case]:
    found: list[Case] = []
    while page := page_of(district.connection, OCTOBER, ALL, found[-1].rank if found else FIRST, limit, every=every):
        found += page
    return found


def test_an_accepted_case_leaves_the_queue_and_is_found_among_all_with_who_and_why(
    district: District, six: list[Customer], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CONGTO_DSN", district.dsn)
    monkeypatch.setenv("COLUMNS", "200")

    def say(*words: str, status: int) -> str:
        assert main(["vee", *words]) == status
        return capsys.readouterr().out

    listed = json.loads(say("cases", *WORDS, "--json", status=1))["cases"]
    numbers = {case["metering_point_id"]: case["case_id"] for case in listed}
    point = six[2].point
    assert f"│ {numbers[point]:>4} │ {point}" in say("cases", *WORDS, status=1)
    decide_change(district.connection, 3, "reject", Actor("Lan", Role.BILLER, "không cần"), limits_from(None))
    assert point in say("cases", *WORDS, status=1)  # who made it decides nothing: the case stays
    say("accept", str(numbers[point]), "--as", "Minh", "--role", "controller", "--note", "đã xem", status=0)
    assert point not in say("cases", *WORDS, status=1)
    assert "accepted by Minh: đã xem" in say("cases", *WORDS, "--all", status=1)
    told = json.loads(say("cases", *WORDS, "--all", "--json", status=1))["cases"]
    [case] = [each for each in told if each["metering_point_id"] == point]
    assert (case["case_id"], case["state"], case["accepted"]["role"]) == (numbers[point], "accepted", "controller")
    assert {hold.metering_point_id for hold in run_billing(district.dsn, OCTOBER).holds} == {
        customer.point for place, customer in enumerate(six[:5]) if place != 2
    }


def test_a_case_whose_readings_were_decided_on_leaves_the_queue_with_its_hold(
    district: District, six: list[Customer]
) -> None:
    decide_change(district.connection, 1, "approve", MINH, limits_from(None))
    decide_change(district.connection, 2, "reject", MINH, limits_from(None))
    held = {hold.metering_point_id for hold in run_billing(district.dsn, OCTOBER).holds}
    assert {case.point for case in queue_of(district.connection, OCTOBER, ALL).cases} == held
    states = {case.point: case.state for case in queue_of(district.connection, OCTOBER, ALL, every=True).cases}
    assert [states[customer.point] for customer in six[:5]] == ["decided", "decided", "open", "open", "open"]


def test_pages_of_any_size_are_the_queue_cut_and_each_case_has_its_findings_and_its_changes(
    district: District, six: list[Customer]
) -> None:
    whole = queue_of(district.connection, OCTOBER, ALL).cases
    assert [case.rank for case in whole] == sorted(case.rank for case in whole)
    assert {case.point: [each[0] for each in case.waiting] for case in whole} == {
        customer.point: [place + 1] for place, customer in enumerate(six[:5])
    }
    for limit in (1, 2, 3, 100):
        assert paged(district, limit) == whole
    assert queue_of(district.connection, OCTOBER, ALL, most=2).more == 3


def test_an_accepted_case_with_a_change_that_waits_stands_at_the_end_until_that_is_decided(
    district: District, six: list[Customer]
) -> None:
    [number] = [case.number for case in paged(district, 10) if case.point == six[0].point]
    assert number is not None
    district.connection.execute(
        "insert into vee_acceptance (judgement_id, actor, role, note) values (%s, 'Minh', 'head', 'x')", [number]
    )
    for limit in (1, 2, 100):
        last = paged(district, limit)[-1]
        assert (last.point, last.state, last.reasons, last.score_wh) == (six[0].point, "waiting", [], 0)
    assert [case.state for case in paged(district, 2, every=True)].count("accepted") == 1
    decide_change(district.connection, 1, "reject", MINH, limits_from(None))
    assert six[0].point not in {case.point for case in paged(district, 2)}


def test_a_page_reads_the_rows_of_its_cases_and_no_more_of_registers_meters_and_findings(
    database: str, tmp_path: Path
) -> None:
    """Half of the registers fail."""
    write_customers(tmp_path / "tables", METERS, date(2026, 10, 1))
    migrate(database)
    with psycopg.connect(database, autocommit=True) as connection:
        load_bulk(connection, tmp_path / "tables")
        connection.execute(MANY_CASES)
        connection.execute("vacuum analyze")
        points = [row[0] for row in connection.execute('select metering_point_id collate "C" from channel c'
                                                       " join installation using (meter_id) order by 1")]  # fmt: skip
    after, pages = FIRST, []
    for _ in range(2):
        pages.append(_page(database, after, "channel", "meter", "vee_judgement", "vee_finding"))
        after = pages[-1][-1].rank
        assert all(len(case.reasons) == 1 and case.meter for case in pages[-1])
    for place in (len(points) // 2, len(points) * 9 // 10):
        pages.append(_page(database, Rank(0, points[place], 0), "channel", "meter", "reading_change"))
        assert all((case.state, len(case.waiting)) == ("waiting", 1) for case in pages[-1])
    assert [len(page) for page in pages] == [PAGE] * 4


def _page(database: str, after: Rank, *tables: str) -> list[Case]:
    """Return the page after a place, once it is seen that few rows of these tables were read for it."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("select pg_stat_reset()")
        page = page_of(connection, OCTOBER, ALL, after, PAGE)
        connection.execute("select pg_stat_force_next_flush()")
        connection.execute("select")
        read = connection.execute(
            "select relname, seq_tup_read + coalesce(idx_tup_fetch, 0) from pg_stat_user_tables"
            " where relname = any (%s)", [list(tables)],
        ).fetchall()  # fmt: skip
    assert max(rows for _, rows in read) < 10 * PAGE, read
    return page


def test_cases_that_were_judged_before_scores_were_kept_get_the_ones_they_would_get_now(district: District) -> None:
    [one, two] = install(district, [1, 2])
    told: list[tuple[Customer, list[tuple[str, int, int, dict[str, int]]]]] = [
        (
            one,
            [("V13", 1, 3, {}), ("V13", 2, 3, {}), ("V51", 1, 3, {"wiring": 2}), ("V52", 1, 3, {}), ("V09", 1, 1, {})],
        ),
        (two, [("V06", 1, 4, {"missing": 2}), ("V51", 3, 3, {"wiring": 0})]),
    ]
    district.connection.execute(
        "insert into vee_run (period_from, period_to, rule_set, actor) values ('2026-10-01', '2026-10-31', 'x', 'Lan')"
    )
    for customer, findings in told:
        number = district.value(
            "insert into vee_judgement (vee_run_id, metering_point_id, channel_id, period_from, version, rule_set,"
            " inputs_hash, severity, monthly_wh) select 1, %s, channel_id, '2026-10-01', 1, 'x', 'x', 4, 234567"
            " from channel where meter_id = %s returning judgement_id",
            [customer.point, customer.meter],
        )
        for rule, day, severity, evidence in findings:
            district.connection.execute(
                "insert into vee_finding values (%s, %s, %s, 1, %s, %s)",
                [number, rule, date(2026, 10, day), severity, json.dumps(evidence)],
            )
    district.connection.execute(
        "insert into transformer_balance (vee_run_id, transformer_id, period_from, version, supplied_wh, delivered_wh,"
        " points, rule_version, severity, evidence) values (1, 'T-1', '2026-10-01', 1, 1000000, 1, 1, 1, 3, %s)",
        [json.dumps(BALANCE)],
    )
    text = (resources.files("ingest_server") / "sql/0030_decided_findings.sql").read_text(encoding="utf-8")
    begin, end = text.index("alter table vee_judgement disable"), text.index("create index")
    district.connection.execute(text[begin:end])  # what an older database goes through
    for customer, findings in told:
        expected = score_of_register(234_567, [(rule, severity, evidence) for rule, _, severity, evidence in findings])
        scored = district.value("select score_wh from vee_judgement where metering_point_id = %s", [customer.point])
        assert abs(scored - expected) <= 1
    assert district.value("select score_wh from transformer_balance") == score_of_transformer(1_000_000, BALANCE)
