"""Log lines: one fact each, as ``event key=value …``, through the standard library's logging.

Events are dotted and past tense, units stand in the keys. What recurs is told once when it begins and once when it
ends (see :class:`Recurring`); every event at ``error`` has a section of that name in ``docs/guides/gateway.md``.
"""

import logging
import sys
import time

_NAME = "congto.agent"


class EventLog:
    """Writes events; a thin layer over a standard logger."""

    def __init__(self, name: str = _NAME) -> None:
        self._logger = logging.getLogger(name)

    def info(self, event: str, **fields: object) -> None:
        """Write what is normal and worth a line."""
        if self._logger.isEnabledFor(logging.INFO):
            self._logger.info(format_event(event, fields))

    def warning(self, event: str, **fields: object) -> None:
        """Write what is not normal and mends itself."""
        self._logger.warning(format_event(event, fields))

    def error(self, event: str, **fields: object) -> None:
        """Write what somebody must look at."""
        self._logger.error(format_event(event, fields))

    def crash(self, event: str, **fields: object) -> None:
        """Write an error of ours with its traceback; only a supervisor calls this."""
        self._logger.exception(format_event(event, fields))


class Recurring:
    """Tells the first of a row of failures and the recovery, and is silent in between."""

    def __init__(self, log: EventLog) -> None:
        self.log = log
        self._failing: dict[tuple[str, str], int] = {}

    def failed(self, subject: str, event: str, **fields: object) -> None:
        """Note a failure of ``subject``; write it if it is the first."""
        key = (subject, event)
        self._failing[key] = self._failing.get(key, 0) + 1
        if self._failing[key] == 1:
            self.log.error(event, **fields)

    def recovered(self, subject: str, event: str, recovery: str, **fields: object) -> None:
        """Note that ``event`` of ``subject`` is over; write ``recovery`` if it had been told."""
        times = self._failing.pop((subject, event), 0)
        if times:
            self.log.info(recovery, **fields, failures=times)


def format_event(event: str, fields: dict[str, object]) -> str:
    """Return the line of ``event``; values with spaces, quotes or equal signs are quoted, control characters escaped.

    What a meter or a broker has said may hold some; raw they would break the line or command the terminal.
    """
    words = [event]
    for key, value in fields.items():
        text = f"{value:.3f}" if isinstance(value, float) else str(value)
        if not text or not text.isprintable() or any(each in text for each in ' "='):
            text = text.replace("\\", "\\\\").replace('"', '\\"')
            text = '"' + "".join(each if each.isprintable() else repr(each)[1:-1] for each in text) + '"'
        words.append(f"{key}={text}")
    return " ".join(words)


def start_logging(level: str) -> None:
    """Send the program's log to standard error, with UTC times."""
    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger(_NAME).setLevel(level.upper())
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL)  # it reports what we report; see modbus_tcp
    logging.getLogger("mqtt").setLevel(logging.ERROR)
