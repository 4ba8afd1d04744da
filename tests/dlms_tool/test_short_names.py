"""Meters with short names (Landis+Gyr ZMD400): the tools learn the base names and ask as of any other meter."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from protocols.dlms.acse import Context, Mechanism
from protocols.dlms.association import Policy
from protocols.dlms.codes import ActionResult, DataAccessResult
from protocols.dlms.conformance import SHORT_NAMES
from protocols.dlms.data import Data, Tag, array, double_long_unsigned, integer, long_unsigned, octets, structure
from protocols.dlms.link import NEED_DATA
from protocols.dlms.objects import ScalerUnit
from protocols.dlms.server import DlmsServer
from protocols.dlms.short_names import ASSOCIATION, OBJECT_LIST
from protocols.dlms.wrapper import WrapperServerParameters
from protocols.dlms.xdlms.references import Attribute, Selection
from protocols.obis import Obis
from tests.dlms_tool.processes import LOW, SECRET, answer, congto

ENERGY = (3, Obis(1, 0, 1, 8, 0))
NAME = (1, Obis(0, 0, 42, 0, 0))
BASES = {ASSOCIATION: 0xFA00, ENERGY: 0x3108, NAME: 0x3200}
EXCHANGED = {ASSOCIATION: 0xFA00, NAME: 0x3108, ENERGY: 0x3200}


class Shelf:
    """One register, the meter's name, and the list that names them."""

    def __init__(self) -> None:
        self.name, self.bases, self.lists_read = b"LGZ1", BASES, 0

    def get(self, _sap: int, attribute: Attribute, _selection: Selection | None) -> Data | DataAccessResult:
        if attribute == Attribute(*NAME, 2):
            return octets(self.name)
        if attribute == OBJECT_LIST:
            self.lists_read += 1
            return array(
                *(
                    structure(
                        Data(Tag.LONG, base - 0x10000 if base > 0x7FFF else base),
                        long_unsigned(class_id),
                        integer(0),
                        octets(obis.to_octets()),
                    )
                    for (class_id, obis), base in self.bases.items()
                )
            )
        values = {2: double_long_unsigned(123_456), 3: ScalerUnit(1, 30).to_data()}
        known = (attribute.class_id, attribute.obis) == ENERGY
        return (
            values.get(attribute.index, DataAccessResult.OBJECT_UNDEFINED)
            if known
            else DataAccessResult.OBJECT_UNDEFINED
        )

    def set(self, *_: object) -> DataAccessResult:
        return DataAccessResult.READ_WRITE_DENIED

    def act(self, *_: object) -> tuple[ActionResult, None]:
        return ActionResult.READ_WRITE_DENIED, None


SHELF = Shelf()


async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    policy = Policy(Mechanism.LOW, SECRET.encode(), SHORT_NAMES, context=Context.SN, short_names=SHELF.bases)
    server = DlmsServer(WrapperServerParameters(1), {1: policy}, SHELF)
    while data := await reader.read(4096):
        server.receive_data(data)
        while server.next_event() is not NEED_DATA:
            pass
        writer.write(server.data_to_send())
    writer.close()


@pytest.fixture(scope="module")
def place() -> Iterator[str]:
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(serve_one, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        loop.close()


@pytest.mark.integration
def test_registers_are_read_and_listed_by_short_names(place):
    words = ("--tcp", place, "--short-names", *LOW)
    (reading,) = answer("dlms", "read", "1.0.1.8.0", *words)["readings"]
    assert reading["base"] == {"value": 1_234_560, "unit": "Wh"}
    listed = {entry["obis"]: entry for entry in answer("dlms", "list", *words)["objects"]}
    assert listed["1.0.1.8.0"]["base_name"] == 0x3108
    assert "3108" in congto("dlms", "list", *words).stdout
    missing = congto("dlms", "read", "1.0.99.8.0", *words)
    assert (missing.returncode, "lists no such object" in missing.stderr) == (5, True), missing.stderr
    by_logical_names = congto("dlms", "read", "1.0.1.8.0", *words[:2], *LOW)
    assert by_logical_names.returncode == 5
    assert "application-context" in by_logical_names.stderr
    assert "--short-names" in by_logical_names.stderr


@pytest.mark.integration
def test_short_names_are_kept_and_an_exchanged_meter_is_not_asked_by_the_names_of_another(place, tmp_path):
    words = ("--tcp", place, "--short-names", "--cache", tmp_path, *LOW)

    def energy() -> tuple[int, int]:
        before = SHELF.lists_read
        (reading,) = answer("dlms", "read", "1.0.1.8.0", *words)["readings"]
        return reading["base"]["value"], SHELF.lists_read - before

    assert [energy(), energy()] == [(1_234_560, 1), (1_234_560, 0)]
    SHELF.name, SHELF.bases = b"LGZ2", EXCHANGED
    try:
        assert [energy(), energy()] == [(1_234_560, 1), (1_234_560, 0)]
        listed = {entry["obis"]: entry for entry in answer("dlms", "list", *words)["objects"]}
        assert listed["1.0.1.8.0"]["base_name"] == 0x3200
    finally:
        SHELF.name, SHELF.bases = b"LGZ1", BASES
