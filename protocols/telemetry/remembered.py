"""What a fast decoder remembers of the texts that it met last, for most messages repeat the ones before."""

from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

# What is remembered is bounded: a channel takes some 150 octets and a row 8, so all of it takes 60 MB at the very most.
SHORT_OCTETS_MAX, SHORT_REMEMBERED = 2 << 10, 2048
LONG_OCTETS_MAX, LONG_REMEMBERED = 32 << 10, 128

T = TypeVar("T")


class RememberedChannels(tuple[tuple[str, str], ...]):
    """A message's channels, the same object for the same text, with room for what its reader has looked up of them.

    So that is forgotten together with them.
    """

    looked_up: object = None


def remembered(parse: Callable[[bytes], T]) -> Callable[[bytes], T]:
    """Return ``parse`` with a memory of the texts that were met last; long ones are parsed each time."""
    short, long = lru_cache(SHORT_REMEMBERED)(parse), lru_cache(LONG_REMEMBERED)(parse)

    def look(text: bytes) -> T:
        if len(text) <= SHORT_OCTETS_MAX:
            return short(text)
        return long(text) if len(text) <= LONG_OCTETS_MAX else parse(text)

    return look
