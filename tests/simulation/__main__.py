"""``python -m tests.simulation``: run schedules, or one again from its seed."""

import argparse
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

from tests.simulation.campaign import Finding, judged, run_many

CHUNK = 50


def parse(words: list[str]) -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the first schedule's seed; alone: run just this one")
    parser.add_argument("--schedules", type=int, help="how many schedules to run, with seeds from --seed on")
    parser.add_argument("--processes", type=int, default=1, help="how many processes share them")
    parser.add_argument("--keep-going", action="store_true", help="do not stop at the tenth finding")
    return parser.parse_args(words)


def main(words: list[str]) -> int:
    """Run what is asked for; return the exit status."""
    arguments = parse(words)
    if arguments.schedules is None:
        world, problems = judged(arguments.seed, trace=True)
        assert world.trace is not None
        for fault in world.faults:
            print(f"fault   {fault}")
        print("\n".join(world.trace))
        print(f"seed {arguments.seed}: trace {world.hash()}, {len(problems)} findings", *problems, sep="\n  ")
        return 1 if problems else 0
    return _campaign(arguments)


def _campaign(arguments: argparse.Namespace) -> int:
    begun = time.monotonic()
    last = arguments.seed + arguments.schedules
    chunks = [(first, min(first + CHUNK, last)) for first in range(arguments.seed, last, CHUNK)]
    done = found = faults = 0
    with _mapped(arguments.processes, chunks) as results:
        for count, fault_count, findings in results:
            done, faults, found = done + count, faults + fault_count, found + len(findings)
            for each in findings:
                print(f"\nseed {each.seed}: {each.problem}", flush=True)
            took_s = time.monotonic() - begun
            print(f"\r{done} of {arguments.schedules} schedules, {faults} faults, {found} findings, "
                  f"{1000 * took_s / done:.1f} ms a schedule", end="", flush=True)  # fmt: skip
            if found >= 10 and not arguments.keep_going:
                break
    print(f"\n{done} schedules from seed {arguments.seed}: {found} findings in {time.monotonic() - begun:.0f} s")
    return 1 if found else 0


@contextmanager
def _mapped(processes: int, chunks: list[tuple[int, int]]) -> Iterator[Iterator[tuple[int, int, list[Finding]]]]:
    if processes == 1:
        yield map(run_many, chunks)
        return
    with ProcessPoolExecutor(processes) as pool:
        yield pool.map(run_many, chunks)
        pool.shutdown(cancel_futures=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
