"""Opens a bus's line and puts its meters behind it."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol, TypeAlias

from edge_agent.config import BusConfig, MeterConfig, TcpPlace
from edge_agent.counters import Lease
from edge_agent.dlms_duties import DlmsDuties
from edge_agent.dlms_entry import Entry
from edge_agent.dlms_memory import MeterMemory
from edge_agent.dlms_meter import DlmsMeter
from edge_agent.dlms_session import ByteLine, DlmsSession
from edge_agent.iec_meter import IecMeter
from edge_agent.learned import Learned
from edge_agent.meter import Meter
from edge_agent.modbus_meter import Link, ModbusMeter
from edge_agent.modbus_rtu import RtuLink
from edge_agent.modbus_tcp import TcpLink
from edge_agent.serial_line import LineSettings, SerialLine
from edge_agent.tcp_line import TcpLine
from edge_agent.tuned_line import TunedLine
from edge_agent.unheard import Unheard
from protocols.dlms.hdlc.negotiation import LinkLimits
from protocols.dlms.hdlc.primary import HdlcParameters
from protocols.dlms.wrapper import WrapperParameters
from protocols.meters.model import Protocol as Language

CONNECT_TIMEOUT_S = 10.0
ONE_OCTET_ADDRESS_MAX = 0x7F  # IEC 62056-46, 6.4.2.3: seven bits of each octet are address


Tap: TypeAlias = Callable[[bytes], None]
LinkParameters: TypeAlias = Callable[[MeterConfig, int, int], HdlcParameters | WrapperParameters]


class Closable(Protocol):
    """What can be closed."""

    def close(self) -> None:
        """Close it."""
        ...


class OpenLine:
    """A line that is open, and its meters by their identifiers."""

    def __init__(
        self, meters: dict[str, Meter], close: Callable[[], None], duties: dict[str, DlmsDuties] | None = None
    ) -> None:
        self.meters = meters
        self.duties = duties or {}
        self.close = close


async def open_line(
    bus: BusConfig,
    counters: Path,
    tap: Tap | None = None,
    learned: Path | None = None,
    unheard: Unheard | None = None,
) -> OpenLine:
    """Return the open line of ``bus``; raise :class:`edge_agent.failures.LineLostError` if it can't be opened.

    Invocation counters are kept in the directory ``counters``, what is learned of the meters in ``learned``; ``tap``
    hears all that comes on a serial line; ``unheard`` knows what was asked there before.
    """
    kept = Learned(bus, learned)
    if isinstance(bus.place, TcpPlace):
        return await _open_tcp(bus, bus.place, counters, kept)
    serial = SerialLine(bus.place, tap)
    meters: dict[str, Meter] = {}
    duties: dict[str, DlmsDuties] = {}
    links: dict[LineSettings, RtuLink] = {}
    for meter in bus.meters:
        assert meter.line is not None
        tuned = TunedLine(serial, meter.line)
        if meter.model.protocol is Language.MODBUS:
            if meter.line not in links:
                asked = None if unheard is None else unheard.lengths(meter.line, bus.reply_timeout_s)
                links[meter.line] = RtuLink(tuned, bus.reply_timeout_s, asked)
            link = links[meter.line]
            meters[meter.id] = _modbus(meter, link, kept)
        elif meter.model.protocol is Language.IEC62056_21:
            meters[meter.id] = IecMeter(tuned, meter.device, meter.model)
        else:
            meters[meter.id], duties[meter.id] = _dlms(meter, tuned, _hdlc_parameters, counters, bus.reply_timeout_s)
    return OpenLine(meters, partial(_close, serial, kept), duties)


async def _open_tcp(bus: BusConfig, place: TcpPlace, counters: Path, kept: Learned) -> OpenLine:
    if bus.protocols == {Language.MODBUS}:
        link = TcpLink(place.host, place.port, bus.reply_timeout_s)
        meters: dict[str, Meter] = {meter.id: _modbus(meter, link, kept) for meter in bus.meters}
        return OpenLine(meters, partial(_close, link, kept))
    line = await TcpLine.open(place.host, place.port, CONNECT_TIMEOUT_S)
    both = {meter.id: _dlms(meter, line, _wrapper_parameters, counters, bus.reply_timeout_s) for meter in bus.meters}
    return OpenLine(
        {name: meter for name, (meter, _) in both.items()},
        line.close,
        {name: duties for name, (_, duties) in both.items()},
    )


def _close(line: Closable, kept: Learned) -> None:
    line.close()
    kept.save()


def _modbus(meter: MeterConfig, link: Link, kept: Learned) -> ModbusMeter:
    return ModbusMeter(link, meter.address, meter.model, kept.of(meter.id), partial(kept.set, meter.id))


def _dlms(
    meter: MeterConfig, line: ByteLine, parameters: LinkParameters, counters: Path, reply_timeout_s: float
) -> tuple[DlmsMeter, DlmsDuties]:
    session = DlmsSession(line, _entry(meter, parameters, counters), reply_timeout_s)
    return DlmsMeter(session, meter.model, meter.line), DlmsDuties(session, meter.model)


def _entry(meter: MeterConfig, parameters: LinkParameters, counters: Path) -> Entry:
    access = meter.access
    assert access is not None
    lease = None
    if access.uses_counters and access.keys is not None and access.title is not None:
        lease = Lease(counters, meter.id, access.keys.encryption, access.title)
    kept = counters.with_name(f"{counters.name.removesuffix('.counters')}.objects")
    memory = MeterMemory(kept, meter.id, meter.model.key, access.settings.client_sap)
    return Entry(access, lambda client_sap, retries: parameters(meter, client_sap, retries), lease, memory)


def _hdlc_parameters(meter: MeterConfig, client_sap: int, retries: int) -> HdlcParameters:
    settings = meter.model.dlms
    assert settings is not None
    size = settings.address_octets
    if size is None:
        size = 2 if max(meter.address, settings.server_logical) <= ONE_OCTET_ADDRESS_MAX else 4
    info, window = settings.info_octets, settings.window
    return HdlcParameters(
        client_sap=client_sap,
        server_logical=meter.address if size == 1 else settings.server_logical,
        server_physical=None if size == 1 else meter.address,
        server_size=size,
        limits=LinkLimits(info, info, window, window),
        retries_max=retries,
    )


def _wrapper_parameters(meter: MeterConfig, client_sap: int, _retries: int) -> WrapperParameters:
    return WrapperParameters(client_sap=client_sap, server_logical=meter.address)
