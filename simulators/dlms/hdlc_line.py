"""DLMS meters on one serial line, told apart by their physical addresses.

Every meter hears everything. A lone whole frame, which is what a line carries nearly always, is handed only to the
meter it is for; what is split, joined or damaged goes to all, and each finds what is its own.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random

from protocols.dlms.hdlc.frames import FLAG, POLL_FINAL, Frame, FrameReader, FrameType, decode_address
from protocols.dlms.hdlc.negotiation import LinkLimits
from protocols.dlms.hdlc.secondary import HdlcServerParameters
from protocols.errors import RemoteProtocolError, UsageError
from simulators.dlms.meter import DlmsMeter, policies, serve
from simulators.faults import NO_FAULTS, FaultPlan, disturb
from simulators.serial_line import SerialLine

SILENCE_S = 0.1  # five times the inter-octet time-out of IEC 62056-46, 6.4.4.3.4; a terminal hands over in lumps
METER_INFO_OCTETS, METER_WINDOW = 512, 3  # what a present-day meter offers; a client that asks for nothing gets 128, 1
PHYSICAL_ADDRESSES = range(1, 0x3FFE)  # IEC 62056-46, 6.4.2.3: 0x3FFE and 0x3FFF call and address all stations

__all__ = ["DlmsMeter", "HdlcMeters", "LinkFaults", "physical_address", "policies", "serve"]


@dataclass(frozen=True, slots=True)
class LinkFaults:
    """How often a meter answers a frame with DM or FRMR instead of what it should, in thousandths."""

    dm: int = 0
    frmr: int = 0

    def __post_init__(self) -> None:
        if not (0 <= self.dm <= 1000 and 0 <= self.frmr <= 1000):
            raise UsageError(f"faults dm={self.dm}, frmr={self.frmr}: expected 0 to 1000 thousandths")


NO_LINK_FAULTS = LinkFaults()


class HdlcMeters:
    """The meters of one line. They answer by the clock ``now_ms``."""

    def __init__(
        self,
        line: SerialLine,
        meters: Iterable[DlmsMeter],
        now_ms: Callable[[], int],
        *,
        turnaround_s: float = 0.0,
        faults: FaultPlan = NO_FAULTS,
        link_faults: LinkFaults = NO_LINK_FAULTS,
        rng: Random | None = None,
    ) -> None:
        self._line = line
        self._stations: dict[int, _Station] = {}
        for each in meters:
            address = each.meter.address
            if address not in PHYSICAL_ADDRESSES:
                raise UsageError(f"meter {each.meter.name}: address {address}; a physical address is 1 to 16381")
            station = _Station(each, now_ms())
            if self._stations.setdefault(address, station) is not station:
                raise UsageError(f"meter {each.meter.name}: address {address} is taken on this line")
        self._now_ms = now_ms
        self._pause_s = turnaround_s
        self._faults = faults
        self._link_faults = link_faults
        self._rng = rng or Random(0)
        self._fresh = True  # no station holds a part of a frame
        self._silence: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        line.listen(self._receive)

    def push(self, address: int, client_sap: int, apdu: bytes) -> None:
        """Let a meter push an APDU in a UI frame."""
        self._send(self._stations[address].server.push_apdu(client_sap, apdu))

    def send(self, octets: bytes) -> None:
        """Put octets on the line that are no answer."""
        self._send(octets)

    def tell(self) -> None:
        """Let each meter tell its associated clients of events."""
        at_ms = self._now_ms()
        for each in self._stations.values():
            self._tell(each, at_ms)

    def _tell(self, station: "_Station", at_ms: int) -> None:
        for each in station.dlms_meter.tell(station.server, at_ms):
            self._send(each)

    def _receive(self, data: bytes) -> None:
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None
        at_ms = self._now_ms()
        address = physical_address(data) if self._fresh else None
        if address is not None:
            station = self._stations.get(address)
            stations = [station] if station else []
        else:
            stations = list(self._stations.values())
            self._fresh = False
            self._silence = self._loop.call_later(SILENCE_S, self._forget)
        for each in stations:
            if not each.dlms_meter.meter.is_silent(at_ms):
                refused = None if address is None else self._refusal(data)
                reply = refused or each.dlms_meter.answer(each.server, data, at_ms)
                self._send(reply)
                if reply:
                    self._tell(each, at_ms)

    def _refusal(self, data: bytes) -> bytes | None:
        """Return DM or FRMR, when chance has it so."""
        if self._link_faults == NO_LINK_FAULTS:
            return None
        draw = self._rng.randrange(1000)
        if draw >= self._link_faults.dm + self._link_faults.frmr:
            return None
        reader = FrameReader()
        reader.receive_data(data)
        try:
            frame = reader.next_frame()
        except RemoteProtocolError:
            return None
        if not isinstance(frame, Frame):
            return None
        if draw < self._link_faults.dm:
            return Frame(frame.source, frame.destination, FrameType.DM | POLL_FINAL).encode()
        rejected = bytes((frame.control, 0, 0x01))  # W: the control field is undefined (ISO/IEC 13239, 5.5.3.4.2)
        return Frame(frame.source, frame.destination, FrameType.FRMR | POLL_FINAL, rejected).encode()

    def _forget(self) -> None:
        self._silence = None
        self._fresh = True
        for each in self._stations.values():
            each.server.receive_silence()

    def _send(self, reply: bytes) -> None:
        if not reply:
            return
        chunks = [reply] if self._faults is NO_FAULTS else disturb(reply, self._faults, self._rng)
        self._line.send(*chunks, pause_s=self._pause_s, between_s=self._faults.pause_ms / 1000)


class _Station:
    """One meter and its server half on this line."""

    def __init__(self, dlms_meter: DlmsMeter, at_ms: int) -> None:
        settings = dlms_meter.meter.model.dlms
        assert settings is not None
        address = dlms_meter.meter.address
        info, window = max(METER_INFO_OCTETS, settings.info_octets), max(METER_WINDOW, settings.window)
        logical, physical = (address, None) if settings.address_octets == 1 else (settings.server_logical, address)
        link = HdlcServerParameters(logical, physical, LinkLimits(info, info, window, window))
        self.dlms_meter = dlms_meter
        self.server = dlms_meter.serve_on(link, at_ms)


def physical_address(data: bytes) -> int | None:
    """Return the physical address of the one whole frame that ``data`` is; None if it is anything else."""
    if len(data) < 7 or data[0] != FLAG or data[-1] != FLAG:
        return None
    if (int.from_bytes(data[1:3], "big") & 0x7FF) != len(data) - 2:
        return None
    try:
        return decode_address(data, 3)[0].lower
    except RemoteProtocolError:
        return None
