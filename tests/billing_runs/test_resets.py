"""Registers that were set back within a month, entered or not; and meters that run backwards."""

from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_core.explain import Language
from ingest_server.billing.acts import Actor, Role
from ingest_server.billing.columns import MISSING, Parts, empty_registers
from ingest_server.billing.corrections import decide_difference, differences_of
from ingest_server.billing.explain import explain_bill
from ingest_server.billing.gather import Selection
from ingest_server.billing.replay import replay
from ingest_server.billing.resets import Reset, gather_resets, split_at_resets, with_what_was_set
from ingest_server.billing.run import Plan, run_billing
from ingest_server.billing.sentences import text_of
from ingest_server.billing.stored import load_bill
from ingest_server.registry.bulk import load_bulk
from ingest_server.registry.store import load_registry
from protocols.errors import UsageError
from tests.billing_runs.district import EXPORT, GATEWAY, IMPORT, OCTOBER, RATES, Customer, District, household

pytestmark = pytest.mark.integration
RESET = '[[register_reset]]\nmeter = "M-0001"\nat = 2026-10-15T09:00:00+07:00\nsource = "x"\n'
BEFORE = '[register_reset.before]\n"1.0.1.8.0" = 1\n'
SET_AT = OCTOBER.start_at + timedelta(days=14, hours=9, minutes=17)


def enter(district: District, meter: str, before: dict[str, int], after: dict[str, int], at: datetime = SET_AT) -> Any:
    """Load a file that says registers were set."""
    text = f'[[register_reset]]\nmeter = "{meter}"\nat = {at.isoformat()}\nsource = "Biên bản 12/2026"\n'
    for name, values in (("before", before), ("after", after)):
        text += f"[register_reset.{name}]\n" + "".join(f'"{obis}" = {value}\n' for obis, value in values.items())
    return load_registry(district.connection, text, "reset.toml")


def bill_of(district: District) -> dict[str, Any]:
    found = load_bill(district.connection, district.value("select bill_id from bill"))
    assert found is not None
    return found


def test_what_a_register_counted_before_and_after_it_was_set_is_added_up(district: District):
    customer = Customer(number=1, registers={IMPORT: (900_000_000, 65_000)}, multiplier=20)
    district.add([customer])
    assert [hold.reason for hold in run_billing(district.dsn, OCTOBER).holds] == []  # it looks like rolling over
    enter(district, customer.meter, {IMPORT: 900_100_000}, {})
    assert run_billing(district.dsn, OCTOBER).replaced == 1
    energy, total = district.rows("select energy_wh, total from bill order by version desc limit 1")[0]
    assert energy == (100_000 + 65_000) * 20
    assert all(each.same for each in replay(district.connection, period=OCTOBER))
    assert total > 0


def test_a_register_may_be_set_to_any_index_and_several_times(district: District):
    customer = household(1, energy_wh=0)
    district.add([customer])
    enter(district, customer.meter, {IMPORT: 1_030_000}, {IMPORT: 500_000})
    enter(district, customer.meter, {IMPORT: 570_000}, {IMPORT: 940_000}, SET_AT + timedelta(days=3))
    run_billing(district.dsn, OCTOBER)
    bill = bill_of(district)
    assert bill["energy_wh"] == 30_000 + 70_000 + 60_000
    said = {language: "\n".join(explain_bill(bill, language)) for language in Language}
    assert (
        "Lúc 09:17 15/10/2026 thanh ghi tổng (SG) của công tơ M-0001 được đặt lại từ 1.030 thành 500 kWh"
        in (said[Language.VI])
    )
    assert (
        "At 2026-10-15 09:17 the register total (SG) of meter M-0001 was set from 1,030 to 500 kWh"
        in (said[Language.EN])
    )
    assert all(each.same for each in replay(district.connection, period=OCTOBER))
    assert run_billing(district.dsn, OCTOBER).unchanged == 1


def test_one_set_exactly_between_two_months_ends_the_one_and_begins_the_other(district: District):
    customer = household(1, energy_wh=7_000)
    district.add([customer])
    enter(district, customer.meter, {IMPORT: 1_050_000}, {}, OCTOBER.end_at)
    run_billing(district.dsn, OCTOBER)
    assert bill_of(district)["energy_wh"] == 50_000


