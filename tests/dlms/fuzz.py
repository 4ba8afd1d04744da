"""Arbitrary octets into everything that takes octets: ``python -m tests.dlms.fuzz --seconds 60 --seed 1``.

Each input must give a value, an event or RemoteProtocolError, within :data:`INPUT_S_MAX`. The same seed makes the same
inputs in the same order, whatever the machine. What is found is printed as hex.
"""

import argparse
import os
import resource
import sys
import time
from collections.abc import Callable
from random import Random

from protocols.dlms import axdr, profile
from protocols.dlms.apdu import decode_apdu
from protocols.dlms.association import ClientState, Policy
from protocols.dlms.ciphering import decode_ciphered
from protocols.dlms.client import DlmsClient
from protocols.dlms.explain import explain_apdu
from protocols.dlms.hdlc.secondary import HdlcServerParameters
from protocols.dlms.link import NEED_DATA
from protocols.dlms.mbus import MbusReader
from protocols.dlms.push import PushLink, PushReceiver
from protocols.dlms.quirks import Quirks
from protocols.dlms.server import DlmsServer
from protocols.dlms.services import Get
from protocols.dlms.translate import guess_layer, translate
from protocols.dlms.wrapper import Wrapped, WrapperReader, WrapperServerParameters
from protocols.errors import RemoteProtocolError
from tests.dlms.line import Line, connected, hdlc_line, tcp_line
from tests.dlms.mutation import corpus, mutate
from tests.dlms.test_pair import IMPORT, shelf

INPUT_S_MAX = 2.0  # a shared core may be away for a while; a decoder that blows up takes minutes
LOT = 2_000
SILENT_EVERY = 16  # inputs after which the client on the line hears nothing: it polls, and at last gives up
EVENTS_MAX = 1_000
TOLERANT = Quirks(
    user_information_length_off_by_one=True,
    trailing_octets=True,
    any_context_in_aare=True,
    swapped_tag_and_length=True,
    untyped_descriptors=True,
)


def drain(next_event: Callable[[], object]) -> None:
    """Take events until nothing is left; each error drops octets, so this ends."""
    for _ in range(EVENTS_MAX):
        try:
            if next_event() is NEED_DATA:
                return
        except RemoteProtocolError:
            continue
    raise AssertionError("events without end")


def _value(octets: bytes) -> None:
    value = axdr.decode(octets)
    assert axdr.decode(axdr.encode(value)) == value


def _apdu(octets: bytes) -> None:
    explain_apdu(decode_apdu(octets))


def _tolerant(octets: bytes) -> None:
    explain_apdu(decode_apdu(octets, TOLERANT))


def _translated(octets: bytes) -> None:
    translate(octets, guess_layer(octets))


def _push(link: PushLink) -> Callable[[bytes], None]:
    def feed(octets: bytes) -> None:
        receiver = PushReceiver(link, quirks=TOLERANT)
        receiver.receive_data(octets)
        drain(receiver.next_event)

    return feed


def _mbus(octets: bytes) -> None:
    reader = MbusReader()
    reader.receive_data(octets)
    drain(reader.next_frame)


def _wrapped(octets: bytes) -> None:
    reader = WrapperReader()
    reader.receive_data(octets)
    drain(reader.next_wrapped)


