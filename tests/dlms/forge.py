"""Forged and altered ciphered APDUs against both ends: ``python -m tests.dlms.forge --count 1000000 --seed 1``.

Half are put before the client as answers, half before the meter as requests: true ones with bits flipped, cut, with
another counter, control byte, title or tag, answers of other associations, and octets of chance in a ciphered frame.
None may be accepted; in between and at the end the association must still carry values.
"""

import argparse
import sys
import time
from random import Random

from protocols.dlms.ciphering import CipheredApdu, Keys, SecurityControl, protect
from protocols.dlms.data import double_long_unsigned
from protocols.dlms.link import NEED_DATA
from protocols.dlms.services import Get, GetResult, Set, SetDone
from protocols.dlms.wrapper import Wrapped
from protocols.errors import RemoteProtocolError
from tests.dlms.line import Line, connected
from tests.dlms.test_pair import IMPORT, SERIAL
from tests.dlms.test_security import CLIENT_TITLE, SERVER_TITLE, ciphered_line

ANSWER = bytes.fromhex("c401c1000600000bad")
REQUEST = Set(SERIAL, double_long_unsigned(0xBAD))
FORGERS_KEYS = Keys(bytes(range(1, 17)), bytes(range(101, 117)))
TAGS = (0xCC, 0xC8, 0xC9, 0xDB, 0xD4, 0xCD)
CONTROLS = (0x30, 0x20, 0x10, 0x00, 0x31, 0x32, 0x70, 0xB0)
TRUE_VALUE = double_long_unsigned(1234567)


def forge(rng: Random, true: bytes, title: bytes) -> bytes:
    """Return what somebody without the keys could send who has seen ``true``."""
    how = rng.randrange(7)
    data = bytearray(true)
    if how < 3:
        for _ in range(1 + rng.getrandbits(2)):
            data[rng.randrange(len(data))] ^= 1 << rng.getrandbits(3)
    elif how == 3:
        cut = rng.randrange(1, len(data) - 2)
        data = data[: len(data) - cut]
        data[1] = max(0, len(data) - 2) & 0x7F
    elif how == 4:
        data[2 if true[0] != 0xDB else 11] = CONTROLS[rng.randrange(len(CONTROLS))]
        data[-1 - rng.randrange(4)] ^= 1 + rng.getrandbits(7)
    elif how == 5:
        control = SecurityControl()
        plain = ANSWER if rng.getrandbits(1) else rng.randbytes(rng.getrandbits(5))
        counter = rng.getrandbits(32)
        payload = protect(FORGERS_KEYS, title, control, counter, plain)
        named = title if rng.getrandbits(1) else rng.randbytes(8)
        tag = TAGS[rng.randrange(len(TAGS))]
        return CipheredApdu(tag, control, counter, payload, named if tag == 0xDB else None).encode()
    else:
        body = rng.randbytes(5 + rng.getrandbits(5))
        return bytes((TAGS[rng.randrange(len(TAGS))], len(body))) + body
    return bytes(data) if bytes(data) != true else forge(rng, true, title)


class Siege:
    """An association under attack from both sides."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.line: Line = connected(ciphered_line())
        self.accepted: list[bytes] = []
        self.refused = 0

    def client_once(self) -> None:
        """Ask, put a forged answer before the client, then the true one."""
        line = self.line
        line.server.receive_data(line.client.send(Get(IMPORT)))
        while line.server.next_event() is not NEED_DATA:
            pass
        answer = line.server.data_to_send()[8:]
        for _ in range(20):
            forged = forge(self.rng, answer, SERVER_TITLE)
            line.client.receive_data(Wrapped(1, 1, forged).encode())
            self._take(forged)
        line.client.receive_data(Wrapped(1, 1, answer).encode())
        assert line.client.next_event() == GetResult(IMPORT, TRUE_VALUE)

    def _take(self, forged: bytes) -> None:
        try:
            event = self.line.client.next_event()
        except RemoteProtocolError:
            self.refused += 1
            return
        if event is not NEED_DATA:
            self.accepted.append(forged)

    def server_once(self) -> None:
        """Keep a true request back, put forged ones before the meter, then the true one."""
        line = self.line
        request = line.client.send(REQUEST)[8:]
        for _ in range(20):
            forged = forge(self.rng, request, CLIENT_TITLE)
            line.server.receive_data(Wrapped(1, 1, forged).encode())
            try:
                event = line.server.next_event()
                if event is not NEED_DATA:
                    self.accepted.append(forged)
            except RemoteProtocolError:
                self.refused += 1
            line.server.data_to_send()
        line.server.receive_data(Wrapped(1, 1, request).encode())
        while line.server.next_event() is not NEED_DATA:
            pass
        line.client.receive_data(line.server.data_to_send())
        assert line.client.next_event() == SetDone(SERIAL)


def run(count: int, seed: int, seconds: float = 1e9) -> Siege:
    """Carry out the campaign; AssertionError when the association does not survive."""
    siege, began = Siege(seed), time.monotonic()
    while siege.refused + len(siege.accepted) < count and time.monotonic() - began < seconds:
        siege.client_once()
        siege.server_once()
    assert siege.line.ask(Get(IMPORT)) == [GetResult(IMPORT, TRUE_VALUE)]
    return siege


def main(words: list[str]) -> int:
    """Run the campaign; 1 when a forgery was accepted."""
    parser = argparse.ArgumentParser(prog="python -m tests.dlms.forge", description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args(words)
    began = time.monotonic()
    siege = run(arguments.count, arguments.seed)
    took = time.monotonic() - began
    print(
        f"seed {arguments.seed}: {siege.refused:,} forged APDUs refused, {len(siege.accepted)} accepted, {took:.0f} s"
    )
    for forged in siege.accepted[:10]:
        print(f"ACCEPTED {forged.hex()}")
    return 1 if siege.accepted else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
