"""Whether an energy register may say what it says now, given what it said before: a verdict with its evidence.

Nothing is mended here. Who reads a meter gives the value accepted last and the new one, and gets a :class:`Judgement`:
a *fine* value or a rollover may go on as it is, everything else is marked (``Quality.SUSPECT``) with its octets kept,
and read again; the value accepted last stays the one to compare with.

The explanations are tried in this order; the first that holds is the verdict:

1. *repeated snapshot*: register and meter time are those of before, though time has passed;
2. *fine*: it rose by no more than the meter's greatest power allows;
3. *rolled over*: it began again at zero, where the model says, and rose by no more than that in all;
4. *swapped words*: with its 16-bit words in the opposite order it would be fine;
5. *torn read*: a carry between words fell into the reading, so that one part is from before it and one from after it;
6. *going back* or *impossible slope*: none of these.

For floats the octets, taken as an unsigned number, rise with the value (IEEE 754), so that a torn read is found among
their words as among an integer's.
"""

from dataclasses import dataclass
from enum import Enum

from protocols.errors import UsageError
from protocols.meters.counters import Counter
from protocols.meters.model import Measurement, ModbusRegister, RegisterType
from protocols.modbus.values import Unusable, decode_value, encode_value, reorder

MS_PER_HOUR = 3_600_000
# Between a meter's taking a value and our noting the time lie its own update (1 s), its turnaround and retries.
TIME_SLACK_MS = 5_000
METER_TIME_STEP_MS = 2_000  # a meter's clock shows whole seconds: this much later it must show another one
ROLLOVER_PART = 10  # without a known slope: from the last tenth of the range to the first one
_WORD_BITS = 16
_MANTISSA_BITS = {RegisterType.FLOAT32: 23, RegisterType.FLOAT64: 52}  # IEEE 754, stored bits


class Verdict(Enum):
    """What a new value of a register is, beside the one accepted before it."""

    FINE = "fine"
    ROLLED_OVER = "rolled over"
    GOING_BACK = "going back"
    IMPOSSIBLE_SLOPE = "impossible slope"
    TORN_READ = "torn read"
    SWAPPED_WORDS = "swapped words"
    REPEATED_SNAPSHOT = "repeated snapshot"


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of a register.

    ``at_ms`` is when it was taken, by a clock that is not set (or the caller starts anew after a jump). ``value`` is in
    the base unit. ``raw`` are the octets of the registers as they were on the line (what
    :meth:`protocols.modbus.plan.PlannedRead.slice_of` gives); empty for DLMS, where words can't be torn or swapped.
    ``meter_at_ms`` is the meter's own time of it, where the meter tells one.
    """

    at_ms: int
    value: int
    raw: bytes = b""
    meter_at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict and its numbers.

    ``rise`` is how much the value rose, beyond the rollover if there was one (negative: it fell) and ``rise_max`` the
    most it could have, both in the base unit; ``rise_max`` is ``None`` if the model tells no greatest power.
    ``would_be`` is what swapped words would say in the right order: evidence, not a reading. ``due`` is what an energy
    register should have risen by at the power that a repeated snapshot tells [Wh].
    """

    verdict: Verdict
    before: int
    now: int
    elapsed_ms: int
    rise: int
    rise_max: int | None
    would_be: int | None = None
    due: int | None = None

    @property
    def is_fine(self) -> bool:
        """Whether the value may go on without reservation."""
        return self.verdict in (Verdict.FINE, Verdict.ROLLED_OVER)

    def __str__(self) -> str:
        most = "" if self.rise_max is None else f", at most {self.rise_max} is possible"
        other = "" if self.would_be is None else f"; in the other order of words it is {self.would_be}"
        power = "" if self.due is None else f"; at the power that it tells, {self.due} Wh have passed"
        return (
            f"{self.verdict.value}: from {self.before} to {self.now}, {self.rise:+} in {self.elapsed_ms / 1000:.1f} s"
            f"{most}{other}{power}"
        )


