"""What ``congto vee`` prints, in Vietnamese and English, and its JSON."""

import sys
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from billing_core.estimation.provenance import Method, Reason
from billing_core.explain import Language, format_number
from billing_core.validation.catalogue import RULES
from ingest_server.billing.documents import instant_text
from ingest_server.billing.period import Period, civil_text
from ingest_server.vee.cases import Accepted, Case, Queue
from ingest_server.vee.changes import Version
from ingest_server.vee.decisions import Amount, Effect
from ingest_server.vee.run import Outcome
from ingest_server.vee.true_up import TrueUp
from ingest_server.vee.words import KIND_WORDS, METHOD_WORDS, REASON_WORDS, RULE_WORDS, WORDS
from protocols.telemetry.reading import Quality

REASONS_SHOWN = 4  # of a case on one line
VERSIONS_SHOWN = 20  # of a change on a screen


def _console() -> Console:
    return Console(file=sys.stdout, highlight=False)


def outcome_json(outcome: Outcome) -> dict[str, Any]:
    """Return the counts of a run."""
    return {name: getattr(outcome, name) for name in Outcome.__slots__}


def print_outcome(period: Period, outcome: Outcome, language: str) -> None:
    """Print what a run did, and which rules spoke how often."""
    words, own = WORDS[language], Language(language)
    table = Table(title=f"{words['validation']} {period}", show_header=False, title_justify="left")
    table.add_column()
    table.add_column(justify="right")
    for name in (
        "readings",
        "channels",
        "judged",
        "unchanged",
        "proposed",
        "values",
        "gaps_left",
        "ends_left",
        "balances_left",
    ):
        table.add_row(words[name], format_number(getattr(outcome, name), own))
    for rule, count in sorted(outcome.findings.items()):
        table.add_row(f"{rule} {rule_text(rule, language)}", format_number(count, own))
    console = _console()
    console.print(table)
    if outcome.proposed:
        console.print(words["next"].format(period=period))


def rule_text(rule: str, language: str) -> str:
    """Return what a rule minds."""
    return RULE_WORDS[rule] if language == "vi" else RULES[rule].name


def case_json(case: Case) -> dict[str, Any]:
    """Return a case."""
    accepted = case.accepted
    return {
        "case_id": case.number,
        "state": case.state,
        "accepted": None if accepted is None else _accepted_json(accepted),
        ("metering_point_id" if case.obis else "transformer_id"): case.point,
        "meter_id": case.meter,
        "obis": case.obis,
        "score_wh": case.score_wh,
        "reasons": [
            {"rule": rule, "rule_version": case.rules[rule][0], "on": day.isoformat(), "evidence": what}
            for rule, day, what in case.reasons
        ],
        "waiting": [
            {"change_id": number, "kind": kind, "made_by": who, "why": why} for number, kind, who, why in case.waiting
        ],
    }


def _accepted_json(accepted: Accepted) -> dict[str, Any]:
    told = {name: getattr(accepted, name) for name in ("actor", "role", "note")}
    return {**told, "at": instant_text(accepted.acted_at)}