def test_a_register_that_is_not_named_needs_a_reading_at_that_instant(district: District):
    customer = household(1, energy_wh=10_000, solar_regime="separate_2020")
    customer.registers[EXPORT] = (0, 5_000)
    district.add([customer])
    enter(district, customer.meter, {IMPORT: 1_003_000}, {IMPORT: 1_003_000})
    [hold] = run_billing(district.dsn, OCTOBER).holds
    assert (hold.reason, EXPORT in hold.detail, IMPORT in hold.detail) == ("missing_register_reading", True, False)
    district.store(customer.meter, EXPORT, SET_AT, 2_000)
    assert run_billing(district.dsn, OCTOBER).billed == 1


def test_three_rates_are_set_each_by_itself(district: District):
    registers = {
        **dict(zip(RATES, ((10_000, 700), (20_000, 800), (30_000, 900)), strict=True)),
        IMPORT: (60_000, 2_400),
    }
    customer = Customer(number=1, registers=registers, category="production", voltage="lt6", three_rates=True)
    district.add([customer])
    before = dict(zip(RATES, (11_000, 22_000, 33_000), strict=True))
    enter(district, customer.meter, before | {IMPORT: 66_000}, {})
    run_billing(district.dsn, OCTOBER)
    found = {line["register"]: line["energy_wh"] for line in bill_of(district)["lines"] if line["kind"] == "energy"}
    assert found == {"BT": 1_700, "CD": 2_800, "TD": 3_900}


def midnights(district: District, meter: str, values: list[int]) -> None:
    for day, value in enumerate(values, 1):
        district.store(meter, IMPORT, OCTOBER.start_at + timedelta(days=day), value)


@pytest.mark.parametrize(
    ("start_wh", "end_wh", "between", "reason"),
    [
        (999_900_000, 65_000, [999_930_000, 999_960_000, 30_000], None),  # rolled over: it was near its end
        (800_000_000, 65_000, [800_004_000, 800_008_000, 30_000], "register_set_back"),  # the month alone rolls over
        (5_000_000, 40_000, [5_010_000, 5_020_000, 20_000], "register_set_back"),
        (5_000_000, 4_990_000, [4_998_000, 4_996_000, 4_993_000], "ran_backwards"),
        (5_000_000, 4_990_000, [], "rollover_implausible"),  # nothing says why
    ],
    ids=["rolled over", "set back, like rolling over", "set back", "backwards", "not read in between"],
)
def test_readings_in_between_say_why_a_register_fell(
    district: District, start_wh: int, end_wh: int, between: list[int], reason: str | None
):
    customer = Customer(number=1, registers={IMPORT: (start_wh, end_wh)})
    district.add([customer])
    midnights(district, customer.meter, between)
    summary = run_billing(district.dsn, OCTOBER)
    assert [hold.reason for hold in summary.holds] == ([] if reason is None else [reason])
    for hold in summary.holds:
        said = {language: text_of(hold.sentences, language) for language in Language}
        assert "M-0001" in said[Language.VI]
        assert said[Language.VI] != said[Language.EN]


def test_a_meter_that_ran_backwards_is_billed_once_the_record_is_entered(district: District):
    """What it ran down, 10 kWh, was used; from the rewiring on it counts forwards."""
    customer = Customer(number=1, registers={IMPORT: (5_000_000, 4_996_000)})
    district.add([customer])
    midnights(district, customer.meter, [4_998_000, 4_994_000])
    assert [hold.reason for hold in run_billing(district.dsn, OCTOBER).holds] == ["ran_backwards"]
    enter(district, customer.meter, {IMPORT: 5_010_000}, {IMPORT: 4_990_000}, OCTOBER.start_at + timedelta(days=5))
    assert run_billing(district.dsn, OCTOBER).billed == 1
    assert bill_of(district)["energy_wh"] == 10_000 + 6_000


