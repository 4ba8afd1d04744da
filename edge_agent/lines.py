"""Opens a bus's line and puts its meters behind it."""

from collections.abc import Callable

from edge_agent.config import BusConfig, TcpPlace
from edge_agent.meter import Meter
from edge_agent.modbus_meter import Link, ModbusMeter
from edge_agent.modbus_rtu import RtuLink
from edge_agent.modbus_tcp import TcpLink
from edge_agent.serial_line import SerialLine
from protocols.meters.model import Protocol


class OpenLine:
    """A line that is open, and its meters by their identifiers."""

    def __init__(self, meters: dict[str, Meter], close: Callable[[], None]) -> None:
        self.meters = meters
        self.close = close


async def open_line(bus: BusConfig) -> OpenLine:
    """Return the open line of ``bus``; raise :class:`edge_agent.failures.LineLostError` if it can't be opened."""
    if bus.protocol is Protocol.MODBUS:
        return _open_modbus(bus)
    raise NotImplementedError


def _open_modbus(bus: BusConfig) -> OpenLine:
    link: Link
    if isinstance(bus.place, TcpPlace):
        link = TcpLink(bus.place.host, bus.place.port, bus.reply_timeout_s)
    else:
        link = RtuLink(SerialLine(bus.place), bus.reply_timeout_s)
    meters: dict[str, Meter] = {meter.id: ModbusMeter(link, meter.address, meter.model) for meter in bus.meters}
    return OpenLine(meters, link.close)
