"""The publisher's seams: a connection to the broker, and whoever else speaks with the server over it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol

from protocols.errors import UnavailableError
from protocols.telemetry.topics import Kind


class Letter(NamedTuple):
    """A message: its topic and payload."""

    topic: str
    payload: bytes


class BrokerLostError(UnavailableError):
    """The connection can't be made or is gone. ``taken_over``: another client came with the same identity."""

    def __init__(self, reason: object, *, taken_over: bool = False) -> None:
        super().__init__(str(reason))
        self.taken_over = taken_over


class Connection(Protocol):
    """A connection that stands. Any of its methods raises :class:`BrokerLostError` when it is gone."""

    async def subscribe(self, topic: str) -> None:
        """Subscribe with quality of service 1; return when the broker has said yes."""
        ...

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Hand the message over in the first step, so that order is kept; return when the broker has acknowledged."""
        ...

    def messages(self) -> AsyncIterator[Letter]:
        """Yield what comes on the topics subscribed to, for as long as the connection stands."""
        ...


# Enters a connection whose last will, retained, is the letter; raises BrokerLostError if none can be made.
Connect = Callable[[Letter], AbstractAsyncContextManager[Connection]]
Say = Callable[[Kind, bytes], Awaitable[None]]


class Correspondent(Protocol):
    """Whoever else speaks with the server over the publisher's connection, such as who carries out commands."""

    @property
    def kinds(self) -> frozenset[Kind]:
        """Which topics of the server it takes; the publisher subscribes to them. Receipts are the publisher's own."""
        ...

    def take(self, kind: Kind, payload: bytes) -> None:
        """Take a message; return at once, for receipts wait behind it."""
        ...

    async def converse(self, say: Say) -> None:
        """Speak with ``say`` while the connection stands; cancelled when it ends, called again with the next.

        ``say(kind, payload)`` publishes and returns when the broker has acknowledged.
        """
        ...

    def status(self) -> Mapping[str, object]:
        """Return what the status message is to say under ``agent``: JSON values without floats, keys of its own."""
        ...
