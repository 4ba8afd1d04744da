"""``congto ingest run --processes N``: one process a part, started again when it ends, and ended together.

Each is a whole ingest with a watchdog of its own; what the parent does is to be there. When the parent is killed its
processes notice and stop as if they had been asked to.
"""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from multiprocessing import connection
from multiprocessing.context import SpawnProcess

from ingest_server import journal
from ingest_server.journal import LOG, fact
from ingest_server.pipeline import service
from ingest_server.pipeline.back_off import LAST_S, back_off_s
from ingest_server.pipeline.run import EXIT_FAILED, run_here
from ingest_server.pipeline.settings import WATCHDOG_EVERY_S, Settings
from protocols.errors import CongtoError, UnavailableError

EXIT_USAGE = 2
STOP_S_MAX = 60.0  # a transaction takes tenths of a second, a process that gets nowhere ends by its own watchdog


class Part:
    """One of the processes: running, or to be started again at some time."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.process: SpawnProcess | None = None
        self._started_s = 0.0
        self._failures = 0
        self._next_s = 0.0

    def attend(self, now_s: float) -> int | None:
        """Start it if it does not run and its time has come; return with which status it has ended, if it just has."""
        if self.process is not None and self.process.exitcode is None:
            return None
        if self.process is not None:
            status = self.process.exitcode
            self._failures = 1 if now_s - self._started_s > LAST_S else self._failures + 1
            self._next_s = now_s + back_off_s(self._failures)
            self.process.close()
            self.process = None
            return status
        if now_s >= self._next_s:
            self._started_s = now_s
            self.process = multiprocessing.get_context("spawn").Process(
                target=run_part, args=(self.settings,), name=self.settings.client_id
            )
            self.process.start()
            LOG.info(fact("process.started", partition=self.settings.partition, pid=self.process.pid))
        return None


def supervise(settings: Sequence[Settings]) -> int:
    """Keep a process for each of ``settings`` until SIGTERM or SIGINT; return 0, or 2 if the call must be changed."""
    journal.configure()
    parts = [Part(each) for each in settings]
    asked = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: asked.set())
    service.tell("READY=1")
    status = 0
    while not asked.is_set() and status == 0:
        for part in parts:
            ended = part.attend(time.monotonic())
            if ended is not None:
                LOG.error(fact("process.ended", partition=part.settings.partition, exit_status=ended))
                status = EXIT_USAGE if ended == EXIT_USAGE else 0
        service.tell("WATCHDOG=1")
        running = [part.process.sentinel for part in parts if part.process is not None]
        connection.wait(running, timeout=min(WATCHDOG_EVERY_S, 0.25 if len(running) < len(parts) else WATCHDOG_EVERY_S))
    service.tell("STOPPING=1")
    _stop([part.process for part in parts if part.process is not None])
    return status


def _stop(processes: Sequence[SpawnProcess]) -> None:
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + STOP_S_MAX
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
        if process.exitcode is None:
            process.kill()


def run_part(settings: Settings) -> None:
    """Be one of the processes; end with its exit status."""
    os.environ.pop(service.VARIABLE, None)  # the parent speaks for all
    parent = multiprocessing.parent_process()
    assert parent is not None, "a part is started by supervise()"

    def follow_parent() -> None:
        connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=follow_parent, name="parent", daemon=True).start()
    try:
        sys.exit(run_here(settings))
    except UnavailableError as error:
        LOG.error(fact("ingest.unavailable", reason=str(error)))
        sys.exit(EXIT_FAILED)
    except CongtoError as error:
        LOG.error(fact("ingest.refused", reason=str(error)))
        sys.exit(EXIT_USAGE)
