"""What meters are, from a file to the findings of a run: plates, log codes, check meters, transformers."""

import json
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_core.estimation.provenance import Method
from deploy.cli import main
from ingest_server.billing.gather import Selection
from ingest_server.billing.period import Period
from ingest_server.meters.file import parse_meter_file
from ingest_server.vee.cases import queue_of
from ingest_server.vee.run import run_vee
from protocols.errors import UsageError
from tests.billing_runs.district import EXPORT, GATEWAY, IMPORT, OCTOBER, Customer, District, household
from tests.vee.village import HALF_HOUR, NOW, install, lose, registers

PAGE = Path(__file__).parents[2] / "docs/contracts/meters.md"
EXAMPLE = PAGE.read_text(encoding="utf-8").split("```toml\n")[1].split("```")[0]
Load = Callable[..., str]


@pytest.fixture
def load(district: District, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    monkeypatch.setenv("CONGTO_DSN", district.dsn)

    def loaded(text: str, status: int = 0) -> str:
        path = tmp_path / "meters.toml"
        path.write_text(text, encoding="utf-8")
        assert main(["meters", "load", str(path), "--as", "Lan", "--language", "en"]) == status
        out = capsys.readouterr()
        return out.out + out.err

    return loaded


def findings(district: District, rule: str, period: Period = OCTOBER) -> list[tuple[str, dict[str, object]]]:
    run_vee(district.dsn, period, actor="Lan", now=NOW)
    return district.rows(
        "select j.metering_point_id, f.evidence from vee_finding f join vee_judgement j using (judgement_id)"
        " where f.rule = %s and j.period_from = %s order by 1",
        [rule, period.first_on],
    )


def plate(meter: str, **figures: object) -> str:
    lines = "\n".join(f"{name} = {json.dumps(value)}" for name, value in figures.items())
    return f'[[plate]]\nmeter = "{meter}"\nvalid_from = 2026-01-01\nsource = "visit"\n{lines}\n'


def test_the_pages_example_is_read_and_a_plate_that_says_nothing_is_refused():
    file = parse_meter_file(EXAMPLE, "example.toml")
    assert file.plates[0].class_e3 == 500
    assert [len(rows) for rows in (file.plates, file.log_codes, file.check_meters, file.transformers)] == [1] * 4
    for text, error in (
        (plate("M-1"), "the plate says nothing"),
        (plate("M-1", voltage_v=220), "belong together"),
        (plate("M-1", **{"class": "0,5"}), "found '0,5'; expected an accuracy class such as \"1\""),
        (plate("M-1", phases=3, voltage_v=1, current_max_a=1, digit=6), "did you mean 'digits'"),
        (plate("M-1", digits=6) * 2, "stands twice"),
        (plate("M-1", digits=6) + plate("M-1", digits=5), "M-1 2026-01-01 stands twice"),
        ('[[log_code]]\nmodel = "*"\ncode = 1\nstatus = "broken"\nsource = "x"', "expected one of nothing"),
        ("", "found no"),
    ):
        with pytest.raises(UsageError) as raised:
            parse_meter_file(text, "f.toml")
        assert error in str(raised.value)


@given(st.text(max_size=200) | st.sampled_from(EXAMPLE.splitlines()).flatmap(lambda line: st.just(line * 2)))
def test_any_text_is_read_or_refused(text: str):
    for each in (text, EXAMPLE + text, EXAMPLE.replace("6", text[:3])):
        try:
            parse_meter_file(each, "f.toml")
        except UsageError:
            continue


@pytest.mark.integration
def test_a_file_is_stored_once_and_an_unknown_meter_stores_nothing(district: District, load: Load) -> None:
    district.add([household(1)])
    text = plate("M-0001", digits=6) + '[[log_code]]\nmodel = "*"\ncode = 9\nstatus = "tamper"\nsource = "manual"\n'
    assert "M-0404" in load(text + plate("M-0404", digits=5), status=2)
    assert district.value("select count(*) from meter_log_code") == 0
    assert "1 given       1 new or other" in load(text)
    assert "1 given       0 new or other" in load(text)
    load(plate("M-0001", digits=7))
    load(plate("M-0001", digits=6))  # back again: the last one entered counts
    assert district.rows("select digits, entered_by from meter_plate order by plate_id") == [
        (6, "Lan"), (7, "Lan"), (6, "Lan"),
    ]  # fmt: skip
    assert main(["meters", "show", "M-0001", "--json"]) == 0
    assert main(["meters", "show", "M-0404"]) == 2


@pytest.mark.integration
def test_a_plate_unlike_the_registry_is_found_for_profiles_and_for_registers_alone(
    district: District, load: Load
) -> None:
    one, two = install(district, [1, 2])
    alone = household(3)
    district.add([alone])
    load(plate(one.meter, multiplier=40, digits=6) + plate(two.meter, multiplier=1, interval_min=30))
    load(plate(alone.meter, interval_min=60))
    found = findings(district, "V03")
    assert [point for point, _ in found] == [one.point, alone.point]
    assert found[0][1] | {"differing": 2, "multiplier_plate": 40, "multiplier_registry": 1} == found[0][1]
    assert found[1][1]["differing"] == 4
    again = run_vee(district.dsn, OCTOBER, actor="Lan", now=NOW)
    assert again.judged == 0
    load(plate(one.meter, multiplier=1))
    assert run_vee(district.dsn, OCTOBER, actor="Lan", now=NOW).judged == 1


@pytest.mark.integration
def test_a_register_with_more_digits_than_the_registry_gives_it_is_found(district: District) -> None:
    district.add([household(1, start_wh=1_000_000_000)])  # seven digits of kWh on a register of six
    [(_, evidence)] = findings(district, "V03")
    assert (evidence["digits_plate"], evidence["digits_registry"]) == (7, 6)


@pytest.mark.integration
def test_log_codes_of_a_model_say_overflow_and_test_mode_and_silence_others(district: District, load: Load) -> None:
    [one] = install(district, [1])
    codes = "".join(
        f'[[log_code]]\nmodel = "{model}"\ncode = {code}\nstatus = "{status}"\nsource = "manual"\n'
        for model, code, status in (
            ("*", 230, "test_mode"), ("test", 231, "overflow"), ("*", 231, "magnet"), ("test", 42, "nothing"),
        )
    )  # fmt: skip
    load(codes)
    for day, code in ((1, 230), (2, 231), (3, 42)):
        district.connection.execute(
            "insert into meter_event (meter_id, happened_at, fingerprint, kind, object, code, gateway_id)"
            " values (%s, %s, %s, 'log', '0.0.99.98.1.255', %s, %s)",
            [one.meter, OCTOBER.start_at + timedelta(days=day, hours=8), str(code).encode(), code, GATEWAY],
        )
    assert len(findings(district, "V11")) == len(findings(district, "V10")) == 1
    assert not findings(district, "V13")


@pytest.mark.integration
def test_more_than_the_plates_current_carries_fails(district: District, load: Load) -> None:
    [one] = install(district, [1])
    assert not findings(district, "V21")
    load(plate(one.meter, voltage_v=220, current_max_a=5, phases=1))  # 605 Wh in half an hour with ten per cent
    at = OCTOBER.start_at + timedelta(days=9, hours=12)
    district.connection.execute("update reading set value = value + 600 where measured_at > %s", [at])
    [(point, evidence)] = findings(district, "V21")
    assert (point, evidence["limit_wh"]) == (one.point, 605)


def check_meter(customer: Customer, meter: str) -> str:
    return (
        f'[[check_meter]]\nmetering_point = "{customer.point}"\nmeter = "{meter}"\nvalid_from = 2026-01-01\n'
        'source = "commissioning"\n'
    )


def second_meter(district: District, name: str, values: dict[Period, int], feeder: str | None = None) -> None:
    """Enter a meter that bills nothing, with its total at both ends of months. [Wh]"""
    district.copy("meter (meter_id, gateway_id, model, digits, feeder)", [(name, GATEWAY, "test", 6, feeder)])
    district.copy("channel (meter_id, obis, unit)", [(name, IMPORT, "Wh")])
    shown = 5_000_000
    for place, (period, energy) in enumerate(values.items()):
        if not place:
            district.store(name, IMPORT, period.start_at, shown)
        shown += energy
        district.store(name, IMPORT, period.end_at, shown)


@pytest.mark.integration
def test_a_month_beyond_both_meters_classes_fails_and_one_within_them_does_not(district: District, load: Load) -> None:
    near, far, unknown = household(1), household(2), household(3)  # 165 kWh each; classes 1 and 0.5 allow 1.84 kWh
    district.add([near, far, unknown])
    for customer, counted in ((near, 166_500), (far, 167_500), (unknown, 200_000)):
        second_meter(district, f"C-{customer.number}", {OCTOBER: counted})
        load(check_meter(customer, f"C-{customer.number}") + plate(f"C-{customer.number}", **{"class": "0.5S"}))
    load("".join(plate(each.meter, **{"class": "1"}) for each in (near, far)))
    [(point, evidence)] = findings(district, "V41")
    assert (point, evidence) == (far.point, {"main_wh": 165_000, "check_wh": 167_500, "allowed_wh": 1_872})


MONTHS = [Period.of_month(f"2026-{month:02}") for month in range(6, 11)]


def feeders(district: District, load: Load, supplied: dict[str, list[int]]) -> list[Customer]:
    """Enter two customers a feeder, who take 100 kWh a month each, and each feeder's transformer."""
    customers = []
    for number, (feeder, energies) in enumerate(supplied.items()):
        mine = [household(10 * number + each, energy_wh=100_000) for each in (1, 2)]
        district.add(mine, MONTHS[0])
        for place, month in enumerate(MONTHS[1:], start=2):
            for each in mine:
                district.store(each.meter, IMPORT, month.end_at, 1_000_000 + place * 100_000)
        district.connection.execute(
            "update meter set feeder = %s where meter_id = any (%s)", [feeder, [each.meter for each in mine]]
        )
        second_meter(district, f"T-{feeder}", dict(zip(MONTHS, energies, strict=True)), feeder)
        load(
            f'[[transformer]]\nid = "TBA-{feeder}"\nfeeder = "{feeder}"\nmeter = "T-{feeder}"\n'
            'valid_from = 2026-01-01\nsource = "line diagram"\n'
        )
        customers += mine
    return customers


@pytest.mark.integration
def test_a_transformer_that_loses_more_than_usual_is_a_case_ranked_by_what_is_off(
    district: District, load: Load
) -> None:
    usual = [208_000, 209_000, 208_500, 208_200]
    customers = feeders(
        district, load, {"quiet": [*usual, 208_600], "small": [*usual, 225_000], "large": [*usual, 300_000]}
    )
    for month in MONTHS:
        run_vee(district.dsn, month, actor="Lan", now=NOW)
    ranked = [case for case in queue_of(district.connection, OCTOBER, Selection()).cases if not case.obis]
    assert [case.point for case in ranked] == ["TBA-large", "TBA-small"]
    [(rule, day, evidence)] = ranked[0].reasons
    assert (rule, day, evidence["supplied_wh"], evidence["delivered_wh"]) == (
        "V43",
        date(2026, 10, 1),
        300_000,
        200_000,
    )
    assert ranked[0].score_wh == round((evidence["loss"] - evidence["usual"]) * 300_000 * 0.3)
    before = district.value("select count(*) from transformer_balance")
    assert "V43" not in run_vee(district.dsn, OCTOBER, actor="Lan", now=NOW).findings
    assert district.value("select count(*) from transformer_balance") == before == 15
    only = Selection((customers[2].point,))
    assert [case.point for case in queue_of(district.connection, OCTOBER, only).cases if not case.obis] == ["TBA-small"]
    assert main(["vee", "cases", "--period", "2026-10", "--json"]) == 1


@pytest.mark.integration
def test_a_balance_with_a_meter_that_was_not_read_is_not_told_until_it_is(district: District, load: Load) -> None:
    [one, _] = feeders(district, load, {"a": [208_000, 209_000, 208_500, 208_200, 300_000]})
    district.forget(one.meter, IMPORT, OCTOBER.end_at)
    for month in MONTHS:
        run_vee(district.dsn, month, actor="Lan", now=NOW)
    assert district.value("select count(*) from transformer_balance where period_from = '2026-10-01'") == 0
    district.store(one.meter, IMPORT, OCTOBER.end_at, 1_500_000)
    assert run_vee(district.dsn, OCTOBER, actor="Lan", now=NOW).findings["V43"] == 1


@pytest.mark.integration
def test_a_gap_beside_a_check_meter_has_the_check_meters_shape_and_the_meters_own_energy(
    district: District, load: Load
) -> None:
    [one] = install(district, [1])
    district.copy("meter (meter_id, gateway_id, model, digits)", [("C-1", GATEWAY, "test", 6)])
    district.copy("channel (meter_id, obis, unit)", [("C-1", IMPORT, "Wh")])
    first = OCTOBER.start_at + timedelta(days=9, hours=16)
    slots = 30
    shown = {at: place**2 * 3 for place, at in enumerate(first + HALF_HOUR * n for n in range(-1, slots + 1))}
    for at, value in shown.items():  # a check meter with a tenth of the multiplier, and a shape of its own
        district.store("C-1", IMPORT, at, value)
    load(check_meter(one, "C-1") + "multiplier = 10\n")
    lost = lose(district, one, first, slots)
    run_vee(district.dsn, OCTOBER, actor="Lan", now=NOW)
    rows = district.rows("select measured_at, value, method from reading_version order by 1")
    assert {row[2] for row in rows} == {Method.E0_CHECK_METER}
    known = dict(registers(one.number))
    before, after = known[first - HALF_HOUR], known[first + slots * HALF_HOUR]
    filled = [before, *(value for _, value, _ in rows), after]
    weights = np.diff(np.array(list(shown.values())))
    assert np.abs(np.diff(filled) - (after - before) * weights / weights.sum()).max() <= 1
    assert [at for at, _, _ in rows] == list(lost)


@pytest.mark.integration
def test_a_meter_that_counts_two_thirds_from_a_day_on_is_named_by_its_transformer_and_a_neighbour_is_not(
    district: District, load: Load
) -> None:
    days, homes = range(60), 8  # from the third of September on
    rng = np.random.default_rng(7)
    taken = rng.integers(4_000, 12_000, (homes, 1)) + rng.integers(-1_500, 1_500, (homes, len(days)))
    supplied = (taken.sum(axis=0) * 1.02 + rng.normal(0, 80, len(days))).astype(np.int64)
    taken[3, 40:] = taken[3, 40:] * 2 // 3  # the 13th of October
    customers = [household(number) for number in range(1, homes + 1)]
    district.add(customers)
    second_meter(district, "T-1", {}, "f")
    district.connection.execute("delete from reading")
    district.connection.execute("update meter set feeder = 'f'")
    meters = [*((each.meter, row) for each, row in zip(customers, taken, strict=True)), ("T-1", supplied)]
    for meter, energy in meters:
        for day, shown in enumerate([0, *np.cumsum(energy).tolist()]):
            district.store(meter, IMPORT, OCTOBER.start_at + timedelta(days=day - 28), 1_000_000 + shown)
    load(
        '[[transformer]]\nid = "TBA-1"\nfeeder = "f"\nmeter = "T-1"\nvalid_from = 2026-01-01\nsource = "line diagram"\n'
    )
    assert run_vee(district.dsn, OCTOBER, actor="Lan", now=NOW).findings["V15"] == 1
    [case] = [case for case in queue_of(district.connection, OCTOBER, Selection()).cases if not case.obis]
    [(rule, day, evidence)] = case.reasons
    assert (rule, evidence["metering_point_id"], evidence["to"]) == ("V15", customers[3].point, "2026-10-31")
    assert abs((day - date(2026, 10, 13)).days) <= 1
    assert abs(evidence["factor"] - 2 / 3) < 0.1
    missed = int(taken[3, 40:59].sum() // 2)
    assert abs(case.score_wh / 0.9 - missed) < 0.2 * missed


@pytest.mark.integration
def test_export_beyond_the_inverter_and_before_the_solar_contract_is_found(district: District, load: Load) -> None:
    one = Customer(number=1, registers=dict.fromkeys((IMPORT, EXPORT), (0, 0)), solar_regime="net_2017")
    district.add([one])
    district.connection.execute("delete from reading")
    [[channel]] = district.rows("select channel_id from channel where obis = %s", [EXPORT])
    shown = 0
    with district.connection.cursor().copy("copy reading from stdin") as copy:
        for slot in range(-28 * 48, 38 * 48 + 1):
            copy.write_row((channel, OCTOBER.start_at + slot * HALF_HOUR, shown, 0))
            shown += (800 + slot % 7) * (18 <= slot % 48 < 30) + 2_000 * (slot == 19 * 48 + 24)
    assert not findings(district, "V42")
    load(plate(one.meter, inverter_w=3_000))
    district.connection.execute("update contract set valid_to = '2026-10-03', solar_regime = null")
    district.connection.execute(
        "insert into contract (metering_point_id, valid_from, category, households, solar_regime)"
        " values (%s, '2026-10-04', 'residential', 1, 'net_2017')",
        [one.point],
    )
    run_vee(district.dsn, OCTOBER, actor="Lan", now=NOW)
    found = district.rows(
        "select extract(day from found_on)::int, (evidence->>'reason')::int from vee_finding where rule = 'V42'"
    )
    assert sorted(found) == [(1, 4), (2, 4), (3, 4), (20, 2)]
