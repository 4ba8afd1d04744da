"""The readings message of either schema, 1 (:mod:`.batch`) or 2 (:mod:`.columns`)."""

from protocols.telemetry import batch, columns
from protocols.telemetry.batch import Batch, Header, decompress


def decode_readings(payload: bytes) -> Batch:
    """Return what a readings message says; raise :class:`RemoteProtocolError` if anything breaks the contract."""
    text = decompress(payload)
    return columns.decode_columns(text) if columns.is_columns(text) else batch.decode_batch(payload)


def decode_header(payload: bytes) -> Header:
    """Return whose batches a readings message carries, even if its columns break the contract.

    The server keeps such a message in the quarantine and can then still say so in a receipt. Raises
    :class:`RemoteProtocolError` if not even that can be told.
    """
    text = decompress(payload)
    return columns.take_header(columns.take_head(text)[0]) if columns.is_columns(text) else batch.decode_header(payload)
