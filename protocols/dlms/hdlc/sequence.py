"""The two halves of an HDLC station that both roles share: numbered sending and numbered receiving.

Sequence numbers count modulo eight (ISO/IEC 13239, 5.5.2). Up to a window of I frames are on their way; what the peer
has not acknowledged is sent again, from the first one missing (go back N), when it says so at a poll or a final.
"""

from collections import deque
from dataclasses import dataclass

from protocols.dlms.link import APDU_OCTETS_MAX
from protocols.errors import LocalProtocolError, RemoteProtocolError

LLC_COMMAND = b"\xe6\xe6\x00"  # IEC 62056-46, 5.3: destination LSAP, source LSAP of a command, control
LLC_RESPONSE = b"\xe6\xe7\x00"


@dataclass(frozen=True, slots=True)
class Numbered:
    """One I frame to send: N(S), the information field, whether more of the APDU follows, the poll or final bit."""

    number: int
    information: bytes
    segmented: bool
    last: bool


class Outbox:
    """Segments to send, in windows."""

    def __init__(self, info_octets: int, window: int) -> None:
        self._info_octets = info_octets
        self._window = window
        self._waiting: deque[tuple[bytes, bool]] = deque()
        self._sent: deque[tuple[bytes, bool]] = deque()
        self._oldest = 0  # N(S) of the first octets not acknowledged

    @property
    def next_number(self) -> int:
        """V(S): the number the next new frame gets."""
        return (self._oldest + len(self._sent)) % 8

    @property
    def finished(self) -> bool:
        """Whether everything was sent and acknowledged."""
        return not self._waiting and not self._sent

    def load(self, octets: bytes) -> None:
        """Cut ``octets`` (an APDU with its LLC header) into segments."""
        if not self.finished:
            raise LocalProtocolError("an APDU is still being sent; wait for its answer first")
        size = self._info_octets
        pieces = [octets[at : at + size] for at in range(0, len(octets), size)]
        self._waiting.extend((piece, place < len(pieces) - 1) for place, piece in enumerate(pieces))

    def abandon(self) -> None:
        """Drop what the peer has not acknowledged and will not ask for: it sent a new question instead."""
        self._waiting.clear()
        self._sent.clear()

    def acknowledge(self, receive_number: int) -> bool:
        """Take the peer's N(R); return whether it acknowledged anything. RemoteProtocolError if it cannot be."""
        count = (receive_number - self._oldest) % 8
        if count > len(self._sent):
            raise RemoteProtocolError(
                f"N(R) {receive_number} acknowledges what was never sent; expected {self._oldest} to {self.next_number}"
            )
        for _ in range(count):
            self._sent.popleft()
        self._oldest = receive_number
        return count > 0

    def window(self) -> list[Numbered]:
        """Return the frames to send now: first again what is not acknowledged, then new ones up to the window."""
        while self._waiting and len(self._sent) < self._window:
            self._sent.append(self._waiting.popleft())
        count = len(self._sent)
        return [
            Numbered((self._oldest + place) % 8, information, segmented, place == count - 1)
            for place, (information, segmented) in enumerate(self._sent)
        ]


class Inbox:
    """Segments received in order, joined to APDUs."""

    def __init__(self) -> None:
        self.expected = 0  # V(R)
        self._octets = bytearray()
        self.partial = False

    def take(self, number: int, information: bytes, segmented: bool) -> bytes | None:
        """Take a frame; return the whole APDU (with its LLC header) when this was its last segment, else None.

        The caller has made sure that ``number`` is the expected one. RemoteProtocolError when the APDU grows beyond
        APDU_OCTETS_MAX.
        """
        assert number == self.expected
        self.expected = (number + 1) % 8
        if len(self._octets) + len(information) > APDU_OCTETS_MAX:
            self._octets.clear()
            self.partial = False
            raise RemoteProtocolError(f"an APDU of more than {APDU_OCTETS_MAX} octets")
        self._octets += information
        self.partial = segmented
        if segmented:
            return None
        whole = bytes(self._octets)
        self._octets.clear()
        return whole


def strip_llc(octets: bytes, expected: bytes) -> bytes:
    """Return the APDU behind its LLC header; RemoteProtocolError when the header is another one."""
    if octets[:3] != expected:
        raise RemoteProtocolError(f"found the LLC header {octets[:3].hex()}, expected {expected.hex()}", offset=0)
    return octets[3:]