@pytest.mark.parametrize(
    ("model", "status", "held"),
    [("*", "registers_set", True), ("test", "registers_set", True), ("test", "nothing", False), (None, None, False)],
    ids=["every model", "its model", "not of its model", "no such code"],
)
def test_a_meter_that_logs_a_reset_waits_until_what_it_showed_is_entered(
    district: District, model: str | None, status: str | None, held: bool
):
    """The month alone looks like rolling over."""
    customer = Customer(number=1, registers={IMPORT: (999_900_000, 65_000)})
    district.add([customer])
    rows = [("*", 88, "registers_set"), (model, 88, status)] if model == "test" else [(model, 88, status)]
    for row in rows if model else []:
        district.connection.execute(
            "insert into meter_log_code (model, code, status, source, entered_by) values (%s, %s, %s, 'manual', 'An')",
            row,
        )
    district.connection.execute(
        "insert into meter_event (meter_id, happened_at, fingerprint, kind, object, code, gateway_id)"
        " values (%s, %s, '\\x01', 'log', '0.0.99.98.0.255', 88, %s)",
        [customer.meter, SET_AT, GATEWAY],
    )
    holds = run_billing(district.dsn, OCTOBER).holds
    assert [hold.reason for hold in holds] == ["register_set_back"] * held
    if held:
        assert "09:17" in holds[0].detail
        enter(district, customer.meter, {IMPORT: 999_950_000}, {}, SET_AT - timedelta(minutes=4))
        assert run_billing(district.dsn, OCTOBER).billed == 1
        assert bill_of(district)["energy_wh"] == 115_000


def test_a_reset_that_becomes_known_after_the_bill_went_out_is_a_difference(district: District):
    """It looked like rolling over, 165 kWh; 999,900 to 999,950 and on to 65 are 115."""
    customer = Customer(number=1, registers={IMPORT: (999_900_000, 65_000)})
    district.add([customer])
    run_billing(district.dsn, OCTOBER, Plan(issue_as="Lan"))
    enter(district, customer.meter, {IMPORT: 999_950_000}, {})
    assert run_billing(district.dsn, OCTOBER, Plan(correct_as=("Lan", "biên bản đến muộn"))).proposed == 1
    [found] = differences_of(district.connection, OCTOBER, Selection())
    assert found["energy_wh"] == 115_000 - 165_000
    decide_difference(district.connection, found["difference_id"], "approve", Actor("Minh", Role.CONTROLLER, "đúng"))
    summary = run_billing(district.dsn, OCTOBER)
    assert (summary.unchanged, summary.differing) == (1, 0)


def test_a_bulk_load_takes_resets_and_schedules_too(district: District, tmp_path: Path):
    customer = Customer(number=1, registers={IMPORT: (900_000_000, 65_000)})
    district.add([customer])
    at = SET_AT.isoformat()
    rows = f"meter_id\treset_at\tobis\tbefore\tafter\tsource\n{customer.meter}\t{at}\t{IMPORT}\t900100000\t0\tbook 7\n"
    (tmp_path / "register_reset.tsv").write_text(rows)
    (tmp_path / "meter_schedule.tsv").write_text(
        f"meter_id\tsince_at\tschedule\tsource\n{customer.meter}\t{at}\t2026\tbook 7\n"
    )
    district.connection.autocommit = False
    assert load_bulk(district.connection, tmp_path) == {"register_reset": 1, "meter_schedule": 1}
    district.connection.autocommit = True
    [bill] = run_billing(district.dsn, OCTOBER).bills
    assert bill.energy_wh == 165_000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (RESET, r"before: missing"),
        (RESET.replace("+07:00", "") + BEFORE, r"without an offset"),
        (
            RESET + BEFORE + '[register_reset.after]\n"1.0.2.8.0" = 1\n',
            r"after.1.0.2.8.0: is not among the registers of before",
        ),
        (
            RESET.replace("M-0001", "M-9") + BEFORE,
            r"register_reset\[1\].meter: 'M-9' is neither in this file nor in the database",
        ),
        (
            RESET.replace("register_reset", "meter_schedule").replace("at =", "since =") + 'schedule = "2030"\n',
            r"schedule: found '2030'; expected one of 2014, 2026",
        ),
    ],
    ids=["no registers", "no offset", "after alone", "unknown meter", "unknown schedule"],
)
def test_what_the_file_says_wrongly_is_refused_with_its_place(district: District, text: str, message: str):
    district.add([household(1)])
    with pytest.raises(UsageError, match=message):
        load_registry(district.connection, text, "reset.toml")


