"""Modbus RTU meters on one serial line.

A slave finds the end of a request by its length, which follows from the function code, and falls back to the silence
that ends every frame. After octets that make no sense it listens on until the line is silent. A request for another
unit, with a wrong check or in a meter's silent hours gets no answer at all.

Source: Modbus over Serial Line, Specification and Implementation Guide V1.02, section 2.5.1.
"""

import asyncio
from collections.abc import Callable, Iterable
from random import Random

from protocols.errors import UsageError
from protocols.modbus.crc import crc16
from simulators.faults import NO_FAULTS, FaultPlan, disturb
from simulators.modbus.slave import ModbusSlave
from simulators.serial_line import SerialLine

FRAME_OCTETS_MAX = 256  # section 2.5.1.1
SILENCE_S_MIN = 0.05  # a terminal hands octets over in lumps; shorter gaps than this can be the scheduler's
UNITS = range(1, 248)  # section 2.2
_FIXED = {1: 8, 2: 8, 3: 8, 4: 8, 5: 8, 6: 8, 7: 4, 8: 8, 11: 4, 12: 4, 17: 4, 22: 10}
_COUNTED = {15: 6, 16: 6, 23: 10}  # where the number of octets that follow stands


def request_length(frame: bytes | bytearray) -> int | None:
    """Return how long the request that begins with ``frame`` is; None while unknown or only told by silence."""
    if len(frame) < 2:
        return None
    if frame[1] in _FIXED:
        return _FIXED[frame[1]]
    place = _COUNTED.get(frame[1])
    if place is None or len(frame) <= place:
        return None
    return place + 1 + frame[place] + 2


class RtuSlaves:
    """The meters of one line. They answer by the clock ``now_ms``."""

    def __init__(
        self,
        line: SerialLine,
        slaves: Iterable[ModbusSlave],
        now_ms: Callable[[], int],
        *,
        turnaround_s: float = 0.0,
        faults: FaultPlan = NO_FAULTS,
        rng: Random | None = None,
    ) -> None:
        self._line = line
        self._slaves: dict[int, ModbusSlave] = {}
        for slave in slaves:
            address = slave.meter.address
            if address not in UNITS:
                raise UsageError(f"meter {slave.meter.name}: unit {address}; a serial Modbus unit is 1 to 247")
            if self._slaves.setdefault(address, slave) is not slave:
                raise UsageError(f"meter {slave.meter.name}: unit {address} is taken on this line")
        self._now_ms = now_ms
        self._pause_s = max(turnaround_s, line.settings.silence_s) if line.settings.paced else turnaround_s
        self._faults = faults
        self._rng = rng or Random(0)
        self._frame = bytearray()
        self._silence: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        line.listen(self._receive)

    def _receive(self, data: bytes) -> None:
        self._frame += data
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None
        if request_length(self._frame) == len(self._frame):
            self._take(bytes(self._frame))
            self._frame.clear()
            return
        del self._frame[FRAME_OCTETS_MAX + 1 :]  # too long to be a frame: stays so until the line is silent
        self._silence = self._loop.call_later(max(self._line.settings.silence_s, SILENCE_S_MIN), self._end_frame)

    def _end_frame(self) -> None:
        self._silence = None
        frame = bytes(self._frame)
        self._frame.clear()
        if 4 <= len(frame) <= FRAME_OCTETS_MAX:
            self._take(frame)

    def _take(self, frame: bytes) -> None:
        slave = self._slaves.get(frame[0])
        if slave is None or frame[-2:] != crc16(frame[:-2]):
            return
        at_ms = self._now_ms()
        if slave.meter.is_silent(at_ms):
            return
        reply = frame[:1] + slave.answer(frame[1:-2], at_ms)
        reply += crc16(reply)
        chunks = [reply] if self._faults is NO_FAULTS else disturb(reply, self._faults, self._rng)
        self._line.send(*chunks, pause_s=self._pause_s, between_s=self._faults.pause_ms / 1000)
