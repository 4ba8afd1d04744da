"""One session with one meter: the line opened, the association, questions, the release; counters kept on disk.

What goes wrong is told apart: silence and lost lines (NoReplyError, LineLostError, exit status 3), noise and broken
rules (RemoteProtocolError, 4), a meter that says no (RefusedError, 5).
"""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Protocol

from edge_agent.dlms_tool.character_trace import TracedPort
from edge_agent.dlms_tool.places import TcpPlace, UdpPlace
from edge_agent.dlms_tool.refusals import OTHER_PROTECTION, RefusedError, advice_on, refusal_of
from edge_agent.dlms_tool.remembered import Remembered
from edge_agent.dlms_tool.serial_port import SerialPort, enter_hdlc, for_sign_on
from edge_agent.dlms_tool.target import Target
from edge_agent.dlms_tool.trace import Trace
from edge_agent.failures import LineLostError, NoReplyError
from edge_agent.serial_line import LineSettings, SerialLine
from edge_agent.tcp_line import TcpLine
from edge_agent.udp_line import UdpLine
from protocols.dlms.association import ClientState
from protocols.dlms.ciphering import COUNTER_MAX
from protocols.dlms.client import DlmsClient
from protocols.dlms.conformance import Conformance
from protocols.dlms.data import Data, integer_of
from protocols.dlms.hdlc.primary import HdlcParameters
from protocols.dlms.link import NEED_DATA, LinkDown
from protocols.dlms.plan import ends
from protocols.dlms.services import (
    Associated,
    AssociationRefused,
    Connect,
    Event,
    Get,
    GetResult,
    Release,
    Request,
)
from protocols.dlms.xdlms.references import Attribute
from protocols.errors import LocalProtocolError, RemoteProtocolError

BROKEN_ANSWERS_MAX = 20  # of one exchange; a line that bad is given up
EXCHANGE_S_MAX = 600.0  # a month's profile at 300 baud takes nine minutes
RECOVERED_MAX = COUNTER_MAX - (1 << 24)  # what is told in the clear may be forged, and counters only ever go up
COUNTERS_LEFT_MIN = 16  # more are reserved before fewer are left; one step of an exchange uses at most a window of them


_GENERAL_BLOCKS = Conformance.GENERAL_BLOCK_TRANSFER


class ByteLine(Protocol):
    """What a session needs of a line."""

    async def write(self, data: bytes) -> None:
        """Send ``data``."""
        ...

    async def read(self, deadline: float) -> bytes:
        """Return what comes until the loop's time ``deadline``, or raise NoReplyError."""
        ...

    def character_s(self) -> float:
        """Return how long one octet is on the line."""
        ...

    def close(self) -> None:
        """Close the line."""
        ...


