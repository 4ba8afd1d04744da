"""A DLMS meter with high-level security on TCP (wrapper) or a pseudo-terminal (HDLC), as a program of its own.

It writes one line for each invocation counter that it accepts, and never forgets one while it runs: so a test sees
whether any is used twice.
"""

import asyncio
import os
import sys
import tty
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from protocols.dlms.acse import Context, Mechanism
from protocols.dlms.association import Policy
from protocols.dlms.ciphering import Keys
from protocols.dlms.codes import ActionResult, DataAccessResult
from protocols.dlms.cosem_time import date_time_of, encode_date_time
from protocols.dlms.data import Data, Tag, array, double_long_unsigned, enum, octets, structure, unsigned
from protocols.dlms.hdlc.secondary import HdlcServerParameters
from protocols.dlms.link import NEED_DATA, ClientLink, LinkUp
from protocols.dlms.objects import ScalerUnit
from protocols.dlms.protection import Ciphering
from protocols.dlms.selective import CLOCK, CaptureObject, Range, decode_selection
from protocols.dlms.server import DlmsServer, Served
from protocols.dlms.wrapper import WrapperServerParameters
from protocols.dlms.xdlms.references import Attribute, Selection
from protocols.errors import ProtocolError, RemoteProtocolError
from protocols.obis import Obis

ENCRYPTION, AUTHENTICATION = bytes(range(16)), bytes(range(100, 116))
SECRET = b"a secret of HLS"
OUR_TITLE, METER_TITLE = b"CTOGATE1", b"CTOMETER"
COUNTER = Obis(0, 0, 43, 1, 0)
ENERGY = 1_204_331
AT = datetime(2026, 3, 1, tzinfo=UTC)
LOG = Obis(0, 0, 99, 98, 0)
LOG_CODE = CaptureObject(1, Obis(0, 0, 96, 11, 0), 2)
DEVIATION = -420


@dataclass
class Meter:
    """What the meter holds: registers, an event log, a clock, a relay; and what was asked of it."""

    now: Callable[[], datetime] = field(default=lambda: AT)
    log: list[tuple[datetime, int]] = field(default_factory=list)
    conducts: bool = True
    obeys: bool = True
    shifts: list[int] = field(default_factory=list)
    accepted: list[int] = field(default_factory=list)
    links: int = 0
    requests: list[str] = field(default_factory=list)

    def get(
        self, client_sap: int, attribute: Attribute, selection: Selection | None
    ) -> Data | bytes | DataAccessResult:
        if attribute == Attribute(1, COUNTER, 2):
            return double_long_unsigned(max(self.accepted, default=0))
        if client_sap == 16:
            return DataAccessResult.READ_WRITE_DENIED
        if attribute.class_id == 3:
            return ScalerUnit(0, 30).to_data() if attribute.index == 3 else double_long_unsigned(ENERGY)
        if attribute == Attribute(8, CLOCK.obis, 2):
            return octets(encode_date_time(self.now(), DEVIATION))
        if attribute.class_id == 70:
            return Data(Tag.BOOLEAN, self.conducts) if attribute.index == 2 else enum(int(self.conducts))
        if attribute == Attribute(7, LOG, 3):
            return array(CLOCK.to_data(), LOG_CODE.to_data())
        if attribute == Attribute(7, LOG, 2):
            return self._rows(selection)
        return DataAccessResult.OBJECT_UNDEFINED

    def _rows(self, selection: Selection | None) -> Data | DataAccessResult:
        wanted = self.log
        if selection is not None:
            try:
                found = decode_selection(selection)
                assert isinstance(found, Range)
                first, last = (_instant(each) for each in (found.first, found.last))
            except ProtocolError:
                return DataAccessResult.SCOPE_OF_ACCESS_VIOLATED
            wanted = [each for each in self.log if first <= each[0] <= last]
        return array(*(structure(octets(encode_date_time(at, DEVIATION)), unsigned(code)) for at, code in wanted))

    def set(
        self, _client_sap: int, attribute: Attribute, value: Data, _selection: Selection | None
    ) -> DataAccessResult:
        return DataAccessResult.READ_WRITE_DENIED

    def act(self, _client_sap: int, method: Attribute, parameter: Data | None) -> tuple[ActionResult, Data | None]:
        if method.class_id == 70:
            if self.obeys:
                self.conducts = method.index == 2
            return ActionResult.SUCCESS, None
        if method == Attribute(8, CLOCK.obis, 6) and parameter is not None:
            assert type(parameter.content) is int
            self.shifts.append(parameter.content)
            return ActionResult.SUCCESS, None
        return ActionResult.OBJECT_UNDEFINED, None


