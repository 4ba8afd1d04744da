"""What the examples of the page do not show of the rules: windows, combinations, exceptions, bad input."""

from datetime import date
from importlib import resources

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing_core.estimation.provenance import METHOD_VERSIONS, Method
from billing_core.validation.cases import queue
from billing_core.validation.catalogue import RULES, Grain, Severity
from billing_core.validation.day_scan import scan_days
from billing_core.validation.finding import found
from billing_core.validation.meter_rules import v01_v02_repeated, v03_master_data
from billing_core.validation.parameters import (
    ParameterException,
    columns_on,
    load_parameters,
    parse_parameters,
    rule_set_hash,
)
from billing_core.validation.screening import v43_balance
from billing_core.validation.series import Intervals, Registers
from billing_core.validation.solar_rules import v42_solar
from billing_core.validation.sum_check import check_sums
from billing_core.validation.validate import MeterData, validate
from billing_core.validation.verdict import judge
from protocols.errors import UsageError

HOUSEHOLD = np.zeros(1, dtype=np.int8)
TOML = (resources.files("billing_core.validation") / "parameters.toml").read_text(encoding="utf-8")


def columns(meters: int = 1):
    return columns_on(load_parameters(), date(2026, 1, 1), np.zeros(meters, dtype=np.int8))


def registers_of(index, actual=None, digits=5) -> Registers:
    index = np.atleast_2d(np.asarray(index, dtype=np.int64))
    ones = np.ones(index.shape[0], dtype=np.int64)
    return Registers(
        index_wh=index,
        actual=np.ones(index.shape, dtype=bool) if actual is None else np.atleast_2d(np.asarray(actual, dtype=bool)),
        digits=digits * ones,
        unit_wh=1000 * ones,
        resolution_wh=10 * ones,
        multiplier=ones,
    )


def flat_days(*daily: int) -> Intervals:
    energy = np.repeat(np.array(daily), 24)[None, :]
    return Intervals(energy_wh=energy, missing=np.zeros(energy.shape, dtype=bool), slots_per_day=24)


def test_a_register_not_read_makes_one_window_of_two_days():
    scan = scan_days(flat_days(100, 100, 100), columns())
    registers = registers_of([0, 999_999, 4_700, 7_100], [True, False, True, True])
    sums = check_sums(scan, registers, columns(), np.array([0]))
    assert sums.window_days.tolist() == [[2, 2, 1]]
    assert sums.failed.tolist() == [[True, True, False]]
    assert sums.interval_wh.tolist() == [[4_800, 4_800, 2_400]]


def test_a_window_with_a_gap_can_fail_but_not_pass():
    intervals = flat_days(100, 100)
    intervals.missing[0, 3] = True
    scan = scan_days(intervals, columns())
    for counted, failed in ((2_400, False), (2_000, True)):
        sums = check_sums(scan, registers_of([0, counted, counted + 2_400]), columns(), np.array([0]))
        assert sums.failed[0].tolist() == [failed, False]
        assert sums.passed[0].tolist() == [False, True]


def test_a_fall_that_the_connection_could_not_carry_is_no_rollover():
    scan = scan_days(flat_days(100), columns())
    for limit, rolled in ((1_000, True), (90, False)):
        sums = check_sums(scan, registers_of([99_998_000, 400]), columns(), np.array([limit]))
        assert sums.rolled_over[0, 0] == rolled
        assert sums.fell[0, 0] != rolled


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), max_size=30))
def test_every_row_is_new_or_a_duplicate_or_a_conflict(rows):
    key, value = np.array([row[0] for row in rows], dtype=np.int64), np.array([row[1] for row in rows], dtype=np.int64)
    same, other = v01_v02_repeated([key], value)
    first: dict[int, int] = {}
    for place, (k, v) in enumerate(rows):
        known = first.setdefault(k, v)
        fresh = [earlier[0] for earlier in rows[:place]].count(k) == 0
        assert bool(same.mask[place]) == (not fresh and known == v)
        assert bool(other.mask[place]) == (not fresh and known != v)


def test_master_data_that_cannot_be_compared_is_refused():
    with pytest.raises(UsageError, match="give both the same"):
        v03_master_data({"digits": np.array([5])}, {"multiplier": np.array([1])})


