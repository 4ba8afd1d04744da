"""General block transfer under way: one APDU out, one in, in windows, lost blocks again (IEC 62056-5-3).

Both ends are alike. A block that is not streaming gives the turn to the other end, which acknowledges the highest
block that arrived without a gap; whoever sends goes on from there, so a lost block and all after it come again.
"""

from protocols.dlms.exchanges import LONG_OCTETS_MAX
from protocols.dlms.xdlms.general_block import WINDOW_MAX, GeneralBlock
from protocols.errors import LocalProtocolError, RemoteProtocolError

BLOCK_OCTETS_HEAD = 10  # tag, control, two numbers, a length of up to three octets, rounded up
SILENT_TURNS_MAX = 3  # as often as HDLC repeats a frame
TURNS_WITHOUT_PROGRESS_MAX = 8  # a peer that keeps losing the same block is given up


class GeneralTransfer:
    """One end. ``window`` is how many blocks it can take in one turn; ``turn_max`` how many the link lets it send.

    Over HDLC a turn is one APDU, so there both are 1, whatever window the peer announces.
    """

    def __init__(self, window: int, turn_max: int = WINDOW_MAX) -> None:
        if not 1 <= window <= WINDOW_MAX:
            raise LocalProtocolError(f"a window of {window} blocks, expected 1 to {WINDOW_MAX}")
        self._window = window
        self._turn_max = turn_max
        self._begin()

    def _begin(self) -> None:
        self._pieces: list[bytes] = []
        self._acknowledged = 0  # of our blocks
        self._received = 0  # of the peer's blocks, without a gap
        self._octets = bytearray()
        self._peer_window = 1
        self._stalled = 0

    def send(self, apdu: bytes, pdu_octets: int) -> list[bytes]:
        """Begin to send ``apdu`` to a peer that takes ``pdu_octets``; return the first blocks."""
        window = self._peer_window
        self._begin()
        self._peer_window = window
        size = max(1, pdu_octets - BLOCK_OCTETS_HEAD)
        self._pieces = [apdu[at : at + size] for at in range(0, len(apdu), size)]
        return self._transmit()

    def reset(self) -> None:
        """Begin anew: another question, another association."""
        self._begin()

    def receive(self, block: GeneralBlock) -> tuple[bytes | None, list[bytes]]:
        """Take a block; return the whole APDU after its last one, and the blocks to send now.

        RemoteProtocolError when the peer acknowledges what was never sent, sends too much, or makes no progress.
        """
        sending = self._acknowledged < len(self._pieces)
        before = (self._acknowledged, self._received)
        if block.acknowledged > len(self._pieces):
            raise RemoteProtocolError(
                f"general block {block.acknowledged} is acknowledged, {len(self._pieces)} were sent"
            )
        self._peer_window = max(1, block.window)
        self._acknowledged = max(self._acknowledged, block.acknowledged)
        if block.number == self._received + 1 and (block.octets or not sending):
            if len(self._octets) + len(block.octets) > LONG_OCTETS_MAX:
                self._begin()
                raise RemoteProtocolError(f"general blocks of more than {LONG_OCTETS_MAX} octets")
            self._octets += block.octets
            self._received = block.number
            if block.last:
                whole = bytes(self._octets)
                window = self._peer_window
                self._begin()
                self._peer_window = window
                return whole, []
        if block.streaming:
            return None, []
        self._stalled = self._stalled + 1 if (self._acknowledged, self._received) == before else 0
        if self._stalled > TURNS_WITHOUT_PROGRESS_MAX:
            self._begin()
            raise RemoteProtocolError("a general block transfer makes no progress")
        if self._acknowledged < len(self._pieces):
            return None, self._transmit()
        return None, [self._acknowledge()]

    def receive_silence(self) -> list[bytes]:
        """Hear that the other end says nothing more; return what gives it the turn again, at most a few times.

        The block that gave the turn was lost, or its answer: over UDP nothing below repeats it. Nothing is returned
        when no transfer is under way, or when it makes no progress.
        """
        sending = self._acknowledged < len(self._pieces)
        if not sending and not self._received:
            return []
        self._stalled += 1
        if self._stalled > SILENT_TURNS_MAX:
            self._begin()
            return []
        return self._transmit() if sending else [self._acknowledge()]

    def _transmit(self) -> list[bytes]:
        """Return the blocks of one turn, from the first one not acknowledged."""
        first = self._acknowledged
        end = min(first + min(self._peer_window, self._turn_max), len(self._pieces))
        return [
            GeneralBlock(
                number=place + 1,
                octets=self._pieces[place],
                last=place == len(self._pieces) - 1,
                streaming=place < end - 1,
                window=self._window,
                acknowledged=self._received,
            ).encode()
            for place in range(first, end)
        ]

    def _acknowledge(self) -> bytes:
        return GeneralBlock(
            number=len(self._pieces) + 1, octets=b"", last=True, window=self._window, acknowledged=self._received
        ).encode()
