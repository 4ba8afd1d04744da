"""The faults, each with how it begins and how it is healed. Which, when and how long is drawn from the seed."""

import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from random import Random

from deploy.runtime.processes import wait_until
from tests.chaos.parts import QUEUED_FEW, QUEUED_USUALLY, Part
from tests.chaos.proxy import CommitCut, Proxy, Way
from tests.chaos.system import INGEST, System, gateway_ms
from tests.chaos.village import GATEWAY

HOUR_MS = 3_600_000
JUMPS_MS = (2_000, 7_000, 45_000, 600_000, HOUR_MS)
CUT_OCTETS_MAX = {Way.OUT: 1000, Way.BACK: 60}  # what comes back are acknowledgements and receipts
OVERFLOWING_SLOTS = 12
OVERFLOWING_S = 2.0  # to wait for who may be away, or frozen

Heal = Callable[[], None]


@dataclass(slots=True)
class Marks:
    """When the agent's readings may be missing, by its own clock [ms]; kept by the faults that make it so."""

    spans: list[tuple[int, int]] = field(default_factory=list)
    _open: dict[str, int] = field(default_factory=dict)

    def begin(self, what: str, at_ms: int) -> None:
        """Note that readings may be missing from now on."""
        self._open.setdefault(what, at_ms)

    def end(self, what: str, at_ms: int) -> None:
        """Note that from now on none is."""
        if what in self._open:
            begun_ms = self._open.pop(what)
            self.spans.append((min(begun_ms, at_ms), max(begun_ms, at_ms)))

    def end_all(self, at_ms: int) -> None:
        """Note that all is well."""
        for what in list(self._open):
            self.end(what, at_ms)


@dataclass(frozen=True, slots=True)
class Fault:
    """A kind of fault. ``begin`` does it and returns what heals it."""

    name: str
    weight: int
    begin: Callable[[System, Random, Marks], Heal]
    needs_small: str = ""  # which disk must be a small one


# -- processes --------------------------------------------------------------------------------------------------------


def kill_agent(system: System, _chance: Random, marks: Marks) -> Heal:
    marks.begin("agent", gateway_ms(system))
    system.agent.kill()
    system.director.start()  # nobody's return shall miss a moment

    def heal() -> None:
        system.agent.start()
        marks.end("agent", gateway_ms(system))

    return heal


def kill_broker(system: System, _chance: Random, _marks: Marks) -> Heal:
    system.broker.kill()
    return system.broker.start


def empty_broker(system: System, _chance: Random, _marks: Marks) -> Heal:
    system.broker.kill()
    system.broker.empty()
    return system.broker.start


def kill_ingest(system: System, _chance: Random, _marks: Marks) -> Heal:
    system.ingest.kill()
    return system.ingest.start


def kill_database(system: System, _chance: Random, _marks: Marks) -> Heal:
    system.database.kill()
    return system.database.start


def quit_database(system: System, _chance: Random, _marks: Marks) -> Heal:
    system.database.quit()
    return system.database.start


def _freeze(part: Part) -> Heal:
    part.send(signal.SIGSTOP)
    return partial(part.send, signal.SIGCONT)


def freeze_agent(system: System, _chance: Random, _marks: Marks) -> Heal:
    return _freeze(system.agent)


def freeze_broker(system: System, _chance: Random, _marks: Marks) -> Heal:
    return _freeze(system.broker)


def freeze_ingest(system: System, _chance: Random, _marks: Marks) -> Heal:
    return _freeze(system.ingest)


def freeze_database(system: System, _chance: Random, _marks: Marks) -> Heal:
    system.database.stop()
    return system.database.go_on


# -- wires ------------------------------------------------------------------------------------------------------------


def _proxy(system: System, chance: Random) -> Proxy:
    return chance.choice((system.uplink, system.downlink, system.wire))


def cut_both_ways(system: System, chance: Random, _marks: Marks) -> Heal:
    proxy = _proxy(system, chance)
    system.loop.call(proxy.refuse)
    return lambda: system.loop.call(partial(proxy.heal, ends=False))


def cut_one_way(system: System, chance: Random, _marks: Marks) -> Heal:
    proxy, way, ends = _proxy(system, chance), chance.choice(tuple(Way)), chance.random() < 0.5
    system.loop.call(partial(proxy.hold, way))
    return lambda: system.loop.call(partial(proxy.heal, ends=ends))


