"""Gaps on purpose in series of known values: how far the estimates are from the truth, against a flat line.

::

    python -m tests.billing_core.estimation.masked_gaps [--half choose|report] [--draws N] [--wheels FOLDER]

The series are those of :mod:`tests.billing_core.estimation.samples`. Each gets one gap of 1, 2, 6, 24, 72 and 168
hours, anew in each draw. The error is the sum of the absolute errors of all intervals in gaps. What is known besides is
one of three:

around
    Registers on both sides of each gap, as `congto vee run` has them. The flat line is the gap's energy, spread evenly.
midnights
    Nine of ten midnights' registers, of days in gaps too. The flat line is what the registers around a day leave for
    its gaps, spread evenly.
none
    No register. The flat line is the mean of what is known of the series.

Estimates were chosen on the half ``choose`` (every second ten weeks of a series, every second profile, one seed of the
simulation); the half ``report`` is what is published. The *floor* is the error, in the same gaps, of somebody who sees
into them: who knows the true energy of each day, and of each gap if there is a register, and the shape: of the series'
median day of that type, or, where eemeter brings the weather, what a regression expects of each interval that was
fitted to all of the series, the gaps too; the better of the two for each length of gap. No method by time of day, type
of day and weather can be expected to be nearer.
"""

import argparse
import sys
from collections import Counter
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from billing_core.estimation.context import SATURDAY, SUNDAY, WORKDAY, Context
from billing_core.estimation.estimate import estimate
from billing_core.estimation.profile import RegisterProfile, readings_in_gaps
from billing_core.estimation.provenance import Method
from billing_core.validation.series import Intervals, Registers
from tests.billing_core.estimation.samples import (
    CHOOSE,
    ILLINOIS,
    KINGDOM,
    REPORT,
    Sample,
    fetch,
    of_eemeter,
    simulated,
    standard_profiles,
)

FOLDER = Path("build/wheels")
TARGET = 0.6
KNOWN = ("around", "midnights", "none")
HOURS = (1, 2, 6, 24, 72, 168)
TRIES = 60
SERIES_FEW = 10  # of fewer series all draws are made, of more a tenth


@dataclass(frozen=True, slots=True)
class Outcome:
    name: str
    known: str
    ratio: float
    floor: float
    gaps: int
    exact: bool
    methods: Counter[str]
    kinds: dict[int, tuple[float, float]]
    """Of each length of gap [h]: error and floor, of the flat line's."""


