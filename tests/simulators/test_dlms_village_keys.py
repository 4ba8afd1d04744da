"""A village with a meter whose model needs keys: it answers who has them, and they lie beside its line."""

import asyncio
import socket
import stat
from contextlib import AsyncExitStack
from datetime import date

from protocols.dlms.acse import Mechanism
from protocols.dlms.client import DlmsClient
from protocols.dlms.data import integer_of
from protocols.dlms.services import Get
from simulators.dlms.keys import read_keys
from simulators.dlms.meter import DlmsMeter
from simulators.serving import open_buses
from simulators.village import parse_village
from tests.simulators.meters import run
from tests.simulators.test_dlms_complete import IMPORT, association, own_shell
from tests.simulators.test_dlms_meters import Shell

OCTOBER = date(2026, 10, 1)
NOW = 1_791_000_000_000
TEXT = """
name = "One house with keys"
seed = 5
[[bus]]
id = "ip"
gateway = "gw"
kind = "dlms_tcp"
[[meter]]
id = "A"
bus = "ip"
model = "dlms_secured"
address = 1
kind = "household"
size_kwh = 200
place = "hanoi"
"""


def test_a_meter_that_needs_keys_works_in_a_village_with_keys_from_the_seed(tmp_path):
    village = parse_village(TEXT, "keys.toml", starts_on=OCTOBER)
    device = village.meters[0].device
    path = tmp_path / "ip.keys"
    path.write_text("of a run that was killed")

    def talk(place):
        keys = read_keys(path, [1])[1]
        wanted = association(DlmsMeter(device, b"", keys), Mechanism.HIGH_GMAC, ciphered=True)
        host, port = place.rsplit(":", 1)
        with socket.create_connection((host, int(port)), 10) as connection:

            def shell_of(client: DlmsClient) -> Shell:
                return Shell(client, connection.sendall, lambda: connection.recv(65536))

            shell = own_shell(shell_of, address=1, association_=wanted, sap=device.model.dlms.client_sap)
            return keys, integer_of(shell.ask(Get(IMPORT)).value)

    async def work():
        async with AsyncExitStack() as opened:
            places = await open_buses(village, tmp_path, lambda: NOW, opened, paced=False)
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            return await asyncio.to_thread(talk, places["ip"]["tcp"])

    first, energy = run(work)
    assert energy == device.true_wh("1.0.1.8.0", NOW)
    assert not path.exists()
    again, _ = run(work)
    assert again.keys == first.keys
