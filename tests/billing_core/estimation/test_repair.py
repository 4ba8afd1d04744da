"""From fault to repaired series: what is found is replaced, and the registers' energy is kept."""

from dataclasses import replace

import numpy as np

from billing_core.estimation.context import SATURDAY, SUNDAY, WORKDAY, Context
from billing_core.estimation.estimate import check_again, estimate
from billing_core.estimation.suspects import slots_to_replace
from billing_core.validation.catalogue import Severity
from billing_core.validation.validate import validate
from tests.billing_core.validation.faults import TUNED, inject
from tests.billing_core.validation.population import copy_of, make_district

KINDS = ("gap", "negative", "spike", "copied day", "stuck")


def test_repaired_series_are_nearer_to_the_truth_and_pass_the_rules_that_they_failed():
    clean = make_district(400, 28, 515)
    district = copy_of(clean)
    district.data.registers.actual[:] = True
    faults = inject(district, {kind: TUNED[kind] for kind in KINDS}, 0.5, 515)
    intervals, parameters = district.data.intervals, district.parameters
    result = validate(district.data, parameters)
    weekday = np.arange(28) % 7
    context = Context(
        intervals=intervals,
        registers=district.data.registers,
        replace=slots_to_replace(result, intervals),
        weekday=weekday,
        day_type=np.select([weekday == 5, weekday == 6], [SATURDAY, SUNDAY], WORKDAY),
        outage=district.data.status.astype(bool),
    )
    made = estimate(context)
    spoilt = np.where(intervals.missing, 0, intervals.energy_wh)
    true = clean.data.intervals.energy_wh
    before = np.abs(spoilt - true).sum(axis=1)
    after = np.abs(made.intervals.energy_wh - true).sum(axis=1)
    touched = np.array([fault.meter for fault in faults])
    assert after[touched].sum() < 0.3 * before[touched].sum()
    assert (after[touched] < before[touched]).mean() > 0.8
    again, held = check_again(district.data, made, parameters)
    failing = result.verdict.at_least(Severity.FAIL)[touched].sum()
    assert again.verdict.at_least(Severity.FAIL)[touched].sum() < 0.1 * failing
    assert held.sum() < 0.1 * failing
    kept = made.quality == 0
    assert (made.intervals.energy_wh[kept] == intervals.energy_wh[kept]).all()


def test_on_a_day_beyond_its_connection_only_what_was_beyond_that_days_limit_is_replaced():
    district = make_district(2, 4, 7)
    data = district.data
    data.intervals.missing[:] = False
    data.intervals.energy_wh[:] = 100
    data.intervals.energy_wh[0, 50] = 9_000  # the second day's
    result = validate(replace(data, limit_wh=np.array([5_000, 5_000])), district.parameters)
    found = result.findings["V21"]
    lower = np.array(found.evidence["limit_wh"])
    lower[:, 2:] = 50  # another contract from the third day on
    result.findings["V21"] = replace(found, evidence={**found.evidence, "limit_wh": lower})
    only_limits = replace(result, findings={"V21": result.findings["V21"]})
    assert np.argwhere(slots_to_replace(only_limits, data.intervals)).tolist() == [[0, 50]]