class Sessions:
    """A client and meters that stay associated while anything is put before them."""

    def __init__(self) -> None:
        self._fed = 0
        self.lines: dict[str, Line] = {"tcp": connected(tcp_line(shelf())), "hdlc": connected(hdlc_line(shelf()))}

    def client(self, octets: bytes) -> None:
        """An answer that is anything."""
        line = self.lines["tcp"]
        client: DlmsClient = line.client
        if client.state is not ClientState.ASSOCIATED:
            line = self.lines["tcp"] = connected(tcp_line(shelf()))
            client = line.client
        client.send(Get(IMPORT))
        client.receive_data(Wrapped(1, 1, octets).encode())
        drain(client.next_event)
        client.data_to_send()

    def hdlc_client(self, octets: bytes) -> None:
        """Frames that are anything."""
        line = self.lines["hdlc"]
        if line.client.state is ClientState.ASSOCIATED:
            line.client.send(Get(IMPORT))
        elif line.client.state is not ClientState.AWAITING_REPLY:
            line = self.lines["hdlc"] = connected(hdlc_line(shelf()))
        line.client.receive_data(octets)
        drain(line.client.next_event)
        line.client.data_to_send()
        self._fed += 1
        if not self._fed % SILENT_EVERY:
            line.client.receive_silence()
            drain(line.client.next_event)

    def server(self, octets: bytes) -> None:
        """A request that is anything."""
        server = DlmsServer(WrapperServerParameters(), {1: Policy()}, shelf())
        server.receive_data(Wrapped(1, 1, octets).encode())
        drain(server.next_event)
        server.data_to_send()

    def hdlc_server(self, octets: bytes) -> None:
        """A line that is anything."""
        server = DlmsServer(HdlcServerParameters(1, 17), {1: Policy(), 16: Policy()}, shelf())
        server.receive_data(octets)
        drain(server.next_event)
        server.data_to_send()


def targets() -> list[tuple[str, Callable[[bytes], object]]]:
    """Return what is fed, in turn."""
    sessions = Sessions()
    return [
        ("apdu", _apdu),
        ("value", _value),
        ("tolerant", _tolerant),
        ("profile", profile.decode_buffer),
        ("ciphered", decode_ciphered),
        ("push hdlc", _push(PushLink.HDLC)),
        ("push wrapper", _push(PushLink.WRAPPER)),
        ("mbus", _mbus),
        ("wrapper", _wrapped),
        ("client", sessions.client),
        ("hdlc client", sessions.hdlc_client),
        ("server", sessions.server),
        ("hdlc server", sessions.hdlc_server),
        ("translate", _translated),
    ]


def run(seconds: float, seed: int, inputs_max: int, show: Callable[[str], None]) -> tuple[int, str | None]:
    """Feed inputs until time or number is up; return how many, and what was found."""
    seeds, fed = corpus(), 0
    feeds = targets()
    began = time.monotonic()
    while fed < inputs_max and time.monotonic() - began < seconds:
        rng = Random(f"{seed}/{fed // LOT}")
        for _ in range(min(LOT, inputs_max - fed)):
            octets = mutate(rng, seeds)
            name, feed = feeds[fed % len(feeds)]
            started = time.perf_counter()
            try:
                feed(octets)
            except RemoteProtocolError:
                pass
            except Exception as error:
                return fed, f"input {fed}, {name}: {type(error).__name__}: {error}: {octets.hex()}"
            if time.perf_counter() - started > INPUT_S_MAX:
                return fed, f"input {fed}, {name}: took {time.perf_counter() - started:.1f} s: {octets.hex()}"
            fed += 1
        elapsed = time.monotonic() - began
        show(f"{fed:,} inputs, {fed / max(elapsed, 0.001):,.0f} a second")
    return fed, None


def main(words: list[str]) -> int:
    """Run the campaign; 1 when something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.dlms.fuzz", description=__doc__)
    seconds, seed = os.environ.get("SECONDS", "60"), os.environ.get("SEED", "1")  # what make fuzz says
    parser.add_argument("--seconds", type=float, default=seconds, help="at most so long; default 60")
    parser.add_argument("--seed", type=int, default=seed)
    parser.add_argument("--inputs", type=int, default=1 << 60, help="at most so many")
    arguments = parser.parse_args(words)

    def show(text: str) -> None:
        if sys.stderr.isatty():
            print(f"\r{text}   ", end="", file=sys.stderr, flush=True)

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.monotonic()
    fed, found = run(arguments.seconds, arguments.seed, arguments.inputs, show)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(f"seed {arguments.seed}: {fed:,} inputs in {time.monotonic() - began:.0f} s, memory grew by {grown:,} kB")
    if found:
        print(f"FOUND {found}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
