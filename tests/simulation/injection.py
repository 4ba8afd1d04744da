"""Brings the faults of a schedule into its world, and heals them."""

from collections.abc import Callable
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from tests.simulation.disk import Loss, Refusal
from tests.simulation.faults import Fault, Kind, draw_troubles
from tests.simulation.line import LATE_S_MAX, Trouble
from tests.simulation.meters import Glitch
from tests.simulation.vfs import VFS

if TYPE_CHECKING:
    from tests.simulation.world import World

UNSET_CLOCK_MS = 3_600_000  # an hour after 1970
STEPS_AHEAD_MAX = 400
OPERATIONS_AHEAD_MAX = 60
REBOOTS_S = (20.0, 5.0)  # until the agent starts again: a computer with a file system to mend, and a small one
PAUSES_S = (5.0, 1.0, 0.2)  # until a supervisor starts the agent again
GONE_S_MAX = 3.0  # within a cycle, or when it was committed with something missing
ANSWERS_BEFORE_MAX = 6  # of a cycle
ASKED_S_MAX = 1.2  # most of a cycle
LATE_PART, LATE_FOR_S = 0.5, 10.0
OFF_PART = 0.2  # of those who have asked are gone because the power is
UP_S = 3.0
UP_PART = 0.6  # of that the computer is on
MINUTE_MS = 60_000
HOUR_MS = 3_600_000
REFUSALS = {Kind.DISK_FULL: Refusal.FULL, Kind.DISK_WRITE: Refusal.WRITE, Kind.DISK_SYNC: Refusal.SYNC}


