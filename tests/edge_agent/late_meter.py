"""A Modbus meter on a pseudo-terminal that answers some questions late. Each register holds its own address."""

import asyncio
import os
import tty
from random import Random

from protocols.modbus.messages import Function, ReadRegisters, RegistersReply
from protocols.modbus.rtu import REQUEST_OCTETS, encode_reply


def registers_from(address: int, count: int) -> bytes:
    """Return what a right answer holds."""
    return b"".join(each.to_bytes(2, "big") for each in range(address, address + count))


class LateMeter:
    """Answers at once, or in one of ``late_in`` cases after up to ``late_s``; each answer once, in its own time."""

    def __init__(self, rng: Random, late_in: int, late_s: float) -> None:
        self._rng, self._late_in, self._late_s = rng, late_in, late_s
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.port = os.ttyname(self._slave)
        self._loop = asyncio.get_running_loop()
        self._received = b""
        self._loop.add_reader(self._master, self._on_readable)
        self.late = 0

    def _on_readable(self) -> None:
        self._received += os.read(self._master, 4096)
        while len(self._received) >= REQUEST_OCTETS:
            frame, self._received = self._received[:REQUEST_OCTETS], self._received[REQUEST_OCTETS:]
            address, count = int.from_bytes(frame[2:4], "big"), int.from_bytes(frame[4:6], "big")
            request = ReadRegisters(frame[0], Function(frame[1]), address, count)
            answer = encode_reply(RegistersReply(request, registers_from(address, count)))
            if self._rng.randrange(self._late_in) == 0:
                self.late += 1
                self._loop.call_later(self._rng.uniform(0, self._late_s), self._send, answer)
            else:
                self._send(answer)

    def _send(self, answer: bytes) -> None:
        if self._master >= 0:
            os.write(self._master, answer)

    def close(self) -> None:
        self._loop.remove_reader(self._master)
        os.close(self._master)
        os.close(self._slave)
        self._master = -1
