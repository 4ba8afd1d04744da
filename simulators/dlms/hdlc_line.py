"""DLMS meters on one serial line, told apart by their physical addresses.

Every meter hears everything. A lone whole frame, which is what a line carries nearly always, is handed only to the
meter it is for; what is split, joined or damaged goes to all, and each finds what is its own.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random

from protocols.dlms.acse import Mechanism
from protocols.dlms.association import Policy
from protocols.dlms.conformance import LOGICAL_NAMES, Conformance
from protocols.dlms.hdlc.frames import FLAG, decode_address
from protocols.dlms.hdlc.secondary import HdlcServerParameters
from protocols.dlms.link import NEED_DATA
from protocols.dlms.server import DlmsServer
from protocols.errors import RemoteProtocolError, UsageError
from protocols.meters.model import MeterModel
from simulators.dlms.objects import PUBLIC_CLIENT, CosemObjects
from simulators.faults import NO_FAULTS, FaultPlan, disturb
from simulators.meter import SimulatedMeter
from simulators.serial_line import SerialLine

SILENCE_S = 0.1  # five times the inter-octet time-out of IEC 62056-46, 6.4.4.3.4; a terminal hands over in lumps
PHYSICAL_ADDRESSES = range(1, 0x3FFE)  # IEC 62056-46, 6.4.2.3: 0x3FFE and 0x3FFF call and address all stations


@dataclass(frozen=True, slots=True)
class DlmsMeter:
    """A meter and the secret of its low-level security (empty where the model needs none)."""

    meter: SimulatedMeter
    secret: bytes


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
        rng: Random | None = None,
    ) -> None:
        self._line = line
        self._stations: dict[int, _Station] = {}
        for each in meters:
            station = _Station(each)
            address = each.meter.address
            if address not in PHYSICAL_ADDRESSES:
                raise UsageError(f"meter {each.meter.name}: address {address}; a physical address is 1 to 16381")
            if self._stations.setdefault(address, station) is not station:
                raise UsageError(f"meter {each.meter.name}: address {address} is taken on this line")
        self._now_ms = now_ms
        self._pause_s = turnaround_s
        self._faults = faults
        self._rng = rng or Random(0)
        self._fresh = True  # no station holds a part of a frame
        self._silence: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        line.listen(self._receive)

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
            if not each.meter.is_silent(at_ms):
                self._send(each.answer(data, at_ms))

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
    """One meter: its server half and what stands behind it."""

    def __init__(self, dlms_meter: DlmsMeter) -> None:
        self.meter = dlms_meter.meter
        self._objects = CosemObjects(self.meter)
        settings = self.meter.model.dlms
        assert settings is not None
        link = HdlcServerParameters(server_logical=settings.server_logical, server_physical=self.meter.address)
        self.server = DlmsServer(link, policies(self.meter.model, dlms_meter.secret), self._objects)

    def answer(self, data: bytes, at_ms: int) -> bytes:
        """Return what the meter says to octets on the line, all of it as of one moment."""
        self._objects.at_ms = at_ms
        return serve(self.server, data)


def serve(server: DlmsServer, data: bytes) -> bytes:
    """Feed octets to a server and return its answer; what breaks the rules stays unanswered."""
    server.receive_data(data)
    while True:
        try:
            if server.next_event() is NEED_DATA:
                return server.data_to_send()
        except RemoteProtocolError:
            continue


def policies(model: MeterModel, secret: bytes) -> dict[int, Policy]:
    """Return which clients may associate, by SAP: everybody as public client, the model's client by its mechanism."""
    settings = model.dlms
    assert settings is not None
    conformance = LOGICAL_NAMES if settings.with_list else LOGICAL_NAMES & ~Conformance.MULTIPLE_REFERENCES
    low = settings.mechanism == "low"
    own = Policy(Mechanism.LOW, secret, conformance) if low else Policy(conformance=conformance)
    return {PUBLIC_CLIENT: Policy(conformance=conformance), settings.client_sap: own}


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
