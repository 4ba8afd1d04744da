"""A TCP connection that looks like a serial line: octets out, octets in until a deadline."""

import asyncio

from edge_agent.failures import LineLostError, NoReplyError

READ_OCTETS = 1 << 16


class TcpLine:
    """An open connection. Belongs to one task."""

    def __init__(self, host: str, port: int, timeout_s: float) -> None:
        self._host, self._port, self._timeout_s = host, port, timeout_s
        self._place = f"{host}:{port}"
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    @classmethod
    async def open(cls, host: str, port: int, timeout_s: float) -> "TcpLine":
        """Connect; raise :class:`LineLostError` if that fails."""
        line = cls(host, port, timeout_s)
        await line._connect()
        return line

    async def _connect(self) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        except OSError as error:  # asyncio's TimeoutError is one
            raise LineLostError(f"{self._place}: no connection: {error or 'no answer'}") from error

    async def recover(self) -> None:
        """Connect anew: the wrapper does not number its messages, so a late answer must die with its connection."""
        self.close()
        await self._connect()

    async def write(self, data: bytes) -> None:
        """Send ``data``."""
        try:
            self._writer.write(data)
            await self._writer.drain()
        except OSError as error:
            raise LineLostError(f"{self._place}: lost while sending: {error}") from error

    async def read(self, deadline: float) -> bytes:
        """Return what has come; raise as :meth:`edge_agent.serial_line.SerialLine.read` does."""
        try:
            async with asyncio.timeout_at(deadline):
                data = await self._reader.read(READ_OCTETS)
        except TimeoutError as error:
            raise NoReplyError("no reply") from error
        except OSError as error:
            raise LineLostError(f"{self._place}: lost: {error}") from error
        if not data:
            raise LineLostError(f"{self._place}: closed by the other side")
        return data

    def character_s(self) -> float:
        """Return how long one octet takes: nothing to reckon with."""
        return 0.0

    def close(self) -> None:
        """Close the connection."""
        self._writer.close()
