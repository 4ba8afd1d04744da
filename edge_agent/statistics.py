"""What a bus and its meters have done: counts, latencies, load. Kept by the bus, told in snapshots."""

from collections import deque
from dataclasses import dataclass, field

from edge_agent.meter import Answer, Fault

LATENCIES_KEPT = 256  # of each meter; enough for a 99th percentile
WINDOWS_KEPT = 5
WINDOW_S = 60.0  # the load is told over the last five whole minutes


@dataclass(frozen=True, slots=True)
class MeterStatistics:
    """One meter since the agent's start. Times in milliseconds; latencies of the last answered transactions."""

    meter: str
    transactions: int
    answered: int
    timeouts: int
    checksum_errors: int
    garbled: int
    refusals: int
    retries: int
    probes: int
    slots_read: int
    slots_failed: int
    glitches: int
    busy_ms: float
    quarantine_ms: float
    latency_p50_ms: float | None
    latency_p99_ms: float | None
    latency_max_ms: float | None
    failures_in_a_row: int
    silent: bool
    answered_at_ms: int | None


@dataclass(frozen=True, slots=True)
class BusStatistics:
    """One bus since its start. ``load`` is the share of the last minutes that the line was in use (0 to 1)."""

    bus: str
    line_open: bool
    load: float
    busy_ms: float
    transactions: int
    answered: int
    timeouts: int
    checksum_errors: int
    garbled: int
    retries: int
    probe_ms: float
    quarantine_ms: float
    urgent: int
    silent: int
    meters: tuple[MeterStatistics, ...]


@dataclass(slots=True)
class MeterTally:
    """Counts as they grow."""

    meter: str
    counts: dict[str, int] = field(default_factory=dict)
    busy_s: float = 0.0
    quarantine_s: float = 0.0
    probe_s: float = 0.0
    latencies_s: deque[float] = field(default_factory=lambda: deque(maxlen=LATENCIES_KEPT))
    answered_at_ms: int | None = None

    def count(self, what: str, number: int = 1) -> None:
        """Add to one of the counts."""
        self.counts[what] = self.counts.get(what, 0) + number

    def note(self, answer: Answer, took_s: float, now_ms: int, *, probe: bool, retry: bool) -> None:
        """Count one transaction."""
        self.count("transactions")
        self.count("refusals", len(answer.refusals))
        self.count("retries", retry)
        self.busy_s += took_s
        self.quarantine_s += answer.quarantine_s
        if probe:
            self.count("probes")
            self.probe_s += took_s
        if answer.failure is None:
            self.count("answered")
            self.latencies_s.append(took_s)
            self.answered_at_ms = now_ms
        else:
            self.count(_COUNT_OF[answer.fault])

    def snapshot(self, failures: int, *, silent: bool) -> MeterStatistics:
        """Return what was counted so far."""
        get = self.counts.get
        ordered = sorted(self.latencies_s)
        return MeterStatistics(
            meter=self.meter,
            transactions=get("transactions", 0),
            answered=get("answered", 0),
            timeouts=get("timeouts", 0),
            checksum_errors=get("checksum_errors", 0),
            garbled=get("garbled", 0),
            refusals=get("refusals", 0),
            retries=get("retries", 0),
            probes=get("probes", 0),
            slots_read=get("slots_read", 0),
            slots_failed=get("slots_failed", 0),
            glitches=get("glitches", 0),
            busy_ms=1000 * self.busy_s,
            quarantine_ms=1000 * self.quarantine_s,
            latency_p50_ms=_percentile_ms(ordered, 50),
            latency_p99_ms=_percentile_ms(ordered, 99),
            latency_max_ms=_percentile_ms(ordered, 100),
            failures_in_a_row=failures,
            silent=silent,
            answered_at_ms=self.answered_at_ms,
        )


_COUNT_OF = {
    Fault.SILENT: "timeouts",
    Fault.CHECKSUM: "checksum_errors",
    Fault.GARBLED: "garbled",
    None: "garbled",
}


class LoadMeter:
    """The share of time that a line is in use, over whole windows of a clock that is not set."""

    def __init__(self, now_s: float) -> None:
        self._began_s = now_s
        self._busy: deque[float] = deque([0.0], maxlen=WINDOWS_KEPT + 1)
        self.busy_s = 0.0

    def note(self, now_s: float, busy_s: float) -> None:
        """Add what was in use until ``now_s``."""
        self._turn(now_s)
        self._busy[-1] += busy_s
        self.busy_s += busy_s

    def share(self, now_s: float) -> float:
        """Return the share of the last windows, 0 to 1."""
        self._turn(now_s)
        elapsed_s = WINDOW_S * (len(self._busy) - 1) + now_s - self._began_s
        return min(1.0, sum(self._busy) / elapsed_s) if elapsed_s > 0 else 0.0

    def _turn(self, now_s: float) -> None:
        windows = int((now_s - self._began_s) / WINDOW_S)
        self._busy.extend([0.0] * min(windows, WINDOWS_KEPT + 1))
        self._began_s += windows * WINDOW_S


def bus_statistics(
    bus: str,
    meters: tuple[MeterStatistics, ...],
    *,
    line_open: bool,
    load: float,
    busy_s: float,
    probe_s: float,
    urgent: int,
) -> BusStatistics:
    """Return the sums over a bus's meters."""
    return BusStatistics(
        bus=bus,
        line_open=line_open,
        load=load,
        busy_ms=1000 * busy_s,
        transactions=sum(each.transactions for each in meters),
        answered=sum(each.answered for each in meters),
        timeouts=sum(each.timeouts for each in meters),
        checksum_errors=sum(each.checksum_errors for each in meters),
        garbled=sum(each.garbled for each in meters),
        retries=sum(each.retries for each in meters),
        probe_ms=1000 * probe_s,
        quarantine_ms=sum(each.quarantine_ms for each in meters),
        urgent=urgent,
        silent=sum(each.silent for each in meters),
        meters=meters,
    )


def _percentile_ms(ordered: list[float], percent: int) -> float | None:
    if not ordered:
        return None
    return 1000 * ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]
