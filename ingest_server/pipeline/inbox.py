"""Messages that have come and wait to be decoded; bounded, and never a reason to wait for whoever puts them in."""

import asyncio
from collections import deque
from collections.abc import Callable

from ingest_server.pipeline.message import Message
from ingest_server.pipeline.settings import INBOX_MESSAGES_MAX, INBOX_OCTETS_MAX


class Inbox:
    """A queue that says when it is full, and calls ``drained`` when it no longer is."""

    def __init__(self, drained: Callable[[], None] = lambda: None) -> None:
        self._messages: deque[Message] = deque()
        self._octets = 0
        self._filled = asyncio.Event()
        self.drained = drained

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def octets(self) -> int:
        """How large the messages are together."""
        return self._octets

    @property
    def full(self) -> bool:
        """Whether whoever reads from the broker must stop."""
        return len(self._messages) >= INBOX_MESSAGES_MAX or self._octets >= INBOX_OCTETS_MAX

    def put(self, message: Message) -> None:
        """Add a message, even if the inbox is full: what was read can't be unread."""
        self._messages.append(message)
        self._octets += len(message.payload)
        self._filled.set()

    async def take(self) -> Message:
        """Return the oldest message; wait if there is none."""
        while not self._messages:
            self._filled.clear()
            await self._filled.wait()
        was_full = self.full
        message = self._messages.popleft()
        self._octets -= len(message.payload)
        if was_full and not self.full:
            self.drained()
        return message
