"""How often masters take another question's answer for theirs, on the bad line of :mod:`tests.peers.line_faults`.

Ours runs in virtual time (:mod:`tests.peers.virtual_line`) and on the same pseudo-terminal as the others: pymodbus of
this project's own environment, minimalmodbus in one of its own, libmodbus where the host has it.
"""

import asyncio
import ctypes.util
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from edge_agent.failures import NoReplyError
from edge_agent.modbus_rtu import RtuLink
from edge_agent.serial_line import LineSettings, SerialLine
from protocols.errors import RemoteProtocolError
from protocols.modbus.messages import ExceptionReply, Function, ReadRegisters, RegistersReply
from tests.peers.environment import driver, environment
from tests.peers.line_faults import LATE_TIMES, QUESTIONS, registers_from
from tests.peers.virtual_line import Tally

TIMEOUT_S = 0.02
LATE_S = LATE_TIMES * TIMEOUT_S
SEED = 20261124
PEER_S_MAX = 300


@contextmanager
def bad_line() -> Iterator[str]:
    """Yield the port of a bad line in a process of its own."""
    command = [sys.executable, "-m", "tests.peers.faulty_line", str(SEED), str(1000 * LATE_S)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()
            process.wait(PEER_S_MAX)


def peers() -> dict[str, tuple[Path, list[str]]]:
    """Return the peers of this host: their interpreter, and further arguments of their driver."""
    found = {
        "pymodbus": (Path(sys.executable), []),
        "minimalmodbus": (environment("minimalmodbus") / "python", []),
    }
    library = ctypes.util.find_library("modbus")
    if library is not None:
        found["libmodbus"] = (Path(sys.executable), [library])
    return found


def tally_of(peer: str, questions: int) -> Tally:
    """Let a peer ask so many questions on a bad line."""
    python, further = peers()[peer]
    with bad_line() as port:
        words = [port, str(questions), str(TIMEOUT_S), str(SEED), json.dumps(QUESTIONS), *further]
        command = [str(python), "-c", driver(f"{peer}_misread"), *words]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=PEER_S_MAX)
    return Tally(**json.loads(done.stdout))


def tally_of_ours(questions: int) -> Tally:
    """Let the agent's line master ask so many questions on a bad line."""
    with bad_line() as port:
        return asyncio.run(_ask(port, questions))


async def _ask(port: str, questions: int) -> Tally:
    rng, tally = Random(SEED), Tally()
    link = RtuLink(SerialLine(LineSettings(port, 115_200, "N", 1)), TIMEOUT_S, late_answer_s=2 * LATE_S)
    for _ in range(questions):
        address, length = rng.choice(QUESTIONS)
        try:
            reply = await link.exchange(ReadRegisters(1, Function.READ_INPUT, address, length))
        except (NoReplyError, RemoteProtocolError):
            tally.absent += 1
            continue
        if isinstance(reply, ExceptionReply):  # as with the others, a refusal is no value
            tally.absent += 1
            continue
        good = isinstance(reply, RegistersReply) and reply.data == registers_from(address, length)
        tally.right += good
        tally.wrong += not good
    link.close()
    return tally
