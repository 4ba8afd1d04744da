"""Open a village's buses: terminals and ports that answer for its meters by one clock."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from random import Random

from simulators.chance import key_of
from simulators.dlms.hdlc_line import DlmsMeter, HdlcMeters
from simulators.dlms.keys import MeterKeys, derive_keys, write_keys
from simulators.dlms.meter import needs_keys
from simulators.dlms.tcp import DlmsTcpServer
from simulators.modbus.rtu import RtuSlaves
from simulators.modbus.slave import ModbusSlave
from simulators.modbus.tcp import ModbusTcpServer
from simulators.serial_line import SerialLine
from simulators.village import Bus, BusKind, Village

LOOPBACK = "127.0.0.1"


async def open_buses(
    village: Village, lines: Path, now_ms: Callable[[], int], opened: AsyncExitStack, *, paced: bool
) -> dict[str, dict[str, str]]:
    """Open every bus and return where each is: ``{"port": …}`` or ``{"tcp": …}``. ``opened`` closes them.

    ``lines`` is the directory of the links to the serial lines. Beside them is ``<bus>.keys``, which only its owner can
    read, for each bus with meters whose models need keys; the keys follow from the village's seed.
    """
    return {bus.name: await _open_bus(village, bus, lines, now_ms, opened, paced=paced) for bus in village.buses}


async def _open_bus(
    village: Village, bus: Bus, lines: Path, now_ms: Callable[[], int], opened: AsyncExitStack, *, paced: bool
) -> dict[str, str]:
    meters = village.meters_of(bus)
    if bus.kind is BusKind.MODBUS_TCP:
        server = ModbusTcpServer([ModbusSlave(each.device, bus.holes) for each in meters], now_ms)
        opened.push_async_callback(server.close)
        return {"tcp": f"{LOOPBACK}:{await server.open(LOOPBACK, 0)}"}
    keys = _keys_of(village, bus, lines, opened)
    dlms_meters = [DlmsMeter(each.device, each.secret.encode(), keys.get(each.device.address)) for each in meters]
    if bus.kind is BusKind.DLMS_TCP:
        dlms_server = DlmsTcpServer(dlms_meters, now_ms)
        opened.push_async_callback(dlms_server.close)
        return {"tcp": f"{LOOPBACK}:{await dlms_server.open(LOOPBACK, 0)}"}
    assert bus.line is not None
    link = lines / bus.name
    line = SerialLine(link, replace(bus.line, paced=paced))
    opened.callback(line.close)
    turnaround_s = bus.turnaround_ms / 1000 if paced else 0.0
    rng = Random(key_of(village.seed, bus.name, "faults"))
    if bus.kind is BusKind.DLMS_HDLC:
        HdlcMeters(line, dlms_meters, now_ms, turnaround_s=turnaround_s, faults=bus.faults, rng=rng)
    else:
        slaves = [ModbusSlave(each.device, bus.holes) for each in meters]
        RtuSlaves(line, slaves, now_ms, turnaround_s=turnaround_s, faults=bus.faults, rng=rng)
    return {"port": str(link)}


def _keys_of(village: Village, bus: Bus, lines: Path, opened: AsyncExitStack) -> dict[int, MeterKeys]:
    """Return the keys of the meters whose models need some, by address, and leave them where clients find them."""
    found: dict[int, MeterKeys] = {}
    for each in village.meters_of(bus):
        settings = each.device.model.dlms
        if settings is not None and needs_keys(each.device.model):
            found[each.device.address] = derive_keys(village.seed, each.device.name, each.device.serial, settings.suite)
    if found:
        path = lines / f"{bus.name}.keys"
        path.unlink(missing_ok=True)  # of a run that was killed
        write_keys(path, found)
        opened.callback(path.unlink, missing_ok=True)
    return found
