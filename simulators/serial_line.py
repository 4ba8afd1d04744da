"""A serial line on a pseudo-terminal: octets take their time, as on RS-485.

The kernel hands octets over at once, whatever the baud rate; here the meter's side makes them take their time. What a
master writes counts as arriving character after character, and what meters send is handed over no sooner than a line of
that rate could. Waking up late only makes it slower. Without pacing everything is immediate.

The slave side stays open here, so that masters may come and go; a link to it has the name that masters use.
"""

import asyncio
import contextlib
import os
import tty
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from protocols.errors import UsageError

READ_OCTETS = 4096
STEP_S_MIN = 0.001  # above 9600 baud several characters are handed over at once, a millisecond's worth


@dataclass(frozen=True, slots=True)
class LineSettings:
    """Rate and form of the characters; ``paced`` false means no time at all."""

    baud: int
    parity: str = "N"
    stop_bits: int = 1
    paced: bool = True

    @property
    def character_s(self) -> float:
        """How long one character takes: start, eight data, parity and stop bits. [s]"""
        return (9 + (self.parity != "N") + self.stop_bits) / self.baud

    @property
    def silence_s(self) -> float:
        """Which silence ends a frame: 3.5 characters, 1.75 ms above 19200 baud (Modbus over Serial Line, 2.5.1.1)."""
        return 0.001_75 if self.baud > 19_200 else 3.5 * self.character_s


class SerialLine:
    """The meters' end of a line. Use inside a running loop; :meth:`close` takes the link away."""

    def __init__(self, link: Path, settings: LineSettings) -> None:
        self.settings = settings
        self._link = link
        self._loop = asyncio.get_running_loop()
        self._receive: Callable[[bytes], None] | None = None
        self._received_at = 0.0  # when the last octet that came would have ended on the wire
        self._sending: asyncio.Task[None] | None = None
        self._master, self._slave = os.openpty()
        try:
            tty.setraw(self._slave)
            os.set_blocking(self._master, False)
            self.port = os.ttyname(self._slave)
            _link_to(self.port, link)
        except BaseException:
            os.close(self._master)
            os.close(self._slave)
            raise
        self._loop.add_reader(self._master, self._on_readable)

    def listen(self, receive: Callable[[bytes], None]) -> None:
        """Hand what comes in to ``receive``."""
        self._receive = receive

    def _on_readable(self) -> None:
        try:
            data = os.read(self._master, READ_OCTETS)
        except BlockingIOError:
            return
        if self.settings.paced:
            now = self._loop.time()
            self._received_at = max(now, self._received_at) + len(data) * self.settings.character_s
        if self._sending is None and self._receive is not None:
            self._receive(data)
        # else: both talk at once; on a wire neither would be understood, and the meters hear nothing.

    def send(self, *chunks: bytes, pause_s: float = 0.0, between_s: float = 0.0) -> None:
        """Send ``chunks`` once the line was silent for ``pause_s`` since the last octet that came in.

        Between chunks the line is silent for ``between_s`` more.
        """
        if not self.settings.paced and not pause_s and len(chunks) == 1:
            self._write(chunks[0])
        elif chunks:
            start = max(self._received_at, self._loop.time()) + pause_s
            self._sending = self._loop.create_task(self._deliver(chunks, start, between_s))

    async def _deliver(self, chunks: Sequence[bytes], start: float, between_s: float) -> None:
        """Write each octet when its last bit would be on the wire, or a little later."""
        character_s = self.settings.character_s if self.settings.paced else 0.0
        try:
            for data in chunks:
                done = 0
                while done < len(data):
                    await asyncio.sleep(max(start + (done + 1) * character_s - self._loop.time(), STEP_S_MIN))
                    elapsed = self._loop.time() - start
                    due = min(len(data), int(elapsed / character_s)) if character_s else len(data)
                    if due > done:
                        self._write(data[done:due])
                        done = due
                start += len(data) * character_s + between_s
        finally:
            self._sending = None

    def _write(self, data: bytes) -> None:
        with contextlib.suppress(BlockingIOError):  # Nobody reads: a line doesn't wait for listeners.
            os.write(self._master, data)

    def close(self) -> None:
        """Stop, close the terminal and remove the link if it is still ours."""
        self._loop.remove_reader(self._master)
        if self._sending is not None:
            self._sending.cancel()
        with contextlib.suppress(OSError):
            if self._link.readlink() == Path(self.port):
                self._link.unlink()
        os.close(self._master)
        os.close(self._slave)


def _link_to(port: str, link: Path) -> None:
    """Make ``link`` lead to ``port`` in one step; a link left by an earlier run is replaced, a file never."""
    if link.exists() and not link.is_symlink():
        raise UsageError(f"{link}: is there and no symbolic link; choose another path for the line")
    link.parent.mkdir(parents=True, exist_ok=True)
    new = link.with_name(f".{link.name}.{os.getpid()}")
    new.unlink(missing_ok=True)
    new.symlink_to(port)
    new.replace(link)
