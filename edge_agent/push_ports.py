"""Ports on which pushes are taken, UDP and TCP, where the configuration opens them; without it there is none.

Every limit is small: whoever can reach the port can send anything.
"""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

from edge_agent.config import PushConfig, TcpPlace
from edge_agent.pushes import PushDesk
from protocols.dlms.wrapper import Wrapped, WrapperReader
from protocols.errors import RemoteProtocolError, UnavailableError

CONNECTIONS_MAX = 64
IDLE_S_MAX = 30.0  # a push is one message, perhaps of several blocks
READ_OCTETS = 4096


class PushPorts:
    """The open ports."""

    def __init__(self, desk: PushDesk) -> None:
        self._desk = desk
        self._connections = 0

    async def open(self, config: PushConfig, stack: AsyncExitStack) -> tuple[int | None, int | None]:
        """Open what ``config`` names, to be closed by ``stack``; return the UDP and the TCP port."""
        udp = tcp = None
        loop = asyncio.get_running_loop()
        if config.udp is not None:
            try:
                transport, _ = await loop.create_datagram_endpoint(
                    lambda: _Datagrams(self._desk), local_addr=(config.udp.host, config.udp.port)
                )
            except OSError as error:
                raise _refused(config.udp, "UDP", error) from error
            stack.callback(transport.close)
            udp = transport.get_extra_info("sockname")[1]
        if config.tcp is not None:
            try:
                server = await asyncio.start_server(self._serve, config.tcp.host, config.tcp.port)
            except OSError as error:
                raise _refused(config.tcp, "TCP", error) from error
            stack.callback(server.close)
            tcp = server.sockets[0].getsockname()[1]
        return udp, tcp

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host = str(writer.get_extra_info("peername")[0])
        if self._connections >= CONNECTIONS_MAX:
            self._desk.refuse(host, f"{CONNECTIONS_MAX} connections are open already")
            writer.close()
            return
        self._connections += 1
        try:
            await self._read(reader, host)
        except RemoteProtocolError as error:
            self._desk.refuse(host, error)
        except OSError:
            pass  # it went away; what was whole has been taken
        finally:
            self._connections -= 1
            writer.close()

    async def _read(self, reader: asyncio.StreamReader, host: str) -> None:
        wrapper = WrapperReader()
        while True:
            async with asyncio.timeout(IDLE_S_MAX):  # its TimeoutError is an OSError
                data = await reader.read(READ_OCTETS)
            if not data:
                return
            wrapper.receive_data(data)
            while isinstance(wrapped := wrapper.next_wrapped(), Wrapped):
                self._desk.take_wrapped(wrapped, host)


class _Datagrams(asyncio.DatagramProtocol):
    """Each datagram is one wrapped APDU."""

    def __init__(self, desk: PushDesk) -> None:
        self._desk = desk

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        host = str(addr[0])
        reader = WrapperReader()
        reader.receive_data(data)
        try:
            wrapped = reader.next_wrapped()
        except RemoteProtocolError as error:
            self._desk.refuse(host, error)
            return
        if isinstance(wrapped, Wrapped):
            self._desk.take_wrapped(wrapped, host)
        else:
            self._desk.refuse(host, f"a datagram of {len(data)} octets is no whole message")


def _refused(place: TcpPlace, kind: str, error: OSError) -> UnavailableError:
    return UnavailableError(
        f"push: {kind} port {place.host}:{place.port} can't be opened: {error.strerror or error}; "
        "does the host have that address, is the port free?"
    )
