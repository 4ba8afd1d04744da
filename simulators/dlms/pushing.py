"""What simulated meters say unasked: pushes to a destination, events to clients that are associated."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Protocol

from protocols.dlms.mbus import encode_push
from protocols.dlms.wrapper import Wrapped
from protocols.errors import UsageError
from simulators.dlms.hdlc_line import HdlcMeters
from simulators.dlms.meter import DlmsMeter

PUSH_WPORT = 103  # IEC 62056-5-3 reserves it: the client that takes pushes at the consumer's interface
PUSH_S_MIN = 1.0
TELL_EVERY_S = 0.5  # how long an event waits for a client that asks for nothing
_LINE = ("line", "mbus")  # destinations on the meters' own serial line


class Teller(Protocol):
    """What serves meters, and can let them say something unasked."""

    def tell(self) -> None:
        """Let each meter tell its associated clients of events."""


class Pusher:
    """Sends the meters' pushes: wrapped over TCP or UDP, in M-Bus frames over TCP, or either way on their line."""

    def __init__(
        self,
        destination: str,
        meters: list[DlmsMeter],
        now_ms: Callable[[], int],
        line: HdlcMeters | None,
        *,
        ciphered: bool,
    ) -> None:
        self._is_udp, self._is_mbus = destination.startswith("udp:"), destination.startswith("mbus")
        host, _, port = destination.removeprefix("udp:").removeprefix("mbus:").rpartition(":")
        known = host and port.isascii() and port.isdigit() and int(port) <= 0xFFFF
        if (destination not in _LINE or line is None) and not known:
            raise UsageError(
                f"--push {destination}: expected HOST:PORT, udp:HOST:PORT or mbus:HOST:PORT; "
                "with --port-link also 'line' (HDLC) and 'mbus'"
            )
        self._host, self._port = host, int(port) if known else 0
        self._line = line if destination in _LINE else None
        self._meters, self._now_ms, self._ciphered = meters, now_ms, ciphered
        self._tasks = Tasks()
        for each in meters:
            each.objects.state.pushed = partial(self.push, each)

    def start(self, every_s: float) -> None:
        """Push all meters every so many seconds; 0: only when asked to."""
        if every_s and every_s < PUSH_S_MIN:
            raise UsageError(f"--push-every {every_s}: expected at least {PUSH_S_MIN:g} s")
        if every_s:
            self._tasks.run(self._push_all(every_s))

    async def close(self) -> None:
        """End what is under way."""
        await self._tasks.close()

    def push(self, meter: DlmsMeter, at_ms: int) -> None:
        """Send a meter's push now."""
        apdu = meter.notification(at_ms, ciphered=self._ciphered)
        if self._line is None:
            octets = encode_push(apdu) if self._is_mbus else Wrapped(meter.meter.address, PUSH_WPORT, apdu).encode()
            self._tasks.run(self._send(octets))
        elif self._is_mbus:
            self._line.send(encode_push(apdu))
        else:
            settings = meter.meter.model.dlms
            assert settings is not None
            self._line.push(meter.meter.address, settings.client_sap, apdu)

    async def _push_all(self, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            for each in self._meters:
                self.push(each, self._now_ms())

    async def _send(self, octets: bytes) -> None:
        with contextlib.suppress(OSError):  # Nobody listens: a push is not repeated.
            if self._is_udp:
                there = (self._host, self._port)
                loop = asyncio.get_running_loop()
                transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=there)
                transport.sendto(octets)
                transport.close()
                return
            _, writer = await asyncio.open_connection(self._host, self._port)
            writer.write(octets)
            await writer.drain()
            writer.close()
            await writer.wait_closed()


class Tasks:
    """Tasks that run until they end or are closed."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def run(self, work: Coroutine[object, None, None]) -> None:
        """Begin one."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def tell_events(teller: Teller) -> None:
    """Let meters tell clients that ask for nothing of events, for ever."""
    while True:
        await asyncio.sleep(TELL_EVERY_S)
        teller.tell()