def _instant(bound: Data) -> datetime:
    return date_time_of(bound).at(DEVIATION)


def policy(mechanism: Mechanism, context: Context) -> Policy:
    """Return what the meter demands of client 1."""
    titled = context is Context.LN_CIPHERED or mechanism in (Mechanism.HIGH_GMAC, Mechanism.HIGH_SHA256)
    ciphering = Ciphering(Keys(ENCRYPTION, AUTHENTICATION), METER_TITLE, range(1 << 32)) if titled else None
    return Policy(mechanism, SECRET, context=context, ciphering=ciphering)


def feed(server: DlmsServer, meter: Meter, data: bytes, tell: Callable[[int], None]) -> bytes:
    """Give octets to the meter; return its answer. Each counter that is accepted is told."""
    protection = server.protection(1)
    before = protection.received_counter if protection is not None else -1
    server.receive_data(data)
    while True:
        try:
            event = server.next_event()
        except RemoteProtocolError as error:
            print(f"refused {error}", flush=True)
            continue
        if isinstance(event, Served):
            meter.requests.append(type(event.request).__name__)
        meter.links += isinstance(event, ClientLink) and isinstance(event.change, LinkUp)
        protection = server.protection(1)
        if protection is not None and protection.received_counter > before:
            before = protection.received_counter
            meter.accepted.append(before)
            tell(before)
        if event is NEED_DATA:
            return server.data_to_send()


class TcpMeter(asyncio.Protocol):
    """One connection to the meter. The association's counters outlive it."""

    def __init__(self, server: DlmsServer, meter: Meter) -> None:
        self._server, self._meter = server, meter
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(feed(self._server, self._meter, data, lambda counter: print(f"counter {counter}")))
        sys.stdout.flush()


class PtyMeter:
    """The meter on a pseudo-terminal."""

    def __init__(self, server: DlmsServer, meter: Meter) -> None:
        self._server, self._meter = server, meter
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.port = os.ttyname(self._slave)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._master, self._on_readable)

    def _on_readable(self) -> None:
        if answer := feed(self._server, self._meter, os.read(self._master, 4096), lambda _counter: None):
            os.write(self._master, answer)

    def write(self, data: bytes) -> None:
        os.write(self._master, data)

    def close(self) -> None:
        self._loop.remove_reader(self._master)
        os.close(self._master)
        os.close(self._slave)


def hdlc_server(meter: Meter, own: Policy) -> DlmsServer:
    """Return the meter at physical address 17, with a public client."""
    return DlmsServer(HdlcServerParameters(1, 17), {1: own, 16: Policy()}, meter, chance=os.urandom)


async def main(mechanism: str, context: str) -> None:
    """Serve on a TCP port, which is told first."""
    meter = Meter()
    own = policy(Mechanism[mechanism], Context[context])
    server = DlmsServer(WrapperServerParameters(server_logical=1), {1: own, 16: Policy()}, meter, chance=os.urandom)
    listening = await asyncio.get_running_loop().create_server(lambda: TcpMeter(server, meter), "127.0.0.1", 0)
    print(f"port {listening.sockets[0].getsockname()[1]}", flush=True)
    await listening.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
