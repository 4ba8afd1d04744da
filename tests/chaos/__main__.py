"""``python -m tests.chaos``: real processes under faults drawn at random, judged after each schedule."""

import argparse
import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path

from tests.chaos.hunt import hunt
from tests.chaos.judge import COUNTED
from tests.chaos.report import Writer
from tests.chaos.schedule import Outcome, Schedules
from tests.chaos.system import System

FINDINGS_MAX = 5


def parse(words: list[str]) -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--schedules", type=int, default=int(os.environ.get("N", "25")), help="how many to run")
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SEED", "1")), help="the first one's seed")
    parser.add_argument("--keep", action="store_true", help="leave the logs of a run with findings where they are")
    parser.add_argument("--seconds", type=float, help="begin no schedule after so many")
    parser.add_argument(
        "--report", type=Path, help="append what comes of it to this file (python -m tests.chaos.report)"
    )
    parser.add_argument(
        "--control",
        type=int,
        default=0,
        metavar="N",
        help="then run up to N of these schedules with an agent that deletes on the broker's word; it must lose",
    )
    return parser.parse_args(words)


def main(words: list[str]) -> int:
    """Run what is asked for; return the exit status."""
    arguments = parse(words)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and end what we started
    report = Writer(arguments.report)
    report.begin(arguments.seed)
    is_clean = run(arguments, report)
    return 0 if control(arguments, report) and is_clean else 1


def run(arguments: argparse.Namespace, report: Writer) -> bool:
    """Run the schedules; say whether all were clean, one by one and together."""
    begun_s = time.monotonic()
    outcomes: list[Outcome] = []
    system = System()
    is_clean = False
    try:
        schedules = Schedules(system)
        for seed in range(arguments.seed, arguments.seed + arguments.schedules):
            if arguments.seconds is not None and time.monotonic() - begun_s > arguments.seconds:
                break
            outcomes.append(schedules.run(seed))
            report.schedule(outcomes[-1])
            print(line(outcomes[-1]), flush=True)
            if sum(not each.verdict.is_clean for each in outcomes) >= FINDINGS_MAX:
                break
        judge = schedules.judge
        final = judge.judge_all()
        report.end(final, judge.batches, judge.readings, schedules.effects())
        print(summary(outcomes, schedules, time.monotonic() - begun_s))
        print(f"everything together: {final}", *final.notes[:FINDINGS_MAX], sep="\n  ", flush=True)
        is_clean = final.is_clean and all(each.verdict.is_clean for each in outcomes)
    finally:
        system.close(keep=arguments.keep and not is_clean)
    return is_clean


def control(arguments: argparse.Namespace, report: Writer) -> bool:
    """Run the control variant if it is asked for; say whether it has lost readings, as it must."""
    if not arguments.control:
        return True
    found = hunt("agent", "delete_on_acknowledgement", "lost", seed=arguments.seed, schedules_max=arguments.control)
    report.control(arguments.seed, found)
    lost = sum(each.verdict.lost for each in found)
    print(f"control, which deletes on the broker's word: {lost} lost in {len(found)} schedules", flush=True)
    return lost > 0


def line(outcome: Outcome) -> str:
    """Return a schedule's line, with what is wrong below it."""
    text = f"seed {outcome.seed}: {len(outcome.faults)} faults, {outcome.took_s:.1f} s, drained in "
    text += f"{outcome.drain_s:.1f} s: {outcome.verdict}"
    if outcome.verdict.is_clean:
        return text
    return "\n    ".join([text, "; ".join(outcome.faults), *outcome.verdict.notes[:8]])


def summary(outcomes: list[Outcome], schedules: Schedules, took_s: float) -> str:
    """Return the counts of a run."""
    kinds = Counter(name for each in outcomes for name in each.faults)
    found = Counter({name: sum(getattr(each.verdict, name) for each in outcomes) for name in COUNTED})
    rows = [f"  {count:6} {name}" for name, count in kinds.most_common()]
    judge = schedules.judge
    head = f"{len(outcomes)} schedules, {kinds.total()} faults, {judge.batches} batches, {judge.readings} readings"
    longest_s = max((each.drain_s for each in outcomes), default=0.0)
    return "\n".join(
        [
            f"{head}, {took_s:.0f} s; longest drain {longest_s:.1f} s; given up and counted: {judge.given_up}",
            *rows,
            "seen: " + ", ".join(f"{count} {what}" for what, count in schedules.effects().items()),
            ", ".join(f"{name} {count}" for name, count in found.items()),
        ]
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
