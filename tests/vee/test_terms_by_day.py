"""Each day of a month is judged by the contract and the parameters that hold on it."""

import json
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_core.validation.series import METER_CLASSES
from deploy.cli import main
from ingest_server.billing.gather import Chunk, Selection
from ingest_server.billing.period import Period
from ingest_server.billing.run import run_billing
from ingest_server.vee.cases import queue_of
from ingest_server.vee.gather import Channel, gather
from ingest_server.vee.judge import judge
from ingest_server.vee.run import run_vee
from ingest_server.vee.terms_by_day import Setting, class_of, days_served, stretches_of
from tests.billing_runs.district import IMPORT, OCTOBER, Customer, District, household
from tests.vee.village import HALF_HOUR, NOW, install, lose, registers

DAY = timedelta(days=1)
OCTOBER_DAYS = st.dates(date(2026, 9, 20), date(2026, 11, 10))


def channel_with(*contracts: tuple[date, date | None, str]) -> Channel:
    terms = [[a.isoformat(), b and b.isoformat(), category, False, False, 0] for a, b, category in contracts]
    values = dict.fromkeys(Channel._fields, 0) | {"point": "P", "category": "", "terms": json.dumps(terms)}
    return Channel(**values)


@st.composite
def months(draw: st.DrawFn) -> tuple[Channel, list[Setting]]:
    days = sorted(draw(st.sets(OCTOBER_DAYS, max_size=6)))
    spans = [(a, b - DAY, draw(st.sampled_from(["residential", "business", "production"])))
             for a, b in zip(days[::2], days[1::2], strict=False)]  # fmt: skip
    settings = [
        Setting(*draw(st.sampled_from([("shop", None), ("large", None), (None, "P"), (None, "Q")])), name,
                draw(st.integers(0, 9)), *sorted([draw(OCTOBER_DAYS), draw(OCTOBER_DAYS)]))
        for name in draw(st.lists(st.sampled_from(["spike_percent", "zero_hours"]), max_size=4))
    ]  # fmt: skip
    return channel_with(*[span for span in spans if span[0] <= span[1]]), settings


@given(months())
def test_stretches_cover_the_month_and_each_day_has_its_own_contract_and_parameters(month) -> None:
    channel, settings = month
    stretches = stretches_of(channel, settings, OCTOBER)
    days = [each.first_on + DAY * n for each in stretches for n in range((each.last_on - each.first_on).days + 1)]
    assert days == [OCTOBER.first_on + DAY * n for n in range(31)]
    contracts = json.loads(channel.terms)
    for each in stretches:
        for day in (each.first_on, each.last_on):
            held = [row[2] for row in contracts if row[0] <= day.isoformat() <= row[1]]
            assert each.served == bool(held)
            assert not held or each.channel.category == held[0]
            klass = METER_CLASSES[class_of(each.channel.category)]
            for name in ("spike_percent", "zero_hours"):
                set_now = [s for s in settings if s.name == name and s.start_on <= day <= s.end_on]
                of_class = [s.value for s in set_now if s.meter_class == klass]
                own = [s.value for s in set_now if s.point == "P"]
                assert dict(each.values).get(name) == [None, *of_class, *own][-1]
    served = days_served([stretches], OCTOBER.first_on - 3 * DAY, 40)
    assert served[0, :3].all()
    assert served[0, 3:34].sum() == sum(any(r[0] <= d.isoformat() <= r[1] for r in contracts) for d in days)


@pytest.mark.integration
def test_use_on_days_between_two_contracts_is_found_and_on_others_it_is_not(district: District) -> None:
    [one] = install(district, [1])
    district.connection.execute("update contract set valid_to = '2026-10-10'")
    district.connection.execute(
        "insert into contract (metering_point_id, valid_from, category, households)"
        " values (%s, '2026-10-13', 'residential', 1)",
        [one.point],
    )
    run_vee(district.dsn, OCTOBER, actor="Lan", now=NOW)
    found = district.rows("select extract(day from found_on)::int from vee_finding where rule = 'V04' order by 1")
    assert found == [(11,), (12,)]


