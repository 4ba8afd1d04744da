"""``python -m tests.simulation``: run schedules, or one again from its seed."""

import argparse
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

from tests.simulation.campaign import Run, judged, run_many

CHUNK = 50
PROGRESS_S = 60.0
FINDINGS_MAX = 10


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
    begun_s = told_s = time.monotonic()
    last = arguments.seed + arguments.schedules
    chunks = [(first, min(first + CHUNK, last)) for first in range(arguments.seed, last, CHUNK)]
    total = Run()
    with _mapped(arguments.processes, chunks) as results:
        for run in results:
            total += run
            for each in run.findings:
                print(f"seed {each.seed}: {each.problem}", flush=True)
            if len(total.findings) >= FINDINGS_MAX and not arguments.keep_going:
                break
            if time.monotonic() >= told_s + PROGRESS_S:
                told_s = time.monotonic()
                print(f"{total} after {told_s - begun_s:.0f} s", flush=True)
    print(f"from seed {arguments.seed}: {total} in {time.monotonic() - begun_s:.0f} s")
    return 1 if total.findings else 0


@contextmanager
def _mapped(processes: int, chunks: list[tuple[int, int]]) -> Iterator[Iterator[Run]]:
    if processes == 1:
        yield map(run_many, chunks)
        return
    with ProcessPoolExecutor(processes) as pool:
        yield pool.map(run_many, chunks)
        pool.shutdown(cancel_futures=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
