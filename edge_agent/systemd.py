"""What systemd is told: that the agent is ready, gets on, stops (sd_notify(3)); without systemd, nothing.

The watchdog is fed by progress and not by a timer: each task that must get on (each bus, the publisher) says so when it
has done something, waiting for its next slot included, and only when *all* have said so since the last time systemd
hears of it. One bus that hangs lets the watchdog run out, whatever the others do, and the agent is started again; its
spool and journal lose nothing by that.
"""

import contextlib
import os
import socket
from collections.abc import Callable, Mapping
from time import monotonic

BEATS_A_PERIOD = 3  # a task that waits longer says so at least so often in the time that systemd allows
WAIT_S_MAX = 60.0  # without a watchdog nobody needs to hear more often


class Watchdog:
    """Tells systemd about the agent's tasks, if it was started by systemd."""

    def __init__(self, environment: Mapping[str, str] = os.environ, now_s: Callable[[], float] = monotonic) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        microseconds = environment.get("WATCHDOG_USEC", "")
        mine = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self._period_s = int(microseconds) / 1e6 if microseconds.isdigit() and mine else 0.0
        self._now_s = now_s
        self._last_s = -self._period_s
        self._expected: set[str] = set()
        self._waiting: set[str] = set()

    @property
    def beat_every_s(self) -> float:
        """How long a task may be silent."""
        return self._period_s / BEATS_A_PERIOD if self._period_s else WAIT_S_MAX

    def expect(self, task: str) -> None:
        """From now on ``task`` must get on, too."""
        self._expected.add(task)
        self._waiting.add(task)

    def dismiss(self, task: str) -> None:
        """``task`` has ended as it should."""
        self._expected.discard(task)
        self._waiting.discard(task)

    def beat(self, task: str) -> None:
        """Hear that ``task`` has got on."""
        self._waiting.discard(task)
        now_s = self._now_s()
        if not self._period_s or self._waiting or now_s - self._last_s < self.beat_every_s / 2:
            return
        self._waiting |= self._expected
        self._last_s = now_s
        self._tell("WATCHDOG=1")

    def ready(self) -> None:
        """The agent runs."""
        self._tell("READY=1")

    def stopping(self) -> None:
        """The agent ends, which may take the rest of a cycle."""
        self._tell("STOPPING=1")

    def _tell(self, state: str) -> None:
        address = self._address
        if not address.startswith(("/", "@")):
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.setblocking(False)
            with contextlib.suppress(OSError):  # it looks at us by other means as well
                out.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)