class Injector:
    """Carries out faults at their times."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._loop = world.loop
        self._over = False
        self._epoch_ms = world.gateway_ms() - round(world.loop.now_s * 1000)

    def arrange(self) -> None:
        """Make an appointment for each fault."""
        self._world.broker.look_for_gaps()
        for fault in self._world.faults:
            self._at(self._world.start_s + fault.at_s, lambda fault=fault: self._begin(fault))

    def heal(self) -> None:
        """End whatever is wrong; nothing begins any more."""
        world = self._world
        self._over = True
        VFS.on_operation = None
        self._loop.on_step = None
        world.disk.refuse = None
        for meter in world.meters.values():
            meter.silent, meter.glitch, meter.frozen_s = False, None, None
        for profile_meter in world.profile_meters.values():
            profile_meter.fails_in = 0
        world.wires.trouble, world.wires.echo, world.wires.unplugged, world.wires.delay = {}, False, False, None
        if world.record.jumps[-1].ahead_ms:
            world.set_clock(0)
        broker = world.broker
        broker.up, broker.refusing, broker.silently_refusing, broker.duplicating = True, False, False, False
        broker.dropping, broker.server.receipts_lost, broker.queue_max = 0.0, 0.0, 200
        broker.cut(to_broker=False, to_agent=False)
        broker.start_server()
        if world.power_off:
            self._power_on(UP_S)
        elif world.process.store is not None and world.process.store.disk_failed:
            world.process.kill_and_restart()  # what the alarm spool.disk_failed asks for, when the disk is replaced

    def _at(self, at_s: float, do: Callable[[], None]) -> None:
        self._loop.call_at(at_s, self._do, do, context=self._world.context)

    def _do(self, do: Callable[[], None]) -> None:
        if not self._over:
            do()

    def _begin(self, fault: Fault) -> None:
        self._world.note(f"fault {fault.kind.value}")
        rng = Random(fault.seed)
        undo = getattr(self, f"_{fault.kind.name.lower()}")(fault, rng)
        if undo is not None:
            self._at(self._loop.now_s + fault.for_s, undo)

    def _line(self, _fault: Fault, rng: Random) -> Callable[[], None]:
        wires = self._world.wires
        wires.trouble = draw_troubles(rng, self._world.only_troubles)

        def undo() -> None:
            wires.trouble = {}

        return undo

    def _meter_silent(self, _fault: Fault, rng: Random) -> Callable[[], None]:
        meter = rng.choice(list(self._world.meters.values()))
        meter.silent = True
        return lambda: setattr(meter, "silent", False)

    def _meter_glitches(self, _fault: Fault, rng: Random) -> Callable[[], None]:
        meter = rng.choice([self._world.meters["A"], self._world.meters["B"]])
        meter.glitch = rng.choice(list(Glitch))
        return lambda: setattr(meter, "glitch", None)

    def _meter_frozen(self, _fault: Fault, rng: Random) -> Callable[[], None]:
        meter = rng.choice([self._world.meters["A"], self._world.meters["B"]])
        meter.frozen_s = self._loop.now_s
        return lambda: setattr(meter, "frozen_s", None)

    def _meter_exchanged(self, _fault: Fault, rng: Random) -> None:
        rng.choice([self._world.meters["A"], self._world.meters["B"]]).exchange()

    def _meter_rolls_over(self, _fault: Fault, rng: Random) -> None:
        rng.choice([self._world.meters["A"], self._world.meters["B"]]).roll_over_soon(self._loop.now_s)

    def _unplugged(self, _fault: Fault, _rng: Random) -> Callable[[], None]:
        self._world.wires.unplug()
        return lambda: setattr(self._world.wires, "unplugged", False)

    def _late_and_gone(self, fault: Fault, rng: Random) -> None:
        """An answer comes late, others too; who has asked is gone, and asks again when it comes."""
        wires, process = self._world.wires, self._world.process
        gone_s, pause_s = rng.uniform(0, GONE_S_MAX), rng.choice(PAUSES_S)

        def restart() -> None:
            process.pause_s = pause_s
            process.stop.set()

        end: Callable[[], None]
        end = rng.choice((lambda: process.kill_and_restart(pause_s), restart, wires.lose_contact))
        if end == wires.lose_contact:
            pause_s = 0.0

        into_s, after = rng.uniform(0, ASKED_S_MAX), rng.randrange(ANSWERS_BEFORE_MAX)
        if rng.random() < OFF_PART:
            pause_s = min(REBOOTS_S)
            end = partial(self._power_cut, fault, rng, reboot_s=pause_s)
        late_s = min(gone_s + pause_s + into_s, LATE_S_MAX)

        def begin() -> None:
            wires.trouble = {Trouble.TOO_LATE: LATE_PART}
            self._at(self._loop.now_s + gone_s, end)
            self._at(self._loop.now_s + LATE_FOR_S, lambda: setattr(wires, "trouble", {}))

        wires.delay_one(after, late_s, begin)

    def _echo(self, _fault: Fault, _rng: Random) -> Callable[[], None]:
        self._world.wires.echo = True
        return lambda: setattr(self._world.wires, "echo", False)

    def _profile_broken(self, _fault: Fault, rng: Random) -> Callable[[], None]:
        meter = self._world.profile_meters["C"]
        meter.fails_in = rng.choice((2, 4))
        return lambda: setattr(meter, "fails_in", 0)

    def _restart(self, _fault: Fault, rng: Random) -> None:
        self._world.process.pause_s = rng.choice(PAUSES_S)
        self._world.process.stop.set()

    def _kill(self, _fault: Fault, rng: Random) -> None:
        self._kill_now(rng)

    def _kill_now(self, rng: Random) -> None:
        self._world.note("killed")
        self._world.process.kill_and_restart(rng.choice(PAUSES_S))

    def _kill_at_step(self, _fault: Fault, rng: Random) -> None:
        left = rng.randrange(STEPS_AHEAD_MAX)

        def count() -> None:
            nonlocal left
            left -= 1
            if left < 0:
                self._loop.on_step = None
                self._kill_now(rng)

        self._loop.on_step = count

    def _on_disk_operation(self, rng: Random, do: Callable[[], None]) -> None:
        left = rng.randrange(OPERATIONS_AHEAD_MAX)

        def count(_what: str) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                VFS.on_operation = None
                do()

        VFS.on_operation = count

    def _kill_at_disk(self, _fault: Fault, rng: Random) -> None:
        self._on_disk_operation(rng, lambda: self._kill_now(rng))

    def _power(self, fault: Fault, rng: Random) -> None:
        self._power_cut(fault, rng)

    def _power_at_disk(self, fault: Fault, rng: Random) -> None:
        self._on_disk_operation(rng, lambda: self._power_cut(fault, rng))

    def _power_cut(self, _fault: Fault, rng: Random, *, unset: bool = False, reboot_s: float = 0.0) -> None:
        world = self._world
        loss = rng.choice(list(Loss))
        world.note(f"power cut, loses {loss.value}")
        world.record.damages += loss is Loss.SOME
        world.power_cut()
        cut = world.cuts
        world.process.kill(notice=False)
        world.disk.lose_power(loss, rng)
        if unset:
            world.set_clock(UNSET_CLOCK_MS - self._epoch_ms - round(self._loop.now_s * 1000))
        reboot_s = reboot_s or REBOOTS_S[world.boots % 2 - 1]

        def power_on() -> None:
            if cut == world.cuts:  # or else it was cut again meanwhile, and comes up after that
                self._power_on(UP_PART * reboot_s)

        self._at(self._loop.now_s + reboot_s, power_on)

    def _power_on(self, up_s: float) -> None:
        self._world.boots_anew(up_s)
        self._world.process.start_if_dead()

    def _clock_unset(self, fault: Fault, rng: Random) -> Callable[[], None]:
        self._power_cut(fault, rng, unset=True)
        return lambda: self._world.set_clock(0)

    def _disk(self, fault: Fault) -> Callable[[], None]:
        self._world.disk.refuse = REFUSALS[fault.kind]
        self._world.record.damages += fault.kind is not Kind.DISK_FULL
        return lambda: setattr(self._world.disk, "refuse", None)

    def _disk_full(self, fault: Fault, _rng: Random) -> Callable[[], None]:
        return self._disk(fault)

    _disk_write = _disk_sync = _disk_full

    def _flip(self, fault: Fault, rng: Random) -> None:
        """A bit falls over while the power is off: what SQLite has in memory would hide it."""
        self._power_cut(fault, rng)
        place = self._world.disk.flip(rng)
        self._world.record.damages += place is not None
        self._world.note(f"flipped {place}")

    def _clock_forward(self, _fault: Fault, rng: Random) -> Callable[[], None]:
        self._world.set_clock(rng.choice((5_000, 45_000, 3 * MINUTE_MS, HOUR_MS, 72 * HOUR_MS)))
        return lambda: self._world.set_clock(0)

    def _clock_back(self, _fault: Fault, rng: Random) -> Callable[[], None]:
        self._world.set_clock(-rng.choice((3_000, 30_000, 3 * MINUTE_MS, HOUR_MS, 72 * HOUR_MS)))
        return lambda: self._world.set_clock(0)

    def _broker_down(self, _fault: Fault, _rng: Random) -> Callable[[], None]:
        broker = self._world.broker
        broker.up = False
        broker.lose_connection()

        def undo() -> None:
            broker.up = True
            broker.start_server()

        return undo

    def _broker_empty(self, _fault: Fault, _rng: Random) -> None:
        self._world.broker.restart(empty=True)

    def _broker_refuses(self, _fault: Fault, _rng: Random) -> Callable[[], None]:
        self._world.broker.refusing = True
        self._world.broker.lose_connection()
        return lambda: setattr(self._world.broker, "refusing", False)

    def _broker_drops(self, _fault: Fault, _rng: Random) -> Callable[[], None]:
        self._world.broker.silently_refusing = True
        return lambda: setattr(self._world.broker, "silently_refusing", False)

    def _queue_small(self, fault: Fault, _rng: Random) -> Callable[[], None]:
        self._world.broker.queue_max = 1
        return lambda: setattr(self._world.broker, "queue_max", 200)

    def _duplicates(self, _fault: Fault, _rng: Random) -> Callable[[], None]:
        self._world.broker.duplicating = True
        return lambda: setattr(self._world.broker, "duplicating", False)

    def _receipts_lost(self, _fault: Fault, rng: Random) -> Callable[[], None]:
        server = self._world.broker.server
        server.receipts_lost = rng.choice((0.3, 0.7, 1.0))
        return lambda: setattr(server, "receipts_lost", 0.0)

    def _cut(self, _fault: Fault, _rng: Random) -> Callable[[], None]:
        self._world.broker.cut(to_broker=True, to_agent=True)
        return lambda: self._world.broker.cut(to_broker=False, to_agent=False)

    def _cut_one_way(self, _fault: Fault, rng: Random) -> Callable[[], None]:
        to_broker = rng.random() < 0.5
        self._world.broker.cut(to_broker=to_broker, to_agent=not to_broker)
        return lambda: self._world.broker.cut(to_broker=False, to_agent=False)

    def _reset(self, _fault: Fault, _rng: Random) -> None:
        self._world.broker.lose_connection()

    def _server_down(self, _fault: Fault, _rng: Random) -> Callable[[], None]:
        self._world.broker.stop_server()
        return self._world.broker.start_server

    def _server_restored(self, _fault: Fault, _rng: Random) -> Callable[[], None]:
        """A backup is taken now; when the fault ends, the database is back at it."""
        self._world.broker.server.back_up()
        return self._world.broker.server.restore
