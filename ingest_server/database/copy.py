"""Columns of readings as the bytes of a binary COPY, made by NumPy and never row by row.

Source: PostgreSQL documentation, COPY, "Binary Format": a row is a count of fields, then each field's length and value
in network byte order; a timestamp is microseconds since 2000-01-01.
"""

import numpy as np
from numpy.typing import NDArray

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
EPOCH_MS = 946_684_800_000  # 2000-01-01 UTC

_CHANNEL = [("channel_id_octets", ">i4"), ("channel_id", ">i4")]
_REST = [("at_octets", ">i4"), ("at", ">i8"), ("value_octets", ">i4"), ("value", ">i8")]
_QUALITY = [("quality_octets", ">i4"), ("quality", ">i2")]
_READING = np.dtype([("fields", ">i2"), *_CHANNEL, *_REST, *_QUALITY])
_STAGED = np.dtype([("fields", ">i2"), ("message_octets", ">i4"), ("message", ">i4"), *_CHANNEL, *_REST, *_QUALITY])
_PAIR = np.dtype(
    [("fields", ">i2"), ("first_octets", ">i4"), ("first", ">i4"), ("second_octets", ">i4"), ("second", ">i8")]
)


def encode_readings(
    channel_id: NDArray[np.int32],
    at_ms: NDArray[np.int64],
    value: NDArray[np.int64],
    quality: NDArray[np.int16],
    message: NDArray[np.int32] | int | None = None,
) -> bytes:
    """Return rows of (channel_id, measured_at, value, quality), preceded by ``message`` in each row if it is given.

    The stream that they are a part of begins with :data:`HEADER` and ends with :data:`TRAILER`.
    """
    rows = np.empty(len(value), _READING if message is None else _STAGED)
    if message is not None:
        rows["message_octets"], rows["message"] = 4, message
    rows["fields"] = 4 if message is None else 5
    rows["channel_id_octets"], rows["channel_id"] = 4, channel_id
    rows["at_octets"], rows["at"] = 8, (at_ms - EPOCH_MS) * 1000
    rows["value_octets"], rows["value"] = 8, value
    rows["quality_octets"], rows["quality"] = 2, quality
    return rows.tobytes()


def decode_pairs(data: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the two columns of a whole stream of (integer, bigint)."""
    rows = np.frombuffer(data[len(HEADER) : len(data) - len(TRAILER)], _PAIR)
    return rows["first"].astype(np.int64), rows["second"].astype(np.int64)
