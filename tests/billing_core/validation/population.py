"""Meters as a district has them, from the simulators' loads, with what life does to them and nothing wrong.

Life is what makes false alarms: flats that stand empty with a refrigerator running, parties, outages that the meter
reports, machines bought and sold, coarse registers, midnights on which a register was not read.
"""

from dataclasses import dataclass, replace
from datetime import date

import numpy as np
from numpy.typing import NDArray

from billing_core.validation.parameters import Columns, columns_on, load_parameters
from billing_core.validation.series import Intervals, Registers, Status
from billing_core.validation.validate import MeterData, physical_limit_wh
from simulators.chance import key_of
from simulators.loads import Consumer, Kind, energies
from simulators.sky import PLACES, sine_of_elevation
from tests.billing_core.validation.transformers import feed

PER_DAY = 48
MONDAY_SLOT = (date(2025, 9, 1) - date(1970, 1, 1)).days * PER_DAY - 14  # a Monday's local midnight
KINDS = (Kind.HOUSEHOLD, Kind.SHOP, Kind.FACTORY, Kind.SOLAR, Kind.SCHOOL, Kind.LIGHTING)
CLASS = {Kind.HOUSEHOLD: 0, Kind.SOLAR: 0, Kind.SHOP: 1, Kind.LIGHTING: 1, Kind.SCHOOL: 2, Kind.FACTORY: 2}
SIZES = {
    Kind.HOUSEHOLD: (60, 450), Kind.SOLAR: (200, 600), Kind.SHOP: (300, 2_500), Kind.LIGHTING: (300, 2_000),
    Kind.SCHOOL: (2_000, 15_000), Kind.FACTORY: (8_000, 300_000),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mix:
    """How many of each of ``KINDS`` there are, and how many of the midnights are not read."""

    shares: tuple[float, ...]
    not_read: float


MIXES = {
    "town": Mix((0.58, 0.12, 0.08, 0.10, 0.06, 0.06), 0.01),
    "country": Mix((0.66, 0.10, 0.05, 0.07, 0.08, 0.04), 0.03),
    "harbour": Mix((0.54, 0.14, 0.09, 0.13, 0.05, 0.05), 0.02),  # with the recipes "unseen" only
}


@dataclass(slots=True)
class District:
    """The truth, and what is read of it. Arrays are [meters × slots] or [meters × days], energies primary Wh."""

    kind: NDArray[np.int64]  # place in KINDS
    data: MeterData
    parameters: Columns
    true_wh: NDArray[np.int64]
    transformer: NDArray[np.int64]  # which feeds each meter
    supplied_wh: NDArray[np.int64]  # what its own meter counts. [transformers × days]
    consumers: list[Consumer]
    first_slot: int

    @property
    def days(self) -> int:
        return self.data.intervals.days

    def is_kind(self, *kinds: Kind) -> NDArray[np.bool_]:
        return np.isin(self.kind, [KINDS.index(each) for each in kinds])


def make_district(meters: int, days: int, seed: int, mix: str = "town") -> District:
    """Make a district that is the same for the same arguments everywhere."""
    rng = np.random.default_rng([seed, meters, days])
    kind = rng.choice(len(KINDS), meters, p=MIXES[mix].shares)
    slots = MONDAY_SLOT + 7 * PER_DAY * int(rng.integers(0, 40)) + np.arange(days * PER_DAY, dtype=np.int64)
    imported = np.zeros((meters, slots.size), dtype=np.int64)
    exported = np.zeros_like(imported)
    panels = np.zeros(meters, dtype=np.int64)
    consumers = _consumers(kind, seed, rng)
    for meter, consumer in enumerate(consumers):
        panels[meter] = consumer.panels_w
        flow = energies(consumer, slots)
        imported[meter], exported[meter] = flow.imported, flow.exported
    status = np.zeros((meters, days), dtype=np.int32)
    _live(imported, exported, status, kind, rng)
    multiplier = np.array([_multiplier(KINDS[each], rng) for each in kind], dtype=np.int64)
    not_read = MIXES[mix].not_read
    return _read(
        kind, imported, exported, status=status, multiplier=multiplier, panels=panels, slots=slots, rng=rng,
        not_read=not_read, consumers=consumers,
    )  # fmt: skip


def _consumers(kind: NDArray[np.int64], seed: int, rng: np.random.Generator) -> list[Consumer]:
    places, consumers = list(PLACES), []
    for meter, code in enumerate(kind):
        which = KINDS[code]
        low, high = SIZES[which]
        size = int(np.exp(rng.uniform(np.log(low), np.log(high))))
        place = places[int(rng.integers(len(places)))]
        panels = size * 15 if which is Kind.SOLAR else 0
        consumers.append(Consumer(which, size, place, key_of(seed, meter), key_of(seed, place), panels))
    return consumers


def _multiplier(kind: Kind, rng: np.random.Generator) -> int:
    if kind is Kind.FACTORY:
        return int(rng.choice([40, 80, 120, 200, 400, 1200]))
    return int(rng.choice([10, 20, 40])) if kind is Kind.SCHOOL else 1


def _live(imported, exported, status, kind, rng) -> None:
    """Empty flats, parties, outages, and loads that change for good."""
    meters, slots = imported.shape
    days = slots // PER_DAY
    for meter in range(meters):
        row = imported[meter]
        if KINDS[kind[meter]] is Kind.HOUSEHOLD and rng.random() < 0.10:  # away for some days: refrigerator, or nothing
            begin, length = int(rng.integers(slots)), int(rng.integers(2, 15)) * PER_DAY
            row[begin : begin + length] = rng.integers(0, 2) * rng.integers(8, 25, row[begin : begin + length].shape)
        if KINDS[kind[meter]] in (Kind.HOUSEHOLD, Kind.SOLAR, Kind.SHOP):
            for _ in range(rng.poisson(days / 30)):  # a party, a welder
                begin, length = int(rng.integers(slots)), int(rng.integers(1, 8))
                row[begin : begin + length] = row[begin : begin + length] * 2 + int(rng.integers(500, 2_500))
        if rng.random() < 0.06:  # a machine or an air conditioner bought, or sold
            begin = int(rng.integers(slots))
            row[begin:] = row[begin:] * int(rng.integers(80, 126)) // 100
    for _ in range(max(1, days // 10)):  # an outage takes part of the district
        begin, length = int(rng.integers(slots)), int(rng.integers(1, 10))
        hit = rng.random(meters) < 0.15
        imported[hit, begin : begin + length] = 0
        exported[hit, begin : begin + length] = 0
        last = min(begin + length, slots) - 1
        status[hit, begin // PER_DAY] |= Status.POWER_FAIL
        status[hit, last // PER_DAY] |= Status.POWER_FAIL


def _read(kind, imported, exported, *, status, multiplier, panels, slots, rng, not_read, consumers) -> District:
    meters, days = status.shape
    step = rng.choice([1, 10], meters, p=[0.4, 0.6])  # of the load profile, before the multiplier
    resolution = np.maximum(step, rng.choice([10, 100, 1_000], meters, p=[0.7, 0.2, 0.1]))
    digits = rng.choice([5, 6], meters)
    start = (rng.random(meters) * 0.6 * 10**digits * 1_000).astype(np.int64)
    counted = np.zeros((meters, slots.size + 1), dtype=np.int64)
    np.cumsum(imported, axis=1, out=counted[:, 1:])
    counted = counted // multiplier[:, None] + start[:, None]
    profile = np.diff(counted // step[:, None], axis=1) * (step * multiplier)[:, None]
    index = counted[:, ::PER_DAY] // resolution[:, None] * resolution[:, None]
    actual = rng.random(index.shape) >= not_read
    registers = Registers(
        index_wh=index, actual=actual, digits=digits, unit_wh=np.full(meters, 1_000), resolution_wh=resolution,
        multiplier=multiplier,
    )  # fmt: skip
    codes = np.array([CLASS[KINDS[each]] for each in kind], dtype=np.int8)
    parameters = columns_on(load_parameters(), date(2025, 9, 1), codes)
    three = multiplier > 1
    limit = physical_limit_wh(
        voltage_v=np.where(three, 380, 220), current_a=np.where(three, 60, 80), phases=np.where(three, 3, 1),
        multiplier=np.maximum(multiplier, 1), contract_w=np.zeros(meters, dtype=np.int64), slots_per_day=PER_DAY,
        parameters=parameters,
    )  # fmt: skip
    dark = np.all([sine_of_elevation(place, slots + shift) < 0 for place in PLACES.values() for shift in (-1, 0, 1)], 0)
    export = Intervals(
        energy_wh=exported // step[:, None] * step[:, None], missing=np.zeros(exported.shape, dtype=bool)
    )
    data = MeterData(
        intervals=Intervals(energy_wh=profile, missing=np.zeros(profile.shape, dtype=bool)),
        registers=registers,
        limit_wh=np.maximum(limit, 2 * profile.max(axis=1)),  # a fuse that its owner's load would blow is replaced
        two_way=np.zeros(meters, dtype=bool),
        status=status,
        clock_offset_s=rng.integers(-45, 46, (meters, days)),
        repeated_clock=np.zeros((meters, days), dtype=np.int32),
        export=export,
        night=dark[None, :],
        solar=panels > 0,
        inverter_w=panels,
    )
    net = (imported - exported).reshape(meters, days, PER_DAY).sum(axis=2)
    transformer, supplied = feed(np.isin(kind, [KINDS.index(Kind.FACTORY)]), net, rng)
    return District(kind, data, parameters, imported, transformer, supplied, consumers, int(slots[0]))


def copy_of(district: District) -> District:
    """Return a district whose readings may be written over."""
    data = district.data
    intervals = replace(
        data.intervals, energy_wh=data.intervals.energy_wh.copy(), missing=data.intervals.missing.copy()
    )
    registers = replace(
        data.registers, index_wh=data.registers.index_wh.copy(), actual=data.registers.actual.copy(),
        digits=data.registers.digits.copy(), multiplier=data.registers.multiplier.copy(),
    )  # fmt: skip
    assert data.export is not None
    assert data.clock_offset_s is not None
    assert data.repeated_clock is not None
    fresh = replace(
        data,
        intervals=intervals,
        registers=registers,
        export=replace(data.export, energy_wh=data.export.energy_wh.copy()),
        clock_offset_s=data.clock_offset_s.copy(),
        repeated_clock=data.repeated_clock.copy(),
    )
    return replace(district, data=fresh)
