"""Glitches of counters: each is told from what a meter may say, with its numbers, and nothing is mended."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from protocols.meters.catalogue import load_model, model_keys
from protocols.meters.counters import Counter, counter_of
from protocols.meters.glitch import TIME_SLACK_MS, Judgement, Sample, Verdict, judge
from protocols.meters.model import Group, Measurement, ModbusRegister, RegisterType
from protocols.modbus.values import Unusable, decode_value, encode_value
from protocols.obis import Obis

HALF_HOUR_MS = 1_800_000
POWER_W = 15_000
IN_HALF_AN_HOUR = POWER_W // 2


def register(kind: RegisterType, word_order: str = "big", unit: str = "Wh") -> Measurement:
    at = ModbusRegister("input", 0, kind, word_order, Decimal(1))
    return Measurement("import_active", Obis(1, 0, 1, 8, 0), Group.BILLING, unit, at, "a test")


UINT32 = register(RegisterType.UINT32)
COUNTER = Counter(monotonic=True, width_bits=32, resolution=1, rollover=1 << 32, slope_max_w=POWER_W)


def sample(measurement: Measurement, value: int, at_ms: int = 0, meter_at_ms: int | None = None) -> Sample:
    return Sample(at_ms, value, encode_value(measurement, value), meter_at_ms)


def heard(measurement: Measurement, raw: bytes, at_ms: int = HALF_HOUR_MS) -> Sample:
    """Return what an agent makes of octets."""
    value = decode_value(measurement, raw)
    assert isinstance(value, int)
    return Sample(at_ms, value, raw)


def is_value(measurement: Measurement, raw: bytes) -> bool:
    """Say whether octets are a value; others never come to be judged."""
    return not isinstance(decode_value(measurement, raw), Unusable)


def verdict_of(before: int, now: int, counter: Counter = COUNTER) -> Judgement:
    return judge(counter, UINT32, sample(UINT32, before), sample(UINT32, now, HALF_HOUR_MS))


@given(st.integers(0, 2**31), st.integers(0, IN_HALF_AN_HOUR))
def test_what_the_greatest_power_allows_is_fine(before: int, rise: int) -> None:
    found = verdict_of(before, before + rise)
    assert found.verdict is Verdict.FINE
    assert found.is_fine
    assert (found.rise, found.elapsed_ms) == (rise, HALF_HOUR_MS)


@given(
    st.integers(0, 2**31),
    st.integers(0, IN_HALF_AN_HOUR),
    st.sampled_from([RegisterType.FLOAT32, RegisterType.FLOAT64]),
)
def test_a_float_in_kwh_is_fine_however_coarse_it_has_become(before: int, rise: int, kind: RegisterType) -> None:
    measurement = register(kind, unit="kWh")
    first = heard(measurement, encode_value(measurement, before), 0)
    then = heard(measurement, encode_value(measurement, before + rise))
    assert judge(COUNTER, measurement, first, then).is_fine


@given(st.integers(2**32 - IN_HALF_AN_HOUR, 2**32 - 1), st.data())
def test_beginning_again_at_zero_is_a_rollover(before: int, data: st.DataObject) -> None:
    rise = data.draw(st.integers(2**32 - before, IN_HALF_AN_HOUR))
    found = verdict_of(before, before + rise - 2**32)
    assert found.verdict is Verdict.ROLLED_OVER
    assert found.is_fine
    assert found.rise == rise


@given(st.integers(2**32 - IN_HALF_AN_HOUR, 2**32 - 1), st.integers(0, IN_HALF_AN_HOUR))
def test_without_a_known_slope_a_rollover_is_from_the_end_to_the_beginning(before: int, now: int) -> None:
    unknown = replace(COUNTER, slope_max_w=None)
    assert verdict_of(before, now, unknown).verdict is Verdict.ROLLED_OVER
    assert verdict_of(before - 2**31, now, unknown).verdict is Verdict.GOING_BACK


@given(st.integers(1, 2**31), st.data())
def test_going_back_is_never_fine(before: int, data: st.DataObject) -> None:
    now = data.draw(st.integers(0, before - 1))
    found = verdict_of(before, now)
    assert not found.is_fine
    assert found.rise == now - before


@given(st.integers(0, 2**30), st.integers(2 * IN_HALF_AN_HOUR, 2**30))
def test_a_rise_that_no_power_explains_is_never_fine(before: int, rise: int) -> None:
    found = verdict_of(before, before + rise)
    assert not found.is_fine
    assert found.rise_max is not None
    assert found.rise_max < rise


@given(st.integers(70_000, 2**31), st.integers(0, IN_HALF_AN_HOUR))
def test_swapped_words_are_seen_and_what_they_would_be_is_told(before: int, rise: int) -> None:
    right = encode_value(UINT32, before + rise)
    assume(is_value(UINT32, right[2:] + right[:2]))
    now = heard(UINT32, right[2:] + right[:2])
    found = judge(COUNTER, UINT32, sample(UINT32, before), now)
    if found.is_fine:  # both orders are possible values: nobody can tell
        assert 0 <= now.value - before <= (found.rise_max or 0) or found.verdict is Verdict.ROLLED_OVER
    else:
        assert found.verdict is Verdict.SWAPPED_WORDS
        assert found.would_be == before + rise
        assert found.now == now.value, "the value itself is not mended"


registers = st.builds(
    register,
    st.sampled_from([RegisterType.UINT32, RegisterType.UINT64, RegisterType.INT64, RegisterType.FLOAT32]),
    st.sampled_from(["big", "little"]),
)


@given(st.integers(1, 2**15), st.integers(1, IN_HALF_AN_HOUR - 1), registers, st.data())
def test_a_carry_in_the_midst_of_a_read_is_a_torn_read(
    upper: int, below: int, measurement: Measurement, data: st.DataObject
) -> None:
    """The master got some words from before the carry and some from after it."""
    assert isinstance(measurement.at, ModbusRegister)
    kind, old_first = measurement.at.type, data.draw(st.booleans())
    before = (upper << 16) - below
    after = before + data.draw(st.integers(below, IN_HALF_AN_HOUR))
    old, new = encode_value(measurement, before), encode_value(measurement, after)
    cut = 2 * data.draw(st.integers(1, kind.registers - 1))
    mixed = old[:cut] + new[cut:] if old_first else new[:cut] + old[cut:]
    assume(is_value(measurement, mixed))
    first, now = heard(measurement, old, 0), heard(measurement, mixed)
    found = judge(COUNTER, measurement, first, now)
    if found.is_fine:
        assert first.value <= now.value <= first.value + (found.rise_max or 0), "a mixture that is a possible value"
    elif kind is not RegisterType.FLOAT32:  # of a float in Wh half an hour may run through all lower words
        assert found.verdict in (Verdict.TORN_READ, Verdict.SWAPPED_WORDS)


def test_a_torn_read_of_a_standard_counter() -> None:
    """65,535 became 65,536 between the reading of the two words."""
    before = sample(UINT32, 0xFFF0)
    for raw in ("00000003", "0001fff5"):
        found = judge(COUNTER, UINT32, before, heard(UINT32, bytes.fromhex(raw), 5000))
        assert found.verdict is Verdict.TORN_READ, raw
    assert judge(COUNTER, UINT32, before, heard(UINT32, bytes.fromhex("0000ff00"), 5000)).verdict is Verdict.GOING_BACK


def test_without_a_carry_in_reach_nothing_is_torn() -> None:
    found = judge(COUNTER, UINT32, sample(UINT32, 0x18000), heard(UINT32, bytes.fromhex("00010003"), 5000))
    assert found.verdict is Verdict.GOING_BACK


@given(st.integers(0, 2**31), st.integers(0, 10**12), st.integers(5_000, HALF_HOUR_MS))
def test_register_and_meter_time_both_repeated_are_a_stale_snapshot(value: int, time_ms: int, later_ms: int) -> None:
    before = sample(UINT32, value, 0, time_ms)
    assert judge(COUNTER, UINT32, before, sample(UINT32, value, later_ms, time_ms)).verdict is Verdict.REPEATED_SNAPSHOT
    moved = sample(UINT32, value, later_ms, time_ms + later_ms)
    assert judge(COUNTER, UINT32, before, moved).verdict is Verdict.FINE, "nobody used energy"
    assert judge(COUNTER, UINT32, before, sample(UINT32, value, later_ms)).verdict is Verdict.FINE, "no meter time"


@given(st.integers(-(2**30), 2**30), st.integers(-IN_HALF_AN_HOUR, IN_HALF_AN_HOUR))
def test_a_net_register_may_fall_as_fast_as_it_may_rise(before: int, rise: int) -> None:
    net = replace(UINT32, obis=Obis(1, 0, 16, 8, 0), at=replace(UINT32.at, type=RegisterType.INT32))
    counter = replace(COUNTER, monotonic=False)
    assert judge(counter, net, Sample(0, before), Sample(HALF_HOUR_MS, before + rise)).verdict is Verdict.FINE
    far = Sample(HALF_HOUR_MS, before - 3 * IN_HALF_AN_HOUR)
    assert judge(counter, net, Sample(0, before), far).verdict is Verdict.IMPOSSIBLE_SLOPE


def test_a_verdict_tells_its_numbers() -> None:
    most = POWER_W * (HALF_HOUR_MS + TIME_SLACK_MS) // 3_600_000 + 3
    assert str(verdict_of(100, 40_000)) == (
        f"impossible slope: from 100 to 40000, +39900 in 1800.0 s, at most {most} is possible"
    )
    assert str(verdict_of(100, 40)) == f"going back: from 100 to 40, -60 in 1800.0 s, at most {most} is possible"


@pytest.mark.parametrize("key", [key for key in model_keys() if load_model(key).protocol.value == "modbus"])
def test_every_built_in_model_counts_on_at_its_own_greatest_power(key: str) -> None:
    model = load_model(key)
    for measurement in model.measurements:
        counter = counter_of(model, measurement)
        if counter is None or not isinstance(measurement.at, ModbusRegister):
            continue
        rise = 0 if counter.slope_max_w is None else counter.slope_max_w // 2
        before = heard(measurement, encode_value(measurement, 1_000_000), 0)
        now = heard(measurement, encode_value(measurement, 1_000_000 + rise))
        assert judge(counter, measurement, before, now).is_fine, measurement.key
