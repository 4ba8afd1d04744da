"""Mistakes of a master with questions that the process before has asked.

What a lost line owes is tested in ``tests/edge_agent/test_unheard.py``: here it would take thousands of schedules.
"""

from typing import Any

from edge_agent import unheard
from edge_agent.unheard import Unheard
from tests.simulation.faults import Kind
from tests.simulation.line import Trouble
from tests.simulation.planted import PlantedBug, replacing, wrapping

LATE = (Trouble.TOO_LATE,)
GONE = (Kind.LINE, Kind.LATE_AND_GONE, Kind.LATE_AND_GONE)


def _as_if_quiet(original: Any) -> Any:
    return lambda self, fields: original(self, {"quiet_at_s": 0.0} if "asking" in fields else fields)


def _quiet_at_once(self: Unheard) -> None:
    self._write({"quiet_at_s": 0.0})


def _old_by_its_boot(original: Any) -> Any:
    """Take a note of an earlier boot for one that owes nothing."""

    def read(note: Any, boot: unheard.Boot, **more: Any) -> Any:
        is_known = note.exists() and f'"{boot.name}"'.encode() in note.read_bytes()
        return original(note, boot, **more) if is_known else 0.0

    return read


BUGS = (
    PlantedBug(
        "after a power cut nothing is listened for", wrapping(unheard, "_read", _old_by_its_boot), GONE, 300, LATE
    ),
    PlantedBug("after a kill nothing is listened for", wrapping(Unheard, "_write", _as_if_quiet), GONE, 300, LATE),
    PlantedBug("a tidy stop calls the line quiet", replacing(Unheard, "close", _quiet_at_once), GONE, 300, LATE),
)
