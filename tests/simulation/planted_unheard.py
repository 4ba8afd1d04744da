"""Mistakes of a master with questions that were asked before: before a stop, a kill, the loss of the line."""

import sys
from dataclasses import replace
from typing import Any, cast

from edge_agent.failures import LineLostError
from edge_agent.lengths import Lengths
from edge_agent.modbus_rtu import RtuLink
from edge_agent.unheard import Unheard
from tests.simulation.faults import Kind
from tests.simulation.line import Trouble
from tests.simulation.planted import PlantedBug, replacing, wrapping

LATE = (Trouble.TOO_LATE,)
GONE = (Kind.LINE, Kind.LATE_AND_GONE, Kind.LATE_AND_GONE)


def _as_if_quiet(original: Any) -> Any:
    return lambda self, fields: original(self, {"quiet_at_s": 0.0} if "asking" in fields else fields)


def _anew(original: Any) -> Any:
    def lengths(self: Unheard, settings: Any, reply_timeout_s: float) -> Lengths:
        before = {replace(place, port=f"{place.port} before"): each for place, each in self._lengths.items()}
        self._lengths = before  # for a tidy stop they count
        return cast(Lengths, original(self, settings, reply_timeout_s))

    return lengths


def _quiet_at_once(self: Unheard) -> None:
    self._write({"quiet_at_s": 0.0})


def _if_not_lost(original: Any) -> Any:
    def note(self: RtuLink, *words: Any) -> None:
        if not isinstance(sys.exc_info()[1], LineLostError):
            original(self, *words)

    return note


BUGS = (
    PlantedBug("after a kill nothing is listened for", wrapping(Unheard, "_write", _as_if_quiet), GONE, 600, LATE),
    PlantedBug(
        "a line that is opened again is taken for one on which nothing was asked",
        wrapping(Unheard, "lengths", _anew),
        GONE,
        600,
        LATE,
    ),
    PlantedBug(
        "a question that was lost with its line is owed no answer",
        wrapping(RtuLink, "_note_unanswered", _if_not_lost),
        GONE,
        600,
        LATE,
    ),
    PlantedBug("a tidy stop calls the line quiet", replacing(Unheard, "close", _quiet_at_once), GONE, 600, LATE),
)
