"""One schedule: a world made from a seed, run with its faults, healed, and left to drain."""

import asyncio
import hashlib
from collections import Counter, defaultdict
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from random import Random

from edge_agent.config import AgentConfig, parse_config
from edge_agent.policy import DAY_MS
from edge_agent.serial_line import LineSettings
from edge_agent.spool import Spool
from edge_agent.spool_file import PAGE_OCTETS
from edge_agent.unheard import Boot
from protocols.telemetry.reading import DIGEST_MODULUS, Reading, reading_digest
from tests.simulation.agent import AgentProcess, Parts, watching
from tests.simulation.broker import Broker
from tests.simulation.disk import Disk
from tests.simulation.faults import Fault, Kind, draw_faults
from tests.simulation.injection import Injector
from tests.simulation.line import Trouble, Wires
from tests.simulation.loop import NothingLeftError, VirtualLoop
from tests.simulation.meters import ProfileMeter, TrueMeter
from tests.simulation.paths import DiskPath, seed_names
from tests.simulation.server import ASKS_MAX
from tests.simulation.vfs import VFS

HERE = Path(__file__).parent
EPOCH_MS = 1_767_225_600_000  # 2026-01-01
EVERY_MS = 120_000
PROFILED = ("C", "1.0.1.8.0")  # the counter that its meter remembers in a load profile
DRAIN_S_MAX = (
    300.0  # for the backlog, after everything is healed: reconnecting, sending again, a restored server's gaps
)
AGAIN_S_MAX = 2400.0  # for every meter to be read again: one long silent is probed each half hour only
SETTLE_S = 12.0  # at least: until then late answers are on their way
STEP_S = 10.0
ANSWERED_S = 20.0  # a question of the server's is
UP_BEFORE_S = 3600.0  # the computer, before a schedule begins
FAREWELL_S = 12.0
SMALL_SPOOL_PAGES = (34, 35)  # the empty tables are 17, and so many are kept free: some cycles fill the rest
LONG_PART = 0.01  # of the schedules; those that look for a planted bug are all long
ASKING_PART = 0.5  # of the servers: the others ask for nothing unless they were restored


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is in a schedule: its slots, and with which probability it has what costs many questions or slots."""

    slots: tuple[int, ...]
    small_spool: float  # one that fills, within ``slots_small``
    refuses_holes: float  # a meter that refuses a question reaching into a hole: the master tries all lengths
    awaits_readings: float  # it goes on until each meter was read again, not only until nothing waits
    buses: tuple[tuple[str, ...], ...] = (("modbus", "profiles"),)  # one of these
    slots_small: tuple[int, ...] = (5, 6, 7, 8, 9)


BOTH, ONE, OTHER = ("modbus", "profiles"), ("modbus",), ("profiles",)
SHORT = Scale((1, 1, 1, 1, 2), 0.02, 0.05, 0.25, buses=(BOTH, ONE, ONE, OTHER, OTHER))
LONG = Scale((2, 3, 4, 5), 0.2, 1.0, 1.0)


@cache
def configuration() -> AgentConfig:
    """Return the configuration of every schedule."""
    return parse_config((HERE / "agent.toml").read_text(encoding="utf-8"), "agent.toml", HERE, {"SECRET": "1"})


@dataclass(slots=True)
class Jump:
    """From ``at_s`` on the computer's clock is ahead of the true time by ``ahead_ms``."""

    at_s: float
    ahead_ms: int


@dataclass(frozen=True, slots=True)
class Only:
    """Which faults and which troubles of the line are drawn; any if there are none."""

    kinds: tuple[Kind, ...] = ()
    troubles: tuple[Trouble, ...] = ()


ANY = Only()


@dataclass(frozen=True, slots=True)
class Claim:
    """A reading that the spool has claimed to hold, in one of the batches numbered ``first`` to ``last``."""

    reading: Reading
    generation: str
    first: int
    last: int
    durable: bool
    life: int