def make_gaps(sample: Sample, rng: np.random.Generator) -> np.ndarray:
    """Return which slots are missing: gaps in days that are present, with a day that is present on either side."""
    missing = np.zeros(sample.true_wh.shape, dtype=bool)
    slots, per_day = sample.true_wh.shape[1], sample.per_day
    for series in range(missing.shape[0]):
        for hours in HOURS:
            length = hours * per_day // 24
            for _ in range(TRIES):
                begin = int(rng.integers(8 * per_day, slots - length - per_day))
                days = slice((begin - 1) // per_day, (begin + length) // per_day + 1)
                apart = not missing[series, begin - 1 : begin + length + 1].any()
                if apart and sample.present[series, days].all():
                    missing[series, begin : begin + length] = True
                    break
    return missing


def context_of(sample: Sample, missing: np.ndarray, rows: np.ndarray, actual: np.ndarray) -> Context:
    """Return the context of series whose first day is the same weekday. ``actual``: midnights, of these rows"""
    true_wh, days = sample.true_wh[rows], sample.present.shape[1]
    index = np.zeros((rows.size, days + 1), dtype=np.int64)
    np.cumsum(true_wh.reshape(rows.size, days, -1).sum(axis=2), axis=1, out=index[:, 1:])
    weekday = (int(sample.first_weekday[rows[0]]) + np.arange(days)) % 7
    ones = np.ones(rows.size, dtype=np.int64)
    energy = np.where(missing[rows], 0, true_wh)
    return Context(
        intervals=Intervals(energy_wh=energy, missing=missing[rows], slots_per_day=sample.per_day),
        registers=Registers(
            index_wh=index, actual=actual, digits=0 * ones, unit_wh=1000 * ones, resolution_wh=ones, multiplier=ones
        ),
        replace=np.zeros(energy.shape, dtype=bool),
        weekday=weekday,
        day_type=np.select([weekday == 5, weekday == 6], [SATURDAY, SUNDAY], WORKDAY),
        outage=~sample.present[rows],  # a day that is not present is no model
    )


def fill(sample: Sample, missing: np.ndarray, actual: np.ndarray, known: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the filled series and the method of each slot."""
    filled, method = sample.true_wh.copy(), np.zeros(missing.shape, dtype=np.int8)
    for weekday in np.unique(sample.first_weekday):
        rows = np.flatnonzero(sample.first_weekday == weekday)
        context = context_of(sample, missing, rows, actual[rows])
        if known != "around":
            made = estimate(context)
            filled[rows], method[rows] = made.intervals.energy_wh, made.method
            continue
        made = estimate(replace(context, shapes_only=True))
        instants = np.zeros((rows.size, missing.shape[1] + 1), dtype=np.int64)
        np.cumsum(sample.true_wh[rows], axis=1, out=instants[:, 1:])
        read = np.ones(instants.shape, dtype=bool)
        read[:, 1:-1] = ~(missing[rows, 1:] & missing[rows, :-1])
        profile = RegisterProfile(instants, read, np.zeros(rows.size, dtype=np.int64))
        inner = readings_in_gaps(profile, missing[rows], made.intervals.energy_wh, made.method)
        instants[~read] = -1
        instants[inner.row, inner.instant] = inner.index_wh
        filled[rows], method[rows] = np.diff(instants, axis=1), made.method
    return filled, method


def flat_line(sample: Sample, missing: np.ndarray, actual: np.ndarray, known: str) -> np.ndarray:
    """Return the flat filling, as the module says."""
    flat = np.where(missing, 0.0, sample.true_wh.astype(float))
    for series in range(missing.shape[0]):
        gone, true_wh = missing[series], sample.true_wh[series]
        there = ~gone & sample.present[series].repeat(sample.per_day)
        flat[series, gone] = true_wh[there].mean()
        if known == "around":
            ends = np.flatnonzero(np.diff(gone.astype(np.int8), prepend=0, append=0))
        else:
            ends = np.flatnonzero(actual[series]) * sample.per_day
        for begin, end in pairwise(ends) if known != "none" else ():
            some = gone[begin:end]
            if some.any():
                flat[series, begin:end][some] = true_wh[begin:end][some].sum() / some.sum()
    return flat


def seers(sample: Sample) -> list[np.ndarray]:
    """Return what those expect who know each day's energy and its shape. [Wh, series × slots]"""
    series, days = sample.present.shape
    true_wh = sample.true_wh.reshape(series, days, -1).astype(float)
    total = true_wh.sum(axis=2, keepdims=True)
    shape = np.zeros(true_wh.shape)
    weekday = (sample.first_weekday[:, None] + np.arange(days)) % 7
    types = np.select([weekday == 5, weekday == 6], [SATURDAY, SUNDAY], WORKDAY)
    for kind in (WORKDAY, SATURDAY, SUNDAY):
        alike = (types == kind) & sample.present
        for one in range(series):
            shares = true_wh[one, alike[one]] / np.maximum(total[one, alike[one]], 1)
            shape[one, alike[one]] = np.median(shares, axis=0)
    shapes = [shape] if sample.expected_wh is None else [shape, sample.expected_wh.reshape(true_wh.shape)]
    return [
        (total * each / np.maximum(each.sum(axis=2, keepdims=True), 1e-9)).reshape(sample.true_wh.shape)
        for each in shapes
    ]


def brought_to_gaps(expected: np.ndarray, true_wh: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Return the expectation, brought to the energy of each gap."""
    brought = expected.copy()
    for series in range(missing.shape[0]):
        edges = np.flatnonzero(np.diff(missing[series].astype(np.int8), prepend=0, append=0))
        for begin, end in edges.reshape(-1, 2):
            part = slice(begin, end)
            brought[series, part] *= true_wh[series, part].sum() / max(expected[series, part].sum(), 1e-9)
    return brought


def hours_of_gaps(missing: np.ndarray, per_day: int) -> np.ndarray:
    """Return how long the gap of each slot is, 0 where there is none. [h, series × slots]"""
    hours = np.zeros(missing.shape, dtype=np.int64)
    for series in range(missing.shape[0]):
        edges = np.flatnonzero(np.diff(missing[series].astype(np.int8), prepend=0, append=0))
        for begin, end in edges.reshape(-1, 2):
            hours[series, begin:end] = (end - begin) * 24 // per_day
    return hours


def is_exact(sample: Sample, filled: np.ndarray, missing: np.ndarray, actual: np.ndarray, known: str) -> bool:
    """Say whether the energy between registers that were read is kept to the Wh."""
    wrong = np.zeros((missing.shape[0], missing.shape[1] + 1), dtype=np.int64)
    np.cumsum(filled - sample.true_wh, axis=1, out=wrong[:, 1:])
    if known == "around":
        return not wrong[:, 1:][~missing].any()
    return not wrong[:, :: sample.per_day][actual].any()


def measure(sample: Sample, known: str, seed: int, draws: int = 1) -> Outcome:
    """Make gaps ``draws`` times, fill them, and compare with the truth, a flat line and the seers."""
    expectations = seers(sample)
    off = np.zeros((len(HOURS), 2 + len(expectations)))  # ours, the flat line's, the seers'
    used: Counter[str] = Counter()
    gaps, exact = 0, True
    for draw in range(draws):
        rng = np.random.default_rng([seed + draw, 5])
        missing = make_gaps(sample, rng)
        actual = midnights_read(sample, missing, known, rng)
        filled, method = fill(sample, missing, actual, known)
        guesses = [filled, flat_line(sample, missing, actual, known), *expectations]
        if known != "none":
            guesses[2:] = [brought_to_gaps(each, sample.true_wh, missing) for each in expectations]
        hours = hours_of_gaps(missing, sample.per_day)
        for column, guess in enumerate(guesses):
            error = np.abs(guess - sample.true_wh)
            off[:, column] += [error[hours == each].sum() for each in HOURS]
        used.update(Method(code).name[:2] for code in method[missing].tolist())
        gaps += int(np.diff(missing.astype(np.int8), axis=1).clip(0).sum())
        exact &= is_exact(sample, filled, missing, actual, known)
    flat, floor = off[:, 1], off[:, 2:].min(axis=1)
    kinds = {
        hours: (float(off[place, 0] / flat[place]), float(floor[place] / flat[place]))
        for place, hours in enumerate(HOURS)
        if flat[place] > 0
    }
    whole = flat.sum()
    return Outcome(
        sample.name, known, float(off[:, 0].sum() / whole), float(floor.sum() / whole), gaps, exact, used, kinds
    )


def midnights_read(sample: Sample, missing: np.ndarray, known: str, rng: np.random.Generator) -> np.ndarray:
    """Return which midnights' registers are known. [series × days + 1]"""
    series, days = sample.present.shape
    actual = np.zeros((series, days + 1), dtype=bool)
    if known == "around":
        inside = missing[:, sample.per_day :: sample.per_day] & missing[:, sample.per_day - 1 : -1 : sample.per_day]
        actual[:, 1:-1] = ~inside
    elif known == "midnights":
        actual = rng.random(actual.shape) < 0.9
    if known != "none":
        actual[:, [0, -1]] = True
    return actual


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.billing_core.estimation.masked_gaps", description=__doc__)
    parser.add_argument("--wheels", type=Path, default=FOLDER)
    parser.add_argument("--half", choices=("choose", "report"), default="report")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--draws", type=int, default=60)
    asked = parser.parse_args(words)
    half = CHOOSE if asked.half == "choose" else REPORT
    wheels = fetch(asked.wheels)
    names = (*((name, 24) for name in ILLINOIS), *KINGDOM)
    samples = [of_eemeter(wheels["eemeter"], name, per_day, half) for name, per_day in names]
    samples += [standard_profiles(wheels["demandlib"], half), *simulated(300, asked.seed + half)]
    print(
        f"{'series':40} {'gaps':>5} {'known':>9} {'exact':>5} {'error':>6} {'floor':>6}  "
        + " ".join(f"{f'{hours} h':>13}" for hours in HOURS)
        + "  methods"
    )
    for sample in samples:
        for known in KNOWN:
            few = sample.true_wh.shape[0] < SERIES_FEW
            found = measure(sample, known, asked.seed, asked.draws if few else 1 + asked.draws // 10)
            verdict = "" if found.ratio <= TARGET else "  target 0.6 MISSED"
            methods = " ".join(
                f"{name} {100 * count // found.methods.total()} %" for name, count in found.methods.most_common()
            )
            kinds = " ".join(
                f"{found.kinds[hours][0]:5.3f} ({found.kinds[hours][1]:.3f})" if hours in found.kinds else f"{'–':>13}"
                for hours in HOURS
            )
            print(
                f"{found.name:40} {found.gaps:5} {known:>9} {'yes' if found.exact else 'NO':>5} {found.ratio:6.3f} "
                f"{found.floor:6.3f}  {kinds}  {methods}{verdict}",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
