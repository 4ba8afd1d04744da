"""A meter read by its model: every value, every octet explained."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.meter_tool.explain import explain_reply, explain_request
from edge_agent.meter_tool.reading import in_unit, read_meter, values_of, wanted_of
from edge_agent.meter_tool.show import sparkline
from protocols.errors import UsageError
from protocols.meters.catalogue import load_model, model_keys
from protocols.meters.model import Protocol
from protocols.modbus.messages import ExceptionReply
from protocols.modbus.rtu import encode_reply, encode_request
from protocols.obis import UNIT_FACTORS
from simulators.modbus.slave import Holes, ModbusSlave
from tests.meter_tool.meters import NOON_MS, SlaveLink, meter

MODBUS = [key for key in model_keys() if load_model(key).protocol is Protocol.MODBUS]


@pytest.mark.parametrize("key", MODBUS)
def test_every_octet_of_question_and_answer_is_explained_once(key: str) -> None:
    model = load_model(key)
    exchanges = asyncio.run(read_meter(SlaveLink(key), 1, model, model.measurements))
    shared = any(getattr(each.at, "exponent_at", None) is not None for each in model.measurements)
    for exchange in exchanges:
        assert exchange.reply is not None
        asked = explain_request(exchange.request, serial=True)
        assert b"".join(each.octets for each in asked) == encode_request(exchange.request)
        said = b"".join(each.octets for each in explain_reply(exchange, serial=True))
        if not shared:  # a power of ten that several measurements share is told with each of them
            assert said == encode_reply(exchange.reply)
        assert explain_reply(exchange, serial=False)[0].meaning.startswith("function")


@pytest.mark.parametrize("key", MODBUS)
def test_every_measurement_has_a_value_or_a_reason(key: str) -> None:
    model = load_model(key)
    values = values_of(asyncio.run(read_meter(SlaveLink(key), 1, model, model.measurements)))
    assert sorted(each.measurement.key for each in values) == sorted(each.key for each in model.measurements)
    assert all((each.value is None) == (each.why is not None) for each in values)


class RefusingLink(SlaveLink):
    """A meter that refuses every question with a register that it does not have."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self._slave = ModbusSlave(meter(key), Holes.REFUSE)


def test_a_question_refused_for_a_hole_is_divided_until_all_is_there() -> None:
    model = load_model("eastron_sdm120")
    exchanges = asyncio.run(read_meter(RefusingLink("eastron_sdm120"), 1, model, model.measurements))
    assert any(isinstance(each.reply, ExceptionReply) for each in exchanges)
    assert all(each.value is not None for each in values_of(exchanges))


def test_what_a_model_does_not_have_can_not_be_asked_for() -> None:
    with pytest.raises(UsageError, match="import_active"):
        wanted_of(load_model("eastron_sdm120"), [], ["tariff_9"])
    with pytest.raises(UsageError, match="congto dlms read"):
        wanted_of(load_model("dlms_residential"), [], [])
    only = wanted_of(load_model("eastron_sdm120"), ["billing"], [])
    assert {each.key for each in only} == {"import_active", "export_active"}


@given(st.integers(-(10**12), 10**12), st.sampled_from(load_model("eastron_sdm630").measurements))
def test_a_value_in_the_meters_unit_is_exact(value: int, measurement: object) -> None:
    text, _, unit = in_unit(measurement, value).partition(" ")
    _, numerator, denominator = UNIT_FACTORS[unit]
    whole, _, part = text.lstrip("-").partition(".")
    number = int(whole + part) * (-1 if text.startswith("-") else 1)
    assert number * numerator == value * denominator * 10 ** len(part)


@given(st.lists(st.one_of(st.none(), st.integers(-(2**62), 2**62)), max_size=60))
def test_a_sparkline_has_one_place_for_each_value_and_a_gap_for_none(values: list[int | None]) -> None:
    line = sparkline(values)
    if all(each is None for each in values):
        assert line == ""
        return
    assert len(line) == len(values)
    assert [each == " " for each in line] == [each is None for each in values]
    known = [each for each in values if each is not None]
    assert line[values.index(min(known))] == "▁"
    if min(known) != max(known):
        assert line[values.index(max(known))] == "█"


def test_noon_is_a_time_at_which_a_meter_counts() -> None:
    link = SlaveLink("eastron_sdm120")
    model = load_model("eastron_sdm120")
    values = {
        each.measurement.key: each.value
        for each in values_of(asyncio.run(read_meter(link, 1, model, model.measurements)))
    }
    assert values["import_active"] > 0, NOON_MS
