"""How many of the faults on purpose are found, and how often the rules cry wolf.

::

    python -m tests.billing_core.validation.campaign --meters 8000 --days 31 --seed 71 [--recipes second]

A fault is material if it moves more energy, slot by slot, than the day's registers can be wrong by (their sum check's
tolerance), or if it is in the registers; recall is printed over all faults and over the material ones, and the targets
are held against these. A fault is found if a finding of severity FAIL or graver touches one of its days or the day
after; a rollover, if it was accepted as one and no finding failed the day; a CT ratio also by a change point at a
factor that wiring makes. A false alarm is any other meter-day with such a finding, counted on the meters without a
fault and on the days before one.
"""

import argparse
import sys
from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np

from billing_core.rounding import Int64Array
from billing_core.validation.balance import v15_balance
from billing_core.validation.believed import believed_daily
from billing_core.validation.catalogue import RULES, Severity
from billing_core.validation.finding import BoolArray
from billing_core.validation.screening import v51_change_point
from billing_core.validation.validate import Validation, validate
from billing_core.validation.verdict import judge
from tests.billing_core.validation.faults import TUNED, VARIED, Fault, inject
from tests.billing_core.validation.final_faults import FINAL
from tests.billing_core.validation.fresh_faults import FRESH
from tests.billing_core.validation.hidden_faults import HIDDEN
from tests.billing_core.validation.materiality import is_material
from tests.billing_core.validation.population import MIXES, District, copy_of, make_district
from tests.billing_core.validation.second_faults import SECOND
from tests.billing_core.validation.spoiling import Recipe
from tests.billing_core.validation.unseen_faults import UNSEEN

RECIPES = {
    "tuned": TUNED,
    "varied": VARIED,
    "second": SECOND,
    "final": FINAL,
    "fresh": FRESH,
    "unseen": UNSEEN,
    "hidden": HIDDEN,
}
FIRST_SIX = ("gap", "negative", "spike", "rollover", "copied day", "stuck")
FAULT_SHARE = 0.05  # far more than life has, but a transformer's neighbours are mostly right
BATCH = 1_000  # meters judged at once


@dataclass
class Score:
    made: Counter[tuple[str, str]] = field(default_factory=Counter)
    found: Counter[tuple[str, str]] = field(default_factory=Counter)
    material: Counter[tuple[str, str]] = field(default_factory=Counter)
    material_found: Counter[tuple[str, str]] = field(default_factory=Counter)
    false_days: int = 0
    clean_days: int = 0
    by_rule: Counter[str] = field(default_factory=Counter)
    warned_by_rule: Counter[str] = field(default_factory=Counter)
    queued: Counter[tuple[str, str]] = field(default_factory=Counter)
    case_days: int = 0
    missed: list[Fault] = field(default_factory=list)

    def recall(self, kind: str) -> float:
        return _of(self.found, kind) / max(1, _of(self.made, kind))

    def material_recall(self, kind: str) -> float:
        return _of(self.material_found, kind) / max(1, _of(self.material, kind))

    @property
    def false_per_1000(self) -> float:
        return 1000 * self.false_days / max(1, self.clean_days)


def _of(counter: Counter[tuple[str, str]], kind: str) -> int:
    return sum(count for (name, _), count in counter.items() if name == kind)


def read_as_given_wh(district: District) -> Int64Array:
    """Return what was read as given. [Wh; meters × days]"""
    export = district.data.export
    assert export is not None
    given: Int64Array = export.energy_wh.reshape(export.meters, export.days, -1).sum(axis=2)
    return given


def given_daily_wh(district: District, failed: BoolArray) -> Int64Array:
    """Return what each meter gave, the usual day's where a solar meter's failed. [Wh; meters × days]"""
    assert district.data.solar is not None
    given = read_as_given_wh(district)
    usual = np.median(given, axis=1).astype(np.int64)[:, None]
    return np.where(failed & district.data.solar[:, None], usual, given)


def look(district: District) -> Validation:
    """Validate a district with everything the project has for days, change points with wiring factors failing."""
    data = district.data
    result = validate(data, district.parameters)
    daily = result.scan.total
    known = (result.scan.missing == 0) & (daily > 0)
    large = data.registers.multiplier > 1
    change = v51_change_point(daily, known & large[:, None], district.kind)
    wiring = change.mask & (change.evidence["wiring"] > 0) & large[:, None]
    severity = np.where(wiring, np.int8(Severity.FAIL), np.int8(Severity.CASE))
    failed = result.verdict.at_least(Severity.FAIL)
    balance = v15_balance(
        believed_daily(result.scan, result.sums, failed),
        given_daily_wh(district, failed),
        np.ones(daily.shape, dtype=bool),
        transformer=district.transformer,
        supplied_wh=district.supplied_wh,
        supplied=np.ones(district.supplied_wh.shape, dtype=bool),
        read_wh=(daily, read_as_given_wh(district)),
    )
    findings = {
        **result.findings,
        "V15": balance,
        "V51": replace(change, mask=change.mask & large[:, None], severity=severity),
    }
    return replace(result, findings=findings, verdict=judge(findings.values(), *daily.shape))