def zeros(district: District, customer: Customer, first_day: int) -> None:
    """Let the register stand still for eight hours of a day, and catch up."""
    at = OCTOBER.start_at + timedelta(days=first_day - 1, hours=8)
    [shown] = [value for instant, value in registers(customer.number) if instant == at]
    district.connection.execute(
        "update reading set value = %s from channel c where c.channel_id = reading.channel_id and c.meter_id = %s"
        " and measured_at > %s and measured_at <= %s",
        [shown, customer.meter, at, at + 16 * HALF_HOUR],
    )


def standstills(district: District) -> list[int]:
    run_vee(district.dsn, OCTOBER, actor="Lan", now=NOW)
    return [
        row[0]
        for row in district.rows(
            "select extract(day from f.found_on)::int from vee_finding f join"
            " (select distinct on (channel_id) * from vee_judgement order by channel_id, version desc) j"
            " using (judgement_id) where f.rule = 'V25' order by 1"
        )
    ]


@pytest.mark.integration
def test_a_shop_that_became_a_household_is_judged_as_a_shop_before_and_as_a_household_after(district: District) -> None:
    [one] = install(district, [1])
    for day in (6, 22):
        zeros(district, one, day)  # a shop's zeros warn from four hours on, a household's from 24
    district.connection.execute("update contract set valid_to = '2026-10-14', category = 'business', voltage = 'lt6'")
    district.connection.execute(
        "insert into contract (metering_point_id, valid_from, category, households)"
        " values (%s, '2026-10-15', 'residential', 1)",
        [one.point],
    )
    assert standstills(district) == [6]
    district.connection.execute("update contract set category = 'business', voltage = 'lt6', households = 1")
    assert standstills(district) == [6, 22]


