"""A bad line on a pseudo-terminal, as a process: ``python -m tests.peers.faulty_line SEED LATE_MS``.

It prints the port, and ends when its input does. A meter answers each question once, in the question's own time.
"""

import asyncio
import contextlib
import os
import sys
import tty
from random import Random

from tests.peers.line_faults import deliveries

REQUEST_OCTETS = 8


async def serve(rng: Random, late_s: float) -> None:
    loop = asyncio.get_running_loop()
    master, slave = os.openpty()
    tty.setraw(slave)
    os.set_blocking(master, False)
    print(os.ttyname(slave), flush=True)
    received = bytearray()
    ended = asyncio.Event()

    def send(octets: bytes) -> None:
        with contextlib.suppress(BlockingIOError):  # nobody reads
            os.write(master, octets)

    def listen() -> None:
        received.extend(os.read(master, 4096))
        while len(received) >= REQUEST_OCTETS:
            question = bytes(received[:REQUEST_OCTETS])
            del received[:REQUEST_OCTETS]
            for delay_s, octets in deliveries(question, rng, late_s):
                loop.call_later(delay_s, send, octets) if delay_s else send(octets)

    loop.add_reader(master, listen)
    loop.add_reader(sys.stdin.fileno(), ended.set)
    await ended.wait()


if __name__ == "__main__":
    asyncio.run(serve(Random(sys.argv[1]), float(sys.argv[2]) / 1000))
