"""Receiving pushes: what meters send unasked over HDLC, the wrapper (TCP, UDP) or M-Bus, plain or ciphered.

::

    receiver = PushReceiver(PushLink.HDLC, known={title: PushSecurity(keys)})
    receiver.receive_data(data)
    while (event := receiver.next_event()) is not NEED_DATA:
        ...                      # Pushed, or Locked when the key is not known

A push goes one way, so nothing is ever sent. Between the frames of one push a meter may pause for seconds: call
``receive_silence`` only after a pause that none of the meters makes (``PAUSE_S_MAX``).
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from protocols.dlms.apdu import decode_apdu
from protocols.dlms.ciphering import CipheredApdu, Keys, SecurityControl, decode_ciphered, is_ciphered, unprotect
from protocols.dlms.cosem_time import DATE_TIME_OCTETS
from protocols.dlms.data import Data, Tag
from protocols.dlms.hdlc.frames import Frame, FrameReader, FrameType
from protocols.dlms.hdlc.sequence import LLC_RESPONSE
from protocols.dlms.link import APDU_OCTETS_MAX, NEED_DATA, NeedData
from protocols.dlms.mbus import MbusFrame, MbusReader, PartAssembly
from protocols.dlms.protection import COUNTER_JUMP_MAX
from protocols.dlms.quirks import STRICT, Quirks
from protocols.dlms.wrapper import Wrapped, WrapperReader
from protocols.dlms.xdlms.general_block import BlockAssembly, GeneralBlock
from protocols.dlms.xdlms.notifications import DataNotification, EventNotification
from protocols.errors import RemoteProtocolError

_HEAD_OCTETS = 2  # of an APDU: tag, and flags that a meter's pushes have in common
PAUSE_S_MAX = 5  # Iskraemeco AM550 was seen to pause 3 s between the HDLC parts of one push


class PushLink(Enum):
    """What carries the pushes."""

    HDLC = "hdlc"
    WRAPPER = "wrapper"
    MBUS = "mbus"


@dataclass(frozen=True, slots=True)
class PushSecurity:
    """How one meter protects its pushes. ``received_counter`` is the highest one accepted so far (-1: none)."""

    keys: Keys
    control: SecurityControl = field(default_factory=SecurityControl)
    received_counter: int = -1


@dataclass(frozen=True, slots=True)
class Pushed:
    """A push. ``title`` and ``counter`` are those of a ciphered one, None of a plain one."""

    notification: DataNotification | EventNotification
    title: bytes | None = None
    counter: int | None = None


@dataclass(frozen=True, slots=True)
class Locked:
    """A ciphered push of a meter whose key is not known."""

    apdu: CipheredApdu


PushEvent: TypeAlias = Pushed | Locked


class PushReceiver:
    """Turns octets of one line into pushes."""

    def __init__(
        self, link: PushLink, known: Mapping[bytes, PushSecurity] | None = None, quirks: Quirks = STRICT
    ) -> None:
        self._hdlc, self._wrapper, self._mbus = FrameReader(), WrapperReader(), MbusReader()
        self._link = link
        self._known = dict(known or {})
        self._quirks = quirks
        self._last: dict[bytes | None, Data] = {}  # what each meter said last, where it may say it twice
        self._parts = PartAssembly()
        self._frames = bytearray()
        self._blocks = BlockAssembly()
        self._events: deque[PushEvent] = deque()
        self.counters = {title: security.received_counter for title, security in self._known.items()}
        """The highest counter accepted of each meter; store it."""

    def receive_data(self, data: bytes) -> None:
        """Store octets as they come."""
        if self._link is PushLink.HDLC:
            self._hdlc.receive_data(data)
        elif self._link is PushLink.MBUS:
            self._mbus.receive_data(data)
        else:
            self._wrapper.receive_data(data)

    def receive_silence(self) -> None:
        """Drop what is incomplete."""
        self._hdlc.forget()
        self._mbus.forget()
        self._parts.forget()
        self._frames.clear()
        self._blocks = BlockAssembly()

    def next_event(self) -> PushEvent | NeedData:
        """Return the next push or NEED_DATA; RemoteProtocolError for one that is damaged, forged or repeated."""
        while not self._events:
            if self._link is PushLink.HDLC:
                frame = self._hdlc.next_frame()
                apdu = self._from_hdlc(frame) if isinstance(frame, Frame) else frame
            elif self._link is PushLink.MBUS:
                part = self._mbus.next_frame()
                apdu = self._parts.add(part) if isinstance(part, MbusFrame) else part
            else:
                wrapped = self._wrapper.next_wrapped()
                apdu = wrapped.apdu if isinstance(wrapped, Wrapped) else wrapped
            if isinstance(apdu, NeedData):
                return NEED_DATA
            if apdu is not None:
                self._take(apdu)
        return self._events.popleft()

    def _from_hdlc(self, frame: Frame) -> bytes | None:
        """Join segmented UI frames; only the first of a push has an LLC header with every maker.

        Some makers repeat it. But a frame that begins as the open push began is the next one: the last frame was lost.
        """
        if frame.type is not FrameType.UI:
            raise RemoteProtocolError(f"control field {frame.control:#04x} on a line of pushes, expected UI (03, 13)")
        if self._frames and frame.information.startswith(LLC_RESPONSE + self._frames[:_HEAD_OCTETS]):
            self._frames.clear()
        if len(self._frames) + len(frame.information) > APDU_OCTETS_MAX:
            self._frames.clear()
            raise RemoteProtocolError(f"a push of more than {APDU_OCTETS_MAX} octets")
        self._frames += frame.information.removeprefix(LLC_RESPONSE)
        if frame.segmented:
            return None
        whole = bytes(self._frames)
        self._frames.clear()
        return whole

    def _take(self, apdu: bytes, title: bytes | None = None, counter: int | None = None) -> None:
        if is_ciphered(apdu):
            if title is not None:
                raise RemoteProtocolError("a ciphered APDU inside a ciphered APDU")
            self._open(decode_ciphered(apdu))
            return
        decoded = decode_apdu(apdu, self._quirks)
        if isinstance(decoded, GeneralBlock):
            whole = self._blocks.add(decoded)
            if whole is not None:
                if whole[:1] == apdu[:1]:
                    raise RemoteProtocolError("general blocks inside general blocks")
                self._take(whole, title, counter)
        elif isinstance(decoded, DataNotification | EventNotification):
            if self._quirks.repeated_rows and _tells_time(decoded.data):
                if self._last.get(title) == decoded.data:
                    return
                self._last[title] = decoded.data
            self._events.append(Pushed(decoded, title, counter))
        else:
            raise RemoteProtocolError(f"{type(decoded).__name__} came unasked; only notifications may")

    def _open(self, apdu: CipheredApdu) -> None:
        title = apdu.title or b""
        security = self._known.get(title)
        if security is None:
            self._events.append(Locked(apdu))
            return
        agreed, found = security.control, apdu.control
        if (
            agreed.authenticated > found.authenticated
            or agreed.encrypted > found.encrypted
            or agreed.suite != found.suite
        ):
            raise RemoteProtocolError(f"security control byte {found.octet:02x}, agreed was {agreed.octet:02x}")
        last = self.counters[title]
        if apdu.counter <= last or (last >= 0 and apdu.counter - last > COUNTER_JUMP_MAX):
            raise RemoteProtocolError(f"invocation counter {apdu.counter} after {last}: a repetition, or far ahead")
        plaintext = unprotect(security.keys, title, found, apdu.counter, apdu.payload)
        if not found.authenticated:
            decode_apdu(
                plaintext, self._quirks
            )  # Nothing is proven; what does not even decode must not move the counter.
        self.counters[title] = apdu.counter
        self._take(plaintext, title, apdu.counter)


def _tells_time(data: Data) -> bool:
    """Whether there is a date-time in ``data``; nesting is bounded by the decoder."""
    if isinstance(data.content, bytes):
        return data.tag is Tag.DATE_TIME or (data.tag is Tag.OCTET_STRING and len(data.content) == DATE_TIME_OCTETS)
    return isinstance(data.content, tuple) and any(isinstance(one, Data) and _tells_time(one) for one in data.content)
