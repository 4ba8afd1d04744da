"""A UDP port of a meter that looks like a line: each wrapped APDU is a datagram of its own (IEC 62056-47).

Nothing delivers datagrams twice or in order: what was lost shows as silence, which the caller hears as on any line.
"""

import asyncio
from collections import deque

from edge_agent.failures import LineLostError, NoReplyError
from protocols.dlms.wrapper import HEADER_OCTETS, Wrapped, WrapperReader
from protocols.errors import RemoteProtocolError

DATAGRAMS_MAX = 256  # unread ones; a window of general blocks is 63 at most


class UdpLine(asyncio.DatagramProtocol):
    """An open port that hears one peer only. Belongs to one task."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._datagrams: deque[bytes] = deque(maxlen=DATAGRAMS_MAX)
        self._came = asyncio.Event()
        self._lost: OSError | None = None
        self._transport: asyncio.DatagramTransport

    @classmethod
    async def open(cls, host: str, port: int) -> "UdpLine":
        """Open a port towards ``host``; raise :class:`LineLostError` if that fails."""
        loop = asyncio.get_running_loop()
        line = cls(f"{host}:{port}")
        try:
            line._transport, _ = await loop.create_datagram_endpoint(lambda: line, remote_addr=(host, port))
        except OSError as error:
            raise LineLostError(f"{line._place}: no way there: {error}") from error
        return line

    def datagram_received(self, data: bytes, addr: object) -> None:  # noqa: ARG002  asyncio's own names
        """Keep a datagram."""
        self._datagrams.append(data)
        self._came.set()

    def error_received(self, exc: Exception) -> None:
        """Hear that the peer's host refuses, or that a datagram is too long."""
        self._lost = exc if isinstance(exc, OSError) else OSError(str(exc))
        self._came.set()

    async def write(self, data: bytes) -> None:
        """Send ``data``, each wrapped APDU in it as a datagram."""
        reader = WrapperReader()
        reader.receive_data(data)
        while isinstance(wrapped := reader.next_wrapped(), Wrapped):
            self._transport.sendto(wrapped.encode())
        self._raise_if_lost()

    async def read(self, deadline: float) -> bytes:
        """Return the next datagram.

        Raises
        ------
        NoReplyError
            If none came until the loop's time ``deadline``.
        LineLostError
            If the peer's host says that nobody listens there.
        RemoteProtocolError
            If it does not hold whole wrapped APDUs: one by the standard, several from some meters.
        """
        while not self._datagrams:
            self._raise_if_lost()
            self._came.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._came.wait()
            except TimeoutError as error:
                raise NoReplyError("no reply") from error
        data = self._datagrams.popleft()
        if not _holds_whole_apdus(data):
            found = f"{len(data)} octets that begin {data[:HEADER_OCTETS].hex()}"
            raise RemoteProtocolError(f"{self._place}: found a datagram of {found}, expected whole wrapped APDUs")
        return data

    def character_s(self) -> float:
        """Return how long one octet takes: nothing to reckon with."""
        return 0.0

    def close(self) -> None:
        """Close the port."""
        self._transport.close()

    def _raise_if_lost(self) -> None:
        if self._lost is not None:
            lost, self._lost = self._lost, None
            raise LineLostError(f"{self._place}: nobody takes datagrams there: {lost}") from lost


def _holds_whole_apdus(data: bytes) -> bool:
    at = 0
    while at < len(data):
        at += HEADER_OCTETS + int.from_bytes(data[at + 6 : at + 8], "big")
    return bool(data) and at == len(data)
