"""Which messages the broker may be told to forget: in the order they came, whatever order they are settled in.

Two transactions run at once, and the later may be committed first. MQTT 5 wants acknowledgements in the order of the
messages (section 4.6, MQTT-4.6.0-2), so what is settled early waits for what came before it.
"""

from collections import Counter, deque
from collections.abc import Iterable


class Unacknowledged:
    """Packet identifiers of one connection, from the message's coming until its acknowledgement.

    There are at most as many as the broker has under way to us, for it uses none again before that.
    """

    def __init__(self) -> None:
        self._waiting: deque[int] = deque()
        self._settled: Counter[int] = Counter()

    def came(self, packet: int) -> None:
        """Note a message that wants an acknowledgement."""
        self._waiting.append(packet)

    def settle(self, packets: Iterable[int]) -> list[int]:
        """Note that these are settled; return which may be acknowledged now, in the order in which they came."""
        self._settled.update(packets)
        ready = []
        while self._waiting and self._settled[self._waiting[0]]:
            packet = self._waiting.popleft()
            self._settled[packet] -= 1
            if not self._settled[packet]:
                del self._settled[packet]
            ready.append(packet)
        return ready

    def clear(self) -> None:
        """Forget all of them: the connection has ended, and what was not acknowledged comes again."""
        self._waiting.clear()
        self._settled.clear()
