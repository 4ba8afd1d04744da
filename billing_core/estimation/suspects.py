"""Which intervals of a failed day are not to be believed.

A negative interval, one beyond the connection, and a spike that the register denies can be named; if one of them is on
the day, it is taken to be what made the sum check fail, and the rest of the day stays. A stuck value, a stale snapshot,
a copied day, and a day that fails the sum check alone are replaced whole: the registers keep their energy. Failures of
the clock, of the meter or of the contract replace nothing; a person looks.
"""

import numpy as np

from billing_core.validation.catalogue import Severity
from billing_core.validation.finding import BoolArray
from billing_core.validation.series import Intervals
from billing_core.validation.validate import Validation

WHOLE_DAYS = ("V26", "V27", "V28")


def slots_to_replace(validation: Validation, intervals: Intervals) -> BoolArray:
    """Return the intervals to be estimated because they failed; missing ones are not among them. [meters × slots]

    A limit is that of the day, as the finding has it: it may be another one after a change of contract.
    """
    shape = (intervals.meters, intervals.days, intervals.slots_per_day)
    energy = np.where(intervals.missing, 0, intervals.energy_wh).reshape(shape)
    failed = {name: finding.severities() >= Severity.FAIL for name, finding in validation.findings.items()}
    nowhere = np.zeros(shape[:2], dtype=np.bool_)
    named = failed.get("V20", nowhere)[:, :, None] & (energy < 0)
    if "V21" in failed:
        limit_wh = np.asarray(validation.findings["V21"].evidence["limit_wh"])
        named |= failed["V21"][:, :, None] & (energy > limit_wh[:, :, None])
    named |= failed.get("V22", nowhere)[:, :, None] & (energy == energy.max(axis=2, keepdims=True))
    whole = failed.get("V30", nowhere) & ~named.any(axis=2)
    for rule in WHOLE_DAYS:
        whole = whole | failed.get(rule, nowhere)
    replaced: BoolArray = (named | whole[:, :, None]).reshape(intervals.energy_wh.shape) & ~intervals.missing
    return replaced
