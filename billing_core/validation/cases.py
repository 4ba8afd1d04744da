"""The inspection queue: what screens and balances found, one case per meter, the riskiest first.

A case's score is an estimate of what a visit is worth, in Wh a month: the energy that may have gone unmetered, times
how sure the evidence makes us. A score ranks; it accuses nobody and changes no value. Each case lists its findings with
their numbers, so that an inspector sees why.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from billing_core.rounding import Int64Array
from billing_core.validation.catalogue import Grain, Severity
from billing_core.validation.finding import Finding
from protocols.errors import UsageError

CERTAINTY_PERCENT: Mapping[str, int] = {
    "V13": 60,  # a seal that reports itself broken
    "V51": 50,
    "V43": 30,  # shared by all meters behind the transformer
    "V55": 30,
    "V53": 20,
    "V54": 20,
    "V50": 10,
    "V52": 10,
}
"""How likely each finding by itself is more than life; defaults, to be replaced by a company's own hit rates."""

WIRING_PERCENT = 85  # a change point at a factor that wiring makes
CASES_MAX = 10_000  # nobody visits more in a month


@dataclass(frozen=True, slots=True)
class Reason:
    """One finding of a case, with its numbers."""

    rule: str
    place: int  # the day, or 0
    evidence: Mapping[str, int | float]


@dataclass(frozen=True, slots=True)
class Case:
    """A meter to be visited."""

    meter: int
    score_wh: int
    reasons: tuple[Reason, ...]


def queue(
    findings: Iterable[Finding],
    monthly_wh: Int64Array,
    *,
    transformer: Int64Array | None = None,
    reader: Int64Array | None = None,
    most: int = CASES_MAX,
) -> list[Case]:
    """Return the cases, the largest score first, then by meter.

    Parameters
    ----------
    findings
        Of any rule; those of other severities than ``CASE`` are passed over.
    monthly_wh
        What each meter usually takes in a month: the stake. [Wh, meters]
    transformer, reader
        Which transformer and which reader a meter belongs to; needed for findings about those. [meters]
    """
    meters = monthly_wh.shape[0]
    doubt = np.ones(meters)
    reasons: dict[int, list[Reason]] = {}
    for finding in findings:
        if finding.rule.severity is not Severity.CASE or not finding.mask.any():
            continue
        for meter, index in _members(finding, transformer, reader):
            evidence = finding.at(*index)
            percent = CERTAINTY_PERCENT[finding.rule.id] if not evidence.get("wiring") else WIRING_PERCENT
            mine = reasons.setdefault(meter, [])
            if all(reason.rule != finding.rule.id for reason in mine):
                doubt[meter] *= 1 - percent / 100  # the second day of one rule makes nobody surer
            mine.append(Reason(finding.rule.id, index[1] if len(index) > 1 else 0, evidence))
    cases = [
        Case(meter, round((1 - doubt[meter]) * int(monthly_wh[meter])), tuple(why)) for meter, why in reasons.items()
    ]
    return sorted(cases, key=lambda case: (-case.score_wh, case.meter))[:most]


def _members(
    finding: Finding, transformer: Int64Array | None, reader: Int64Array | None
) -> Sequence[tuple[int, tuple[int, ...]]]:
    """Return pairs of a meter and the place of the finding that concerns it."""
    places = [tuple(int(part) for part in place) for place in np.argwhere(finding.mask)]
    belongs = {Grain.TRANSFORMER: transformer, Grain.READER: reader}
    if finding.rule.grain not in belongs:
        return [(place[0], place) for place in places]
    column = belongs[finding.rule.grain]
    if column is None:
        raise UsageError(
            f"{finding.rule.id} is about a {finding.rule.grain.value}; expected the column that says which meters "
            f"belong to which; give {finding.rule.grain.value}="
        )
    return [(int(meter), place) for place in places for meter in np.flatnonzero(column == place[0])]