def test_the_same_file_again_changes_nothing_and_a_corrected_one_does(district: District):
    customer = household(1)
    district.add([customer])
    assert enter(district, customer.meter, {IMPORT: 1_050_000}, {}).changed["register_reset"] == 1
    assert enter(district, customer.meter, {IMPORT: 1_050_000}, {}).changed["register_reset"] == 0
    assert enter(district, customer.meter, {IMPORT: 1_060_000}, {}).changed["register_reset"] == 1
    assert district.rows("select before, after from register_reset") == [(1_060_000, 0)]


def test_what_was_set_at_meters_of_others_between_those_of_a_chunk_is_not_theirs(district: District):
    """A chunk of the first and the third point; the second's meter lies between theirs."""
    customers = [household(number) for number in (1, 2, 3)]
    district.add(customers)
    for each in customers[:2]:
        enter(district, each.meter, {IMPORT: 1_050_000}, {})
    span = {"start_at": OCTOBER.start_at, "end_at": OCTOBER.end_at}
    found = gather_resets(district.connection, span, [customers[0].meter, customers[2].meter])
    assert [each.meter for each in found] == [customers[0].meter]
    assert gather_resets(district.connection, span, []) == []


DAY_US = 86_400_000_000
SPANS = st.lists(st.tuples(st.sampled_from("ABC"), st.integers(0, 20), st.integers(1, 20)), max_size=8)
CUTS = st.lists(st.tuples(st.sampled_from("ABCD"), st.integers(0, 40)), max_size=12)


@given(spans=SPANS, cuts=CUTS)
def test_parts_are_cut_wherever_their_own_meter_was_set_and_nowhere_else(
    spans: list[tuple[str, int, int]], cuts: list[tuple[str, int]]
):
    resets = [Reset(meter, day * DAY_US, register, 5, 7, "x") for meter, day in cuts for register in (0, 2)]
    found = split_at_resets(parts_of(spans), resets)
    pieces = list(
        zip(found.point.tolist(), found.meter_id, found.start_us.tolist(), found.end_us.tolist(), strict=True)
    )
    wanted = []
    for row, (meter, first, days) in enumerate(spans):
        inside = sorted({day for own, day in cuts if own == meter and first < day < first + days})
        wanted += [(row, meter, at * DAY_US, to * DAY_US) for at, to in pairwise([first, *inside, first + days])]
    assert pieces == wanted
    shown = with_what_was_set(found, resets)
    set_at = {(meter, day * DAY_US) for meter, day in cuts}
    for row, (_, meter, start_us, end_us) in enumerate(pieces):
        for side, us, value in ((0, start_us, 7), (1, end_us, 5)):
            wanted_values = [value if (meter, us) in set_at else 0] * 2
            assert shown.value[row, [0, 2], side].tolist() == wanted_values


def parts_of(spans: list[tuple[str, int, int]]) -> Parts:
    """Return parts of meters, each from a day on and for so many, with registers at 0."""
    n = len(spans)
    zeros = np.zeros(n, dtype=np.int64)
    return Parts(
        point=np.arange(n, dtype=np.int64),
        meter_id=tuple(meter for meter, _, _ in spans),
        start_us=np.array([first * DAY_US for _, first, _ in spans], dtype=np.int64),
        end_us=np.array([(first + days) * DAY_US for _, first, days in spans], dtype=np.int64),
        generation=zeros != 0,
        multiplier=zeros + 1,
        digits=zeros + 6,
        channel=empty_registers(n, fill=MISSING),
        profile=zeros,
        value=empty_registers(n, 2),
        quality=empty_registers(n, 2, fill=MISSING),
        conflict=empty_registers(n, 2, fill=0, dtype=np.bool_),
    )
