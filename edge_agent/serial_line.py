"""A serial line: pyserial sets it up, then the raw descriptor is read and written under asyncio.

A pseudo-terminal of a simulator works the same. Octets that nobody waits for are kept up to a bound and thrown away
by :meth:`SerialLine.discard`, which every question begins with.
"""

import asyncio
import contextlib
import os
import termios
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import serial

from edge_agent.exact_timer import ExactTimer
from edge_agent.failures import LineLostError, NoReplyError

# Linux, Documentation/admin-guide/devices.txt: the slaves of pseudo-terminals. They refuse parity and stop bits.
PSEUDO_TERMINAL_MAJORS = range(136, 144)
READ_OCTETS = 4096
UNREAD_OCTETS_MAX = 1 << 16  # a DLMS window of seven frames of 2,030 octets fits several times


@dataclass(frozen=True, slots=True)
class LineSettings:
    """A port and how it is set. ``paced`` is false only for a simulated line that knows no baud rate."""

    port: str
    baud: int
    parity: str
    stop_bits: int
    paced: bool = True

    @property
    def bits_per_character(self) -> int:
        """Start bit, eight data bits, parity if any, stop bits."""
        return 1 + 8 + (self.parity != "N") + self.stop_bits

    @property
    def character_s(self) -> float:
        """How long one character is on the line."""
        return self.bits_per_character / self.baud if self.paced else 0.0


class SerialLine:
    """An open line. Belongs to one task."""

    def __init__(self, settings: LineSettings, tap: Callable[[bytes], None] | None = None) -> None:
        """Open the port; raise :class:`LineLostError` if that fails. ``tap`` hears all that comes, asked for or not."""
        self.settings = settings
        self._tap = tap
        try:
            self._physical = os.major(Path(settings.port).stat().st_rdev) not in PSEUDO_TERMINAL_MAJORS
            self._port = serial.Serial(
                settings.port,
                settings.baud,
                parity=settings.parity if self._physical else "N",
                stopbits=settings.stop_bits if self._physical else 1,
                timeout=0,
                exclusive=True,
            )
        except (OSError, ValueError, termios.error) as error:  # serial.SerialException is an OSError
            raise LineLostError(f"{settings.port}: can't be opened: {error}") from error
        # FTDI adapters hold replies back for 16 ms unless told not to; most others know no such mode.
        with contextlib.suppress(OSError, ValueError, NotImplementedError):
            self._port.set_low_latency_mode(True)
        self._fd: int = self._port.fileno()
        _wait_for_first_octet(self._fd)
        os.set_blocking(self._fd, False)
        self._loop = asyncio.get_running_loop()
        self._timer = ExactTimer()
        self._received = bytearray()
        self._waiter: asyncio.Future[None] | None = None
        self._lost: LineLostError | None = None
        self.quiet_since = self._loop.time()
        self._loop.add_reader(self._fd, self._take)

    def close(self) -> None:
        """Close the port, if it is open."""
        if self._port.is_open:
            self._loop.remove_reader(self._fd)
            self._timer.close()
            self._port.close()

    async def set(self, settings: LineSettings) -> None:
        """Let out what was sent, then set the port to the speed and parity of ``settings``; the port stays the same.

        LineLostError if the port refuses.
        """
        await self.keep_silence(0.0)
        try:
            if self._physical:
                await asyncio.to_thread(termios.tcdrain, self._fd)
            self._port.baudrate = settings.baud
            if self._physical:
                self._port.parity, self._port.stopbits = settings.parity, settings.stop_bits
            _wait_for_first_octet(self._fd)
        except (OSError, ValueError, termios.error) as error:
            raise LineLostError(f"{self.settings.port}: can't be set to {settings.baud} baud: {error}") from error
        self.settings = replace(settings, port=self.settings.port)

    def discard(self) -> int:
        """Throw away what has come and nobody waited for; return how many octets that were."""
        self._take()
        count = len(self._received)
        self._received.clear()
        return count

    async def write(self, data: bytes) -> None:
        """Send ``data``; return when the system has taken it (it is on the line ``len(data)`` characters later)."""
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._fd, view) :]
            except BlockingIOError:
                await self._writable()
            except OSError as error:
                raise LineLostError(f"{self.settings.port}: lost while sending: {error}") from error
        self.quiet_since = self._loop.time() + len(data) * self.settings.character_s

    async def read(self, deadline: float) -> bytes:
        """Return what has come, waiting until the loop's time ``deadline``.

        Raises
        ------
        NoReplyError
            If nothing came.
        LineLostError
            If the line is gone.
        """
        if not self._received:
            await self._readable(deadline)
        data = bytes(self._received)
        self._received.clear()
        return data

    async def recover(self) -> None:
        """Forget what came before: HDLC and Modbus each see to late answers themselves."""
        self.discard()

    def character_s(self) -> float:
        """Return how long one octet is on the line."""
        return self.settings.character_s

    async def keep_silence(self, silence_s: float) -> None:
        """Wait until nothing has been on the line for ``silence_s``."""
        while True:
            left_s = self.quiet_since + silence_s - self._loop.time()
            if left_s <= 0:
                return
            await self._timer.wait_until(self.quiet_since + silence_s)

    async def _readable(self, deadline: float) -> None:
        if self._lost is not None:
            raise self._lost
        self._waiter = self._loop.create_future()
        timer = self._loop.call_at(deadline, self._wake)
        try:
            await self._waiter
        finally:
            timer.cancel()
            self._waiter = None
        if not self._received:
            raise self._lost or NoReplyError("no reply")

    async def _writable(self) -> None:
        ready = asyncio.Event()
        self._loop.add_writer(self._fd, ready.set)
        try:
            await ready.wait()
        finally:
            self._loop.remove_writer(self._fd)

    def _take(self) -> None:
        try:
            data = os.read(self._fd, READ_OCTETS)
        except BlockingIOError:
            return
        except OSError as error:
            data, reason = b"", str(error)
        else:
            reason = "end of file"
        if not data:
            self._lost = LineLostError(f"{self.settings.port}: lost: {reason}")
            self._loop.remove_reader(self._fd)
        else:
            self.quiet_since = self._loop.time()
            self._received += data
            if self._tap is not None:
                self._tap(data)
            del self._received[:-UNREAD_OCTETS_MAX]
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _wait_for_first_octet(fd: int) -> None:
    """Make an empty line say "would block": pyserial's setting returns nothing, as a line that is gone does."""
    attributes = termios.tcgetattr(fd)
    attributes[6][termios.VMIN] = 1
    attributes[6][termios.VTIME] = 0
    termios.tcsetattr(fd, termios.TCSANOW, attributes)
