"""Registers: exact, never falling, the same for the same seed everywhere."""

from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.errors import UsageError
from protocols.obis import Obis
from simulators.chance import all_below, below, draw, draws, key_of, per_mille_around_one
from simulators.instantaneous import Instantaneous
from simulators.loads import Consumer, Kind, energies
from simulators.registers import REACTIVE_IN, Registers
from simulators.sky import PLACES
from simulators.vietnam_days import DAY_MS, SLOT_MS, local_midnight_ms

INSTALLED = local_midnight_ms(date(2026, 8, 1))
TOTAL, EXPORT, REACTIVE = Obis.parse("1.0.1.8.0"), Obis.parse("1.0.2.8.0"), Obis.parse("1.0.3.8.0")
RATES = [Obis.parse(f"1.0.1.8.{rate}") for rate in (1, 2, 3)]

consumers = st.builds(
    Consumer,
    kind=st.sampled_from(Kind),
    size_kwh=st.integers(1, 100_000),
    place=st.sampled_from(sorted(PLACES)),
    seed=st.integers(0, 2**64 - 1),
    sky_seed=st.integers(0, 2**64 - 1),
    panels_w=st.sampled_from([0, 5_000]),
)
times = st.integers(INSTALLED - DAY_MS, INSTALLED + 120 * DAY_MS)


@settings(max_examples=25, deadline=None)
@given(consumers, st.lists(times, min_size=2, max_size=20))
def test_registers_never_fall_and_their_rates_sum_to_the_total(consumer, moments):
    registers = Registers(consumer, INSTALLED)
    for obis in (TOTAL, EXPORT, REACTIVE, *RATES):
        values = [registers.value(obis, at) for at in sorted(moments)]
        assert values == sorted(values)
    for at in moments:
        assert sum(registers.value(rate, at) for rate in RATES) == registers.value(TOTAL, at)


@settings(max_examples=10, deadline=None)
@given(consumers, times)
def test_the_order_of_reading_changes_nothing(consumer, at):
    late_first, plain = Registers(consumer, INSTALLED), Registers(consumer, INSTALLED)
    late_first.value(TOTAL, INSTALLED + 300 * DAY_MS)
    assert late_first.value(TOTAL, at) == plain.value(TOTAL, at)


def test_a_register_moves_linearly_within_half_an_hour_and_lands_on_the_sum():
    consumer = Consumer(Kind.HOUSEHOLD, 300, "hanoi", key_of("a"), key_of("sky"))
    registers = Registers(consumer, INSTALLED)
    slots = np.arange(INSTALLED // SLOT_MS, INSTALLED // SLOT_MS + 100)
    flow = energies(consumer, slots).imported
    for place, energy_wh in enumerate(flow):
        at = INSTALLED + place * SLOT_MS
        start = registers.value(TOTAL, at)
        assert registers.value(TOTAL, at + SLOT_MS) - start == energy_wh
        assert registers.value(TOTAL, at + SLOT_MS // 3) - start == energy_wh // 3


# Computed once by this code and kept: whoever changes a curve or the chance behind it must mean to.
GOLDEN_WH = {
    Kind.HOUSEHOLD: (1_276_331, 0, 317_776),
    Kind.SHOP: (1_092_176, 0, 358_803),
    Kind.FACTORY: (728_607, 0, 377_258),
    Kind.SOLAR: (963_947, 286_649, 326_113),
    Kind.SCHOOL: (822_596, 0, 245_233),
    Kind.LIGHTING: (986_664, 0, 324_972),
}


@pytest.mark.parametrize("kind", Kind)
def test_one_seed_gives_the_energy_it_has_always_given(kind):
    """September 2026 in Hanoi, seed 1, 1,000 kWh: imported, exported and reactive energy."""
    consumer = Consumer(kind, 1_000, "hanoi", key_of(1, kind.value), key_of(1), 5_000 if kind is Kind.SOLAR else 0)
    registers = Registers(consumer, INSTALLED)
    start, end = local_midnight_ms(date(2026, 9, 1)), local_midnight_ms(date(2026, 10, 1))
    used = tuple(registers.value(obis, end) - registers.value(obis, start) for obis in (TOTAL, EXPORT, REACTIVE))
    assert used == GOLDEN_WH[kind]


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**40), st.integers(1, 2**31 - 1))
def test_chance_is_the_same_one_by_one_and_in_arrays(key, index, limit):
    indices = np.array([index, index + 1])
    assert [int(each) for each in draws(key, indices)] == [draw(key, index), draw(key, index + 1)]
    assert all_below(key, indices, limit)[0] == below(key, index, limit)
    assert 0 <= below(key, index, limit) < limit


