"""``python -m tests.chaos``: real processes under faults drawn at random, judged after each schedule."""

import argparse
import os
import signal
import sys
import time
from collections import Counter

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
    return parser.parse_args(words)


def main(words: list[str]) -> int:
    """Run what is asked for; return the exit status."""
    arguments = parse(words)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and end what we started
    begun_s = time.monotonic()
    outcomes: list[Outcome] = []
    system = System()
    try:
        schedules = Schedules(system)
        for seed in range(arguments.seed, arguments.seed + arguments.schedules):
            if arguments.seconds is not None and time.monotonic() - begun_s > arguments.seconds:
                break
            outcomes.append(schedules.run(seed))
            print(line(outcomes[-1]), flush=True)
            if sum(not each.verdict.is_clean for each in outcomes) >= FINDINGS_MAX:
                break
        final = schedules.judge.judge_all()
        print(summary(outcomes, schedules, time.monotonic() - begun_s))
        print(f"everything together: {final}", *final.notes[:FINDINGS_MAX], sep="\n  ", flush=True)
    finally:
        system.close(keep=arguments.keep)
    return 0 if final.is_clean and all(each.verdict.is_clean for each in outcomes) else 1


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
    found = Counter(
        {
            name: sum(getattr(each.verdict, name) for each in outcomes)
            for name in ("lost", "doubled", "altered", "invented", "gaps", "uncounted", "undrained", "crashes")
        }
    )
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
