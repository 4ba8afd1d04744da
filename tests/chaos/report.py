"""``python -m tests.chaos.report FILE…``: what many runs have come to, from what each has written with ``--report``.

Each line of a file is a JSON object: a run's ``begin``, a ``schedule``, a ``control``, a run's ``end``. A run that was
interrupted has no end; its schedules count all the same. So a campaign may be run in pieces, and a piece be repeated.
"""

import json
import os
import platform
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.chaos.judge import COUNTED, Verdict
from tests.chaos.schedule import Outcome

NOTES_MAX = 8  # of one schedule
CODE = ("billing_core", "deploy", "edge_agent", "ingest_server", "protocols", "simulators", "tests")

Line = Mapping[str, Any]


class Writer:
    """Appends to a report, line by line; without a path it does nothing."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def begin(self, seed: int) -> None:
        """Note that a run begins, of which code and where."""
        self._add(
            "begin",
            seed=seed,
            at=datetime.now(UTC).isoformat(timespec="seconds"),
            commit=_git("rev-parse", "--short", "HEAD"),
            changed=bool(_git("status", "--porcelain", "--untracked-files=no", "--", *CODE)),
            python=platform.python_version(),
            processors=len(os.sched_getaffinity(0)),
        )

    def schedule(self, outcome: Outcome) -> None:
        """Note what came of a schedule."""
        took = {"took_s": round(outcome.took_s, 1), "drain_s": round(outcome.drain_s, 1)}
        self._add("schedule", seed=outcome.seed, faults=outcome.faults, **took, **_told(outcome.verdict))

    def control(self, seed: int, outcomes: list[Outcome]) -> None:
        """Note what the control variant has lost."""
        lost = sum(each.verdict.lost for each in outcomes)
        faults = sum(len(each.faults) for each in outcomes)
        self._add("control", seed=seed, schedules=len(outcomes), faults=faults, lost=lost)

    def end(self, verdict: Verdict, batches: int, readings: int, effects: Mapping[str, int]) -> None:
        """Note the last comparison, of everything since the run's beginning."""
        self._add("end", batches=batches, readings=readings, effects=dict(effects), **_told(verdict))

    def _add(self, what: str, **values: object) -> None:
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as report:
                report.write(json.dumps({"what": what, **values}) + "\n")


def _told(verdict: Verdict) -> dict[str, object]:
    return {name: getattr(verdict, name) for name in COUNTED} | {"notes": verdict.notes[:NOTES_MAX]}


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else "unknown"


@dataclass(slots=True)
class Run:
    """One run of a report."""

    begin: Line
    schedules: list[Line] = field(default_factory=list)
    controls: list[Line] = field(default_factory=list)
    end: Line | None = None

    @property
    def faults(self) -> Counter[str]:
        """How many there were, by kind."""
        return Counter(name for each in self.schedules for name in each["faults"])

    @property
    def wrong(self) -> list[Line]:
        """What was not clean, the last comparison included."""
        judged = self.schedules if self.end is None else [*self.schedules, self.end]
        return [each for each in judged if any(each[name] for name in COUNTED)]


def runs_of(lines: Iterable[str]) -> Iterator[Run]:
    """Yield the runs that ``lines`` tell of, in their order."""
    run: Run | None = None
    for text in lines:
        line = json.loads(text)
        if line["what"] == "begin":
            if run is not None:
                yield run
            run = Run(line)
        elif run is None:
            raise ValueError(f"a report begins with a run's begin, not with {line['what']!r}")
        elif line["what"] == "end":
            run.end = line
        else:
            {"schedule": run.schedules, "control": run.controls}[line["what"]].append(line)
    if run is not None:
        yield run


def markdown(runs: list[Run]) -> str:
    """Return the report of ``runs``: each run, the faults by kind, what was seen of them, the verdicts."""
    kinds = sum((run.faults for run in runs), Counter[str]())
    seen = Counter[str]()
    for run in runs:
        seen.update(run.end["effects"] if run.end else {})
    wrong = [(run, each) for run in runs for each in run.wrong]
    schedules = sum(len(run.schedules) for run in runs)
    controls = [each for run in runs for each in run.controls]
    verdict = {name: sum(each[name] for run in runs for each in run.schedules) for name in COUNTED}
    compared = sum(run.end["readings"] for run in runs if run.end)
    parts = [
        f"{schedules} schedules with {kinds.total()} faults, {compared:,} readings compared.",
        "Verdicts: " + ", ".join(f"{name} {count}" for name, count in verdict.items()) + ".",
        f"Control: {len([each for each in controls if each['lost']])} of {len(controls)} have lost readings.",
        _table(("seeds", "commit", "begun", "schedules", "faults", "readings", "not clean", "the control lost"), runs),
        "| fault | times |\n|---|---|\n" + "\n".join(f"| {name} | {count:,} |" for name, count in kinds.most_common()),
        "| seen | times |\n|---|---|\n" + "\n".join(f"| {name} | {count:,} |" for name, count in seen.items()),
    ]
    for run, each in wrong:
        counts = ", ".join(f"{name} {each[name]}" for name in COUNTED if each[name])
        parts.append(f"Seed {each.get('seed', 'all together')} of the run from {run.begin['seed']}: {counts}")
        parts += [f"    {note}" for note in each["notes"]]
    return "\n\n".join(parts)


def _table(head: tuple[str, ...], runs: list[Run]) -> str:
    rows = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for run in runs:
        seeds = [each["seed"] for each in run.schedules]
        cells = (
            f"{min(seeds)} to {max(seeds)}" if seeds else str(run.begin["seed"]),
            run.begin["commit"] + (" and changes" if run.begin["changed"] else ""),
            run.begin["at"],
            len(run.schedules),
            run.faults.total(),
            f"{run.end['readings']:,}" if run.end else "interrupted",
            len(run.wrong),
            ", ".join(f"{each['lost']:,} in {each['schedules']}" for each in run.controls) or "not run",
        )
        rows.append("| " + " | ".join(str(each) for each in cells) + " |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(markdown([run for name in sys.argv[1:] for run in runs_of(Path(name).read_text("utf-8").splitlines())]))
