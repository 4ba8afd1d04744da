"""Opens a bus's line and puts its meters behind it."""

from collections.abc import Callable

from edge_agent.config import BusConfig, MeterConfig, TcpPlace
from edge_agent.dlms_meter import DlmsMeter
from edge_agent.dlms_session import ByteLine, DlmsSession
from edge_agent.meter import Meter
from edge_agent.modbus_meter import Link, ModbusMeter
from edge_agent.modbus_rtu import RtuLink
from edge_agent.modbus_tcp import TcpLink
from edge_agent.serial_line import SerialLine
from edge_agent.tcp_line import TcpLine
from protocols.dlms.acse import Mechanism
from protocols.dlms.association import Association
from protocols.dlms.client import DlmsClient
from protocols.dlms.hdlc.primary import HdlcParameters
from protocols.dlms.wrapper import WrapperParameters
from protocols.meters.model import Protocol

CONNECT_TIMEOUT_S = 10.0
ONE_OCTET_ADDRESS_MAX = 0x7F  # IEC 62056-46, 6.4.2.3: seven bits of each octet are address


class OpenLine:
    """A line that is open, and its meters by their identifiers."""

    def __init__(self, meters: dict[str, Meter], close: Callable[[], None]) -> None:
        self.meters = meters
        self.close = close


async def open_line(bus: BusConfig) -> OpenLine:
    """Return the open line of ``bus``; raise :class:`edge_agent.failures.LineLostError` if it can't be opened."""
    return _open_modbus(bus) if bus.protocol is Protocol.MODBUS else await _open_dlms(bus)


def _open_modbus(bus: BusConfig) -> OpenLine:
    link: Link
    if isinstance(bus.place, TcpPlace):
        link = TcpLink(bus.place.host, bus.place.port, bus.reply_timeout_s)
    else:
        link = RtuLink(SerialLine(bus.place), bus.reply_timeout_s)
    meters: dict[str, Meter] = {meter.id: ModbusMeter(link, meter.address, meter.model) for meter in bus.meters}
    return OpenLine(meters, link.close)


async def _open_dlms(bus: BusConfig) -> OpenLine:
    line: ByteLine
    parameters: Callable[[MeterConfig, int], HdlcParameters | WrapperParameters]
    if isinstance(bus.place, TcpPlace):
        line = await TcpLine.open(bus.place.host, bus.place.port, CONNECT_TIMEOUT_S)
        parameters = _wrapper_parameters
    else:
        line = SerialLine(bus.place)
        parameters = _hdlc_parameters
    meters: dict[str, Meter] = {
        meter.id: DlmsMeter(DlmsSession(line, _client_maker(meter, parameters), bus.reply_timeout_s), meter.model)
        for meter in bus.meters
    }
    return OpenLine(meters, line.close)


def _client_maker(
    meter: MeterConfig, parameters: Callable[[MeterConfig, int], HdlcParameters | WrapperParameters]
) -> Callable[[int], DlmsClient]:
    secret = meter.secret
    association = Association() if secret is None else Association(Mechanism.LOW, secret.octets)
    return lambda retries: DlmsClient(parameters(meter, retries), association)


def _hdlc_parameters(meter: MeterConfig, retries: int) -> HdlcParameters:
    settings = meter.model.dlms
    assert settings is not None
    small = max(meter.address, settings.server_logical) <= ONE_OCTET_ADDRESS_MAX
    return HdlcParameters(
        client_sap=settings.client_sap,
        server_logical=settings.server_logical,
        server_physical=meter.address,
        server_size=2 if small else 4,
        retries_max=retries,
    )


def _wrapper_parameters(meter: MeterConfig, _retries: int) -> WrapperParameters:
    settings = meter.model.dlms
    assert settings is not None
    return WrapperParameters(client_sap=settings.client_sap, server_logical=meter.address)
