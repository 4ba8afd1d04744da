"""A session with one DLMS meter on a line: connect, ask, keep or release. The protocol's own part is in
:mod:`protocols.dlms`; here are time and the line.

**Keeping.** Opening an association takes four round trips, closing it two. A meter that is read again soon keeps its
association, one that is read every half hour is released at once, so that others can use its port. *Soon* is learned:
a session is kept when the one before it was used less than :data:`KEPT_S` ago by the computer's clock.

**Late frames.** HDLC numbers its frames and names its stations, so a late answer is not taken for another; the wrapper
has no numbers, so there a request that was not answered ends the connection.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Protocol

from edge_agent.failures import LineLostError, NoReplyError
from protocols.dlms.association import ClientState
from protocols.dlms.client import DlmsClient
from protocols.dlms.link import NEED_DATA, LinkDown
from protocols.dlms.plan import ends
from protocols.dlms.services import Associated, AssociationRefused, Connect, Event, Release, Request
from protocols.errors import RemoteProtocolError

KEPT_S = 60.0  # meters end a silent link themselves after 120 s (COSEM class 23, inactivity_time_out, default)
EXCHANGE_S_MAX = 120.0  # a day's profile of a four-channel meter takes 4 s at 9600 baud, at 300 baud under 120 s
BROKEN_ANSWERS_MAX = 20  # of one exchange; a line that bad is given up


class ByteLine(Protocol):
    """A line that carries octets both ways; see :class:`edge_agent.serial_line.SerialLine`."""

    async def write(self, data: bytes) -> None:
        """Send ``data``."""
        ...

    async def read(self, deadline: float) -> bytes:
        """Return what comes until the loop's time ``deadline``, or raise NoReplyError."""
        ...

    async def recover(self) -> None:
        """See to it that no answer to what was asked so far is taken for another."""
        ...

    def character_s(self) -> float:
        """Return how long one octet is on the line."""
        ...

    def close(self) -> None:
        """Close the line."""
        ...


class DlmsSession:
    """The association with one meter, opened when it is needed."""

    def __init__(self, line: ByteLine, new_client: Callable[[int], DlmsClient], reply_timeout_s: float) -> None:
        """``new_client`` makes a client that repeats an unanswered frame so many times."""
        self._line = line
        self._new_client = new_client
        self._reply_timeout_s = reply_timeout_s
        self._loop = asyncio.get_running_loop()
        self._client: DlmsClient | None = None
        self._used_at = -KEPT_S
        self._keep = False

    @property
    def is_open(self) -> bool:
        """Whether a session is kept."""
        return self._client is not None and self._client.granted is not None

    async def open(self, retries: int) -> Associated:
        """Return what the meter granted, connecting if need be; raise NoReplyError or RemoteProtocolError."""
        now = self._loop.time()
        self._keep = now - self._used_at < KEPT_S
        if self._client is not None and self._client.granted is not None and self._keep:
            return self._client.granted
        self._client = self._new_client(retries)
        event = await self.ask(Connect())
        if not isinstance(event, Associated):
            self._client = None
            raise RemoteProtocolError(f"no association: {_words(event)}")
        return event

    async def ask(self, request: Request) -> Event:
        """Return the outcome of ``request``; raise NoReplyError or RemoteProtocolError, after which all is closed."""
        client = self._client
        assert client is not None
        try:
            async with asyncio.timeout(EXCHANGE_S_MAX):
                event = await self._exchange(client, request)
        except TimeoutError as error:
            await self._give_up()
            raise NoReplyError(f"no end of the answer within {EXCHANGE_S_MAX:.0f} s") from error
        except (RemoteProtocolError, LineLostError):
            await self._give_up()
            raise
        if isinstance(event, LinkDown) and not isinstance(request, Release):
            await self._give_up()
            raise NoReplyError(event.reason or "the link went down")
        self._used_at = self._loop.time()
        return event

    async def leave(self) -> None:
        """Release the meter unless it is read again soon. That it does not answer to that is no failure."""
        if self._client is None or self._keep:
            return
        with contextlib.suppress(NoReplyError, RemoteProtocolError):
            await self.ask(Release())
        self._client = None

    async def _give_up(self) -> None:
        self._client = None
        await self._line.recover()

    async def _exchange(self, client: DlmsClient, request: Request) -> Event:
        refused: AssociationRefused | None = None
        broken = 0
        await self._write(client.send(request))
        while True:
            try:
                event = client.next_event()
            except RemoteProtocolError:
                broken += 1
                if broken > BROKEN_ANSWERS_MAX or client.state is ClientState.ASSOCIATED:
                    raise  # in the second case the answer came and was wrong: no other one will come
                continue
            await self._write(client.data_to_send())
            if event is NEED_DATA:
                await self._read(client)
            elif isinstance(event, AssociationRefused):
                refused = event
            elif ends(request, event):
                return refused or event

    async def _read(self, client: DlmsClient) -> None:
        try:
            client.receive_data(await self._line.read(self._loop.time() + self._reply_timeout_s))
        except NoReplyError:
            await self._write(client.receive_silence())

    async def _write(self, octets: bytes) -> None:
        if octets:
            await self._line.write(octets)
            if character_s := self._line.character_s():
                await asyncio.sleep(len(octets) * character_s)


def _words(event: Event) -> str:
    return event.words if isinstance(event, AssociationRefused) else type(event).__name__
