"""Programs with a planted bug under the same faults: how long until the verdict says so."""

from collections.abc import Sequence

from tests.chaos.schedule import Outcome, Schedules
from tests.chaos.system import System

NEVER_S = 86_400.0  # the server's asking for gaps would make good, and hide, what a receipt gave away


def hunt(
    program: str, bug: str, what: str, *, seed: int, schedules_max: int, only: Sequence[str] = ()
) -> list[Outcome]:
    """Run schedules with ``bug`` planted into ``program`` until the verdict counts ``what``; return all outcomes."""
    outcomes: list[Outcome] = []
    system = System({program: (bug,)}, resend_after_s=NEVER_S)
    try:
        schedules = Schedules(system)
        for number in range(schedules_max):
            outcomes.append(schedules.run(seed + number, only))
            if getattr(outcomes[-1].verdict, what):
                break
    finally:
        system.close()
    return outcomes
