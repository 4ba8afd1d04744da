"""Topic names: ``congto/v1/{gateway}/{kind}``."""

import re
from collections.abc import Collection
from enum import Enum
from typing import NamedTuple

from protocols.errors import RemoteProtocolError, UsageError

PREFIX = "congto/v1"
# A gateway's name is one topic level and the common name of a certificate (at most 64 characters, RFC 5280).
_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_IDENTIFIERS = re.compile(rf"(?:{_IDENTIFIER.pattern}\n)*")


class Kind(Enum):
    """The last level of a topic. ``RECEIPTS`` and ``COMMANDS`` come from the server, the others from gateways."""

    READINGS = "readings"
    EVENTS = "events"
    STATUS = "status"
    REPLIES = "replies"
    RECEIPTS = "receipts"
    COMMANDS = "commands"


class Topic(NamedTuple):
    """A gateway and what is said about it."""

    gateway: str
    kind: Kind

    def __str__(self) -> str:
        return f"{PREFIX}/{self.gateway}/{self.kind.value}"


def check_identifier(text: str, what: str) -> str:
    """Return ``text`` if it may name a gateway, bus or meter; raise :class:`UsageError` otherwise."""
    if not _IDENTIFIER.fullmatch(text):
        raise UsageError(
            f"{what} {text!r}: expected 1 to 64 letters, digits, '.', '_' or '-', beginning with a letter or digit"
        )
    return text


def check_identifiers(texts: Collection[str], what: str) -> None:
    """Raise :class:`UsageError` for the first of ``texts`` that may not name a gateway, bus or meter."""
    # All in one search, for messages name thousands. The lines must be as many as the texts: none may hold a line end.
    joined = "\n".join(texts) + "\n"
    if joined.count("\n") != len(texts) or not _IDENTIFIERS.fullmatch(joined):
        for text in texts:
            check_identifier(text, what)


def parse_topic(text: str) -> Topic:
    """Return the topic written in ``text``; raise :class:`RemoteProtocolError` if it is none of ours."""
    prefix, _, rest = text.rpartition(f"{PREFIX}/")
    gateway, _, kind = rest.partition("/")
    if prefix or not _IDENTIFIER.fullmatch(gateway):
        raise RemoteProtocolError(f"topic {text[:200]!r}: expected {PREFIX}/GATEWAY/KIND")
    try:
        return Topic(gateway, Kind(kind))
    except ValueError:
        kinds = ", ".join(each.value for each in Kind)
        raise RemoteProtocolError(f"topic {text[:200]!r}: the last level must be one of {kinds}") from None
