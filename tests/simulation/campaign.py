"""Runs schedules in a row and collects what is wrong with them."""

import gc
import sys
from dataclasses import dataclass

from tests.simulation.agent import Parts
from tests.simulation.judge import judge
from tests.simulation.world import ANY, Only, World, run_schedule


@dataclass(frozen=True, slots=True)
class Finding:
    """What was wrong with a schedule."""

    seed: int
    problem: str


def judged(seed: int, parts: Parts | None = None, *, only: Only = ANY, trace: bool = False) -> tuple[World, list[str]]:
    """Run one schedule; return its world and what is wrong."""
    quiet()
    world = run_schedule(seed, parts, only=only, trace=trace)
    return world, judge(world)


def run_many(seeds: tuple[int, int]) -> tuple[int, int, list[Finding]]:
    """Run the schedules of the half-open range ``seeds``; return how many, their faults, and the findings."""
    faults, findings = 0, []
    gc.freeze()
    for seed in range(*seeds):
        try:
            world, problems = judged(seed)
            faults += len(world.faults)
        except Exception as error:  # the simulation's own mistake counts as a finding too
            problems = [f"{type(error).__name__}: {error}"]
        findings += [Finding(seed, problem) for problem in problems[:1]]
    return seeds[1] - seeds[0], faults, findings


def quiet() -> None:
    """Let what the dead leave behind be collected in silence: their coroutines complain that they were not finished."""
    sys.unraisablehook = lambda _unraisable: None
