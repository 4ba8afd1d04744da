"""What a meter says unasked: DataNotification and EventNotification (IEC 62056-5-3)."""

from dataclasses import dataclass

from protocols.dlms import axdr
from protocols.dlms.data import Data
from protocols.dlms.octets import Cursor
from protocols.dlms.push_quirks import decode_push_data
from protocols.dlms.quirks import STRICT, Quirks
from protocols.dlms.xdlms.references import Attribute, decode_attribute

DATA_NOTIFICATION, EVENT_NOTIFICATION = 0x0F, 0xC2


@dataclass(frozen=True, slots=True)
class DataNotification:
    """Push data. ``date_time`` is the sender's, in twelve octets, or None; of the invoke-id 24 bits count."""

    long_invoke: int
    date_time: bytes | None
    data: Data

    @property
    def invoke_id(self) -> int:
        """The long invoke-id without its flags."""
        return self.long_invoke & 0xFFFFFF

    def encode(self) -> bytes:
        """Return the APDU."""
        time = self.date_time or b""
        head = bytes((DATA_NOTIFICATION,)) + self.long_invoke.to_bytes(4, "big")
        return head + axdr.encode_length(len(time)) + time + axdr.encode(self.data)


@dataclass(frozen=True, slots=True)
class EventNotification:
    """A change of one attribute."""

    date_time: bytes | None
    attribute: Attribute
    data: Data

    def encode(self) -> bytes:
        """Return the APDU."""
        time = b"\0" if self.date_time is None else b"\1" + axdr.encode_length(len(self.date_time)) + self.date_time
        return bytes((EVENT_NOTIFICATION,)) + time + self.attribute.encode() + axdr.encode(self.data)


def decode_data_notification(cursor: Cursor, quirks: Quirks = STRICT) -> DataNotification:
    """Decode what follows the tag. Kaifa MA309 tags the date-time ``09 0C`` as if it were data; that is taken, too."""
    long_invoke = cursor.u32("a long invoke-id")
    if cursor.octets[cursor.at : cursor.at + 2] == b"\x09\x0c":
        cursor.u8("a date-time's tag")
    time = cursor.counted("a date-time")
    notification = DataNotification(long_invoke, time or None, decode_push_data(cursor, quirks))
    cursor.end("the data-notification")
    return notification


def decode_event_notification(cursor: Cursor) -> EventNotification:
    """Decode what follows the tag."""
    time = cursor.counted("a date-time") if cursor.flag("a date-time's presence") else None
    notification = EventNotification(time or None, decode_attribute(cursor), cursor.data())
    cursor.end("the event-notification")
    return notification
