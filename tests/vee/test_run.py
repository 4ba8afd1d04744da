"""A validation run, database to database: what is found, what is proposed, and that it is done once."""

import json
import os
import subprocess
import sys
from datetime import timedelta

import pytest

from ingest_server.billing.acts import Actor, Role
from ingest_server.billing.limits import limits_from
from ingest_server.billing.run import run_billing
from ingest_server.vee.changes import broken_link, load_change
from ingest_server.vee.decisions import decide_change
from ingest_server.vee.run import run_vee
from tests.billing_runs.district import IMPORT, OCTOBER, RATES, Customer, District
from tests.vee.village import HALF_HOUR, NOW, install, lose, registers

pytestmark = pytest.mark.integration
DEADLINE_S = 60  # for a process to do what it should; it takes about two seconds
MINH = Actor("Minh", Role.HEAD, "đúng")


def validated(district: District, **more: int):
    return run_vee(district.dsn, OCTOBER, actor="Lan", now=NOW, **more)


def test_a_month_of_sound_readings_has_no_failure_and_no_proposal_and_is_judged_once(district: District) -> None:
    install(district, [1, 2, 3])
    first = validated(district)
    assert (first.channels, first.judged, first.proposed, first.gaps_left, first.ends_left) == (3, 3, 0, 0, 0)
    assert district.value("select count(*) from vee_finding where severity >= 4") == 0
    again = validated(district)
    assert (again.judged, again.unchanged, again.findings) == (0, 3, {})
    assert district.value("select count(*) from vee_judgement") == 3


def test_readings_for_a_gap_lie_between_those_around_it_and_their_energy_is_that_of_the_gap(district: District) -> None:
    [one, *_] = install(district, [1, 2])
    begin = OCTOBER.start_at + timedelta(days=9, hours=3)
    lost = lose(district, one, begin, 20)
    outcome = validated(district)
    assert (outcome.proposed, outcome.values, outcome.gaps_left) == (1, 20, 0)
    assert outcome.findings["V06"] == 1
    rows = district.rows("select measured_at, value, quality, method from reading_version order by measured_at")
    assert [row[0] for row in rows] == sorted(lost)
    before, after = (dict(registers(1))[at] for at in (begin - HALF_HOUR, begin + 20 * HALF_HOUR))
    values = [before, *(row[1] for row in rows), after]
    assert values == sorted(values)
    assert max(abs(row[1] - lost[row[0]]) for row in rows) < 700
    assert {row[2:] for row in rows} == {(16, 3)}
    assert validated(district).proposed == 0


def test_an_estimate_counts_once_another_has_approved_it_and_then_the_month_has_no_gap(district: District) -> None:
    [one] = install(district, [1])
    lost = lose(district, one, OCTOBER.end_at - 2 * HALF_HOUR, 5)
    assert run_billing(district.dsn, OCTOBER).held == 1
    validated(district)
    [change] = [row[0] for row in district.rows("select change_id from reading_change")]
    assert run_billing(district.dsn, OCTOBER).held == 1
    [october, november] = decide_change(district.connection, change, "approve", MINH, limits_from(None))
    assert (october.before.held, october.after.held) == ("missing_register_reading", None)
    assert november.after.held == "missing_register_reading"
    summary = run_billing(district.dsn, OCTOBER)
    assert (summary.billed, summary.held, summary.total) == (1, 0, october.after.total)
    at_end = load_change(district.connection, change)["versions"][2]
    start = dict(registers(1))[OCTOBER.start_at]
    assert at_end.measured_at == OCTOBER.end_at
    assert abs(at_end.value - lost[OCTOBER.end_at]) < 200
    assert summary.energy_wh == at_end.value - start
    again = validated(district)
    assert (again.judged, again.proposed) == (1, 0)
    assert broken_link(district.connection, 1) is None


def test_a_single_misreading_is_found_and_another_value_is_proposed_in_its_place(district: District) -> None:
    [one] = install(district, [1])
    at = OCTOBER.start_at + timedelta(days=4, hours=5)
    true = dict(registers(1))[at]
    district.forget(one.meter, IMPORT, at)
    district.store(one.meter, IMPORT, at, true + 3_000_000)
    outcome = validated(district)
    assert outcome.findings["V33"] == 1
    [[value, quality, reason]] = district.rows("select value, quality, reason from reading_version")
    assert (abs(value - true) < 200, quality, reason) == (True, 32, 2)
    assert district.rows("select value from billing_reading where measured_at = %s", [at]) == [(true + 3_000_000,)]
    decide_change(district.connection, 1, "approve", MINH, limits_from(None))
    assert district.rows("select value from billing_reading where measured_at = %s", [at]) == [(value,)]
    assert district.rows("select value from reading where measured_at = %s", [at]) == [(true + 3_000_000,)]


def test_two_runs_at_once_judge_each_register_once(district: District) -> None:
    for customer in install(district, [1, 2, 3]):
        lose(district, customer, OCTOBER.start_at + timedelta(days=customer.number), 3)
    words = [sys.executable, "-m", "deploy.cli", "vee", "run", "--period", "2026-10", "--json"]
    env = os.environ | {"CONGTO_DSN": district.dsn}
    both = [
        subprocess.Popen([*words, "--as", name], stdout=subprocess.PIPE, env=env, text=True) for name in ("Lan", "Hoa")
    ]
    told = [json.loads(process.communicate(timeout=DEADLINE_S)[0]) for process in both]
    assert sorted(each["judged"] for each in told) == [0, 3]
    assert sorted(each["proposed"] for each in told) == [0, 3]
    assert district.value("select count(*) from reading_change") == 3


def test_rates_that_do_not_add_up_to_the_total_are_found(district: District) -> None:
    total, off = 0, 0
    one = Customer(number=1, registers=dict.fromkeys((IMPORT, *RATES), (0, 0)), category="business", three_rates=True)
    district.add([one])
    district.connection.execute("delete from reading")
    for slot in range(-48, 31 * 48 + 1):
        at, off = OCTOBER.start_at + slot * HALF_HOUR, 900 * (slot >= 480)
        total = (slot + 48) * 300 + (slot * 7919) % 97
        for obis, value in zip((IMPORT, *RATES), (total, total // 2 + off, 0, total - total // 2), strict=True):
            district.store(one.meter, obis, at, value)
    validated(district)
    [[day, evidence]] = district.rows("select found_on, evidence from vee_finding where rule = 'V31'")
    assert (str(day), evidence["rates_wh"] - evidence["total_wh"]) == ("2026-10-10", 900)


def test_a_reading_doubted_at_the_gateway_is_replaced(district: District) -> None:
    [one] = install(district, [1])
    at = OCTOBER.end_at
    true = dict(registers(1))[at]
    district.forget(one.meter, IMPORT, at)
    district.store(one.meter, IMPORT, at, true + 40_000, quality=4)
    assert run_billing(district.dsn, OCTOBER).held == 1
    validated(district)
    [[value, quality]] = district.rows("select value, quality from reading_version")
    assert (abs(value - true) < 500, quality) == (True, 32)
    decide_change(district.connection, 1, "approve", MINH, limits_from(None))
    assert run_billing(district.dsn, OCTOBER).energy_wh == value - dict(registers(1))[OCTOBER.start_at]


def test_two_processes_and_small_chunks_find_what_one_finds(district: District) -> None:
    for customer in install(district, [1, 2, 3, 4]):
        lose(district, customer, OCTOBER.start_at + timedelta(days=customer.number), 3)
    outcome = validated(district, workers=2, chunk_points=1)
    assert (outcome.judged, outcome.proposed, outcome.values) == (4, 4, 12)
