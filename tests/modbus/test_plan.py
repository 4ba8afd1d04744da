"""The register plan against brute force."""

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.meters.catalogue import load_model, model_keys
from protocols.meters.model import Group, Measurement, ModbusRegister, Protocol, RegisterType
from protocols.modbus.plan import LineCost, PlannedRead, cuts_for, plan_reads, serial_cost
from protocols.obis import Obis

costs = st.builds(
    serial_cost, st.sampled_from([2400, 9600, 19_200, 115_200]), st.sampled_from([10, 11]), st.sampled_from([5e3, 5e4])
)


def measurement(address: int, kind: RegisterType) -> Measurement:
    at = ModbusRegister("holding", address, kind, "big", Decimal(1))
    return Measurement(f"at_{address}", Obis.parse("1.0.1.8.0"), Group.BILLING, "Wh", at, "a test")


@st.composite
def wanted(draw: st.DrawFn, most: int = 8) -> list[Measurement]:
    """Measurements at ascending addresses that do not overlap."""
    address = draw(st.integers(0, 100))
    found = []
    for _ in range(draw(st.integers(1, most))):
        kind = draw(st.sampled_from(RegisterType))
        found.append(measurement(address, kind))
        address += kind.registers + draw(st.sampled_from([0, 0, 1, 5, 12, 30, 70]))
    return draw(st.permutations(found))


def total_us(reads: tuple[PlannedRead, ...], cost: LineCost) -> float:
    return sum(cost.transaction_us(read.count) for read in reads)


def cheapest_us(ordered: list[Measurement], cost: LineCost, registers_max: int) -> float:
    """Try every way to cut the list."""
    if not ordered:
        return 0.0
    best = float("inf")
    for size in range(1, len(ordered) + 1):
        first, last = ordered[0].at, ordered[size - 1].at
        assert isinstance(first, ModbusRegister)
        assert isinstance(last, ModbusRegister)
        count = last.address + last.type.registers - first.address
        if count <= registers_max:
            best = min(best, cost.transaction_us(count) + cheapest_us(ordered[size:], cost, registers_max))
    return best


def address_of(each: Measurement) -> int:
    assert isinstance(each.at, ModbusRegister)
    return each.at.address


@settings(max_examples=60)
@given(wanted(), costs, st.sampled_from([4, 60, 125]))
def test_the_plan_is_the_cheapest_there_is(measurements: list[Measurement], cost: LineCost, registers_max: int) -> None:
    reads = plan_reads(measurements, cost, registers_max=registers_max)
    best = cheapest_us(sorted(measurements, key=address_of), cost, registers_max)
    assert abs(total_us(reads, cost) - best) < 1e-6
    assert all(read.count <= registers_max for read in reads)


@given(wanted(), costs)
def test_each_measurement_is_read_once_and_found_in_its_reply(measurements: list[Measurement], cost: LineCost) -> None:
    reads = plan_reads(measurements, cost)
    assert sorted(address_of(each) for read in reads for each in read.measurements) == sorted(
        map(address_of, measurements)
    )
    for read in reads:
        data = b"".join(address.to_bytes(2, "big") for address in range(read.address, read.address + read.count))
        for each in read.measurements:
            raw = read.slice_of(each, data)
            assert isinstance(each.at, ModbusRegister)
            assert len(raw) == 2 * each.at.type.registers
            assert int.from_bytes(raw[:2], "big") == each.at.address


@given(wanted(), costs, st.data())
def test_no_question_reaches_across_a_cut(measurements: list[Measurement], cost: LineCost, data: st.DataObject) -> None:
    places = st.integers(0, 400).map(lambda address: (3, address))
    cuts = data.draw(st.frozensets(places, max_size=6))
    for read in plan_reads(measurements, cost, cuts=cuts):
        inside = [at for _, at in cuts if read.address < at < read.address + read.count]
        assert not inside or len(read.measurements) == 1


@given(wanted(), costs)
def test_a_refused_question_falls_apart_until_each_measurement_stands_alone(
    measurements: list[Measurement], cost: LineCost
) -> None:
    """A device that refuses everything teaches its cuts in a bounded number of questions, holes first."""
    cuts: frozenset[tuple[int, int]] = frozenset()
    for _ in range(2 * len(measurements)):
        new = [found for read in plan_reads(measurements, cost, cuts=cuts) if (found := cuts_for(read))]
        if not new:
            break
        cuts = cuts.union(*new)
    assert all(len(read.measurements) == 1 for read in plan_reads(measurements, cost, cuts=cuts))


def test_overlapping_registers_are_read_together() -> None:
    """A 64-bit counter and its lower half may both be in a model."""
    both = [measurement(10, RegisterType.INT64), measurement(12, RegisterType.INT32)]
    (read,) = plan_reads(both, serial_cost(9600, 10, 5e3))
    assert (read.address, read.count) == (10, 4)


def test_the_questions_of_a_built_in_model_differ_in_length_so_that_no_late_answer_fits_another() -> None:
    for key in model_keys():
        model = load_model(key)
        if model.protocol is not Protocol.MODBUS:
            continue
        cost = serial_cost(model.serial.baud, 10, 20e3)
        for groups in ({Group.BILLING}, {Group.INSTANTANEOUS}, set(Group)):
            chosen = [each for each in model.measurements if each.group in groups]
            reads = plan_reads(chosen, cost, registers_max=model.registers_per_read_max)
            shapes = [(read.function, read.count) for read in reads]
            assert len(set(shapes)) == len(shapes), (key, groups, shapes)
