"""DLMS meters behind one UDP port through the wrapper (IEC 62056-47): one APDU is one datagram, told apart by wPorts.

UDP has no connections: what a client opened is its own address's until it releases it. The clients longest unheard are
forgotten when there are many, as a meter's memory would have it.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable
from random import Random
from typing import Any, cast

from protocols.dlms.server import DlmsServer
from protocols.dlms.wrapper import HEADER_OCTETS, VERSION, Wrapped, WrapperReader, WrapperServerParameters
from simulators.dlms.meter import DlmsMeter
from simulators.dlms.tcp import by_wport
from simulators.faults import NO_FAULTS, FaultPlan, disturb

PEERS_MAX = 256  # server halves, one for each client's address and each meter it spoke to


class DlmsUdpServer:
    """Serves meters on a UDP port. What is no whole message, a wPort that is not there: nothing is said to it."""

    def __init__(
        self,
        meters: Iterable[DlmsMeter],
        now_ms: Callable[[], int],
        *,
        faults: FaultPlan = NO_FAULTS,
        rng: Random | None = None,
    ) -> None:
        self._meters = by_wport(meters)
        self._now_ms = now_ms
        self._faults = faults
        self._rng = rng or Random(0)
        self._servers: OrderedDict[tuple[Any, int], DlmsServer] = OrderedDict()
        self._transport: asyncio.DatagramTransport | None = None

    async def open(self, host: str, port: int) -> int:
        """Listen and return the port, which the system chooses when ``port`` is 0."""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: _Datagrams(self.answer), local_addr=(host, port)
        )
        return int(self._transport.get_extra_info("sockname")[1])

    def tell(self) -> None:
        """Let each meter tell its associated clients of events."""
        at_ms = self._now_ms()
        for (peer, wport), server in self._servers.items():
            for octets in self._meters[wport].tell(server, at_ms):
                if self._transport is not None:
                    self._transport.sendto(octets, peer)

    async def close(self) -> None:
        """Close the port."""
        if self._transport is not None:
            self._transport.close()

    def answer(self, datagram: bytes, peer: Any) -> list[bytes]:
        """Return the datagrams that answer one from the address ``peer``."""
        if len(datagram) < HEADER_OCTETS:
            return []
        version, _, wport, length = (int.from_bytes(datagram[at : at + 2], "big") for at in (0, 2, 4, 6))
        dlms_meter, at_ms = self._meters.get(wport), self._now_ms()
        if version != VERSION or length != len(datagram) - HEADER_OCTETS or dlms_meter is None:
            return []
        if dlms_meter.meter.is_silent(at_ms):
            return []
        server = self._server(dlms_meter, wport, peer, at_ms)
        reply = dlms_meter.answer(server, datagram, at_ms)
        if not reply:
            return []
        reader = WrapperReader()
        reader.receive_data(reply)
        replies: list[bytes] = []
        while isinstance(wrapped := reader.next_wrapped(), Wrapped):
            said = wrapped.encode()
            replies += [said] if self._faults is NO_FAULTS else disturb(said, self._faults, self._rng)
        return replies + dlms_meter.tell(server, at_ms)

    def _server(self, dlms_meter: DlmsMeter, wport: int, peer: Any, at_ms: int) -> DlmsServer:
        found = self._servers.pop((peer, wport), None)
        if found is None:
            found = dlms_meter.serve_on(WrapperServerParameters(server_logical=wport), at_ms)
        self._servers[peer, wport] = found
        if len(self._servers) > PEERS_MAX:
            self._servers.popitem(last=False)
        return found


class _Datagrams(asyncio.DatagramProtocol):
    """The port."""

    def __init__(self, answer: Callable[[bytes, Any], list[bytes]]) -> None:
        self._answer = answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)  # asyncio's own is no subclass before 3.12

    def datagram_received(self, data: bytes, addr: Any) -> None:
        for each in self._answer(data, addr):
            self._transport.sendto(each, addr)
