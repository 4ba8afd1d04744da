"""All planted bugs."""

from tests.simulation import planted_bus, planted_line, planted_spool, planted_unheard, planted_uplink

BUGS = (*planted_line.BUGS, *planted_bus.BUGS, *planted_spool.BUGS, *planted_unheard.BUGS, *planted_uplink.BUGS)