def test_a_verdict_takes_the_gravest_and_remembers_every_rule():
    warn = found("V25", np.array([[True, True]]))
    fail = found("V30", np.array([[False, True]]))
    meter = found("V36", np.array([True]))
    verdict = judge([warn, fail, meter], 1, 2)
    assert verdict.severity.tolist() == [[Severity.WARN, Severity.FAIL]]
    assert verdict.names(0, 1) == ["V25", "V30", "V36"]
    assert verdict.raised("V30").tolist() == [[False, True]]


def test_rules_have_bits_of_their_own_and_cases_never_fail():
    bits = [rule.bit for rule in RULES.values()]
    assert len(set(bits)) == len(bits)
    assert max(bits) < 64
    assert all(rule.severity is Severity.CASE for rule in RULES.values() if rule.id >= "V43")


def test_the_verdict_does_not_depend_on_the_other_meters():
    rng = np.random.default_rng(3)
    energy = rng.integers(0, 900, (6, 10 * 24)) // 10 * 10
    counted = energy.reshape(6, 10, 24).sum(axis=2).cumsum(axis=1)
    index = np.concatenate([np.zeros((6, 1), dtype=np.int64), counted], axis=1)

    def data(rows):
        part = energy[rows]
        return MeterData(
            intervals=Intervals(energy_wh=part, missing=np.zeros(part.shape, dtype=bool), slots_per_day=24),
            registers=registers_of(index[rows]),
            limit_wh=np.full(len(rows), 5_000),
            two_way=np.zeros(len(rows), dtype=bool),
        )

    together = validate(data(list(range(6))), columns(6)).verdict
    for meter in range(6):
        alone = validate(data([meter]), columns()).verdict
        assert (alone.severity[0] == together.severity[meter]).all()
        assert (alone.rules[0] == together.rules[meter]).all()


def test_columns_that_do_not_fit_are_refused():
    with pytest.raises(UsageError, match="one more than days"):
        MeterData(
            intervals=flat_days(1, 1),
            registers=registers_of([0, 24]),
            limit_wh=np.array([0]),
            two_way=np.array([False]),
        )
    with pytest.raises(UsageError, match="give all four or none"):
        MeterData(
            intervals=flat_days(1),
            registers=registers_of([0, 24]),
            limit_wh=np.array([0]),
            two_way=np.array([False]),
            solar=np.array([True]),
        )
    with pytest.raises(UsageError, match="multiplier, resolution or unit below 1"):
        Registers(
            index_wh=np.zeros((1, 2), dtype=np.int64),
            actual=np.ones((1, 2), dtype=bool),
            digits=np.array([5]),
            unit_wh=np.array([1000]),
            resolution_wh=np.array([0]),
            multiplier=np.array([1]),
        )


def test_the_parameters_in_force_are_the_last_that_began():
    second = TOML[TOML.index("\n[[set]]") :].replace("2015-01-01", "2027-01-01")
    later = TOML + second.replace("spike_percent = 180", "spike_percent = 250")
    sets = parse_parameters(later)
    days = (date(2026, 12, 31), date(2027, 1, 1))
    spikes = [columns_on(sets, day, HOUSEHOLD)["spike_percent"].item() for day in days]
    assert spikes == [180, 250]
    assert rule_set_hash(sets, date(2026, 1, 1)) == rule_set_hash(load_parameters(), date(2026, 1, 1))
    assert rule_set_hash(sets, date(2027, 1, 1)) != rule_set_hash(sets, date(2026, 1, 1))
    with pytest.raises(UsageError, match="none in force on 2014-12-31"):
        columns_on(sets, date(2014, 12, 31), HOUSEHOLD)


