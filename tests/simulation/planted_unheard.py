"""Mistakes of a master with questions that were asked before: before a stop, a kill, the loss of the line."""

from typing import Any

from edge_agent.lengths import Lengths
from edge_agent.modbus_rtu import LATE_ANSWER_S
from edge_agent.unheard import Unheard
from tests.simulation.faults import Kind
from tests.simulation.line import Trouble
from tests.simulation.planted import PlantedBug, replacing

LATE = (Trouble.TOO_LATE,)
GONE = (Kind.LINE, Kind.LATE_AND_GONE, Kind.LATE_AND_GONE)


def _forgotten(_self: Unheard, *_place: Any) -> Lengths:
    return Lengths(LATE_ANSWER_S)


def _quiet_at_once(self: Unheard) -> None:
    self._write({"quiet_at_s": 0.0})


BUGS = (
    PlantedBug("after a kill nothing is listened for", replacing(Unheard, "listen_s", lambda _: 0.0), GONE, 600, LATE),
    PlantedBug(
        "a line that is opened again is taken for one on which nothing was asked",
        replacing(Unheard, "lengths", _forgotten),
        GONE,
        600,
        LATE,
    ),
    PlantedBug("a tidy stop calls the line quiet", replacing(Unheard, "close", _quiet_at_once), GONE, 600, LATE),
)