@dataclass(slots=True)
class Record:
    """What the judge needs to know of what happened."""

    claims: list[Claim] = field(default_factory=list)
    told: Counter[str] = field(default_factory=Counter)
    facts: list[tuple[float, str, dict[str, object]]] = field(default_factory=list)
    jumps: list[Jump] = field(default_factory=list)
    damages: int = 0  # bits flipped, writes and syncs that failed, writes torn sector by sector
    set_aside: int = 0
    octets_max: int = 0
    spooled_octets_max: int = 0
    drained_after_s: float | None = None
    spooled_at_end: int = -1
    days: dict[int, tuple[int, int]] = field(default_factory=dict)  # readings and digest by day, as the agent says
    days_stored: dict[int, tuple[int, int]] = field(default_factory=dict)  # the same, as the server has it then


class World:
    """Everything of one schedule."""

    def __init__(self, seed: int, parts: Parts, only: Only, *, trace: bool = False) -> None:
        self.seed, self.parts = seed, parts
        self.only_troubles = only.troubles
        self.rng = Random(seed)
        self.record = Record()
        self.power_off = self.over = False
        self.boots, self.booted_s = 1, -UP_BEFORE_S
        self.cuts, self.cut_s = 0, -UP_BEFORE_S
        self.healed_s = 0.0
        self.trace: list[str] | None = [] if trace else None
        self._hash = hashlib.blake2b(digest_size=8)
        self.loop = VirtualLoop(lambda: self.rng.uniform(0.001, 0.03))
        self.context = copy_context()
        self.disk = Disk()
        scale = LONG if only.kinds or self.rng.random() < LONG_PART else SHORT
        self.small = self.rng.random() < scale.small_spool
        self.length_s = self.rng.choice(scale.slots_small if self.small else scale.slots) * EVERY_MS / 1000
        self.bus_ids = self.rng.choice(scale.buses)
        self.faults: list[Fault] = draw_faults(self.rng, self.length_s, only.kinds, self.bus_ids)
        self.awaits_readings = self.rng.random() < scale.awaits_readings
        self._hole_refused = self.rng.random() < scale.refuses_holes
        self.start_s = self.rng.uniform(0, EVERY_MS / 1000)
        self.loop.now_s = self.start_s
        self.record.jumps.append(Jump(0.0, 0))
        self._build()

    def _build(self) -> None:
        config = configuration()
        pages = self.rng.choice(SMALL_SPOOL_PAGES)
        path = DiskPath("/disk/spool.sqlite")
        DiskPath.disk = self.disk
        self.config = replace(
            config,
            spool=path,
            spool_octets_max=pages * PAGE_OCTETS if self.small else config.spool_octets_max,
            buses=tuple(bus for bus in config.buses if bus.id in self.bus_ids),
        )
        self.meters: dict[str, TrueMeter] = {}
        for number, meter in enumerate(meter for bus in config.buses for meter in bus.meters):
            self.meters[meter.id] = TrueMeter(
                meter, number, now_s=self.loop.time, epoch_ms=EPOCH_MS, gateway_ms=self.gateway_ms
            )
        self.meters["B"].refuses_holes = self._hole_refused
        modbus = next(bus for bus in config.buses if bus.id == "modbus")
        assert isinstance(modbus.place, LineSettings)
        on_wires = [self.meters[each.id] for each in modbus.meters]
        self.wires = Wires(self.loop, self.context, modbus.place, on_wires)
        self.wires.rng = Random(self.rng.getrandbits(32))
        self.wires.note = self.note
        self.broker = Broker(self.loop, self.context, config.gateway)
        self.broker.server.asks_for_gaps = self.rng.random() < ASKING_PART
        self.broker.rng = Random(self.rng.getrandbits(32))
        self.broker.server.rng = Random(self.rng.getrandbits(32))
        self.profile_meters = {
            "C": ProfileMeter(self.meters["C"], asyncio.sleep, Random(self.rng.getrandbits(32)), EVERY_MS)
        }
        self.process = AgentProcess(self, self.loop, self.context, self.config)
        self.broker.process = self.process

    def boot(self) -> Boot:
        """Return the computer since it was switched on."""
        booted_s = self.booted_s
        return Boot(f"boot {self.boots}", lambda: self.loop.now_s - booted_s)

    def power_cut(self) -> None:
        """Switch the computer off; one that is off, or has not come up yet, begins to come up anew after this."""
        self.power_off = True
        self.cuts, self.cut_s = self.cuts + 1, self.loop.now_s

    def boots_anew(self, age_s: float) -> None:
        """Note that the computer was switched on ``age_s`` ago; never before its power was cut."""
        assert self.power_off, "a computer that is on came up again"
        self.power_off = False
        self.boots += 1
        self.booted_s = max(self.loop.now_s - age_s, self.cut_s)

    def time_ns(self) -> int:
        """Return what the computer's clock says."""
        return self.gateway_ms() * 1_000_000

    def gateway_ms(self) -> int:
        """Return the computer's clock in milliseconds since 1970."""
        return EPOCH_MS + round(self.loop.now_s * 1000) + self.record.jumps[-1].ahead_ms

    def set_clock(self, ahead_ms: int) -> None:
        """Set the computer's clock."""
        self.record.jumps.append(Jump(self.loop.now_s, ahead_ms))
        self.note(f"clock ahead {ahead_ms}")

    def note(self, what: str, more: str = "") -> None:
        """Add a line to the trace, of which the hash is kept; ``more`` is for people."""
        line = f"{self.loop.now_s:.4f} {what}"
        self._hash.update(line.encode())
        if self.trace is not None:
            self.trace.append(line + more)

    def told(self, event: str, fields: dict[str, object]) -> None:
        """Take a line of the agent's log."""
        if not self.process.life.alive:
            return
        self.record.told[event] += 1
        self.record.facts.append((self.loop.now_s, event, fields))
        self.note(event, f" {fields}" if self.trace is not None else "")

    def taken(self, spool: Spool, readings: list[Reading], first: int) -> None:
        """Take what a commit has claimed."""
        if not self.process.life.alive:
            return
        durable, life = spool.path is not None, self.process.life.number
        last = spool.last_sequence
        self.record.claims += [Claim(each, spool.generation, first, last, durable, life) for each in readings]
        self.note(f"taken {len(readings)} up to {spool.last_sequence}")
        self.record.octets_max = max(self.record.octets_max, self.disk.octets())
        if self.small:
            self.record.spooled_octets_max = max(self.record.spooled_octets_max, spool.octets)

    def spool_opened(self, spool: Spool) -> None:
        """Note a spool's beginning."""
        self.note(f"spool {spool.generation} batches {spool.batches} last {spool.last_sequence}")

    def spool_set_aside(self, generation: str) -> None:
        """Note that the agent found its spool damaged."""
        self.record.set_aside += 1
        self.note(f"spool set aside for {generation}")

    def hash(self) -> str:
        """Return a digest of all that happened, in order."""
        return self._hash.hexdigest()

    def run(self) -> "World":
        """Run the schedule to its end."""
        with VFS.mounted(self.disk, Random(self.rng.getrandbits(32))), watching(self.taken):
            seed_names(Random(self.rng.getrandbits(32)))
            asyncio.set_event_loop(self.loop)
            injector = Injector(self)
            try:
                self._drive(injector)
            finally:
                self.loop.on_step = None
                self.process.bury()
                self.loop.close()
                asyncio.set_event_loop(None)
        if self.loop.mistakes:
            raise self.loop.mistakes[0]
        return self

    def _drive(self, injector: Injector) -> None:
        injector.arrange()
        self.process.start()
        self._run_until(self.start_s + self.length_s)
        injector.heal()
        self.note("healed")
        healed_s = self.healed_s = self.loop.now_s
        self._run_until(healed_s + SETTLE_S)
        while self.loop.now_s < healed_s + AGAIN_S_MAX:
            if self.record.drained_after_s is None and self._is_drained():
                self.record.drained_after_s = self.loop.now_s - healed_s
            late = self.loop.now_s > healed_s + DRAIN_S_MAX
            if self._is_drained() and (late or not (self.unread() or self.unhealed() or self._lacks_end())):
                break
            self._run_until(self.loop.now_s + STEP_S)
        self._note_days()
        self.over = True
        self.process.stop.set()
        self._run_until(self.loop.now_s + FAREWELL_S)
        self.record.spooled_at_end = self.process.spools[-1].batches if self.process.spools else -1
        self.note(f"end: {self.record.spooled_at_end} spooled, {len(self.broker.server.database.readings)} stored")

    def _note_days(self) -> None:
        """Note what the agent would say of its days, on disk and in memory, and what the server has of them."""
        store = self.process.store
        if store is None or store.waiting:
            return
        stored: dict[int, list[Reading]] = defaultdict(list)
        for key, value in self.broker.server.database.readings.items():
            stored[key[2] // DAY_MS].append(Reading(*key, *value))
        self.record.days_stored = {day: (len(found), reading_digest(found)) for day, found in stored.items()}
        for spool in (store.spool, store.ring):
            for each in spool.days(60) if spool is not None else ():
                readings, digest = self.record.days.get(each.day, (0, 0))
                self.record.days[each.day] = (readings + each.readings, (digest + each.digest) % DIGEST_MODULUS)

    def _is_drained(self) -> bool:
        store = self.process.store
        if store is None or store.spool.batches or not self.broker.stands:
            return False  # what is read next, or in the last moment, must find its way too
        generations = set(store.spool.generations.values())
        return self.broker.server.lacks().isdisjoint(generations) and not any(map(self._is_owed, generations))

    def _is_owed(self, generation: str) -> bool:
        """Say whether a restored server was above its watermark once, and has not asked in vain since all is well."""
        request = self.broker.server.requests.get(generation)
        if request is None or request.watermark is None or request.times >= ASKS_MAX:
            return False
        taken = max((each.last for each in self.record.claims if each.generation == generation), default=0)
        well_s = self.healed_s + SETTLE_S
        return taken > request.watermark and not well_s < request.asked_s < self.loop.now_s - ANSWERED_S

    def _lacks_end(self) -> bool:
        """Say whether a restored server lacks the end of the generation that is being filled, and does not know it.

        Something above its watermark has come before it asked, and it asks for the gaps that this shows, as the real
        one does: what came last it misses when the next cycle is there. Of a generation that has ended none will be.
        """
        store = self.process.store
        return store is not None and self.broker.server.lacks_end(store.spool.generation)

    def unhealed(self) -> list[int]:
        """Return the slots between its first and its last that the server lacks of the meter with a load profile.

        None after what excuses it: a clock that was wrong, a damaged disk, a loss that was declared.
        """
        if any(each.ahead_ms for each in self.record.jumps) or self.record.damages or self.broker.server.losses:
            return []
        readings = self.broker.server.database.readings
        slots = {key[2] for key in readings if key[:2] == PROFILED and key[2] % EVERY_MS == 0}
        wanted = range(min(slots), max(slots) + 1, EVERY_MS) if slots else range(0)
        return [at_ms for at_ms in wanted if at_ms not in slots]

    def unread(self) -> list[tuple[str, str]]:
        """Return the counters that wait to be read since all was healed; none if the clock was wrong."""
        if self.small and self.record.set_aside:  # a rescued file needs two pages more, and may be full with its tables
            return []
        if not self.awaits_readings or any(abs(each.ahead_ms) >= EVERY_MS // 2 for each in self.record.jumps):
            return []
        since_ms = EPOCH_MS + self.healed_s * 1000
        read = {key[:2] for key in self.broker.server.database.readings if key[2] > since_ms}
        meters = (meter.id for bus in self.config.buses for meter in bus.meters)
        return [(name, obis) for name in meters for obis in self.meters[name].counters if (name, obis) not in read]

    def _run_until(self, at_s: float) -> None:
        """Let time pass until ``at_s``."""
        over = self.loop.create_future()
        timer = self.context.run(self.loop.call_at, at_s, over.set_result, None)
        try:
            self.loop.run_until_complete(over)
        except NothingLeftError as error:
            raise AssertionError("the world stands still") from error
        finally:
            timer.cancel()


def run_schedule(seed: int, parts: Parts | None = None, *, only: Only = ANY, trace: bool = False) -> World:
    """Run the schedule of ``seed``."""
    return World(seed, parts or Parts(), only, trace=trace).run()
