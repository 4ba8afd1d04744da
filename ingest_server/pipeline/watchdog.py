"""Ends a process that no longer gets anywhere, so that whoever supervises it starts it anew.

It looks from a thread of its own: a loop that hangs can't watch itself. It is fed by progress, not by being alive.
"""

import os
import threading
import time
from collections.abc import Callable, Sequence

from ingest_server.journal import LOG, fact

EXIT_STUCK = 3


class Stillness:
    """How long nothing has moved although something waits. Pure: the time is an argument."""

    def __init__(self, now_s: float) -> None:
        self._progress: object = None
        self._since_s = now_s

    def after(self, now_s: float, progress: object, *, waiting: bool) -> float:
        """Return the seconds for which ``progress`` has stood still while something was ``waiting``."""
        if progress != self._progress or not waiting:
            self._progress, self._since_s = progress, now_s
        return now_s - self._since_s


Moves = Sequence[tuple[object, bool]]  # of each that is watched: its progress, and whether something waits for it


def watch(
    moves: Callable[[], Moves], limit_s: float, every_s: float, moving: Callable[[], None] = lambda: None
) -> None:
    """End the process with status 3 once one that is watched stands still for ``limit_s`` while something waits for it.

    ``moving`` is called every ``every_s`` seconds as long as none has.
    """

    def look() -> None:
        stillness = [Stillness(time.monotonic()) for _ in moves()]
        while (still_s := longest_s(stillness, moves(), time.monotonic())) < limit_s:
            moving()
            time.sleep(every_s)
        LOG.critical(fact("ingest.stuck", still_s=round(still_s), exit_status=EXIT_STUCK))
        os._exit(EXIT_STUCK)

    threading.Thread(target=look, name="watchdog", daemon=True).start()


def longest_s(stillness: Sequence[Stillness], moves: Moves, now_s: float) -> float:
    """Return for how long the one that has stood still longest has done so."""
    pairs = zip(stillness, moves, strict=True)
    return max(still.after(now_s, progress, waiting=waiting) for still, (progress, waiting) in pairs)