def print_cases(period: Period, queue: Queue, language: str) -> None:
    """Print the queue, a row each, the riskiest first."""
    cases = queue.cases
    words = WORDS[language]
    console = _console()
    if not cases:
        console.print(words["no_cases"].format(period=period))
        return
    table = Table(title=f"{words['cases']} {period}", title_justify="left")
    for name in ("case", "point", "register", "score", "reasons", "waiting"):
        table.add_column(words[name], justify="right" if name in {"case", "score"} else "left")
    for case in cases:
        told = _reason_lines(case, language)
        waits = [f"{number} {KIND_WORDS[language][kind]} ({who})" for number, kind, who, _ in case.waiting]
        if case.accepted is not None:
            waits.append(f"{words['accepted_by']} {case.accepted.actor}: {case.accepted.note}")
        elif case.state == "decided":
            waits.append(words["decided"])
        table.add_row(
            "–" if case.number is None else str(case.number),
            Text(case.point),
            Text(case.obis or words["transformer"]),
            format_number(case.score_wh // 1000, Language(language)),
            Text("\n".join(told)),
            Text("\n".join(waits)),
        )
    console.print(table)
    if queue.more:
        console.print(words["more_cases"].format(more=format_number(queue.more, Language(language))))


def _reason_lines(case: Case, language: str) -> list[str]:
    """Return the rules of a case, each with how often it spoke and the numbers of its first day."""
    found: dict[str, list[tuple[date, dict[str, Any]]]] = {}
    for rule, day, evidence in case.reasons:
        found.setdefault(rule, []).append((day, evidence))
    lines = []
    for rule, days in list(found.items())[:REASONS_SHOWN]:
        times = f" ×{len(days)}" if len(days) > 1 else ""
        day, evidence = days[0]
        numbers = ", ".join(f"{name} {_number_text(value)}" for name, value in evidence.items())
        lines += [f"{rule}{times} {rule_text(rule, language)}", f"  {day:%d/%m}: {numbers}"]
    return [*lines, *([f"… +{len(found) - REASONS_SHOWN}"] if len(found) > REASONS_SHOWN else [])]


def _number_text(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def change_json(change: Mapping[str, Any], effects: Sequence[Effect] | None) -> dict[str, Any]:
    """Return a change with its readings and, where they were computed, its effects on bills."""
    plain = {name: change[name] for name in ("change_id", "metering_point_id", "meter_id", "obis", "kind", "made_by")}
    decided = {name: change[name] for name in ("act", "actor", "role", "effect_wh", "effect_vnd", "note")}
    return {
        **plain,
        "made_at": instant_text(change["made_at"]),
        "why": change["why"],
        "rule_set": change["rule_set"],
        "undoes": change["undoes"],
        "hash": change["hash"].hex(),
        "decision": None if change["act"] is None else decided,
        "readings": [_version_json(each) for each in change["versions"]],
        "effects": None if effects is None else [_effect_json(each) for each in effects],
    }


def _version_json(version: Version) -> dict[str, Any]:
    return {
        "at": instant_text(version.measured_at),
        "value_wh": version.value,
        "quality": version.quality,
        "method": Method(version.method).name,
        "reason": Reason(version.reason).name,
    }


def _effect_json(effect: Effect) -> dict[str, Any]:
    return {
        "period": str(effect.period),
        "before": {"energy_wh": effect.before.energy_wh, "total": effect.before.total, "held": effect.before.held},
        "after": {"energy_wh": effect.after.energy_wh, "total": effect.after.total, "held": effect.after.held},
        "difference_wh": effect.energy_wh,
        "difference_vnd": effect.vnd,
    }


def print_change(change: Mapping[str, Any], effects: Sequence[Effect] | None, language: str) -> None:
    """Print a change: who and why, its readings, its effect on bills, how it was decided."""
    words, own, console = WORDS[language], Language(language), _console()
    kind = KIND_WORDS[language][change["kind"]]
    console.print(
        Text(
            f"{words['change']} {change['change_id']}: {kind}, {change['metering_point_id']}, {change['meter_id']} "
            f"{change['obis']}\n"
            f"{words['made_by']} {change['made_by']}, {civil_text(change['made_at'])}: {change['why']}"
        ),
        soft_wrap=True,
    )
    table = Table()
    for name in ("at", "value", "quality", "method", "reason"):
        table.add_column(words[name], justify="right" if name == "value" else "left")
    for each in change["versions"][:VERSIONS_SHOWN]:
        value = words["meters_own"] if each.value is None else format_number(each.value, own)
        flags = " ".join(flag.name or "" for flag in Quality(each.quality)) or "ACTUAL"
        method, reason = METHOD_WORDS[language][Method(each.method)], REASON_WORDS[language][Reason(each.reason)]
        table.add_row(civil_text(each.measured_at), value, flags, method, reason)
    console.print(table)
    if (more := len(change["versions"]) - VERSIONS_SHOWN) > 0:
        console.print(words["more"].format(more=more))
    if effects is not None:
        _print_effects(effects, language, console)
    if change["act"] is not None:
        console.print(
            Text(f"{words[change['act']]} {change['actor']} ({change['role']}): {change['note']}"), soft_wrap=True
        )


def _print_effects(effects: Sequence[Effect], language: str, console: Console) -> None:
    words, own = WORDS[language], Language(language)
    table = Table(title=words["effects"], title_justify="left")
    for name in ("period", "before", "after", "difference"):
        table.add_column(words[name], justify="left" if name == "period" else "right")
    for each in effects:
        sides = [_amount_text(side, words["held"], own) for side in (each.before, each.after)]
        table.add_row(str(each.period), *sides, f"{each.energy_wh:+,} Wh, {each.vnd:+,} đ")
    console.print(table)


def _amount_text(amount: Amount, held: str, language: Language) -> str:
    if amount.held is not None:
        return held
    return f"{format_number(amount.energy_wh, language)} Wh, {format_number(amount.total, language)} đ"


def print_proposed(changes: Sequence[int], left: int, language: str) -> None:
    """Print which changes wait for approval now."""
    words, console = WORDS[language], _console()
    numbers = ", ".join(map(str, changes))
    console.print(words["proposed_changes"].format(count=len(changes), numbers=numbers or "–"), soft_wrap=True)
    if left:
        console.print(words["left"].format(left=left), soft_wrap=True)


def true_up_json(outcome: TrueUp) -> dict[str, Any]:
    """Return what a true-up proposed."""
    return {
        "changes": list(outcome.changes),
        "corrected": [
            {"period": str(each.period), "proposed": each.proposed, "difference": each.difference}
            for each in outcome.corrected
        ],
        "still_open": outcome.still_open,
    }


def print_true_up(outcome: TrueUp, language: str) -> None:
    """Print what a true-up proposed, and what comes next."""
    words, console = WORDS[language], _console()
    print_proposed(outcome.changes, 0, language)
    for each in outcome.corrected:
        console.print(
            words["corrected"].format(period=each.period, count=each.proposed, amount=f"{each.difference:+,}"),
            soft_wrap=True,
        )
    if outcome.still_open:
        console.print(words["still_open"].format(count=outcome.still_open), soft_wrap=True)