class MeterSession:
    """A meter that can be asked."""

    def __init__(self, line: ByteLine, client: DlmsClient, target: Target, trace: Trace | None) -> None:
        self._line, self._client, self._target, self._trace = line, client, target, trace
        self._loop = asyncio.get_running_loop()
        self._heard = bytearray()
        self._said = bytearray()
        self._broken: RemoteProtocolError | None = None
        self._counters_stop = target.association.ciphering.counters.stop if target.association.ciphering else 0
        self.granted: Associated
        self.remembered = Remembered(self, client, target.memory)

    @property
    def client(self) -> DlmsClient:
        """The client half of the protocol."""
        return self._client

    @property
    def target(self) -> Target:
        """What the arguments said."""
        return self._target

    async def connect(self) -> None:
        """Open the association."""
        event = await self.ask(Connect())
        if isinstance(event, AssociationRefused):
            behind = "; or our counter is behind the meter's: --recover-counter" if self._target.counters else ""
            other = f"; {OTHER_PROTECTION}" if self._target.association.is_ciphered else ""
            raise RefusedError(f"no association: the meter says {event.words}{advice_on(event.words)}{behind}{other}")
        assert isinstance(event, Associated)
        self.granted = event
        if _GENERAL_BLOCKS in self._target.association.conformance and _GENERAL_BLOCKS not in event.conformance:
            print(
                "congto: the meter grants no general block transfer; long answers come in its own way", file=sys.stderr
            )
        self._require_news()
        if self._target.association.uses_short_names:
            await self.remembered.learn_names()

    def _require_news(self) -> None:
        """The meter's title is known only now, and with it the counter that its answers must be above."""
        protection, counters = self._client.protection, self._target.counters
        if protection is None or counters is None or protection.peer_title is None or protection.received_counter < 0:
            return
        last = counters.received(protection.peer_title)
        if protection.received_counter <= last:
            raise RemoteProtocolError(
                f"the meter's invocation counter is {protection.received_counter}, but {last} was accepted before: "
                "a recording is played back, or the meter was replaced; then give another --counters FILE"
            )

    async def ask(self, request: Request) -> Event:
        """Return the outcome of ``request``, which may be a refusal."""
        self._heard.clear()
        self._said.clear()
        self._broken = None
        try:
            async with asyncio.timeout(EXCHANGE_S_MAX):
                event = await self._exchange(request)
        except TimeoutError as error:
            raise NoReplyError(f"no end of the answer within {EXCHANGE_S_MAX:.0f} s; ask for less at once") from error
        if isinstance(event, LinkDown) and not isinstance(request, Release):
            raise self._why_down(event)
        return event

    async def get(self, attribute: Attribute, what: str) -> Data:
        """Return the value of an attribute; RefusedError when the meter says no."""
        event = await self.ask(Get(attribute))
        if isinstance(event, GetResult):
            return event.value
        raise refusal_of(event, what) or RemoteProtocolError(f"{what}: found {type(event).__name__}")

    async def ask_back(self, attribute: Attribute) -> Data | None:
        """Return what an attribute holds after it was written, None when it cannot be read."""
        event = await self.ask(Get(attribute))
        return event.value if isinstance(event, GetResult) else None

    async def release(self) -> None:
        """Close the association and the link. That a meter does not answer to that is no failure."""
        if self._client.state is ClientState.ASSOCIATED:
            with contextlib.suppress(NoReplyError, RemoteProtocolError, LineLostError):
                await self.ask(Release())

    async def _exchange(self, request: Request) -> Event:
        refused: AssociationRefused | None = None
        broken = 0
        self._reserve()
        try:
            octets = self._client.send(request)
        except LocalProtocolError as error:
            if not self._target.association.uses_short_names or isinstance(request, Connect | Release):
                raise
            # The list was learned when the association was opened: what has no name there is not in this meter.
            raise RefusedError(f"the meter lists no such object: {error}") from error
        await self._write(octets)
        while True:
            try:
                event = self._client.next_event()
            except RemoteProtocolError as error:
                broken += 1
                self._broken = error
                if broken > BROKEN_ANSWERS_MAX or self._client.state is ClientState.ASSOCIATED:
                    raise RemoteProtocolError(f"{error}{self._hint(str(error))}") from error
                continue
            self._reserve()
            await self._write(self._client.data_to_send())
            if event is NEED_DATA:
                await self._read()
            elif isinstance(event, AssociationRefused):
                refused = event
            elif ends(request, event):
                return refused or event

    async def _read(self) -> None:
        try:
            data = await self._line.read(self._loop.time() + self._target.timeout_s)
        except NoReplyError:
            if self._trace:
                self._trace.note(f"silence for {self._target.timeout_s:g} s")
            await self._write(self._client.receive_silence())
            return
        if self._trace:
            self._trace.received(data)
        self._heard += data[: 1 << 16]
        self._client.receive_data(data)

    async def _write(self, octets: bytes) -> None:
        if octets:
            self._said += octets
            if self._trace:
                self._trace.sent(octets)
            await self._line.write(octets)
            if character_s := self._line.character_s():
                await asyncio.sleep(len(octets) * character_s)

    def _reserve(self) -> None:
        """See to it that counters are on disk before they are used."""
        protection, counters = self._client.protection, self._target.counters
        if protection is None or counters is None:
            return
        if self._counters_stop - protection.next_counter < COUNTERS_LEFT_MIN:
            self._counters_stop = counters.reserve().stop
            protection.reserve(self._counters_stop)

    def _why_down(self, event: LinkDown) -> Exception:
        reason = event.reason or "the link went down"
        if "(FRMR" in reason:
            return RemoteProtocolError(f"{reason}{advice_on(reason)}")
        if "(DM)" in reason:
            return RefusedError(f"{reason}{advice_on(reason)}")
        if self._broken is not None:
            return RemoteProtocolError(f"no usable answer: {self._broken}{self._hint(str(self._broken))}")
        if bytes(self._heard) and bytes(self._heard) != bytes(self._said):
            return RemoteProtocolError(
                f"{len(self._heard)} octets came, none of them an answer (they begin {bytes(self._heard[:8]).hex()}): "
                "noise, or another --baud or --parity; a meter behind an optical head may want --mode-e"
            )
        echo = ", only the echo of our own octets came" if self._heard else ""
        if not isinstance(self._target.place, LineSettings):
            lost = "a datagram may be lost: try again; " if isinstance(self._target.place, UdpPlace) else ""
            return NoReplyError(
                f"the meter is silent ({reason}{echo}); {lost}is --server the meter's wPort (or its "
                "address, with --framing hdlc)? Other --client or --framing? Does the modem reach the meter?"
            )
        return NoReplyError(
            f"the meter is silent ({reason}{echo}); is it powered, are the wires the right way round, is "
            "--server right? Other --client, --baud, --parity, --address-octets, --mode-e or --framing?"
        )

    def _hint(self, words: str) -> str:
        if "answered, expected" in words or "wPorts" in words:
            return "; another meter answers: is --server right? (--quirk any_server_address takes it)"
        if "FCS" in words or "HCS" in words or "flag" in words:
            return "; the line is disturbed, or --baud or --parity is another"
        return advice_on(words)


