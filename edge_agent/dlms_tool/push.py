"""``congto dlms push``: listen to what meters send unasked, on a serial line, over TCP or UDP."""

import argparse
import asyncio
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from edge_agent.dlms_tool import keys, places, screen, target
from edge_agent.dlms_tool.counters import CounterFile
from edge_agent.dlms_tool.pushed_values import values_in
from edge_agent.failures import LineLostError, NoReplyError
from edge_agent.serial_line import LineSettings, SerialLine
from protocols.dlms.ciphering import Keys, SecurityControl
from protocols.dlms.explain import explain_apdu
from protocols.dlms.link import NEED_DATA
from protocols.dlms.push import PAUSE_S_MAX, Locked, Pushed, PushEvent, PushLink, PushReceiver, PushSecurity
from protocols.errors import CongtoError, RemoteProtocolError, UnavailableError, UsageError

READ_OCTETS = 4096
CONNECTIONS_MAX = 100  # meters that push at the same minute to one engineer's laptop
DATAGRAM_OCTETS_MAX = 65_535


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``congto dlms push``."""
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--serial", metavar="PORT", help="a customer port (P1, HAN): HDLC, or M-Bus with --link mbus")
    where.add_argument("--tcp-listen", metavar="HOST:PORT", help="take TCP connections with the wrapper, port 0 any")
    where.add_argument("--udp-listen", metavar="HOST:PORT", help="take datagrams with the wrapper, port 0 any")
    places.add_serial_arguments(parser)
    parser.add_argument(
        "--link", choices=[link.value for link in PushLink], help="default hdlc on serial, else wrapper"
    )
    parser.add_argument("--meter-title", metavar="HEX", help="system title of the meter that the keys are of")
    keys.add_key_arguments(parser, "key", "encryption key, as hex", direct=False)
    keys.add_key_arguments(parser, "auth-key", "authentication key, as hex", direct=False)
    keys.add_keys_file(parser)
    parser.add_argument(
        "--counters", type=Path, metavar="FILE", help="keep the meter's invocation counter: no push is taken twice"
    )
    parser.add_argument("--suite", type=int, choices=(0, 1, 2), default=0, help="security suite; default 0")
    target.add_quirks(parser)
    parser.add_argument("--count", type=int, default=0, help="end after so many pushes; default: go on until Ctrl-C")
    parser.add_argument("--wait", type=float, metavar="S", help="end with status 3 when nothing came for S seconds")
    parser.add_argument("--json", action="store_true", help="print one JSON object for each push")


def run(arguments: argparse.Namespace) -> int:
    """Listen and print; status 4 when all that came was broken."""
    if arguments.count < 0 or (arguments.wait is not None and arguments.wait <= 0):
        raise UsageError("expected --count 0 or more and --wait above 0")
    link = PushLink(arguments.link or ("hdlc" if arguments.serial else "wrapper"))
    if (link is PushLink.WRAPPER) == bool(arguments.serial):
        raise UsageError(f"--link {link.value}: on a serial line expected hdlc or mbus, over TCP and UDP wrapper")
    known, quirks = _security(keys.with_keys_file(arguments)), target.quirks_of(arguments.quirk)
    accepted = _Accepted(known, arguments.counters)
    printed = _Printer(arguments, accepted)
    asyncio.run(_listen(arguments, printed, lambda: PushReceiver(link, accepted.known, quirks)))
    return 0


def _security(arguments: argparse.Namespace) -> dict[bytes, PushSecurity]:
    key, auth_key = keys.key_of(arguments, "key"), keys.key_of(arguments, "auth-key")
    title = keys.title_of(arguments.meter_title, "--meter-title")
    if (key is None) != (title is None):
        raise UsageError("a key needs --meter-title, and --meter-title a key")
    if key is None or title is None:
        return {}
    control = SecurityControl(arguments.suite, authenticated=auth_key is not None, encrypted=True)
    return {title: PushSecurity(Keys(key, auth_key or b""), control)}


class _Accepted:
    """How far the counters of pushes have come, over all connections, and on disk where a file was named."""

    def __init__(self, known: dict[bytes, PushSecurity], path: Path | None) -> None:
        if path is not None and not known:
            raise UsageError("--counters goes with keys: pushes in the clear have no counters")
        self._files = {} if path is None else {t: CounterFile(path, one.keys.encryption, t) for t, one in known.items()}
        self.known = {
            title: replace(one, received_counter=self._files[title].received(title) if self._files else -1)
            for title, one in known.items()
        }

    def take(self, event: PushEvent) -> None:
        """Keep the counter of a push before it is shown; RemoteProtocolError for one that another connection took."""
        if not isinstance(event, Pushed) or event.title is None or event.counter is None:
            return
        security = self.known[event.title]
        if event.counter <= security.received_counter:
            last = security.received_counter
            raise RemoteProtocolError(f"invocation counter {event.counter} after {last}: a repetition")
        self.known[event.title] = replace(security, received_counter=event.counter)
        if self._files:
            self._files[event.title].keep_received(event.title, event.counter)


class _Printer:
    """Prints pushes and counts them; ``done`` is set when there were enough, or none can be taken any more."""

    def __init__(self, arguments: argparse.Namespace, accepted: _Accepted) -> None:
        self._json, self._count = arguments.json, arguments.count
        self._accepted = accepted
        self.heard = asyncio.Event()
        self.done = asyncio.Event()
        self.seen = 0
        self.failure: CongtoError | None = None

    def take(self, receiver: PushReceiver, source: str) -> None:
        """Print what ``receiver`` has understood."""
        while not self.done.is_set():
            try:
                event = receiver.next_event()
            except RemoteProtocolError as error:
                print(f"congto: {source}: broken push: {error}", file=sys.stderr, flush=True)
                continue
            if event is NEED_DATA:
                return
            assert isinstance(event, PushEvent)
            try:
                self._accepted.take(event)
            except RemoteProtocolError as error:
                print(f"congto: {source}: broken push: {error}", file=sys.stderr, flush=True)
                continue
            except (UsageError, UnavailableError) as failure:  # A push whose counter can't be kept is not taken.
                self.failure = failure
                self.done.set()
                return
            self._print(event, source)
            self.seen += 1
            self.heard.set()
            if self._count and self.seen >= self._count:
                self.done.set()

    def _print(self, event: PushEvent, source: str) -> None:
        if isinstance(event, Locked):
            title = event.apdu.title.hex() if event.apdu.title else ""
            if self._json:
                screen.print_json({"source": source, "locked": True, "system_title": title})
            else:
                print(f"{source}: ciphered push of meter {title}: give --meter-title {title} and its keys")
        elif self._json:
            screen.print_json(_to_json(event, source))
        else:
            notification = event.notification
            named = f" of meter {event.title.hex()}, counter {event.counter}" if event.title else ""
            values = list(values_in(notification.data))
            rows = [(str(value.obis), value.text) for value in values]
            title = f"{source}: push{named}, {len(rows)} values"
            if rows:
                screen.print_table(title, ("OBIS", "value"), rows)
            else:
                print(title, explain_apdu(notification)["data"], sep=": ")
        sys.stdout.flush()


def _to_json(event: Pushed, source: str) -> dict[str, Any]:
    values = [
        {"obis": str(value.obis), "text": value.text}
        | ({"unit": value.scaler_unit.word, "value": f"{value.number:f}"} if value.scaler_unit else {})
        for value in values_in(event.notification.data)
    ]
    title = event.title.hex() if event.title else None
    shown = {"source": source, "system_title": title, "counter": event.counter, "values": values}
    return shown | {"apdu": explain_apdu(event.notification)}


async def _listen(arguments: argparse.Namespace, printed: _Printer, new: Callable[[], PushReceiver]) -> None:
    if arguments.serial:
        listening = asyncio.ensure_future(_listen_serial(places.serial_place(arguments), printed, new()))
    elif arguments.tcp_listen:
        listening = asyncio.ensure_future(
            _listen_tcp(places.tcp_place(arguments.tcp_listen, "--tcp-listen"), printed, new)
        )
    else:
        listening = asyncio.ensure_future(
            _listen_udp(places.tcp_place(arguments.udp_listen, "--udp-listen"), printed, new)
        )
    done = asyncio.ensure_future(printed.done.wait())
    try:
        while not done.done():
            printed.heard.clear()
            heard = asyncio.ensure_future(printed.heard.wait())
            await asyncio.wait({done, heard, listening}, timeout=arguments.wait, return_when=asyncio.FIRST_COMPLETED)
            if listening.done():
                listening.result()
            if not heard.done() and not done.done():
                heard.cancel()
                raise NoReplyError(
                    f"no push for {arguments.wait:g} s ({printed.seen} before); is it switched on at the meter, is its "
                    "destination this address? Other --baud, --parity or --link?"
                )
        if printed.failure is not None:
            raise printed.failure
    finally:
        for task in (listening, done):
            task.cancel()


def _announce(place: str) -> None:
    print(f"congto: listening on {place}", file=sys.stderr, flush=True)


async def _listen_serial(settings: LineSettings, printed: _Printer, receiver: PushReceiver) -> None:
    line = SerialLine(settings)
    _announce(settings.port)
    loop = asyncio.get_running_loop()
    try:
        while True:
            try:
                receiver.receive_data(await line.read(loop.time() + PAUSE_S_MAX))
            except NoReplyError:
                receiver.receive_silence()
            printed.take(receiver, settings.port)
    finally:
        line.close()


async def _listen_tcp(place: places.TcpPlace, printed: _Printer, new: Callable[[], PushReceiver]) -> None:
    free = asyncio.Semaphore(CONNECTIONS_MAX)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peername")
        source, receiver = f"{peer[0]}:{peer[1]}", new()
        try:
            async with free:
                while data := await reader.read(READ_OCTETS):
                    receiver.receive_data(data)
                    printed.take(receiver, source)
        except OSError as error:
            print(f"congto: {source}: {LineLostError(str(error))}", file=sys.stderr)
        finally:
            writer.close()

    try:
        server = await asyncio.start_server(serve, place.host, place.port)
    except OSError as error:
        raise UnavailableError(f"--tcp-listen {place.host}:{place.port}: {error}") from error
    _announce("{}:{}".format(*server.sockets[0].getsockname()[:2]))
    async with server:
        await server.serve_forever()


class _Datagrams(asyncio.DatagramProtocol):
    """Each datagram holds whole pushes."""

    def __init__(self, printed: _Printer, new: Callable[[], PushReceiver]) -> None:
        self._printed = printed
        self._receiver = new()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._receiver.receive_data(data)
        self._printed.take(self._receiver, f"{addr[0]}:{addr[1]}")
        self._receiver.receive_silence()


async def _listen_udp(place: places.TcpPlace, printed: _Printer, new: Callable[[], PushReceiver]) -> None:
    loop = asyncio.get_running_loop()
    try:
        transport, _ = await loop.create_datagram_endpoint(
            lambda: _Datagrams(printed, new), local_addr=(place.host, place.port)
        )
    except OSError as error:
        raise UnavailableError(f"--udp-listen {place.host}:{place.port}: {error}") from error
    _announce("{}:{}".format(*transport.get_extra_info("sockname")[:2]))
    try:
        await asyncio.Event().wait()
    finally:
        transport.close()
