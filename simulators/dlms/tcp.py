"""DLMS meters behind one TCP port through the wrapper (IEC 62056-47), told apart by their server wPorts."""

import asyncio
from collections.abc import Callable, Iterable
from random import Random

from protocols.dlms.server import DlmsServer
from protocols.dlms.wrapper import HEADER_OCTETS, VERSION, WrapperServerParameters
from protocols.errors import UsageError
from simulators.dlms.meter import DlmsMeter, needs_keys
from simulators.faults import NO_FAULTS, FaultPlan, disturb

WPORTS = range(1, 0xFFFF)


class DlmsTcpServer:
    """Serves meters on a TCP port. A wPort that is not there and a meter in its silent hours say nothing."""

    def __init__(
        self,
        meters: Iterable[DlmsMeter],
        now_ms: Callable[[], int],
        *,
        faults: FaultPlan = NO_FAULTS,
        rng: Random | None = None,
    ) -> None:
        self._faults = faults
        self._rng = rng or Random(0)
        self._meters = by_wport(meters)
        self._now_ms = now_ms
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()

    async def open(self, host: str, port: int) -> int:
        """Listen and return the port, which the system chooses when ``port`` is 0."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Connection(self._meters, self._now_ms, self._connections, self._disturb), host, port
        )
        return int(self._server.sockets[0].getsockname()[1])

    def _disturb(self, reply: bytes) -> list[bytes]:
        return [reply] if self._faults is NO_FAULTS else disturb(reply, self._faults, self._rng)

    def tell(self) -> None:
        """Let each meter tell its associated clients of events."""
        for connection in self._connections:
            connection.tell()

    async def close(self) -> None:
        """End the connections and the port."""
        for connection in list(self._connections):
            connection.abort()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()


def by_wport(meters: Iterable[DlmsMeter]) -> dict[int, DlmsMeter]:
    """Return the meters by their wPorts; UsageError when one has none of its own, or lacks the keys it needs."""
    found: dict[int, DlmsMeter] = {}
    for each in meters:
        address = each.meter.address
        if address not in WPORTS:
            raise UsageError(f"meter {each.meter.name}: wPort {address}; expected 1 to 65534")
        if each.keys is None and needs_keys(each.meter.model):
            raise UsageError(f"meter {each.meter.name}: its model's client needs keys")
        if found.setdefault(address, each) is not each:
            raise UsageError(f"meter {each.meter.name}: wPort {address} is taken on this bus")
    return found


class _Connection(asyncio.Protocol):
    """One TCP connection, with a server half for each meter that was spoken to."""

    def __init__(
        self,
        meters: dict[int, DlmsMeter],
        now_ms: Callable[[], int],
        connections: "set[_Connection]",
        disturbed: Callable[[bytes], list[bytes]],
    ) -> None:
        self._disturbed = disturbed
        self._meters = meters
        self._now_ms = now_ms
        self._connections = connections
        self._servers: dict[int, DlmsServer] = {}
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._connections.add(self)

    def connection_lost(self, _exc: Exception | None) -> None:
        self._connections.discard(self)

    def data_received(self, data: bytes) -> None:
        self._rest += data
        while len(self._rest) >= HEADER_OCTETS:
            version, _, wport, length = (int.from_bytes(self._rest[at : at + 2], "big") for at in (0, 2, 4, 6))
            if version != VERSION:
                self.close()  # There is no way to find the next message.
                return
            if len(self._rest) < HEADER_OCTETS + length:
                return
            message, self._rest = self._rest[: HEADER_OCTETS + length], self._rest[HEADER_OCTETS + length :]
            self._take(wport, message)

    def _take(self, wport: int, message: bytes) -> None:
        dlms_meter = self._meters.get(wport)
        at_ms = self._now_ms()
        if dlms_meter is None or dlms_meter.meter.is_silent(at_ms):
            return
        if wport not in self._servers:
            self._servers[wport] = dlms_meter.serve_on(WrapperServerParameters(server_logical=wport), at_ms)
        reply = dlms_meter.answer(self._servers[wport], message, at_ms)
        for chunk in self._disturbed(reply) if reply else ():
            self._transport.write(chunk)
        if reply:
            self._transport.writelines(dlms_meter.tell(self._servers[wport], at_ms))

    def tell(self) -> None:
        at_ms = self._now_ms()
        for wport, server in self._servers.items():
            self._transport.writelines(self._meters[wport].tell(server, at_ms))

    def close(self) -> None:
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()
