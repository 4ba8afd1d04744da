"""What the agent keeps of a DLMS meter spares questions after a restart, and an exchanged meter is asked anew."""

import asyncio
from pathlib import Path

import pytest

from edge_agent.dlms_cache import Identity
from edge_agent.dlms_memory import MeterMemory
from edge_agent.lines import OpenLine
from edge_agent.meter import Answer
from protocols.dlms.short_names import OBJECT_LIST
from protocols.dlms.xdlms.references import Attribute
from protocols.obis import Obis
from simulators.chance import key_of
from simulators.dlms.objects import CosemObjects
from simulators.loads import Consumer, Kind
from simulators.meter import SimulatedMeter
from tests.edge_agent.test_dlms_short_names import BILLING, MODEL, device_of, with_agent
from tests.simulators.meters import INSTALLED, NOW

SCALERS = [Attribute(3, Obis.parse(code), 3) for code in ("1.0.1.8.0", "1.0.3.8.0", "1.0.2.8.0")]


def read_after_a_start(directory: Path, device: SimulatedMeter) -> tuple[Answer, list[Attribute]]:
    """Start the agent, read the billing registers, and return the answer with what the meter was asked."""

    async def work(line: OpenLine, objects: CosemObjects) -> tuple[Answer, list[Attribute]]:
        asked: list[Attribute] = []
        get = objects.get

        def noted(client_sap, attribute, selection):  # type: ignore[no-untyped-def]
            asked.append(attribute)
            return get(client_sap, attribute, selection)

        objects.get = noted  # type: ignore[method-assign]
        return await line.meters["M-0001"].read(BILLING, probe=False), asked

    return with_agent(directory, device, work)


def directory_of(tmp_path: Path, model: str) -> Path:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "by_short_names.toml").write_text(model)
    return tmp_path


def another(device: SimulatedMeter) -> SimulatedMeter:
    """Return a meter with the same consumption and another serial number."""
    consumer = Consumer(Kind.HOUSEHOLD, 250, "hanoi", key_of(2, "sn"), key_of(1), 0)
    return SimulatedMeter("sn", device.model, 17, consumer, installed_at_ms=INSTALLED)


def values_of(answer: Answer) -> dict[str, int]:
    assert (answer.failure, answer.refusals) == (None, ())
    return {str(each.obis): value for each, value in answer.values}


def test_short_names_are_asked_for_once_in_a_meters_life(tmp_path: Path) -> None:
    directory = directory_of(tmp_path, MODEL)
    device = device_of(directory)
    first, asked = read_after_a_start(directory, device)
    assert OBJECT_LIST in asked
    again, asked = read_after_a_start(directory, device)
    assert OBJECT_LIST not in asked
    assert values_of(again) == values_of(first)


def test_an_exchanged_meter_is_not_read_by_the_names_of_another(tmp_path: Path) -> None:
    directory = directory_of(tmp_path, MODEL)
    read_after_a_start(directory, device_of(directory))
    for other in (device_of(directory, "reactive"), another(device_of(directory))):
        answer, asked = read_after_a_start(directory, other)
        assert OBJECT_LIST in asked
        found = {str(each.obis): value for each, value in answer.values}
        assert found["1.0.2.8.0"] == other.true_wh("1.0.2.8.0", NOW)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff" * 50])
def test_a_damaged_file_is_refused_and_written_anew(tmp_path: Path, content: bytes) -> None:
    directory = directory_of(tmp_path, MODEL)
    device = device_of(directory)
    first, _ = read_after_a_start(directory, device)
    (path,) = (directory / "spool.sqlite.objects").glob("*.json")
    path.write_bytes(content)
    again, asked = read_after_a_start(directory, device)
    assert OBJECT_LIST in asked
    assert values_of(again) == values_of(first)
    assert path.read_bytes() != content


def test_scalers_are_kept_where_a_meter_takes_no_lists(tmp_path: Path) -> None:
    model = MODEL.replace("with_list = true", "with_list = false").replace("short_names = true\n", "")
    directory = directory_of(tmp_path, model)
    device = device_of(directory)
    first, asked = read_after_a_start(directory, device)
    assert [each for each in asked if each in SCALERS] == SCALERS
    again, asked = read_after_a_start(directory, device)
    assert not [each for each in asked if each in SCALERS]
    assert values_of(again) == values_of(first)
    other, asked = read_after_a_start(directory, another(device))
    assert [each for each in asked if each in SCALERS] == SCALERS
    assert values_of(other)


def test_what_a_nameless_meter_tells_is_not_kept_and_a_full_disk_is_told_once(tmp_path: Path, caplog) -> None:
    memory = MeterMemory(tmp_path / "kept", "M-1", "model", 1)
    asyncio.run(memory.keep(Identity(""), names=b"\x01\x00"))
    assert not (tmp_path / "kept").exists()
    (tmp_path / "kept").write_text("in the way")
    for names in (b"\x01\x00", b"\x01\x01\x00"):
        asyncio.run(memory.keep(Identity("name X"), names=names))
    assert caplog.text.count("meter.cache_not_kept") == 1
