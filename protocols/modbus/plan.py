"""Which registers to ask for in one question.

Each question costs a fixed time (its own octets, the reply's frame, two silences, the meter's turnaround), each
register two characters. So neighbours are read together, and a hole between them is read along when that is cheaper
than a second question. Over the registers in the order of their addresses the cheapest division is found exactly, by
dynamic programming: the best plan for the first j is the best for some i < j and one question for the rest.

Some devices refuse a question that touches a register they don't have. Such a question is divided where it bridged a
hole, else in two halves (:func:`cuts_for`): the caller remembers the *cuts*, places that no question reaches across.
"""

from bisect import bisect_right
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import TypeAlias

from protocols.meters.model import REGISTERS_PER_READ_MAX, Measurement, ModbusRegister
from protocols.modbus.messages import FUNCTION_OF_TABLE, Function
from protocols.modbus.rtu import REPLY_OVERHEAD_OCTETS, REQUEST_OCTETS

Cut: TypeAlias = tuple[int, int]  # a function code, and a register: no question has this one and the one before


@dataclass(frozen=True, slots=True)
class LineCost:
    """What a question costs. Times in microseconds."""

    character_us: float
    silence_us: float
    turnaround_us: float

    def transaction_us(self, count: int) -> float:
        """Return how long a question for ``count`` registers occupies the line."""
        characters = REQUEST_OCTETS + REPLY_OVERHEAD_OCTETS + 2 * count
        return characters * self.character_us + 2 * self.silence_us + self.turnaround_us


def serial_cost(baud: int, bits_per_character: int, turnaround_us: float) -> LineCost:
    """Return the cost of a line; the silence is 3.5 characters, and fixed above 19,200 baud.

    Source: Modbus over Serial Line V1.02, section 2.5.1.1.
    """
    character_us = bits_per_character * 1_000_000 / baud
    return LineCost(character_us, 1750.0 if baud > 19_200 else 3.5 * character_us, turnaround_us)


@dataclass(frozen=True, slots=True)
class PlannedRead:
    """One question, and the measurements that its answer holds."""

    function: Function
    address: int
    count: int
    measurements: tuple[Measurement, ...]

    def slice_of(self, measurement: Measurement, data: bytes) -> bytes:
        """Return the octets of ``measurement`` in the data of the reply."""
        register = _register(measurement)
        return data[2 * (register.first - self.address) : 2 * (register.end - self.address)]


def plan_reads(
    measurements: Sequence[Measurement],
    cost: LineCost,
    *,
    registers_max: int = REGISTERS_PER_READ_MAX,
    cuts: Set[Cut] = frozenset(),
) -> tuple[PlannedRead, ...]:
    """Return the cheapest questions for ``measurements`` none of which reaches across one of ``cuts``."""
    reads: list[PlannedRead] = []
    for table in ("input", "holding"):
        wanted = sorted(
            (each for each in measurements if _register(each).table == table), key=lambda each: _register(each).first
        )
        function = FUNCTION_OF_TABLE[table]
        places = sorted(address for code, address in cuts if code == function)
        reads += _plan_table(wanted, function, cost, registers_max, places)
    return tuple(reads)


def cuts_for(read: PlannedRead) -> frozenset[Cut]:
    """Return the cuts that divide ``read``, which a device refuses: at its holes, else in the middle; none for one."""
    parts = read.measurements
    holes: set[Cut] = set()
    end = _end(parts[0])
    for each in parts[1:]:
        first = _register(each).first
        if first > end:
            holes.add((read.function, first))
        end = max(end, _end(each))
    if holes:
        return frozenset(holes)
    whole = [each for each in parts[1:] if _register(each).first > read.address]
    return frozenset({(int(read.function), _register(whole[len(whole) // 2]).first)} if whole else ())


def _plan_table(
    wanted: Sequence[Measurement], function: Function, cost: LineCost, registers_max: int, cuts: Sequence[int]
) -> list[PlannedRead]:
    best_us = [0.0]
    begins: list[int] = []
    for end in range(1, len(wanted) + 1):
        choices: list[tuple[float, int]] = []
        for begin in range(end - 1, -1, -1):
            count = _span(wanted[begin:end])
            first = _register(wanted[begin]).first
            if end - begin > 1 and (count > registers_max or _is_cut(cuts, first, first + count)):
                break
            choices.append((best_us[begin] + cost.transaction_us(count), begin))
        cheapest, begin = min(choices)
        best_us.append(cheapest)
        begins.append(begin)
    reads: list[PlannedRead] = []
    end = len(wanted)
    while end:
        part = tuple(wanted[begins[end - 1] : end])
        reads.append(PlannedRead(function, _register(part[0]).first, _span(part), part))
        end = begins[end - 1]
    return reads[::-1]


def _is_cut(cuts: Sequence[int], first: int, end: int) -> bool:
    """Tell whether a question for the registers from ``first`` to before ``end`` reaches across a cut."""
    at = bisect_right(cuts, first)
    return at < len(cuts) and cuts[at] < end


def _span(part: Sequence[Measurement]) -> int:
    return max(_end(each) for each in part) - _register(part[0]).first


def _end(measurement: Measurement) -> int:
    return _register(measurement).end


def _register(measurement: Measurement) -> ModbusRegister:
    assert isinstance(measurement.at, ModbusRegister)
    return measurement.at
