"""Mistakes planted into the agent, one at a time, to test the simulation: each must be found by it.

A planted bug is a few lines that replace something of the agent's while schedules run, and the kinds of faults that
bring it to light. The same schedules without it must find nothing.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from tests.simulation.campaign import judged
from tests.simulation.connections import TellingConnection
from tests.simulation.faults import Kind
from tests.simulation.line import Trouble
from tests.simulation.world import Only

FIRST_SEED = 1


@dataclass(frozen=True, slots=True)
class PlantedBug:
    """A mistake: what the agent does then, how it is planted, which faults show it, in how many schedules at most."""

    says: str
    plant: Callable[[], AbstractContextManager[object]]
    kinds: tuple[Kind, ...]
    schedules_max: int = 150
    troubles: tuple[Trouble, ...] = ()

    @property
    def only(self) -> Only:
        """Which faults are drawn."""
        return Only(self.kinds, self.troubles)


@dataclass(frozen=True, slots=True)
class Caught:
    """In which schedule a bug was found, after how many, and by what."""

    seed: int
    schedules: int
    problem: str


def hunt(bug: PlantedBug) -> Caught | None:
    """Run schedules with ``bug`` until one finds it."""
    with bug.plant():
        for seed in range(FIRST_SEED, FIRST_SEED + bug.schedules_max):
            _, problems = judged(seed, only=bug.only)
            if problems:
                return Caught(seed, seed - FIRST_SEED + 1, problems[0])
    return None


@contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Put ``value`` in the place of an attribute."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def replacing(owner: Any, name: str, value: Any) -> Callable[[], AbstractContextManager[None]]:
    """Return how to plant ``value`` in the place of an attribute."""
    return lambda: replaced(owner, name, value)


def wrapping(owner: Any, name: str, around: Callable[[Any], Any]) -> Callable[[], AbstractContextManager[None]]:
    """Return how to plant ``around(original)`` in the place of an attribute."""
    return lambda: replaced(owner, name, around(getattr(owner, name)))


def rewriting_sql(rewrite: Callable[[str], str | None]) -> Callable[[], AbstractContextManager[None]]:
    """Return how to change the statements that the agent gives to SQLite; ``None`` leaves one out."""
    connect = sqlite3.connect

    class Rewriting(TellingConnection):
        """Runs other statements than it is given."""

        def execute(self, sql: str, *arguments: Any) -> Any:
            return super().execute(rewrite(sql) or "select 1 where 0", *(arguments if rewrite(sql) else ()))

        def executemany(self, sql: str, rows: Any) -> Any:
            found = rewrite(sql)
            return super().executemany(found, rows) if found else None

    return lambda: replaced(
        sqlite3, "connect", lambda *words, **options: connect(*words, **{**options, "factory": Rewriting})
    )