@pytest.mark.integration
def test_a_parameter_holds_once_another_person_approves_it_and_until_its_last_day(
    district: District, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CONGTO_DSN", district.dsn)
    one, two = install(district, [1, 2])

    def say(*words: str, status: int = 0) -> str:
        assert main(["vee", "parameter", *words, "--language", "en"]) == status
        out = capsys.readouterr()
        return out.out + out.err

    for day in (6, 22):
        zeros(district, one, day)
    assert standstills(district) == []
    asked = ("set", "zero_hours", "4", "--point", one.point, "--from", "2026-10-01", "--as", "Lan", "--note", "seen")
    assert "a customer's own parameter ends" in say(*asked, status=2)
    assert f"zero_hours of {one.point}: ends 2026-09-01 before it begins" in say(
        *asked, "--until", "2026-09-01", status=2
    )
    assert "expected one of clock_warn_s" in say("set", "zero_hour", *asked[2:], "--until", "2026-10-14", status=2)
    assert "waits for another person" in say(*asked, "--until", "2026-10-14")
    assert standstills(district) == []
    assert "four eyes" in say("approve", "1", "--as", "Lan", "--note", "x", status=2)
    assert "approved by Minh" in say("approve", "1", "--as", "Minh", "--note", "right")
    assert "decided on it already" in say("reject", "1", "--as", "Hoa", "--note", "x", status=2)
    outcome = run_vee(district.dsn, OCTOBER, actor="Lan", now=NOW)
    assert (outcome.judged, outcome.unchanged) == (1, 1)  # the other point's parameters are what they were
    assert standstills(district) == [6]
    say("set", "zero_hours", "5", "--class", "household", "--from", "2026-10-20", "--as", "Lan", "--note", "all")
    say("approve", "2", "--as", "Minh", "--note", "right")
    say("set", "zero_hours", "23", "--class", "household", "--from", "2026-10-20", "--as", "Lan", "--note", "no")
    say("reject", "3", "--as", "Minh", "--note", "wrong")
    assert standstills(district) == [6, 22]
    assert f"{one.point}" in say("list", "--on", "2026-10-05")
    assert one.point not in say("list", "--on", "2026-10-21")
    assert two.point not in say("list")


@pytest.mark.integration
def test_a_day_unlike_the_four_weeks_before_is_told_beside_another_finding(district: District) -> None:
    [one] = install(district, [1])
    [[channel]] = district.rows("select channel_id from channel where meter_id = %s", [one.meter])
    rows = registers(one.number, before=28)
    usual = np.diff([value for _, value in rows])
    usual[: 60 * 48] = np.tile(np.arange(48) * 10 + 60, 60)
    for sunday in range(3, 60, 7):  # the window begins on a Thursday
        usual[sunday * 48 : sunday * 48 + 48] *= 3
    for slots in (range(48 * 40 + 4, 48 * 40 + 16), range(48 * 50, 48 * 50 + 4)):  # the 13th's night; four hours lost
        usual[slots.start : slots.stop] += 800 if len(slots) > 4 else 0
    shown = 1_000_000 + np.concatenate([[0], np.cumsum(usual)])
    district.connection.execute("delete from reading")
    with district.connection.cursor().copy("copy reading from stdin") as copy:
        for (at, _), value in zip(rows, shown.tolist(), strict=True):
            copy.write_row((channel, at, value, 0))
    outcome = run_vee(district.dsn, OCTOBER, actor="Lan", now=NOW)
    assert "V50" not in outcome.findings
    district.forget(one.meter, IMPORT, OCTOBER.start_at + timedelta(days=22, hours=1))
    assert run_vee(district.dsn, OCTOBER, actor="Lan", now=NOW).findings["V50"] == 1
    [case] = queue_of(district.connection, OCTOBER, Selection()).cases
    assert {(rule, day.day) for rule, day, _ in case.reasons if rule in {"V06", "V50"}} == {("V06", 23), ("V50", 13)}


@pytest.mark.integration
def test_a_month_cut_by_a_change_that_changes_nothing_is_judged_as_if_it_were_not_cut(district: District) -> None:
    one, two = install(district, [1, 2])
    zeros(district, two, 9)
    [whole] = gather(district.connection, OCTOBER, Selection(), Chunk("", two.point, 2)).profiles
    cut = [Setting(None, one.point, "idle_periods", 2, date(2026, 10, 7), date(2026, 10, 20)),
           Setting("household", None, "zero_hours", 24, date(2026, 10, 9), date(2026, 10, 9))]  # fmt: skip
    plain, parted = judge(whole, OCTOBER), judge(replace(whole, settings=tuple(cut)), OCTOBER)
    assert sorted(map(repr, plain.found)) == sorted(map(repr, parted.found))
    assert plain.hashes != parted.hashes
    assert (plain.severity == parted.severity).all()


@pytest.mark.integration
def test_a_month_is_not_held_against_the_bills_of_who_lived_there_before(district: District) -> None:
    september, stays, left = Period.of_month("2026-09"), household(1), household(2)
    district.add([stays, left], september)
    assert run_billing(district.dsn, september).billed == 2
    for each in (stays, left):  # ten times as much as in September
        district.store(each.meter, IMPORT, OCTOBER.end_at, 1_165_000 + 1_650_000)
    district.connection.execute("insert into customer (customer_id, name) values ('PD01000000099', 'Trần Văn Ba')")
    district.connection.execute(
        "update contract set valid_to = '2026-09-30' where metering_point_id = %s", [left.point]
    )
    district.connection.execute(
        "insert into contract (metering_point_id, valid_from, category, households, customer_id)"
        " values (%s, '2026-10-01', 'residential', 1, 'PD01000000099')",
        [left.point],
    )
    run_vee(district.dsn, OCTOBER, actor="Lan", now=NOW)
    held = district.rows(
        "select metering_point_id from vee_finding join vee_judgement using (judgement_id) where rule = 'V34'"
    )
    assert held == [(stays.point,)]


@pytest.mark.integration
@pytest.mark.parametrize(("before_kw", "after_kw", "told"), [(1, 20, True), (20, 1, False)])
def test_an_estimate_is_judged_again_by_the_connection_of_its_own_day(
    district: District, before_kw: int, after_kw: int, told: bool
) -> None:
    [one] = install(district, [1])
    district.connection.execute("update contract set valid_to = '2026-10-14', contracted_kw = %s", [before_kw])
    district.connection.execute(
        "insert into contract (metering_point_id, valid_from, category, households, contracted_kw)"
        " values (%s, '2026-10-15', 'residential', 1, %s)",
        [one.point, after_kw],
    )
    begin = OCTOBER.start_at + timedelta(days=5, hours=10)
    lose(district, one, begin, 10)  # and 15 kWh are used meanwhile: about three kW
    district.connection.execute("update reading set value = value + 15000 where measured_at > %s", [begin])
    run_vee(district.dsn, OCTOBER, actor="Lan", now=NOW)
    [[why]] = district.rows("select why from reading_change")
    assert ("fails again on 2026-10-06" in why) == told, why
