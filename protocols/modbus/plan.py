"""Which registers to ask for in one question.

Each question costs a fixed time (its own octets, the reply's frame, two silences, the meter's turnaround), each
register two characters. So neighbours are read together, and a hole between them is read along when that is cheaper
than a second question. Over the registers in the order of their addresses the cheapest division is found exactly, by
dynamic programming: the best plan for the first j is the best for some i < j and one question for the rest.

Some devices refuse a question that touches a register they don't have. Such a question is divided where it bridged a
hole (:func:`split_at_holes`); the caller remembers that.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from protocols.meters.model import REGISTERS_PER_READ_MAX, Measurement, ModbusRegister
from protocols.modbus.messages import FUNCTION_OF_TABLE, Function
from protocols.modbus.rtu import REPLY_OVERHEAD_OCTETS, REQUEST_OCTETS


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
    bridge: bool = True,
) -> tuple[PlannedRead, ...]:
    """Return the cheapest questions for ``measurements``; without ``bridge`` no register is read that none asks for."""
    reads: list[PlannedRead] = []
    for table in ("input", "holding"):
        wanted = sorted(
            (each for each in measurements if _register(each).table == table), key=lambda each: _register(each).first
        )
        reads += _plan_table(wanted, FUNCTION_OF_TABLE[table], cost, registers_max, bridge)
    return tuple(reads)


def split_at_holes(read: PlannedRead, cost: LineCost) -> tuple[PlannedRead, ...]:
    """Return the questions into which ``read`` falls when nothing may be bridged; itself if it bridged nothing."""
    return plan_reads(read.measurements, cost, registers_max=read.count, bridge=False)


def _plan_table(
    wanted: Sequence[Measurement], function: Function, cost: LineCost, registers_max: int, bridge: bool
) -> list[PlannedRead]:
    best_us = [0.0]
    begins: list[int] = []
    for end in range(1, len(wanted) + 1):
        choices: list[tuple[float, int]] = []
        for begin in range(end - 1, -1, -1):
            if not bridge and begin < end - 1 and _end(wanted[begin]) < _register(wanted[begin + 1]).first:
                break
            count = _span(wanted[begin:end])
            if count > registers_max:
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


def _span(part: Sequence[Measurement]) -> int:
    return max(_end(each) for each in part) - _register(part[0]).first


def _end(measurement: Measurement) -> int:
    return _register(measurement).end


def _register(measurement: Measurement) -> ModbusRegister:
    assert isinstance(measurement.at, ModbusRegister)
    return measurement.at
