"""What ``congto agent plan`` and ``check`` print: the timetable of every bus, its load and its floor."""

from collections.abc import Iterator, Mapping
from typing import Any

from edge_agent.config import AgentConfig, BusConfig
from edge_agent.demand import Asked, BusDemand, MeterDemand, bus_demand
from edge_agent.known import Known
from edge_agent.learned import Learned
from edge_agent.policy import PUNCTUAL_MS
from edge_agent.schedule import PROBE_SHARE
from protocols.modbus.messages import Function

SHOWN_MAX = 4  # measurements of a question that are named


def plan_of(config: AgentConfig) -> dict[str, BusDemand]:
    """Return what each bus needs, by what was learned."""
    return {bus.id: bus_demand(bus, known_of(config, bus)) for bus in config.buses}


def known_of(config: AgentConfig, bus: BusConfig) -> Mapping[str, Known]:
    """Return what was learned of a bus's meters."""
    return Learned(bus, config.learned).all


def load_words(bus: BusConfig, demand: BusDemand) -> str:
    """Return a bus's load in a few words."""
    if not bus.is_paced:
        return "a simulated line on which octets take no time"
    return f"{100 * demand.share:.1f} % of the line's time"


def timetable(config: AgentConfig) -> Iterator[str]:
    """Yield the lines of the timetable."""
    for bus, demand in zip(config.buses, plan_of(config).values(), strict=True):
        floor = f"of which octets and silences take {100 * demand.floor_share:.1f} % (the floor)"
        yield f"bus {bus.id}: {load_words(bus, demand)}, {floor}"
        for meter in demand.meters:
            yield from _meter(meter)
        yield f"  all that falls due at once at the busiest moment takes {demand.burst_ms / 1000:.2f} s"
        yield from _warnings(demand)
        left = max(0.0, 1 - demand.share - PROBE_SHARE)
        probes = f"{100 * PROBE_SHARE:.0f} % for silent meters"
        yield f"  left: {100 * left:.1f} % for load profiles, clocks and logs; {probes}"
        yield ""


def _meter(meter: MeterDemand) -> Iterator[str]:
    turnaround = f"{meter.turnaround_us / 1000:.1f} ms ({'learned' if meter.is_learned else 'assumed'})"
    yield f"  {meter.meter}: {100 * meter.share:.2f} % of the bus, turnaround {turnaround}"
    for each in meter.asked:
        yield (
            f"    {each.times_a_day:>6} a day  {each.question.cost_ms:>8.1f} ms  (floor {each.floor_ms:.1f})  "
            f"{question_words(each)}"
        )


def question_words(asked: Asked) -> str:
    """Return what a question asks for."""
    question = asked.question
    keys = [each.key for each in question.measurements]
    more = f" and {len(keys) - SHOWN_MAX} more" if len(keys) > SHOWN_MAX else ""
    named = ", ".join(keys[:SHOWN_MAX]) + more
    if question.read is None:
        return f"session: {named}"
    read = question.read
    table = "input" if read.function is Function.READ_INPUT else "holding"
    return f"{table} {read.address} to {read.address + read.count - 1}: {named}"


def _warnings(demand: BusDemand) -> Iterator[str]:
    if demand.burst_ms > PUNCTUAL_MS:
        yield (
            f"  note: that is more than the {PUNCTUAL_MS // 1000} s in which a sample carries its slot's beginning; "
            "the later ones carry the second in which they are taken"
        )
    if demand.longest_ms > demand.shortest_interval_ms:
        yield (
            f"  note: one session takes {demand.longest_ms / 1000:.1f} s without a break, longer than the shortest "
            f"interval, {demand.shortest_interval_ms / 1000:g} s: slots will be missed"
        )


def to_json(config: AgentConfig) -> dict[str, Any]:
    """Return the timetable for programs."""
    return {
        "gateway": config.gateway,
        "buses": [
            {
                "bus": demand.bus,
                "share": demand.share,
                "floor_share": demand.floor_share,
                "burst_ms": demand.burst_ms,
                "meters": [
                    {
                        "meter": meter.meter,
                        "share": meter.share,
                        "turnaround_ms": meter.turnaround_us / 1000,
                        "learned": meter.is_learned,
                        "questions": [
                            {
                                "times_a_day": each.times_a_day,
                                "intervals_ms": list(each.intervals_ms),
                                "cost_ms": each.question.cost_ms,
                                "floor_ms": each.floor_ms,
                                "measurements": [one.key for one in each.question.measurements],
                                "asks": question_words(each),
                            }
                            for each in meter.asked
                        ],
                    }
                    for meter in demand.meters
                ],
            }
            for demand in plan_of(config).values()
        ],
    }