@contextlib.asynccontextmanager
async def associated(target: Target, *, trace: bool) -> AsyncIterator[MeterSession]:
    """Open the line and the association; release and close when done, and keep what the counters are."""
    target = await _with_reserved_counters(target, trace=trace)
    shown = _new_trace(target) if trace else None
    with _advised(target):
        line = await _open(target, shown)
    client = DlmsClient(target.link, target.association, target.quirks)
    if shown is not None:
        shown.know(client.short_names)
    session = MeterSession(line, client, target, shown)
    try:
        with _advised(target):
            await session.connect()
        yield session
        await session.release()
    finally:
        line.close()
        protection = client.protection
        if target.counters is not None and protection is not None:
            target.counters.close(protection.next_counter, protection.peer_title, protection.received_counter)


@contextlib.contextmanager
def _advised(target: Target) -> Iterator[None]:
    """Add what to try to the loss of a connection that was never of use."""
    try:
        yield
    except LineLostError as error:
        if isinstance(target.place, LineSettings):
            advice = "is it plugged in (ls -l /dev/serial/by-id), are you in the group dialout, is it in use already?"
        else:
            advice = "is the address right, is the modem on, is another client connected to it? Other --framing?"
        raise LineLostError(f"{error}; {advice}") from error


async def _open(target: Target, trace: Trace | None) -> ByteLine:
    if isinstance(target.place, TcpPlace):
        return await TcpLine.open(target.place.host, target.place.port, target.timeout_s)
    if isinstance(target.place, UdpPlace):
        return await UdpLine.open(target.place.host, target.place.port)
    if target.mode_e is None:
        return SerialLine(target.place)
    settings = for_sign_on(target.place)
    port = TracedPort(settings, trace.note) if trace else SerialPort(settings)
    try:
        said = await enter_hdlc(port, target.mode_e, target.place.baud, target.timeout_s)
    except BaseException:
        port.close()
        raise
    if trace:
        assert isinstance(port, TracedPort)
        port.stop_telling()  # What follows is frames.
        trace.note(f"mode E: {said.manufacturer} {said.text}, HDLC at {port.settings.baud} baud")
    return port


async def _with_reserved_counters(target: Target, *, trace: bool) -> Target:
    """Return the target with counters to use: from the file, or after the one that the meter tells."""
    counters = target.counters
    if counters is None:
        return target
    at_least = 0
    if target.recover_counter:
        what = f"invocation counter {target.counter_obis} (as public client)"
        async with associated(target.as_public_client(), trace=trace) as session:
            at_least = integer_of(await session.get(Attribute(1, target.counter_obis, 2), what)) + 1
        if not 0 <= at_least <= RECOVERED_MAX:
            raise RemoteProtocolError(
                f"{what} is {at_least - 1}; so high a number, told without proof, would use the key up: "
                "nothing was done"
            )
        print(f"congto: the meter's counter is {at_least - 1}; ours goes on from there", file=sys.stderr)
    return target.with_counters(counters.reserve(at_least))


def _new_trace(target: Target) -> Trace:
    return Trace(
        hdlc=isinstance(target.link, HdlcParameters),
        association=target.association,
        quirks=target.quirks,
        secrets=target.secrets,
        write=lambda line: print(line, file=sys.stderr, flush=True),
    )
