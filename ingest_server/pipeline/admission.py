"""Which rows of a batch may be stored, and as what; the others go to the quarantine with a reason.

Pure: what is registered and the present time are arguments.
"""

from __future__ import annotations  # array[int] is no expression before Python 3.12

import weakref
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingest_server.pipeline.message import Refusal, Rejected
from protocols.telemetry.batch import Batch, Header, encode_batch
from protocols.telemetry.reading import Quality
from protocols.telemetry.remembered import RememberedChannels
from protocols.telemetry.topics import Kind, Topic

AHEAD_MS_MAX = 86_400_000  # a clock that is a day ahead is wrong, not early
NAMES_SHOWN_MAX = 3
# What a gateway sends later or a person keys in may be there already in another form.
MAY_COLLIDE = Quality.PROFILE | Quality.ESTIMATED | Quality.SUBSTITUTED | Quality.MANUAL


class Channels(dict[tuple[str, str], int]):
    """A gateway's channels: (meter, OBIS code) → channel_id. None is added once :meth:`ids` was asked."""

    __slots__ = ("__weakref__",)

    def ids(self, pairs: tuple[tuple[str, str], ...]) -> NDArray[np.int32]:
        """Return the channel_id of each of ``pairs``, 0 for one that is not registered.

        A gateway sends the same channels again and again, and the decoder then gives the very same object: they are
        looked up once.
        """
        if not isinstance(pairs, RememberedChannels):
            return self._look_up(pairs)
        found = pairs.looked_up
        if not isinstance(found, LookedUp) or found.of() is not self:
            found = pairs.looked_up = LookedUp(weakref.ref(self), self._look_up(pairs))
        return found.ids

    def _look_up(self, pairs: tuple[tuple[str, str], ...]) -> NDArray[np.int32]:
        return np.array([self.get(pair, 0) for pair in pairs], dtype=np.int32)


class LookedUp(NamedTuple):
    """What a gateway's channels gave for a message's."""

    of: weakref.ref[Channels]
    ids: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Rows:
    """Readings as columns of one length, ready for the table ``reading``; times in milliseconds since 1970 UTC."""

    channel_id: NDArray[np.int32]
    at_ms: NDArray[np.int64]
    value: NDArray[np.int64]
    quality: NDArray[np.int16]

    def __len__(self) -> int:
        return len(self.value)

    def chosen(self, which: NDArray[np.bool_] | NDArray[np.int64]) -> Rows:
        """Return the rows that a mask or places choose."""
        return Rows(self.channel_id[which], self.at_ms[which], self.value[which], self.quality[which])

    @classmethod
    def together(cls, parts: Sequence[Rows]) -> Rows:
        """Return the rows of all ``parts``, one after the other; there must be one at least."""
        return cls(
            np.concatenate([each.channel_id for each in parts]),
            np.concatenate([each.at_ms for each in parts]),
            np.concatenate([each.value for each in parts]),
            np.concatenate([each.quality for each in parts]),
        )


@dataclass(frozen=True, slots=True)
class Admission:
    """What becomes of one readings message.

    ``may_collide`` says that some of the rows are of a kind that may be stored already.
    ``unregistered`` says that rows were refused for want of a registered meter or channel.
    """

    header: Header
    rows: Rows
    rejected: tuple[Rejected, ...] = ()
    may_collide: bool = False
    unregistered: bool = False


def find_refused(
    channel_id: NDArray[np.int32], at_ms: NDArray[np.int64], now_ms: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which rows are of no registered channel, and which are dated too far ahead of ``now_ms``."""
    return channel_id == 0, at_ms > now_ms + AHEAD_MS_MAX


def admit(batch: Batch, channels: Channels | None, now_ms: int) -> Admission:
    """Return which rows of ``batch`` to store and which to quarantine.

    ``channels`` are those of the batch's gateway, ``None`` if the gateway is not registered. A row is refused if its
    meter or channel is not registered there, or if its time is more than a day ahead of ``now_ms``.
    """
    header = batch.header
    ids = np.zeros(len(batch.channels), np.int32) if channels is None else channels.ids(batch.channels)
    rows = Rows(
        ids[_column(batch.channel)],
        _column(batch.at_ms),
        _column(batch.value),
        _column(batch.quality).astype(np.int16),
    )
    unknown, future = find_refused(rows.channel_id, rows.at_ms, now_ms)
    may_collide = bool((rows.quality & int(MAY_COLLIDE)).any())
    refused = unknown | future
    if not refused.any():
        return Admission(header, rows, may_collide=may_collide)
    reasons: dict[str, NDArray[np.bool_]] = {}
    if channels is None:
        reasons[f"gateway {batch.gateway} is not registered"] = unknown
    else:
        meters = {meter for meter, _ in channels}
        reasons |= _unregistered(batch, meters, unknown)
    early = future & ~unknown
    rejected = tuple(
        _reject(batch, mask, reason, header, kind)
        for reason, mask, kind in (
            *((reason, mask, Refusal.UNREGISTERED) for reason, mask in reasons.items()),
            ("measured_at is more than a day ahead of the server's clock", early, Refusal.FUTURE),
        )
        if mask.any()
    )
    kept = ~refused
    return Admission(header, rows.chosen(kept), rejected, may_collide, unregistered=bool(unknown.any()))


def _column(values: array[int]) -> NDArray[np.int64]:
    return np.frombuffer(values, dtype=np.int64)


def _unregistered(batch: Batch, meters: set[str], unknown: NDArray[np.bool_]) -> dict[str, NDArray[np.bool_]]:
    """Return the reasons for the unknown channels, each with its rows."""
    strange_meter = np.array([meter not in meters for meter, _ in batch.channels])[_column(batch.channel)]
    reasons = {}
    for what, mask in (("meter", unknown & strange_meter), ("channel", unknown & ~strange_meter)):
        pairs = [batch.channels[index] for index in np.unique(_column(batch.channel)[mask])]
        names = list(dict.fromkeys(pair[0] if what == "meter" else " ".join(pair) for pair in pairs))
        more = f" and {len(names) - NAMES_SHOWN_MAX} more" if len(names) > NAMES_SHOWN_MAX else ""
        reasons[f"{what} {', '.join(names[:NAMES_SHOWN_MAX])}{more} not registered at gateway {batch.gateway}"] = mask
    return reasons


def _reject(batch: Batch, mask: NDArray[np.bool_], reason: str, header: Header, kind: Refusal) -> Rejected:
    """Return the rows in ``mask`` as a message of their own."""
    rows = [reading for reading, chosen in zip(batch.readings(), mask, strict=True) if chosen]
    payload = encode_batch(batch.gateway, batch.generation, batch.sequence, rows)
    return Rejected(str(Topic(batch.gateway, Kind.READINGS)), payload, reason, header, kind=kind)
