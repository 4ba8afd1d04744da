"""What a rule found: a mask, and the numbers that show why."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from billing_core.validation.catalogue import RULES, Rule, Severity

BoolArray: TypeAlias = NDArray[np.bool_]
Column: TypeAlias = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one rule over many meters.

    Parameters
    ----------
    rule
        Which rule, in which version.
    mask
        Where it holds something against the data; the rule's grain says what an element is.
    evidence
        The numbers behind it, each of the mask's shape: what was found and what was allowed. Meaningful where the mask
        is set; units are the last part of a name.
    severity
        Per element, where it differs from the rule's own (V07 warns or fails); None means the rule's own.
    """

    rule: Rule
    mask: BoolArray
    evidence: Mapping[str, Column] = field(default_factory=dict)
    severity: NDArray[np.int8] | None = None

    def severities(self) -> NDArray[np.int8]:
        """Return the severity of each element, 0 where nothing was found."""
        own = np.int8(self.rule.severity) if self.severity is None else self.severity
        return np.where(self.mask, own, np.int8(Severity.NONE)).astype(np.int8)

    def at(self, *index: int) -> dict[str, int | float]:
        """Return the evidence of one element, for people."""
        return {name: column[index].item() for name, column in self.evidence.items()}


def found(rule: str, mask: BoolArray, severity: NDArray[np.int8] | None = None, **evidence: Column) -> Finding:
    """Return the finding of the rule with this id."""
    return Finding(RULES[rule], mask, evidence, severity)
