"""A session with one DLMS meter on a line: connect, ask, keep or release. The protocol's own part is in
:mod:`protocols.dlms`; here are time and the line.

**Keeping.** A model may want its association kept, or reopened for each reading; else it is as needed. Opening an
association takes four round trips, closing it two. A meter that is read again soon keeps its association, one that is
read every half hour is released at once, so that others can use its port. *Soon* is learned: a session is kept when the
one before it was used less than :data:`KEPT_S` ago by the computer's clock.

**Counters.** A ciphered session never sends a message whose invocation counter is not reserved on the disk
(:mod:`edge_agent.counters`). If nothing is known of the counter, the meter is first asked as public client.

**Late frames.** HDLC numbers its frames and names its stations, so a late answer is not taken for another; the wrapper
has no numbers, so there a request that was not answered ends the connection.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Protocol

from edge_agent.dlms_cache import FIRMWARE, LOGICAL_DEVICE_NAME, Identity, identity_of
from edge_agent.dlms_entry import Entry
from edge_agent.failures import LineLostError, NoCountersError, NoReplyError
from protocols.dlms import axdr
from protocols.dlms.association import ClientState
from protocols.dlms.client import DlmsClient
from protocols.dlms.codes import ActionResult, DataAccessResult
from protocols.dlms.data import integer_of
from protocols.dlms.link import NEED_DATA, LinkDown
from protocols.dlms.objects import ScalerUnit
from protocols.dlms.plan import ends
from protocols.dlms.quirks import Quirks
from protocols.dlms.services import (
    Act,
    ActionRefused,
    Associated,
    AssociationRefused,
    Connect,
    DataAccessError,
    Event,
    Get,
    GetBuffer,
    GetResult,
    Release,
    Request,
)
from protocols.dlms.short_names import OBJECT_LIST, UnknownMethodError, UnlistedError
from protocols.dlms.xdlms.references import Attribute
from protocols.dlms.xdlms.refusals import ConfirmedServiceError, ExceptionResponse
from protocols.errors import RemoteProtocolError

KEPT_S = 60.0  # meters end a silent link themselves after 120 s (COSEM class 23, inactivity_time_out, default)
EXCHANGE_S_MAX = 120.0  # a day's profile of a four-channel meter takes 4 s at 9600 baud, at 300 baud under 120 s
BROKEN_ANSWERS_MAX = 20  # of one exchange; a line that bad is given up
FAILURES = (NoReplyError, RemoteProtocolError, NoCountersError, UnlistedError, UnknownMethodError)
"""Why a meter could not be read; after each the session is closed."""


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

    def __init__(self, line: ByteLine, entry: Entry, reply_timeout_s: float) -> None:
        self._line = line
        self._entry = entry
        self._reply_timeout_s = reply_timeout_s
        self._loop = asyncio.get_running_loop()
        self._client: DlmsClient | None = None
        self._used_at = -KEPT_S
        self._keep = False
        self._who: Identity | None = None
        self._refused: RemoteProtocolError | None = None  # what came last and broke the rules

    @property
    def quirks(self) -> Quirks:
        """What the meter may do that the standard forbids."""
        return self._entry.access.quirks

    @property
    def is_open(self) -> bool:
        """Whether a session is kept."""
        return self._client is not None and self._client.granted is not None

    async def open(self, retries: int) -> Associated:
        """Return what the meter granted, connecting if need be; raise one of :data:`FAILURES`."""
        now = self._loop.time()
        wanted = self._entry.access.settings.association
        self._keep = wanted == "kept" or (wanted == "as needed" and now - self._used_at < KEPT_S)
        if self._client is not None and self._client.granted is not None and self._keep:
            return self._client.granted
        if await self._entry.needs_recovery():
            await self._recover_counter(retries)
        return await self._connect(await self._entry.client(retries))

    async def _connect(self, client: DlmsClient) -> Associated:
        self._client = client
        event = await self.ask(Connect())
        if not isinstance(event, Associated):
            self._client = None
            self._entry.note_refusal()
            raise RemoteProtocolError(f"no association: {_words(event)}")
        if not self._entry.knows_names() and not await self._recall_names(client):
            await self._ask_names(client)
        return event

    async def _recall_names(self, client: DlmsClient) -> bool:
        """Take the short names that are kept, if the meter that answers by them is the one they were kept of."""
        kept = await self._entry.memory.load() if self._entry.memory is not None else None
        if kept is None or not kept.objects:
            return False
        is_same = False
        with contextlib.suppress(RemoteProtocolError):  # What is kept may be no list.
            self._entry.learn_names(client, axdr.decode(kept.objects))
            is_same = True
        try:
            is_same = is_same and str(await self.who()) == kept.identity
        except FAILURES:  # Asked by another meter's names, a meter may answer anything; it is asked by none next time.
            self._distrust(client)
            raise
        if not is_same:
            self._distrust(client)
        return is_same

    def _distrust(self, client: DlmsClient) -> None:
        assert self._entry.memory is not None
        self._entry.memory.distrust()
        self._entry.forget_names(client)
        self._who = None

    async def _ask_names(self, client: DlmsClient) -> None:
        listed = await self.ask(Get(OBJECT_LIST))
        if not isinstance(listed, GetResult):
            await self._give_up()
            raise RemoteProtocolError(f"the meter does not tell its short names: {_words(listed)}")
        try:
            self._entry.learn_names(client, listed.value)
        except RemoteProtocolError:
            await self._give_up()
            raise
        if self._entry.memory is not None:
            await self._entry.memory.keep(await self.who(), names=axdr.encode(listed.value))

    async def who(self) -> Identity:
        """Return who the meter says it is; it is asked once, and what it does not tell stays empty."""
        if self._who is None:
            self._who = Identity("")
            told = [await self.ask(Get(each)) for each in (LOGICAL_DEVICE_NAME, FIRMWARE)]
            name, firmware = (each.value if isinstance(each, GetResult) else None for each in told)
            self._who = identity_of(name, firmware, self._entry.access.meter_title, None)
        return self._who

    async def recall_scalers(self) -> Mapping[Attribute, ScalerUnit]:
        """Return the scalers that are kept of the meter that answers; none when it is another one."""
        kept = await self._entry.memory.load() if self._entry.memory is not None else None
        if kept is None or not kept.scalers or str(await self.who()) != kept.identity:
            return {}
        return kept.scalers

    async def keep_scalers(self, scalers: Mapping[Attribute, ScalerUnit]) -> None:
        """Keep what the meter told of its scalers."""
        if self._entry.memory is not None:
            await self._entry.memory.keep(await self.who(), scalers=scalers)

    async def _recover_counter(self, retries: int) -> None:
        """Ask as public client for the last counter that the meter accepted from us."""
        question = self._entry.ask_counter()
        await self._connect_public(retries)
        event = await self.ask(question)
        keep, self._keep = self._keep, False
        await self.leave()
        self._keep = keep
        if not isinstance(event, GetResult):
            raise RemoteProtocolError(f"the meter does not tell the public client our counter: {_words(event)}")
        await self._entry.recover(integer_of(event.value))

    async def _connect_public(self, retries: int) -> None:
        self._client = self._entry.public_client(retries)
        event = await self.ask(Connect())
        if not isinstance(event, Associated):
            self._client = None
            raise RemoteProtocolError(f"no association as public client, to ask for our counter: {_words(event)}")

    def lists(self, attribute: Attribute) -> bool:
        """Whether the meter can be asked for ``attribute``: by short names, only for what it listed."""
        client = self._client
        return not self._entry.access.settings.short_names or client is None or client.short_names.knows(attribute)

    async def ask(self, request: Request) -> Event:
        """Return the outcome of ``request``; raise one of :data:`FAILURES`, after which all is closed.

        One object that a meter read by short names did not list is refused as the meter would: object-undefined.
        """
        client = self._client
        assert client is not None
        try:
            async with asyncio.timeout(EXCHANGE_S_MAX):
                event = await self._exchange(client, request)
        except TimeoutError as error:
            await self._give_up()
            raise NoReplyError(f"no end of the answer within {EXCHANGE_S_MAX:.0f} s") from error
        except UnlistedError:
            if isinstance(request, Get | GetBuffer):
                return DataAccessError(request.attribute, DataAccessResult.OBJECT_UNDEFINED)
            if isinstance(request, Act):
                return ActionRefused(request.method, ActionResult.OBJECT_UNDEFINED)
            await self._give_up()
            raise
        except (RemoteProtocolError, LineLostError, NoCountersError, UnknownMethodError):
            await self._give_up()
            raise
        if isinstance(event, LinkDown) and not isinstance(request, Release):
            await self._give_up()
            why = event.reason or "the link went down"
            raise NoReplyError(f"{why}: {self._refused}" if self._refused else why)
        self._used_at = self._loop.time()
        return event

    async def leave(self) -> None:
        """Release the meter unless it is read again soon. That it does not answer to that is no failure."""
        client = self._client
        if client is None:
            return
        if not self._keep:
            with contextlib.suppress(*FAILURES):
                await self.ask(Release())
            self._client = None
        await self._entry.note(client)

    async def abandon(self) -> None:
        """Leave after a failure, if that has not closed all; another failure does not hide it."""
        with contextlib.suppress(*FAILURES):
            await self.leave()

    async def _give_up(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await self._entry.note(client)
        await self._line.recover()

    async def _exchange(self, client: DlmsClient, request: Request) -> Event:
        refused: AssociationRefused | None = None
        broken = 0
        self._refused = None
        await self._entry.top_up(client)
        await self._write(client.send(request))
        while True:
            await self._entry.top_up(client)  # the next block of an answer is asked for within next_event
            try:
                event = client.next_event()
            except RemoteProtocolError as error:
                broken += 1
                self._refused = error
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
    if isinstance(event, DataAccessError):
        return event.code.word
    if isinstance(event, AssociationRefused | ExceptionResponse | ConfirmedServiceError):
        return event.words
    return type(event).__name__
