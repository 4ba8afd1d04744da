"""The fast way to decode a readings message that is written as our own encoder writes it.

A server decodes some thousand messages a second, nearly all of them from one encoder and most of them with the meters
of the cycle before. So a text in the encoder's own form (keys in its order, no spaces, integers of at most 18 digits)
is cut at its keys, columns are read and summed by NumPy, and what repeats itself – the channels, and the columns that
point into them – is parsed once and remembered by its octets.

Nothing is taken here that :func:`~protocols.telemetry.batch.decode_batch` would not take, and nothing is refused: in
any doubt this way returns ``None`` and that one decides and names the reason. Why the sums can't deceive: a difference
lies within ±10¹⁸ and a sum within ±2⁶², so the first sum that leaves its bounds still fits into 64 bits and is seen.
"""

from __future__ import annotations  # array[int] is no expression before Python 3.12

import re
from array import array
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from protocols.errors import RemoteProtocolError
from protocols.telemetry.batch import (
    AT_MS_MAX,
    AT_MS_MIN,
    QUALITY_MAX,
    ROWS_MAX,
    SCHEMA,
    VALUE_MAX,
    Batch,
    decode_batch,
    decompress,
    take_channels,
)
from protocols.telemetry.columns import is_columns
from protocols.telemetry.planes import decode_planes
from protocols.telemetry.remembered import RememberedChannels, remembered
from protocols.telemetry.sequences import SEQUENCE_MAX
from protocols.telemetry.strict_json import parse_object

_HEAD = re.compile(
    rb'\{"schema":"%s","gateway":"([A-Za-z0-9][A-Za-z0-9._-]{0,63})","generation":"([0-9a-f]{16})",'
    rb'"sequence":([1-9][0-9]{0,15}),' % re.escape(SCHEMA).encode()
)
_INTEGERS = re.compile(rb"-?(?:0|[1-9][0-9]{0,17})(?:,-?(?:0|[1-9][0-9]{0,17}))*+")

Column = NDArray[np.int64]


class Bounded(NamedTuple):
    """A column with its lowest and its highest value."""

    column: Column
    lowest: int
    highest: int

    def within(self, lowest: int, highest: int) -> bool:
        """Return whether all values lie within the closed bounds."""
        return lowest <= self.lowest and self.highest <= highest


def decode_readings(payload: bytes) -> Batch:
    """Return what a readings message says, as :func:`~protocols.telemetry.readings.decode_readings` does, and faster.

    Raises
    ------
    RemoteProtocolError
        If anything in it breaks the contract.
    """
    text = decompress(payload)
    if is_columns(text):
        return decode_planes(text)
    found = decode_canonical(text)
    return decode_batch(payload) if found is None else found


def decode_canonical(text: bytes) -> Batch | None:
    """Return what ``text`` says if it is in the encoder's form and keeps to the contract; ``None`` if not sure."""
    head, channels_mark, rest = text.partition(b'"channels":')
    channels_text, channel_mark, rest = rest.partition(b',"channel":[')
    channel_text, at_mark, rest = rest.partition(b'],"at":[')
    at_text, value_mark, rest = rest.partition(b'],"value":[')
    value_text, quality_mark, rest = rest.partition(b'],"quality":[')
    header = _HEAD.fullmatch(head)
    if not (header and channels_mark and channel_mark and at_mark and value_mark and quality_mark):
        return None
    if not rest.endswith(b"]}") or int(header[3]) > SEQUENCE_MAX:
        return None
    channels = _remembered_channels(channels_text)
    channel, quality = _remembered_column(channel_text), _remembered_column(rest[:-2])
    at_steps, value_steps = _integers(at_text), _integers(value_text)
    if channels is None or channel is None or quality is None or at_steps is None or value_steps is None:
        return None
    rows = len(channel.column)
    if rows > ROWS_MAX or not rows == len(quality.column) == len(at_steps) == len(value_steps):
        return None
    at_ms, value = _bounded(np.add.accumulate(at_steps)), _bounded(np.add.accumulate(value_steps))
    if not (
        _ascending(channel.column, at_steps)
        and channel.within(0, len(channels) - 1)
        and at_ms.within(AT_MS_MIN, AT_MS_MAX)
        and value.within(-VALUE_MAX, VALUE_MAX)
        and quality.within(0, QUALITY_MAX)
    ):
        return None
    return Batch(
        header[1].decode(),
        header[2].decode(),
        int(header[3]),
        channels,
        channel=_array(channel.column),
        at_ms=_array(at_ms.column),
        value=_array(value.column),
        quality=_array(quality.column),
    )


@remembered
def _remembered_channels(text: bytes) -> RememberedChannels | None:
    """Return the channels in ``text`` if it is one JSON value, and a right one."""
    try:
        found = parse_object(b'{"channels":%b}' % text)
        return RememberedChannels(take_channels(found["channels"])) if len(found) == 1 else None
    except RemoteProtocolError:
        return None


@remembered
def _remembered_column(text: bytes) -> Bounded | None:
    found = _integers(text)
    return None if found is None else _bounded(found)


def _integers(text: bytes) -> Column | None:
    """Return the integers in ``text`` if each is written as JSON has it, with at most 18 digits; never none."""
    return np.fromstring(text.decode("ascii"), np.int64, sep=",") if _INTEGERS.fullmatch(text) else None


def _bounded(column: Column) -> Bounded:
    return Bounded(column, int(np.minimum.reduce(column)), int(np.maximum.reduce(column)))


def _ascending(channel: Column, steps_ms: Column) -> bool:
    """Return whether rows ascend by channel, then time; ``steps_ms`` holds each time's difference to the one before."""
    steps = channel[1:] - channel[:-1]
    return bool(np.logical_and.reduce((steps > 0) | ((steps == 0) & (steps_ms[1:] > 0))))


def _array(column: Column) -> array[int]:
    made = array("q")
    made.frombytes(column.tobytes())
    return made