def score(unspoilt: District, district: District, faults: list[Fault], into: Score) -> None:
    result = look(district)
    alarm = result.verdict.at_least(Severity.FAIL)
    queued = result.verdict.at_least(Severity.CASE)
    clean = np.ones(alarm.shape, dtype=bool)
    for fault in faults:
        days = slice(fault.first, fault.last + 2)
        clean[fault.meter, max(0, fault.first - 1) :] = False  # what follows a fault is nobody's innocent day
        if fault.kind == "rollover":
            rolled = result.verdict.raised("V32")[fault.meter, days].any()
            hit = bool(rolled and not alarm[fault.meter, days].any())
        else:
            hit = bool(alarm[fault.meter, days].any())
        into.made[fault.kind, fault.recipe] += 1
        into.queued[fault.kind, fault.recipe] += hit or bool(queued[fault.meter, days].any())
        into.found[fault.kind, fault.recipe] += hit
        if is_material(fault.meter, fault.first, unspoilt, district):
            into.material[fault.kind, fault.recipe] += 1
            into.material_found[fault.kind, fault.recipe] += hit
            if not hit:
                into.missed.append(fault)
    into.clean_days += int(clean.sum())
    into.case_days += int((queued & ~alarm & clean).sum())
    into.false_days += int((alarm & clean).sum())
    for rule in RULES:
        finding = result.findings.get(rule)
        if finding is not None:
            severities = finding.severities()
            into.by_rule[rule] += int(((severities >= Severity.FAIL) & clean).sum())
            into.warned_by_rule[rule] += int(((severities == Severity.WARN) & clean).sum())


def run(
    meters: int,
    days: int,
    seed: int,
    recipes: dict[str, tuple[Recipe, ...]],
    *,
    share: float = FAULT_SHARE,
    mix: str = "town",
) -> Score:
    total = Score()
    for number, begin in enumerate(range(0, meters, BATCH)):
        clean = make_district(min(BATCH, meters - begin), days, seed * 1_000 + number, mix)
        district = copy_of(clean)
        faults = inject(district, recipes, share, seed * 1_000 + number)
        score(clean, district, faults, total)
    return total


def _place(kind: str) -> int:
    return list(TUNED).index(kind) if kind in TUNED else len(TUNED)


def report(total: Score) -> str:
    head = ("kind", "recipe", "made", "found", "recall", "material", "recall", "or queued")
    lines = ["{:16} {:26} {:>6} {:>6} {:>8} {:>9} {:>8} {:>10}".format(*head)]
    for kind, recipe in sorted(total.made, key=lambda each: (_place(each[0]), each)):
        made, hit = total.made[kind, recipe], total.found[kind, recipe]
        some, seen = total.material[kind, recipe], total.material_found[kind, recipe]
        lines.append(
            f"{kind:16} {recipe:26} {made:6} {hit:6} {hit / made:8.3f} {some:9} {seen / max(1, some):8.3f} "
            f"{total.queued[kind, recipe] / made:10.3f}"
        )
    for kind in TUNED if any(name in TUNED for name, _ in total.made) else ():
        target = 0.99 if kind in FIRST_SIX else 0.95
        verdict = "met" if total.material_recall(kind) >= target else "MISSED"
        lines.append(
            f"{kind:16} {'all':26} {_of(total.made, kind):6} {_of(total.found, kind):6} {total.recall(kind):8.3f} "
            f"{_of(total.material, kind):9} {total.material_recall(kind):8.3f}  target {target} {verdict}"
        )
    lines.append(
        f"false alarms: {total.false_days} in {total.clean_days:,} clean meter-days = "
        f"{total.false_per_1000:.3f} per 1,000 (target 0.1)"
    )
    lines.append(f"cases for the queue: {1000 * total.case_days / total.clean_days:.3f} per 1,000 clean meter-days")
    by_rule = ", ".join(f"{rule} {count}" for rule, count in total.by_rule.items() if count)
    lines.append(f"  by rule: {by_rule or 'none'}")
    warned = ", ".join(
        f"{rule} {1000 * count / total.clean_days:.2f}" for rule, count in total.warned_by_rule.items() if count
    )
    lines.append(f"warnings per 1,000 clean meter-days: {warned}")
    return "\n".join(lines)


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.billing_core.validation.campaign", description=__doc__)
    parser.add_argument("--meters", type=int, default=4_000)
    parser.add_argument("--days", type=int, default=31)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--recipes", choices=tuple(RECIPES), default="final")
    parser.add_argument("--mix", choices=tuple(MIXES), default="town", help="which consumers there are")
    parser.add_argument("--missed", action="store_true", help="list the faults that were not found")
    asked = parser.parse_args(words)
    total = run(asked.meters, asked.days, asked.seed, RECIPES[asked.recipes], mix=asked.mix)
    print(report(total))
    if asked.missed:
        for fault in total.missed[:60]:
            print(fault)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
