"""Makes the clients that enter one meter: ours with its counters, and the public one that asks for a lost counter."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeAlias, TypeVar

from edge_agent.counters import Lease
from edge_agent.dlms_access import Access
from edge_agent.dlms_memory import MeterMemory
from edge_agent.failures import NoCountersError
from protocols.dlms.association import Association
from protocols.dlms.client import DlmsClient
from protocols.dlms.data import Data
from protocols.dlms.hdlc.primary import HdlcParameters
from protocols.dlms.objects import ClassId
from protocols.dlms.services import Get
from protocols.dlms.short_names import ShortNames
from protocols.dlms.wrapper import WrapperParameters
from protocols.dlms.xdlms.references import Attribute
from protocols.errors import UnavailableError, UsageError
from protocols.obis import Obis

T = TypeVar("T")
LinkMaker: TypeAlias = Callable[[int, int], HdlcParameters | WrapperParameters]
"""Returns the link's parameters for a client SAP and so many repetitions of an unanswered frame."""


class Entry:
    """The way into one meter."""

    def __init__(
        self, access: Access, link: LinkMaker, lease: Lease | None = None, memory: MeterMemory | None = None
    ) -> None:
        assert (lease is not None) == access.uses_counters
        self.access = access
        self._link = link
        self._lease = lease
        self.memory = memory
        self._client: DlmsClient | None = None
        self._names: dict[tuple[int, Obis], int] = {}

    async def needs_recovery(self) -> bool:
        """Whether the counter must be asked for first."""
        if self._lease is None:
            return False
        can_ask = self.access.settings.counter is not None
        return await _on_disk(partial(self._lease.needs_recovery, can_ask=can_ask))

    def note_refusal(self) -> None:
        """Hear that the meter refused the association."""
        if self._lease is not None:
            self._lease.doubt()

    def public_client(self, retries: int) -> DlmsClient:
        """Return the client that may read the counter."""
        link = self._link(self.access.settings.public_client_sap, retries)
        return DlmsClient(link, Association(), self.access.quirks)

    def ask_counter(self) -> Get:
        """Return the question for the last counter that the meter accepted from us."""
        if self.access.settings.counter is None:
            raise NoCountersError(
                "nothing is known of its invocation counter, and the model names no object that tells it; find it out "
                "and run: congto agent keys counter"
            )
        return Get(Attribute(ClassId.DATA, self.access.settings.counter, 2))

    async def recover(self, last_accepted: int) -> None:
        """Take the meter's answer."""
        assert self._lease is not None
        await _on_disk(partial(self._lease.recover, last_accepted))

    async def client(self, retries: int) -> DlmsClient:
        """Return a client for a new association."""
        counters, received = range(0), -1
        if self._lease is not None:
            if self._client is not None:
                self._lease.note(self._client)  # however its session ended: what it used is used
            counters = await _on_disk(self._lease.take)
            received = await _on_disk(self._lease.received)
        link = self._link(self.access.settings.client_sap, retries)
        client = DlmsClient(link, self.access.association(counters, received), self.access.quirks)
        client.short_names.bases.update(self._names)
        self._client = client
        return client

    def knows_names(self) -> bool:
        """Whether the meter's short names are known, if it has such."""
        return bool(self._names) or not self.access.settings.short_names

    def learn_names(self, client: DlmsClient, object_list: Data) -> None:
        """Take the short names from the meter's object list."""
        client.short_names.learn(object_list)
        self._names.update(client.short_names.bases)

    def forget_names(self, client: DlmsClient) -> None:
        """Drop the short names: they are another meter's."""
        self._names.clear()
        client.short_names.bases.clear()
        client.short_names.bases.update(ShortNames().bases)

    async def top_up(self, client: DlmsClient) -> None:
        """See to it that ``client`` may send its next message."""
        if self._lease is not None and client.protection is not None:
            await _on_disk(partial(self._lease.top_up, client))

    async def note(self, client: DlmsClient) -> None:
        """Take over what ``client`` used and learned when its work is done."""
        if self._lease is not None and client.protection is not None:
            self._lease.note(client)
            await _on_disk(self._lease.store)


async def _on_disk(work: Callable[[], Awaitable[T]]) -> T:
    try:
        return await work()
    except (UsageError, UnavailableError) as error:
        raise NoCountersError(f"its invocation counters can't be kept: {error}") from error
