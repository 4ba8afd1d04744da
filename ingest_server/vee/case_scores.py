"""What a case is worth: the energy of a month that is at stake, times how sure the findings make us. [Wh]

It is computed when a month is judged and kept with the judgement, so that the queue is read in order, page by page.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from billing_core.validation.cases import CERTAINTY_PERCENT, WIRING_PERCENT
from billing_core.validation.catalogue import Severity

FAILED_PERCENT = 90  # a failed reading is wrong, but for a few
OTHERS_PERCENT = 10


def score_of_register(monthly_wh: int, findings: Iterable[tuple[str, int, Mapping[str, Any]]]) -> int:
    """Return the score of a register's month.

    Parameters
    ----------
    monthly_wh
        What the register usually counts in a month.
    findings
        Rule, severity and evidence of each, in order of days; those below a case don't count, and the second day of one
        rule makes nobody surer.
    """
    doubt, told = 1.0, set()
    for rule, severity, evidence in findings:
        if severity >= int(Severity.CASE) and rule not in told:
            told.add(rule)
            doubt *= 1 - _certainty(rule, severity, evidence) / 100
    return round((1 - doubt) * monthly_wh)


def score_of_transformer(supplied_wh: int, evidence: Mapping[str, Any]) -> int:
    """Return the score of a balance.

    It is the energy by which the loss is off what is usual, or what days show to be missed of meters, if that is more.
    """
    stake = 0.0
    if evidence.get("minded"):
        stake = abs(evidence["loss"] - evidence["usual"]) * supplied_wh * CERTAINTY_PERCENT["V43"] / 100
    missed: float = sum(abs(each["unaccounted_wh"]) for each in evidence.get("meters", ())) * FAILED_PERCENT / 100
    return round(max(stake, missed))


def _certainty(rule: str, severity: int, evidence: Mapping[str, Any]) -> int:
    if severity > int(Severity.CASE):
        return FAILED_PERCENT
    return WIRING_PERCENT if evidence.get("wiring") else CERTAINTY_PERCENT.get(rule, OTHERS_PERCENT)
