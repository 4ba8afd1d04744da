"""Runs schedules in a row and collects what is wrong with them."""

import gc
import sys
import time
from dataclasses import dataclass
from functools import cache

from tests.simulation.agent import Parts
from tests.simulation.judge import judge
from tests.simulation.world import ANY, Only, World, run_schedule

COLLECT_EVERY = 10


@dataclass(frozen=True, slots=True)
class Finding:
    """What was wrong with a schedule."""

    seed: int
    problem: str


@dataclass(frozen=True, slots=True)
class Run:
    """Schedules that were run, the faults in them, what was found, and the processor's time [s]."""

    schedules: int = 0
    faults: int = 0
    findings: tuple[Finding, ...] = ()
    cpu_s: float = 0.0

    def __add__(self, other: "Run") -> "Run":
        return Run(
            self.schedules + other.schedules,
            self.faults + other.faults,
            self.findings + other.findings,
            self.cpu_s + other.cpu_s,
        )

    def __str__(self) -> str:
        cpu_ms = 1000 * self.cpu_s / max(self.schedules, 1)
        found = len(self.findings)
        return f"{self.schedules} schedules, {self.faults} faults, {found} findings, {cpu_ms:.1f} ms of CPU a schedule"


def judged(seed: int, parts: Parts | None = None, *, only: Only = ANY, trace: bool = False) -> tuple[World, list[str]]:
    """Run one schedule; return its world and what is wrong."""
    quiet()
    collects = gc.isenabled()
    gc.disable()
    try:
        world = run_schedule(seed, parts, only=only, trace=trace)
        return world, judge(world)
    finally:
        if collects:
            gc.enable()


def run_many(seeds: tuple[int, int]) -> Run:
    """Run the schedules of the half-open range ``seeds``."""
    faults, findings, begun_s = 0, [], time.process_time()
    damaged = True
    gc.disable()
    for seed in range(*seeds):
        if damaged or seed % COLLECT_EVERY == 0:
            gc.collect()  # a damaged file that an earlier schedule has left open would be closed in this one
        try:
            world, problems = judged(seed)
            faults, damaged = faults + len(world.faults), world.record.damages > 0
        except Exception as error:  # the simulation's own mistake counts as a finding too
            problems = [f"{type(error).__name__}: {error}"]
        findings += [Finding(seed, problem) for problem in problems[:1]]
    gc.enable()
    return Run(seeds[1] - seeds[0], faults, tuple(findings), time.process_time() - begun_s)


@cache
def quiet() -> None:
    """Let what the dead leave behind be collected in silence, and quickly, without a look at all the modules.

    Their coroutines would complain that they were not finished.
    """
    sys.unraisablehook = lambda _unraisable: None
    gc.freeze()
