"""What goes wrong in a schedule, drawn from its seed: what, when, for how long."""

from dataclasses import dataclass
from enum import Enum
from random import Random

from tests.simulation.line import Trouble


class Kind(Enum):
    """A fault."""

    LINE = "line troubled"
    METER_SILENT = "meter silent"
    METER_GLITCHES = "meter glitches"
    METER_FROZEN = "meter repeats a snapshot"
    METER_EXCHANGED = "meter exchanged"
    METER_ROLLS_OVER = "meter rolls over"
    UNPLUGGED = "adapter unplugged"
    ECHO = "adapter echoes"
    PROFILE_BROKEN = "profile meter breaks off"
    KILL = "kill at a time"
    KILL_AT_STEP = "kill at a step"
    KILL_AT_DISK = "kill at a disk operation"
    RESTART = "restarted in good order"
    POWER = "power cut"
    POWER_AT_DISK = "power cut at a disk operation"
    DISK_FULL = "disk full"
    DISK_WRITE = "disk refuses writes"
    DISK_SYNC = "disk refuses a sync"
    FLIP = "bit flips"
    CLOCK_FORWARD = "clock jumps forward"
    CLOCK_BACK = "clock jumps back"
    CLOCK_UNSET = "clock unset after power-on"
    BROKER_DOWN = "broker down"
    BROKER_EMPTY = "broker restarted empty"
    BROKER_REFUSES = "broker refuses connections"
    BROKER_DROPS = "broker acknowledges and drops"
    QUEUE_SMALL = "broker's queue overflows"
    DUPLICATES = "deliveries duplicated"
    RECEIPTS_LOST = "receipts lost"
    CUT = "network cut"
    CUT_ONE_WAY = "network cut one way"
    RESET = "connection reset"
    SERVER_DOWN = "server down"
    SERVER_RESTORED = "server restored from a backup"
    LATE_AND_GONE = "an answer late, the agent or the line gone meanwhile"


WEIGHTS: dict[Kind, int] = {
    Kind.LINE: 10,
    Kind.METER_SILENT: 4,
    Kind.METER_GLITCHES: 3,
    Kind.METER_FROZEN: 1,
    Kind.METER_EXCHANGED: 1,
    Kind.METER_ROLLS_OVER: 1,
    Kind.UNPLUGGED: 2,
    Kind.ECHO: 1,
    Kind.PROFILE_BROKEN: 2,
    Kind.KILL: 2,
    Kind.KILL_AT_STEP: 4,
    Kind.KILL_AT_DISK: 4,
    Kind.RESTART: 3,
    Kind.POWER: 3,
    Kind.POWER_AT_DISK: 4,
    Kind.DISK_FULL: 2,
    Kind.DISK_WRITE: 1,
    Kind.DISK_SYNC: 2,
    Kind.FLIP: 1,
    Kind.CLOCK_FORWARD: 1,
    Kind.CLOCK_BACK: 2,
    Kind.CLOCK_UNSET: 1,
    Kind.BROKER_DOWN: 2,
    Kind.BROKER_EMPTY: 3,
    Kind.BROKER_REFUSES: 1,
    Kind.BROKER_DROPS: 2,
    Kind.QUEUE_SMALL: 1,
    Kind.DUPLICATES: 2,
    Kind.RECEIPTS_LOST: 2,
    Kind.CUT: 3,
    Kind.CUT_ONE_WAY: 3,
    Kind.RESET: 2,
    Kind.SERVER_DOWN: 2,
    Kind.SERVER_RESTORED: 2,
    Kind.LATE_AND_GONE: 0,  # beside the others, by LATE_AND_GONE_PART: what older seeds draw stays as it was
}
NEEDS: dict[str, frozenset[Kind]] = {  # what touches nothing without a certain bus
    "modbus": frozenset(
        {
            Kind.LINE,
            Kind.METER_GLITCHES,
            Kind.METER_FROZEN,
            Kind.METER_EXCHANGED,
            Kind.METER_ROLLS_OVER,
            Kind.UNPLUGGED,
            Kind.ECHO,
            Kind.LATE_AND_GONE,
        }
    ),
    "profiles": frozenset({Kind.PROFILE_BROKEN}),
}
FAULTS_MIN, FAULTS_MAX = 2, 7
CALM_PART = 0.1  # so many schedules have one fault only: a cause is easier seen alone
LATE_AND_GONE_PART = 0.2  # of the schedules with such meters have it too
TROUBLES_MAX = 3


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: when it begins [s], how long it lasts [s], and its own chance."""

    kind: Kind
    at_s: float
    for_s: float
    seed: int

    def __str__(self) -> str:
        return f"{self.at_s:8.2f} s {self.kind.value} for {self.for_s:.1f} s"


def draw_faults(
    rng: Random, length_s: float, only: tuple[Kind, ...] = (), buses: tuple[str, ...] = tuple(NEEDS)
) -> list[Fault]:
    """Return the faults of a schedule of ``length_s``, in order; of the kinds ``only`` if there are any."""
    absent = {kind for bus, needed in NEEDS.items() if bus not in buses for kind in needed}
    kinds = [kind for kind in only or WEIGHTS if kind not in absent]
    count = 1 if rng.random() < CALM_PART and not only else rng.randint(FAULTS_MIN, FAULTS_MAX)
    chosen = rng.choices(kinds, [WEIGHTS[each] or len(only) for each in kinds], k=count)
    faults = [
        Fault(
            kind, rng.uniform(0.05, 0.9) * length_s, length_s * rng.choice((0.01, 0.05, 0.2, 0.4)), rng.getrandbits(32)
        )
        for kind in chosen
    ]
    own = Random(faults[0].seed)
    if not only and Kind.LATE_AND_GONE not in absent and own.random() < LATE_AND_GONE_PART:
        faults.append(Fault(Kind.LATE_AND_GONE, own.uniform(0.0, 0.9) * length_s, 0.0, own.getrandbits(32)))
    return sorted(faults, key=lambda each: each.at_s)


def draw_troubles(rng: Random, only: tuple[Trouble, ...] = ()) -> dict[Trouble, float]:
    """Return what a troubled line does to which share of the answers; ``only`` such, if there are any."""
    kinds = only or rng.sample(list(Trouble), rng.randint(1, TROUBLES_MAX))
    return {kind: rng.choice((0.1, 0.3, 0.7)) for kind in kinds}
