"""The spool, as others use it. How it works: :mod:`.spooling`; what is done with a damaged one: :mod:`.rescue`."""

from edge_agent.cycle import Cycle, Hole, SlotDone
from edge_agent.outbox import LogRead
from edge_agent.rescue import open_spool
from edge_agent.spool_file import Summary, read_summary
from edge_agent.spool_notes import DAY_MS, DayTaken
from edge_agent.spooling import Spool

__all__ = [
    "DAY_MS",
    "Cycle",
    "DayTaken",
    "Hole",
    "LogRead",
    "SlotDone",
    "Spool",
    "Summary",
    "open_spool",
    "read_summary",
]
