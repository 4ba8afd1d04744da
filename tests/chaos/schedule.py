"""One schedule: faults from a seed, one after and over the other; then all is healed, drained and judged."""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from deploy.runtime.processes import wait_until
from tests.chaos.faults import Heal, Marks, available
from tests.chaos.judge import Judge, Verdict
from tests.chaos.system import System, gateway_ms

FAULTS_MIN, FAULTS_MAX = 10, 14
SLOTS_MIN, SLOTS_MAX = 2, 8  # that pass while a fault is there
STEP_S_MIN, STEP_S_MAX = 0.1, 0.3
STEPS_MAX = 3  # for which a fault stays
DRAIN_S_MAX = 150.0  # events without a receipt are sent again after a minute, batches much sooner
GRACE_S = 3.0  # for what a program with a planted bug has receipted and may yet store
CRASHES = ("Traceback", "task.crashed", "CRITICAL")
# aiomqtt asks for a socket to be watched that is closed by then; asyncio tells it, and nothing comes of it.
KNOWN = re.compile(
    r"ERROR Exception in callback BaseSelectorEventLoop\.add_writer.*?OSError: \[Errno 9\] Bad file descriptor\n",
    re.DOTALL,
)


@dataclass(slots=True)
class Outcome:
    """What came of a schedule."""

    seed: int
    faults: list[str] = field(default_factory=list)
    verdict: Verdict = field(default_factory=Verdict)
    drain_s: float = 0.0
    took_s: float = 0.0


class Schedules:
    """Runs schedules on one system, one after the other."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.judge = Judge(system)
        self._logs = {part.name: 0 for part in system.parts}
        self._begin()

    def _begin(self) -> None:
        """Wait until everything stands."""
        self.system.director.let_pass(1)
        assert wait_until(lambda: self.system.director.done, DRAIN_S_MAX), self.system.agent.said()[-2000:]

    def run(self, seed: int, only: Sequence[str] = ()) -> Outcome:
        """Run the schedule of ``seed``, with faults of the kinds ``only`` if they are named; return what came of it."""
        begun_s = time.monotonic()
        outcome, chance, marks = Outcome(seed), Random(seed), Marks()
        system = self.system
        kinds = [each for each in available(system) if not only or each.name in only]
        offsets_ms = {system.clock.ahead_ms}
        healing: list[tuple[int, Heal]] = []
        for step in range(chance.randint(FAULTS_MIN, FAULTS_MAX)):
            for due in [each for each in healing if each[0] <= step]:
                healing.remove(due)
                due[1]()
            (fault,) = chance.choices(kinds, [each.weight for each in kinds])
            outcome.faults.append(fault.name)
            heal = fault.begin(system, chance, marks)
            healing.append((step + chance.randint(1, STEPS_MAX), heal))
            offsets_ms.add(system.clock.ahead_ms)
            system.tend()
            system.director.let_pass(chance.randint(SLOTS_MIN, SLOTS_MAX))
            wait_until(lambda: False, chance.uniform(STEP_S_MIN, STEP_S_MAX))  # let what flows come to the fault
        for _, heal in healing:
            heal()
        for proxy in (system.uplink, system.downlink, system.wire):
            system.loop.call(proxy.forget_cuts)
        offsets_ms.add(system.clock.ahead_ms)
        healed_s = time.monotonic()
        outcome.verdict = self._drain(lambda: self.judge.judge(offsets_ms, marks.spans), marks)
        outcome.drain_s = time.monotonic() - healed_s
        self._read_logs(outcome.verdict)
        outcome.took_s = time.monotonic() - begun_s
        return outcome

    def _drain(self, judge: Callable[[], Verdict], marks: Marks) -> Verdict:
        """Let the last slots pass, wait until everything is receipted, and judge."""
        system = self.system
        system.database.wait()
        deadline_s = time.monotonic() + DRAIN_S_MAX
        system.director.let_pass(2 + self.judge.behind())

        def drained() -> bool:
            system.tend()
            return system.director.done and self.judge.waiting() == 0

        wait_until(drained, deadline_s - time.monotonic())
        marks.end_all(gateway_ms(system))
        waiting = self.judge.waiting()
        verdict = judge()
        if verdict.lost and not waiting:
            wait_until(lambda: False, GRACE_S)
            verdict = judge()
        if waiting or not system.director.done:
            verdict.undrained = max(waiting, 1)
        return verdict

    def effects(self) -> dict[str, int]:
        """Return what the faults did, as programs and proxies tell."""
        system = self.system
        agent, ingest, broker = system.agent.said(), system.ingest.said(), system.broker.said()
        cuts = sum(proxy.cuts for proxy in (system.uplink, system.downlink, system.wire))
        return {
            "connections cut in mid-message or at a commit": cuts,
            "times that the database was lost": ingest.count("database.lost"),
            "times that the agent lost the broker": agent.count("broker.not_connected"),
            "times that ingest lost it": ingest.count("broker.lost"),
            "queues overflown": broker.count("messages are being dropped"),
            "starts of the agent": agent.count("agent.started"),
            "starts of ingest": ingest.count("connection=1\n"),
            "times that the spool's disk refused": agent.count("spool.refused"),
            "clocks not set": agent.count("clock.not_set"),
            "messages sent again": agent.count("batches.resent"),
            "requests to send again": ingest.count("resend.asked"),
        }

    def _read_logs(self, verdict: Verdict) -> None:
        for part in self.system.parts:
            said = part.said()
            fresh, self._logs[part.name] = KNOWN.sub("", said[self._logs[part.name] :]), len(said)
            for word in CRASHES:
                if word in fresh:
                    verdict.crashes += 1
                    verdict.note(f"{part.name} crashed", fresh[max(0, fresh.index(word) - 200) :][:1500])
