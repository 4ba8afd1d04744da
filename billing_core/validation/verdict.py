"""All findings about days, judged together.

One number per meter and day says how grave the gravest finding is, and bits say which rules spoke: bit 30 is V30. What
needs several rules at once is decided in the rule that needs it: a spike fails only where the sum check fails (V22), a
value that repeats must be more surprising where that passes (V26), a register that rolled over did not fall (V33).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from billing_core.validation.catalogue import RULES, Grain, Severity
from billing_core.validation.finding import BoolArray, Finding


@dataclass(frozen=True, slots=True)
class Verdict:
    """The gravest severity and the rules that spoke. [meters × days]"""

    severity: NDArray[np.int8]
    rules: NDArray[np.uint64]

    def at_least(self, severity: Severity) -> BoolArray:
        """Return the days with a finding at least so grave."""
        return self.severity >= int(severity)

    def raised(self, rule: str) -> BoolArray:
        """Return the days on which a rule spoke."""
        return np.asarray((self.rules >> np.uint64(RULES[rule].bit)) & np.uint64(1) == 1)

    def names(self, meter: int, day: int) -> list[str]:
        """Return the ids of the rules that spoke on one day."""
        bits = int(self.rules[meter, day])
        return [rule.id for rule in RULES.values() if bits >> rule.bit & 1]


def judge(findings: Iterable[Finding], meters: int, days: int) -> Verdict:
    """Combine findings about days, and about meters for all of their days."""
    severity = np.zeros((meters, days), dtype=np.int8)
    rules = np.zeros((meters, days), dtype=np.uint64)
    for finding in findings:
        assert finding.rule.grain in (Grain.DAY, Grain.METER), f"{finding.rule.id} is not about days"
        if not finding.mask.any():
            continue
        mask, grave = finding.mask, finding.severities()
        if finding.rule.grain is Grain.METER:
            mask, grave = mask[:, None], grave[:, None]
        np.maximum(severity, grave, out=severity)
        rules |= np.where(mask, np.uint64(1 << finding.rule.bit), np.uint64(0))
    return Verdict(severity, rules)
