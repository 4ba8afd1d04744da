"""What is on its way to the server and not receipted: how much may be, and what is to be sent again.

Pure: seconds are an argument.

**Live before backlog.** Live messages have a window of their own. The backlog may have so many octets under way as the
link and the server settle in about :data:`BACKLOG_TAKES_S`: the allowance doubles while receipts come sooner and halves
when they come later. So a live message never waits long behind it, on a fast link or a slow one.

**Again.** A message whose receipt does not come is sent again by itself, after a pause that doubles as long as no
receipt comes at all: when the server is down, repeating everything helps nobody.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from edge_agent.joining import Outgoing
from protocols.telemetry.sequences import Ranges

LIVE_MESSAGES_MAX = 20
BACKLOG_MESSAGES_MAX = 50
BACKLOG_TAKES_S = 1.0
ALLOWED_OCTETS_FIRST = 64 << 10
ALLOWED_OCTETS_MIN = 2 << 10  # two seconds of a GPRS link at its worst
ALLOWED_OCTETS_MAX = 2 << 20
DOUBLINGS_MAX = 5
PAUSE_MAX_S = 300.0


@dataclass(slots=True)
class Sent:
    """A message on its way. ``left`` are the sequences that are not receipted; ``at_s`` is when it was sent last."""

    outgoing: Outgoing
    left: set[int]
    live: bool
    at_s: float
    again: bool = False


@dataclass(slots=True)
class Window:
    """The messages on their way."""

    resend_after_s: float
    under_way: list[Sent] = field(default_factory=list)
    allowed_octets: int = ALLOWED_OCTETS_FIRST
    _pauses: int = 0

    def begin(self) -> None:
        """Forget what was on its way: with a new connection everything is sent again."""
        self.under_way.clear()
        self.allowed_octets = ALLOWED_OCTETS_FIRST

    def room(self, *, live: bool) -> int:
        """Return how many octets may be sent now."""
        found = [each for each in self.under_way if each.live is live]
        if live:
            return ALLOWED_OCTETS_MAX if len(found) < LIVE_MESSAGES_MAX else 0
        if len(found) >= BACKLOG_MESSAGES_MAX:
            return 0
        room = self.allowed_octets - sum(len(each.outgoing.payload) for each in found)
        return max(room, 0) if found else self.allowed_octets

    def note_sent(self, outgoing: Outgoing, *, live: bool, now_s: float) -> None:
        """Note that a message was handed over."""
        left = {each for first, last in outgoing.sequences for each in range(first, last + 1)}
        self.under_way.append(Sent(outgoing, left, live, now_s))

    def note_receipt(self, generation: str, sequences: Ranges, now_s: float) -> None:
        """Strike off what is receipted, and learn from how long it took."""
        for sent in [each for each in self.under_way if each.outgoing.generation == generation]:
            sent.left.difference_update(_within(sent.left, sequences))
            if not sent.left:
                self.under_way.remove(sent)
                if not sent.live and not sent.again:
                    self._learn(now_s - sent.at_s)
        self._pauses = 0

    def _learn(self, took_s: float) -> None:
        if took_s > BACKLOG_TAKES_S:
            self.allowed_octets = max(self.allowed_octets // 2, ALLOWED_OCTETS_MIN)
        else:
            self.allowed_octets = min(self.allowed_octets * 2, ALLOWED_OCTETS_MAX)

    @property
    def pause_s(self) -> float:
        """How long a receipt is waited for."""
        return max(self.resend_after_s, min(self.resend_after_s * (1 << self._pauses), PAUSE_MAX_S))

    def due_s(self) -> float | None:
        """Return when the next message is to be sent again; None if none is on its way."""
        return min((each.at_s + self.pause_s for each in self.under_way), default=None)

    def overdue(self, now_s: float) -> list[Outgoing]:
        """Return the messages that are to be sent again now, and note that they are."""
        found = [each for each in self.under_way if each.at_s + self.pause_s <= now_s]
        for each in found:
            each.at_s, each.again = now_s, True
        if found:
            self._pauses = min(self._pauses + 1, DOUBLINGS_MAX)
        return [each.outgoing for each in found]


def _within(sequences: Iterable[int], ranges: Ranges) -> Iterator[int]:
    for sequence in list(sequences):
        if any(first <= sequence <= last for first, last in ranges):
            yield sequence