def judge(counter: Counter, measurement: Measurement, before: Sample, now: Sample) -> Judgement:
    """Return the verdict on ``now``, given ``before``, the sample of ``measurement`` that was accepted last.

    ``counter`` is :func:`protocols.meters.counters.counter_of` the model's measurement.
    """
    elapsed_ms = max(0, now.at_ms - before.at_ms)
    rise_max = _rise_max(counter, measurement, max(before.value, now.value), elapsed_ms)
    rise = now.value - before.value

    def verdict(found: Verdict, *, rise: int = rise, would_be: int | None = None) -> Judgement:
        return Judgement(found, before.value, now.value, elapsed_ms, rise, rise_max, would_be)

    if _is_repeated(before, now, elapsed_ms):
        return verdict(Verdict.REPEATED_SNAPSHOT)
    if _may_be(counter, rise, rise_max):
        return verdict(Verdict.FINE)
    if counter.monotonic and counter.rollover is not None and rise < 0:
        whole = rise + counter.rollover
        if _is_rollover(counter.rollover, before.value, now.value, whole, rise_max):
            return verdict(Verdict.ROLLED_OVER, rise=whole)
    swapped = _in_other_order(measurement, now.raw)
    if swapped is not None and rise_max is not None and _may_be(counter, swapped - before.value, rise_max):
        return verdict(Verdict.SWAPPED_WORDS, would_be=swapped)
    if counter.monotonic and rise_max is not None and _is_torn(measurement, before, now, rise_max):
        return verdict(Verdict.TORN_READ)
    return verdict(Verdict.GOING_BACK if counter.monotonic and rise < 0 else Verdict.IMPOSSIBLE_SLOPE)


def _rise_max(counter: Counter, measurement: Measurement, value: int, elapsed_ms: int) -> int | None:
    """Return the most that a register may rise: the greatest power all the time, and one step at either end."""
    if counter.slope_max_w is None:
        return None
    step = counter.resolution
    if isinstance(measurement.at, ModbusRegister) and measurement.at.type in _MANTISSA_BITS:
        step += value >> _MANTISSA_BITS[measurement.at.type]  # a float's step grows with its value
    energy = -(-counter.slope_max_w * (elapsed_ms + TIME_SLACK_MS) // MS_PER_HOUR)
    return energy + 2 * step


def _is_repeated(before: Sample, now: Sample, elapsed_ms: int) -> bool:
    return (
        now.meter_at_ms is not None
        and now.meter_at_ms == before.meter_at_ms
        and now.value == before.value
        and elapsed_ms >= METER_TIME_STEP_MS
    )


def _may_be(counter: Counter, rise: int, rise_max: int | None) -> bool:
    if not counter.monotonic:
        return rise_max is None or abs(rise) <= rise_max
    return rise >= 0 and (rise_max is None or rise <= rise_max)


def _is_rollover(rollover: int, before: int, now: int, rise: int, rise_max: int | None) -> bool:
    if rise_max is not None:
        return 0 <= rise <= rise_max
    return before >= rollover - rollover // ROLLOVER_PART and now <= rollover // ROLLOVER_PART


def _in_other_order(measurement: Measurement, raw: bytes) -> int | None:
    """Return what ``raw`` says with its words in the opposite order; ``None`` if it has one word or says nothing."""
    register = measurement.at
    if not isinstance(register, ModbusRegister) or register.type.registers == 1 or not raw:
        return None
    start = 2 * (register.address - register.first)
    end = start + 2 * register.type.registers
    words = b"".join(raw[at : at + 2] for at in range(end - 2, start - 2, -2))
    value = decode_value(measurement, raw[:start] + words + raw[end:])
    return None if isinstance(value, Unusable) or words == raw[start:end] else value


def _is_torn(measurement: Measurement, before: Sample, now: Sample, rise_max: int) -> bool:
    """Tell whether ``now`` can be made of the upper words of one possible value and the lower ones of another.

    Possible values are those from ``before`` up to ``rise_max`` more. Where these need not carry into the upper words,
    or run through all lower words, tearing explains nothing.
    """
    register = measurement.at
    if not isinstance(register, ModbusRegister) or register.exponent_at is not None or not before.raw or not now.raw:
        return False
    low, found = _pattern(register, before.raw), _pattern(register, now.raw)
    try:
        high = _pattern(register, encode_value(measurement, before.value + rise_max)) + 1  # it was rounded down
    except UsageError:
        return False  # beyond what the registers hold
    for bits in range(_WORD_BITS, _WORD_BITS * register.type.registers, _WORD_BITS):
        period = 1 << bits
        carried = low >> bits < high >> bits and high - low < period
        if carried and low >> bits <= found >> bits <= high >> bits and (found - low) % period <= high - low:
            return True
    return False


def _pattern(register: ModbusRegister, raw: bytes) -> int:
    return int.from_bytes(reorder(register, raw), "big")
