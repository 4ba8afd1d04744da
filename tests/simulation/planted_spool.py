"""Mistakes of the spool: what is durable, how batches are numbered, what is given up, what is damaged."""

from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from edge_agent import giving_up, rescue, spooling
from edge_agent.cycle import Cycle
from edge_agent.spool import Spool
from edge_agent.spool_log import LogState
from protocols.errors import UnavailableError
from tests.simulation.faults import Kind
from tests.simulation.planted import PlantedBug, replaced, replacing, rewriting_sql, wrapping

POWER = (Kind.POWER, Kind.POWER_AT_DISK)
KILLS = (Kind.KILL_AT_DISK, Kind.KILL_AT_STEP, Kind.METER_SILENT)
FULL = (Kind.BROKER_DOWN, Kind.CUT, Kind.SERVER_DOWN, Kind.BROKER_DROPS)
FAILED = (Kind.DISK_SYNC, Kind.DISK_SYNC, Kind.KILL, Kind.POWER)
UNSYNCED = (Kind.KILL_AT_DISK, Kind.KILL_AT_DISK, Kind.KILL_AT_DISK, Kind.POWER)
FLIPS = (Kind.FLIP, Kind.RESTART, Kind.SERVER_DOWN, Kind.CUT)


def _instead(word: str, other: str) -> Any:
    return rewriting_sql(lambda sql: sql.replace(word, other))


def _without(*words: str) -> Any:
    return rewriting_sql(lambda sql: None if any(word in sql for word in words) else sql)


def _each_statement_alone(sql: str) -> str | None:
    return None if sql in ("begin immediate", "commit") else sql


def _numbered_before(original: Any) -> Any:
    def commit(self: Spool, cycle: Cycle) -> int:
        try:
            return int(original(self, cycle))
        except UnavailableError:
            if cycle.readings:
                self.last_sequence += 1
            raise

    return commit


def _slots_first(original: Any) -> Any:
    def commit(self: Spool, cycle: Cycle) -> int:
        original(self, Cycle(slots=cycle.slots, holes=cycle.holes, filled=cycle.filled))
        return int(original(self, replace(cycle, slots=[], holes=[], filled=[])))

    return commit


def _ignored(_path: Any) -> None:
    return None


@contextmanager
def _trusted_again() -> Any:
    with replaced(spooling, "mark_suspect", _ignored), replaced(Spool, "sync_what_shows", _ignored):
        yield


def _not_noted(_db: Any, _lost: Any, _reason: Any) -> None:
    return None


def _unchecked(_octets: bytes) -> int:
    return 0


@contextmanager
def _no_checksum() -> Any:
    with replaced(spooling, "crc32", _unchecked), replaced(rescue, "crc32", _unchecked):
        yield


def _thrown_away(_aside: Any, _spool: Any) -> None:
    return None


BUGS = (
    PlantedBug("the spool is not synced at each commit", _instead("synchronous=full", "synchronous=normal"), POWER),
    PlantedBug("the spool is never synced", _instead("synchronous=full", "synchronous=off"), POWER),
    PlantedBug("a sequence is used again after a restart", _without("update life set last_sequence"), KILLS),
    PlantedBug("what was read last is not kept", _without("insert into slot"), KILLS),
    PlantedBug("holes are forgotten by a restart", _without("insert into hole"), (*KILLS, Kind.PROFILE_BROKEN)),
    PlantedBug("each statement is committed alone", rewriting_sql(_each_statement_alone), KILLS),
    PlantedBug("slots are committed before their readings", wrapping(Spool, "commit", _slots_first), KILLS),
    PlantedBug(
        "a batch is numbered although it was not committed",
        wrapping(Spool, "commit", _numbered_before),
        (Kind.DISK_FULL,),
    ),
    PlantedBug("a file is trusted again although a sync of it failed", _trusted_again, FAILED, 400),
    PlantedBug(
        "what a killed process left unsynced is sent",
        replacing(Spool, "sync_what_shows", _ignored),
        UNSYNCED,
        schedules_max=600,
    ),
    PlantedBug(
        "the oldest are dropped in silence when the spool is full",
        replacing(giving_up, "note", _not_noted),
        FULL,
        schedules_max=400,
    ),
    PlantedBug(
        "a day's count begins anew with each cycle",
        _instead("select readings, digest from day where day = ?", "select 0, '0' from day where day = ?"),
        (Kind.RESTART,),
    ),
    PlantedBug("what the disk gives back is not checked", _no_checksum, FLIPS, schedules_max=400),
    PlantedBug("a damaged spool is thrown away", replacing(rescue, "rescue", _thrown_away), FLIPS, schedules_max=400),
    PlantedBug(
        "a damaged log is left to SQLite", replacing(rescue, "look_at_log", lambda _path: LogState.WHOLE), FLIPS
    ),
)
