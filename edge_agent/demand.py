"""How much of a bus a configuration needs: each question of each meter, what it costs, how often it is asked. Pure.

All series lie on the clock's boundaries, so those of one meter that fall together are asked together, and how often
that happens is known exactly: the intervals of a set of series fall together each least common multiple of them. The
load of a bus is the sum over its meters of these questions' costs, divided by the day; beyond 1 no order of asking can
keep it, up to 1 the earliest deadline first keeps it, but for what one question without a break holds up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import lcm
from typing import TYPE_CHECKING

from edge_agent.costs import TURNAROUND_US, line_cost, questions_of
from edge_agent.known import Known
from edge_agent.meter import Question
from protocols.errors import UsageError
from protocols.meters.model import Measurement

if TYPE_CHECKING:
    from edge_agent.config import AgentConfig, BusConfig, MeterConfig

DAY_MS = 86_400_000
NAMED_MAX = 12  # meters that the refusal of a plan names; the rest is summed


@dataclass(frozen=True, slots=True)
class Asked:
    """A question and how often a day it is asked. ``floor_ms`` is what it costs where a meter answers at once."""

    question: Question
    times_a_day: int
    intervals_ms: tuple[int, ...]
    floor_ms: float


@dataclass(frozen=True, slots=True)
class MeterDemand:
    """What one meter needs."""

    meter: str
    turnaround_us: float
    is_learned: bool
    asked: tuple[Asked, ...]

    @property
    def share(self) -> float:
        """The share of the bus's time, 0 to 1 and beyond."""
        return sum(each.question.cost_ms * each.times_a_day for each in self.asked) / DAY_MS

    @property
    def floor_share(self) -> float:
        """The share of octets and silences alone."""
        return sum(each.floor_ms * each.times_a_day for each in self.asked) / DAY_MS


@dataclass(frozen=True, slots=True)
class BusDemand:
    """What a bus's meters need. ``burst_ms`` is what falls due at once at the busiest moment of the day."""

    bus: str
    meters: tuple[MeterDemand, ...]
    burst_ms: float

    @property
    def share(self) -> float:
        """The share of the bus's time."""
        return sum(each.share for each in self.meters)

    @property
    def floor_share(self) -> float:
        """The share that meters which answer at once would need."""
        return sum(each.floor_share for each in self.meters)

    @property
    def longest_ms(self) -> float:
        """The longest question, which nothing interrupts."""
        return max((each.question.cost_ms for meter in self.meters for each in meter.asked), default=0.0)

    @property
    def shortest_interval_ms(self) -> int:
        """The shortest interval of any series."""
        return min(each for meter in self.meters for asked in meter.asked for each in asked.intervals_ms)


def bus_demand(bus: "BusConfig", known: Mapping[str, Known]) -> BusDemand:
    """Return what ``bus`` needs, by what is ``known`` of its meters."""
    meters = tuple(meter_demand(meter, known.get(meter.id, Known())) for meter in bus.meters)
    burst_ms = 0.0
    for meter in bus.meters:
        known_here = known.get(meter.id, Known())
        cost = line_cost(meter.line, known_here.turnaround_us)
        burst_ms += sum(each.cost_ms for each in questions_of(meter.model, meter.measurements, cost, known_here.cuts))
    return BusDemand(bus.id, meters, burst_ms)


def meter_demand(meter: "MeterConfig", known: Known) -> MeterDemand:
    """Return what one meter needs."""
    series: dict[int, list[Measurement]] = {}
    for measurement in meter.measurements:
        series.setdefault(meter.interval_of(measurement), []).append(measurement)
    cost, floor = line_cost(meter.line, known.turnaround_us), line_cost(meter.line, 0.0)
    asked: list[Asked] = []
    for together, times in times_together(sorted(series)):
        wanted = [each for every_ms in together for each in series[every_ms]]
        for question in questions_of(meter.model, wanted, cost, known.cuts):
            turns_ms = (cost.turnaround_us - floor.turnaround_us) / 1000 * question.turns
            asked.append(Asked(question, times, together, question.cost_ms - turns_ms))
    told = known.turnaround_us
    return MeterDemand(meter.id, TURNAROUND_US if told is None else told, told is not None, tuple(asked))


def times_together(intervals_ms: Sequence[int]) -> list[tuple[tuple[int, ...], int]]:
    """Return how often a day exactly these intervals fall together, for each set of them that ever does."""
    sets = [each for size in range(1, len(intervals_ms) + 1) for each in combinations(intervals_ms, size)]
    counts: dict[tuple[int, ...], int] = {}
    for together in reversed(sets):  # the largest first: of a set's coincidences those of larger sets are not its own
        larger = sum(times for other, times in counts.items() if set(together) < set(other))
        counts[together] = DAY_MS // lcm(*together) - larger
    return [(together, counts[together]) for together in sets if counts[together]]


def admit(name: str, config: "AgentConfig", known: Mapping[str, Mapping[str, Known]]) -> None:
    """Refuse a configuration that needs more of a bus than there is; raise :class:`UsageError` with the sum per meter.

    A line that is not paced is a simulated one, on which octets take no time.
    """
    for bus in config.buses:
        if bus.is_paced:
            demand = bus_demand(bus, known.get(bus.id, {}))
            if demand.share > 1:
                raise UsageError(f"{name}: bus {bus.id}: {refusal(demand)}")


def refusal(demand: BusDemand) -> str:
    """Return why a plan can't be kept, and what to do."""
    ordered = sorted(demand.meters, key=lambda each: each.share, reverse=True)
    named = [f"{each.meter} {100 * each.share:.1f} %" for each in ordered[:NAMED_MAX]]
    if rest := ordered[NAMED_MAX:]:
        named.append(f"{len(rest)} more {100 * sum(each.share for each in rest):.1f} %")
    return (
        f"this configuration needs {100 * demand.share:.0f} % of the bus: {', '.join(named)}; read less often, put "
        "meters on another line, or raise the baud rate (`congto agent plan` shows every question)"
    )