def test_chance_is_splitmix64():
    """The first outputs of the reference generator (S. Vigna, splitmix64.c) for state 1234567."""
    assert [draw(1234567, n) for n in range(3)] == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_factors_around_one_stay_within_their_spread_and_average_one():
    factors = per_mille_around_one(5, np.arange(100_000), 300)
    assert factors.min() >= 700
    assert factors.max() <= 1300
    assert abs(factors.mean() - 1000) < 2


def local_day(consumer, day):
    first = local_midnight_ms(day) // SLOT_MS
    return energies(consumer, np.arange(first, first + 48)).imported


def average_day(kind, days, place="hanoi", size=1_000):
    consumer = Consumer(kind, size, place, key_of("shape", kind.value), key_of("sky"))
    return np.mean([local_day(consumer, day) for day in days], axis=0)


SPRING = [date(2026, 3, day) for day in range(2, 28)]
JULY = [date(2026, 7, day) for day in range(1, 31)]
TET = [date(2026, 2, day) for day in range(17, 21)]


def test_households_peak_in_the_evening():
    day = average_day(Kind.HOUSEHOLD, SPRING)
    assert 17 <= day.argmax() / 2 < 21
    assert day.max() > 3 * day[4:8].mean()


def test_hot_months_take_more_where_it_is_hot():
    assert average_day(Kind.HOUSEHOLD, JULY).sum() > 1.6 * average_day(Kind.HOUSEHOLD, SPRING).sum()
    south = [average_day(Kind.HOUSEHOLD, days, "ho_chi_minh_city").sum() for days in (SPRING, JULY)]
    assert south[0] > south[1]


def test_factories_and_shops_fall_quiet_at_tet_and_households_do_not():
    for kind, most in ((Kind.FACTORY, 0.2), (Kind.SHOP, 0.3)):
        assert average_day(kind, TET).sum() < most * average_day(kind, SPRING).sum()
    assert average_day(Kind.HOUSEHOLD, TET).sum() > 0.9 * average_day(Kind.HOUSEHOLD, SPRING).sum()


def test_factories_rest_on_sundays_and_lamps_shine_at_night():
    consumer = Consumer(Kind.FACTORY, 10_000, "da_nang", key_of("f"), key_of("sky"))
    assert local_day(consumer, date(2026, 3, 8)).sum() < 0.35 * local_day(consumer, date(2026, 3, 9)).sum()
    lamps = average_day(Kind.LIGHTING, SPRING)
    assert lamps[16:32].sum() == 0
    assert lamps[:8].min() > 0


def test_a_solar_house_gives_by_day_and_never_by_night():
    consumer = Consumer(Kind.SOLAR, 300, "ho_chi_minh_city", key_of("s"), key_of("sky"), 5_000)
    first = local_midnight_ms(date(2026, 3, 1)) // SLOT_MS
    flow = energies(consumer, np.arange(first, first + 48 * 30))
    days = flow.exported.reshape(30, 48)
    assert days[:, :11].sum() == days[:, 38:].sum() == 0
    assert 200_000 < days.sum() < 600_000
    assert not (flow.imported * flow.exported).any()


@settings(max_examples=25, deadline=None)
@given(consumers, times, st.sampled_from([1, 3]))
def test_instantaneous_values_agree_with_the_registers(consumer, at, phases):
    registers = Registers(consumer, INSTALLED)
    meter = Instantaneous(registers, phases, 9, 1_500)

    def read(c):
        return meter.value(Obis(1, 0, c, 7, 0), at)

    slot = at // SLOT_MS * SLOT_MS
    net_w = 2 * sum(
        sign * (registers.value(obis, slot + SLOT_MS) - registers.value(obis, slot))
        for obis, sign in ((TOTAL, 1), (EXPORT, -1))
    )
    assert read(16) == net_w == read(1) - read(2)
    for first, load in (((31, 32, 29), 9), ((51, 52, 49), None), ((71, 72, 69), None))[:phases]:
        current, voltage, apparent = map(read, first)
        assert 218_500 <= voltage <= 241_500  # 230 V ± 5 %
        assert abs(current * voltage / 1e6 - apparent) <= 1 + voltage / 1e6
        if phases == 1 and load:
            assert read(load) == apparent
    assert 49_950 <= read(14) <= 50_050
    assert 0 <= read(13) <= 1000
    assert registers.power(REACTIVE_IN, at) == read(3)


def test_a_time_beyond_the_years_a_simulator_counts_is_refused():
    registers = Registers(Consumer(Kind.SHOP, 10, "hanoi", 1, 1), INSTALLED)
    with pytest.raises(UsageError, match="years after its installation"):
        registers.value(TOTAL, INSTALLED + 5_000 * DAY_MS)
