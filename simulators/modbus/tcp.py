"""Modbus TCP meters behind one address, told apart by their unit, with the register values of the moment of asking.

Source: MODBUS Messaging on TCP/IP Implementation Guide V1.0b, section 3.1.3 (MBAP header).
"""

import asyncio
import struct
from collections.abc import Callable, Iterable

from protocols.errors import UsageError
from simulators.modbus.slave import ModbusSlave

HEADER = struct.Struct(">HHHB")  # transaction, protocol (0 is Modbus), octets that follow, unit
ADU_OCTETS_MAX = 260  # section 4.4.2.2
TCP_UNITS = range(256)
NO_RESPONSE = 11  # a gateway's exception for a unit that does not answer (Application Protocol V1.1b3, section 7)


class ModbusTcpServer:
    """Serves meters on a TCP port. A unit that is not there is refused, one in its silent hours says nothing."""

    def __init__(self, slaves: Iterable[ModbusSlave], now_ms: Callable[[], int]) -> None:
        self._slaves: dict[int, ModbusSlave] = {}
        for slave in slaves:
            address = slave.meter.address
            if address not in TCP_UNITS:
                raise UsageError(f"meter {slave.meter.name}: unit {address}; a Modbus TCP unit is 0 to 255")
            if self._slaves.setdefault(address, slave) is not slave:
                raise UsageError(f"meter {slave.meter.name}: unit {address} is taken on this bus")
        self._now_ms = now_ms
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()

    async def open(self, host: str, port: int) -> int:
        """Listen and return the port, which the system chooses when ``port`` is 0."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self._answer, self._connections), host, port)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """End the connections and the port."""
        for connection in list(self._connections):
            connection.abort()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    def _answer(self, unit: int, request: bytes) -> bytes | None:
        slave = self._slaves.get(unit)
        if slave is None:
            return bytes((request[0] | 0x80, NO_RESPONSE))
        at_ms = self._now_ms()
        return None if slave.meter.is_silent(at_ms) else slave.answer(request, at_ms)


class _Connection(asyncio.Protocol):
    def __init__(self, answer: Callable[[int, bytes], bytes | None], connections: "set[_Connection]") -> None:
        self._answer = answer
        self._connections = connections
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._connections.add(self)

    def connection_lost(self, _exc: Exception | None) -> None:
        self._connections.discard(self)

    def data_received(self, data: bytes) -> None:
        self._rest += data
        while len(self._rest) >= HEADER.size:
            transaction, protocol, length, unit = HEADER.unpack_from(self._rest)
            if protocol != 0 or not 2 <= length <= ADU_OCTETS_MAX - 6:
                self.close()  # Not Modbus: there is no way to find the next message.
                return
            if len(self._rest) < 6 + length:
                return
            request, self._rest = self._rest[HEADER.size : 6 + length], self._rest[6 + length :]
            reply = self._answer(unit, request)
            if reply is not None:
                self._transport.write(HEADER.pack(transaction, 0, len(reply) + 1, unit) + reply)

    def close(self) -> None:
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()