def cut_in_mid_message(system: System, chance: Random, _marks: Marks) -> Heal:
    proxy, way = _proxy(system, chance), chance.choice(tuple(Way))
    system.loop.call(partial(proxy.cut_after, way, chance.randint(0, CUT_OCTETS_MAX[way])))
    return lambda: None  # it stays until it has come about


def cut_at_commit(system: System, chance: Random, _marks: Marks) -> Heal:
    system.loop.call(partial(system.wire.cut_at_commit, chance.choice(tuple(CommitCut))))
    return lambda: None  # it stays until it has come about


def overflow_queue(system: System, _chance: Random, _marks: Marks) -> Heal:
    """Let more come than the broker keeps for ingest, which is away: to one that is there much may be under way.

    The broker is started anew for it: Mosquitto 2.0.21 reads this number only then.
    """
    told = len(system.broker.said())
    system.broker.kill()
    system.broker.configure(QUEUED_FEW)
    system.broker.start()
    wait_until(lambda: all(f"as {each} " in system.broker.said()[told:] for each in (GATEWAY, INGEST)), OVERFLOWING_S)
    system.loop.call(system.downlink.refuse)
    system.director.let_pass(OVERFLOWING_SLOTS)
    wait_until(lambda: system.director.done, OVERFLOWING_S)

    def heal() -> None:
        system.loop.call(partial(system.downlink.heal, ends=False))
        system.broker.configure(QUEUED_USUALLY)  # at its next start

    return heal


# -- disks and clocks -------------------------------------------------------------------------------------------------


def fill_spool_disk(system: System, _chance: Random, marks: Marks) -> Heal:
    marks.begin("disk", gateway_ms(system))
    with suppress(sqlite3.OperationalError), closing(sqlite3.connect(system.spool, timeout=1)) as db:
        db.execute("pragma wal_checkpoint(truncate)")  # else the log has room of its own for a hundred cycles
    system.spool_disk.fill()

    def heal() -> None:
        system.spool_disk.empty()
        marks.end("disk", gateway_ms(system))

    return heal


def fill_database_disk(system: System, _chance: Random, _marks: Marks) -> Heal:
    system.database_disk.fill()
    return system.database_disk.empty


def _set_clock(system: System, marks: Marks, ahead_ms: int) -> None:
    before_ms = gateway_ms(system)
    system.loop.call(partial(system.clock.set, ahead_ms))
    marks.spans.append((min(before_ms, gateway_ms(system)), max(before_ms, gateway_ms(system))))


def jump_clock(system: System, chance: Random, marks: Marks) -> Heal:
    """Set it by another source; one that was unset is set by that."""
    system.set_ms += chance.choice((-1, 1)) * chance.choice(JUMPS_MS)
    _set_clock(system, marks, system.set_ms)
    return lambda: None


def unset_clock(system: System, _chance: Random, marks: Marks) -> Heal:
    """Let it be 1970, as after power-on without a battery; the agent may start meanwhile."""
    _set_clock(system, marks, -system.director.look() + HOUR_MS)
    return lambda: _set_clock(system, marks, system.set_ms)


FAULTS = (
    Fault("agent killed", 6, kill_agent),
    Fault("broker killed", 6, kill_broker),
    Fault("broker killed and emptied", 7, empty_broker),
    Fault("ingest killed", 7, kill_ingest),
    Fault("database killed", 2, kill_database),
    Fault("database stopped immediately", 2, quit_database),
    Fault("agent frozen", 4, freeze_agent),
    Fault("broker frozen", 4, freeze_broker),
    Fault("ingest frozen", 4, freeze_ingest),
    Fault("database frozen", 4, freeze_database),
    Fault("cut both ways", 9, cut_both_ways),
    Fault("cut one way", 12, cut_one_way),
    Fault("cut in mid-message", 14, cut_in_mid_message),
    Fault("cut at commit", 12, cut_at_commit),
    Fault("queue overflown", 5, overflow_queue),
    Fault("spool's disk full", 4, fill_spool_disk, "spool_disk"),
    Fault("database's disk full", 4, fill_database_disk, "database_disk"),
    Fault("clock jumped", 6, jump_clock),
    Fault("clock unset", 2, unset_clock),
)


def available(system: System) -> tuple[Fault, ...]:
    """Return the faults that this machine lets us do."""
    return tuple(each for each in FAULTS if not each.needs_small or getattr(system, each.needs_small).is_small)
