"""A Modbus line as a process of its own: octets take their time, and it measures the master by its own clock.

``python -m tests.bench._paced_line BAUD BITS TURNAROUND_US`` prints the port, answers every question with registers
that hold their own addresses, and when its input ends prints what it has seen: for each question the silence before it
since the last octet of the answer before, the time since the question before, when it was heard, and by how much this
process had handed over that last octet too late.

The octets of a question are on the line from the moment they are written; each octet of an answer is handed over when
its last bit would have come, and waking up late only makes that later. A wire is never late: what this process is,
it measures itself, so that it need not be laid to the master.
"""

import json
import os
import select
import sys
import time
import tty

from protocols.modbus.crc import crc16

REQUEST_OCTETS = 8


class PacedLine:
    """The meters' end of a pseudo-terminal."""

    def __init__(self, baud: int, bits: int, turnaround_us: float) -> None:
        self._character_s = bits / baud
        self._silence_s = 0.001_75 if baud > 19_200 else 3.5 * self._character_s
        self._turnaround_s = turnaround_us / 1e6
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.port = os.ttyname(self._slave)
        self.silences_us: list[float] = []
        self.periods_us: list[float] = []
        self.lateness_us: list[float] = []
        self.heard_at: list[float] = []

    def serve(self, stop: int) -> None:
        """Answer until ``stop``, a descriptor, ends."""
        answered_at = asked_at = due_at = 0.0
        while (frame := self._hear(stop)) is not None:
            now = self._heard_at
            if answered_at:
                self.silences_us.append(1e6 * (now - answered_at))
                self.periods_us.append(1e6 * (now - asked_at))
                self.lateness_us.append(1e6 * (answered_at - due_at))
            asked_at = now
            self.heard_at.append(time.time() - (time.monotonic() - now))
            begins_at = now + REQUEST_OCTETS * self._character_s + self._silence_s + self._turnaround_s
            answer = self._answer(frame)
            due_at = begins_at + len(answer) * self._character_s
            answered_at = self._say(answer, begins_at)

    def _hear(self, stop: int) -> bytes | None:
        frame = b""
        while len(frame) < REQUEST_OCTETS:
            ready, _, _ = select.select([self._master, stop], [], [])
            if self._master in ready:
                frame += os.read(self._master, REQUEST_OCTETS - len(frame))
                self._heard_at = time.monotonic()
            elif stop in ready:
                return None
        return frame

    @staticmethod
    def _answer(frame: bytes) -> bytes:
        address, count = int.from_bytes(frame[2:4], "big"), int.from_bytes(frame[4:6], "big")
        data = b"".join((each & 0xFFFF).to_bytes(2, "big") for each in range(address, address + count))
        body = frame[:2] + bytes((len(data),)) + data
        return body + crc16(body)

    def _say(self, answer: bytes, begins_at: float) -> float:
        done = 0
        while done < len(answer):
            time.sleep(max(0.0, begins_at + (done + 1) * self._character_s - time.monotonic()))
            now = time.monotonic()
            due = min(len(answer), int((now - begins_at) / self._character_s))
            if due > done:
                os.write(self._master, answer[done:due])
                done = due
        return now


def hurry() -> bool:
    """Take precedence over what else runs here, where that is allowed, and say whether it is. Timers get exact, too."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except OSError:
        return False
    return True


def main() -> None:
    hurry()
    line = PacedLine(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
    print(line.port, flush=True)
    line.serve(sys.stdin.fileno())
    seen = {"silences_us": line.silences_us, "periods_us": line.periods_us, "lateness_us": line.lateness_us}
    print(json.dumps(seen | {"heard_at": line.heard_at}), flush=True)


if __name__ == "__main__":
    main()
