"""Whether somebody has asked on a serial port a moment ago, whoever it was: an agent, a tool, another program.

Linux notes when a terminal was last written to as its file's time of modification, to eight seconds
(``drivers/tty/tty_io.c``, ``tty_update_time``). That outlives every process, and ends with the computer or the adapter.
Who leaves a port on which nothing waits for an answer sets the file's times to now. So a port that was modified later
than its file was changed has been asked on since it is there, or since somebody left it quiet.

What is asked in the first eight seconds after that is not noted; an agent does not rely on it for its own questions
(:mod:`edge_agent.unheard`).
"""

import os
from contextlib import suppress
from pathlib import Path

from edge_agent.modbus_rtu import LATE_ANSWER_S

GRAIN_S = 8


def owed_s(port: str, now_s: float) -> float:
    """Return for how long an answer to somebody's question may still come, by the computer's clock ``now_s``."""
    try:
        found = Path(port).stat()
    except OSError:  # whoever opens it tells
        return 0.0
    if found.st_mtime_ns <= found.st_ctime_ns:
        return 0.0
    asked_by_s = (int(found.st_mtime) | (GRAIN_S - 1)) + 1
    return min(max(asked_by_s + LATE_ANSWER_S - now_s, 0.0), LATE_ANSWER_S)


def leave_quiet(port: str) -> None:
    """Tell whoever comes that no answer is owed."""
    with suppress(OSError):
        os.utime(port)
