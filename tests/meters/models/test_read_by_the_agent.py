"""The agent's own reader and the simulator's meters, on a real TCP port, agree on every Modbus model."""

import asyncio
from fractions import Fraction

from edge_agent.meter import Answer
from edge_agent.modbus_meter import ModbusMeter
from edge_agent.modbus_tcp import TcpLink
from protocols.meters.catalogue import load_model, model_keys
from protocols.meters.model import Group, ModbusRegister, Protocol
from protocols.obis import UNIT_FACTORS
from simulators.chance import key_of
from simulators.loads import Consumer, Kind
from simulators.meter import SimulatedMeter
from simulators.modbus.slave import ModbusSlave
from simulators.modbus.tcp import ModbusTcpServer
from tests.simulators.meters import INSTALLED, NOW

MODBUS = [key for key in model_keys() if load_model(key).protocol is Protocol.MODBUS]
TIMEOUT_S = 5.0


def test_a_meter_of_every_model_behind_one_address_is_read_without_a_refusal() -> None:
    meters = [
        SimulatedMeter(key, load_model(key), unit, consumer(key), installed_at_ms=INSTALLED)
        for unit, key in enumerate(MODBUS, start=1)
    ]
    answers = asyncio.run(read_all(meters))
    for meter, answer in zip(meters, answers, strict=True):
        assert answer.failure is None, meter.name
        assert answer.refusals == (), meter.name
        assert {each.key for each, _ in answer.values} == {each.key for each in meter.model.measurements}
        for measurement, value in answer.values:
            at = measurement.at
            assert isinstance(at, ModbusRegister)
            _, numerator, denominator = UNIT_FACTORS[measurement.unit]
            step = max(Fraction(at.scale) * numerator / denominator, Fraction(2))
            truth = meter.value(measurement.obis, NOW)
            assert abs(value - truth) <= max(step, Fraction(abs(truth), 2**23)), (meter.name, measurement.key)


def consumer(key: str) -> Consumer:
    return Consumer(Kind.HOUSEHOLD, 250, "hanoi", key_of(2, key), key_of(2), 3_000)


async def read_all(meters: list[SimulatedMeter]) -> list[Answer]:
    server = ModbusTcpServer([ModbusSlave(meter) for meter in meters], lambda: NOW)
    link = TcpLink("127.0.0.1", await server.open("127.0.0.1", 0), TIMEOUT_S)
    try:
        groups = frozenset(Group)
        return [await ModbusMeter(link, each.address, each.model).read(groups, probe=False) for each in meters]
    finally:
        link.close()
        await server.close()