def test_a_changed_method_of_estimation_is_another_rule_set(monkeypatch):
    before = rule_set_hash(load_parameters(), date(2026, 1, 1))
    monkeypatch.setitem(METHOD_VERSIONS, Method.E2_NEAREST_DAYS, METHOD_VERSIONS[Method.E2_NEAREST_DAYS] + 1)
    assert rule_set_hash(load_parameters(), date(2026, 1, 1)) != before


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("spike_percent = 180", "spike_percnt = 180", "spike_percent: missing"),
        ("spike_percent = 180", "spike_percent = 1.8", "expected an integer, found 1.8"),
        ("spike_percent = 180", "spike_percent = 180\nspice = 1", "spice: unknown key"),
        ("effective_on = 2015-01-01", 'effective_on = "soon"', "effective_on: expected a date"),
        ("\n[[set]]", "\n[[sets]]", "expected an array of tables"),
    ],
)
def test_a_parameter_file_that_is_wrong_is_refused_with_its_place(old, new, message):
    with pytest.raises(UsageError, match=message):
        parse_parameters(TOML.replace(old, new))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "spice"}, "found parameter 'spice'"),
        ({"value": -1}, "found -1"),
        ({"end_on": date(2025, 1, 1)}, "before it begins"),
        ({"approved_by": " "}, "who approved it"),
    ],
)
def test_an_exception_without_reason_or_end_is_refused(change, message):
    right = {
        "meter": 0, "name": "spike_percent", "value": 400, "start_on": date(2026, 1, 1), "end_on": date(2026, 6, 1),
        "reason": "welds", "approved_by": "minh",
    }  # fmt: skip
    with pytest.raises(UsageError, match=message):
        ParameterException(**(right | change))
    with pytest.raises(UsageError, match="expected a row from 0 to 0"):
        columns_on(load_parameters(), date(2026, 1, 1), HOUSEHOLD, [ParameterException(**(right | {"meter": 1}))])


def test_the_queue_ranks_by_stake_and_certainty_and_names_its_reasons():
    seal = found("V13", np.array([[False, True], [False, False], [True, True]]), status=np.full((3, 2), 64))
    lowest = found("V52", np.array([False, False, True]), energy_wh=np.array([0, 0, 7]))
    cases = queue([lowest, seal], np.array([900_000, 500_000, 1_000_000]))
    assert [case.meter for case in cases] == [2, 0]
    assert cases[0].score_wh == 640_000  # 1 − 0.4 · 0.9; the second day of a broken seal adds nothing
    assert [(reason.rule, reason.place) for reason in cases[0].reasons] == [("V52", 0), ("V13", 0), ("V13", 1)]
    assert queue([lowest, seal], np.array([900_000, 500_000, 1_000_000]), most=1) == cases[:1]


def test_a_transformers_loss_concerns_the_meters_behind_it():
    balance = v43_balance(np.full((2, 5), 100_000), np.array([[95_000] * 4 + [80_000], [95_000] * 5]))
    assert balance.rule.grain is Grain.TRANSFORMER
    cases = queue([balance], np.array([1_000, 2_000, 3_000]), transformer=np.array([0, 1, 0]))
    assert [case.meter for case in cases] == [2, 0]
    with pytest.raises(UsageError, match="give transformer="):
        queue([balance], np.array([1_000]))


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32), st.integers(0, 3), st.integers(1, 9))
def test_whatever_is_read_there_is_a_verdict(seed, meters, days):
    rng = np.random.default_rng(seed)
    energy = rng.choice([0, 1, -5, 300, 10**12, -(10**12)], (meters, days * 24))
    data = MeterData(
        intervals=Intervals(energy_wh=energy, missing=rng.random(energy.shape) < rng.random(), slots_per_day=24),
        registers=registers_of(
            rng.integers(-(10**9), 10**9, (meters, days + 1)),
            rng.random((meters, days + 1)) < 0.7,
            digits=int(rng.integers(0, 9)),
        ),
        limit_wh=rng.integers(0, 1_000, meters),
        two_way=rng.random(meters) < 0.5,
        status=rng.integers(0, 4_096, (meters, days)).astype(np.int32),
        clock_offset_s=rng.integers(-9_999, 9_999, (meters, days)),
        in_service=rng.random((meters, days)) < 0.5,
        history_peak_wh=rng.integers(0, 900, meters),
    )
    result = validate(data, columns(meters))
    assert result.verdict.severity.shape == (meters, days)
    for finding in result.findings.values():
        assert finding.mask.shape == (meters, days)
        assert all(column.shape == finding.mask.shape for column in finding.evidence.values())


def test_a_little_export_each_night_counts_together():
    row = np.zeros((1, 5 * 24), dtype=np.int64)
    row[0, 1::24] = 9
    export = Intervals(energy_wh=row, missing=np.zeros(row.shape, dtype=bool), slots_per_day=24)
    found = v42_solar(
        export, row > 0, solar=np.array([True]), inverter_w=np.array([0]), resolution_wh=np.array([10]),
        parameters=columns(),
    )  # fmt: skip
    assert found.mask[0].tolist() == [False, False, True, True, True]  # 9 and 18 Wh are two steps of 10, 27 are not
