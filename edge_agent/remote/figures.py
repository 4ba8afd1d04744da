"""Statistics of buses and meters as flat rows of integers and texts, and as Prometheus' text.

A status message is retained and sent each minute, so it holds the buses and the meters that do worst, no more; a reply
and the socket hold all.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from edge_agent.statistics import BusStatistics, MeterStatistics

BUSES_IN_STATUS_MAX = 24
METERS_IN_STATUS_MAX = 16  # with the longest names 460 octets each, a bus 290; a status is to stay below 16 kB
COUNTS = ("transactions", "answered", "timeouts", "checksum_errors", "garbled", "retries")

Row = dict[str, int | str | bool | None]


def bus_row(bus: BusStatistics) -> Row:
    """Return one bus; the load in thousandths of the time of the last minutes."""
    row: Row = {"bus": bus.bus, "open": bus.line_open, "load_permille": round(1000 * bus.load)}
    row |= {"meters": len(bus.meters), "silent": bus.silent, "urgent": bus.urgent}
    row |= {key: getattr(bus, key) for key in COUNTS}
    return row | {"busy_ms": round(bus.busy_ms), "quarantine_ms": round(bus.quarantine_ms)}


def meter_row(bus: str, meter: MeterStatistics) -> Row:
    """Return one meter; latencies are of the transactions answered last."""
    row: Row = {"bus": bus, "meter": meter.meter, "silent": meter.silent, "failures": meter.failures_in_a_row}
    row |= {key: getattr(meter, key) for key in COUNTS}
    row |= {"refusals": meter.refusals, "glitches": meter.glitches, "slots_failed": meter.slots_failed}
    row |= {"slots_read": meter.slots_read, "quarantine_ms": round(meter.quarantine_ms)}
    row |= {f"latency_{name}_ms": _rounded(getattr(meter, f"latency_{name}_ms")) for name in ("p50", "p99", "max")}
    return row | {"answered_at": meter.answered_at_ms}


def rows(buses: Iterable[BusStatistics]) -> tuple[list[Row], list[Row]]:
    """Return all buses and all meters."""
    found = list(buses)
    return [bus_row(each) for each in found], [meter_row(each.bus, meter) for each in found for meter in each.meters]


def in_status(buses: Sequence[BusStatistics]) -> Mapping[str, object]:
    """Return what a status message holds: buses, the meters that do worst, and how many are left out."""
    bus_rows, meter_rows = rows(buses)
    troubled = [row for row in meter_rows if row["silent"] or row["failures"] or row["checksum_errors"]]
    troubled.sort(key=_trouble, reverse=True)
    shown = troubled[:METERS_IN_STATUS_MAX]
    return {
        "buses": bus_rows[:BUSES_IN_STATUS_MAX],
        "meters": shown,
        "left_out": len(bus_rows[BUSES_IN_STATUS_MAX:]) + len(troubled) - len(shown),
    }


def _trouble(row: Row) -> tuple[bool, int, int]:
    return (bool(row["silent"]), int(row["failures"] or 0), int(row["checksum_errors"] or 0))


def _rounded(value: float | None) -> int | None:
    return None if value is None else round(value)


METRICS: Mapping[str, tuple[str, str]] = {
    "bus_open": ("gauge", "Whether the line is open."),
    "bus_load_ratio": ("gauge", "Share of the last minutes that the line was in use."),
    "bus_urgent_total": ("counter", "Urgent pieces of work done."),
    "meter_transactions_total": ("counter", "Questions asked."),
    "meter_answered_total": ("counter", "Questions answered."),
    "meter_timeouts_total": ("counter", "Questions without a reply in time."),
    "meter_checksum_errors_total": ("counter", "Replies with a wrong checksum."),
    "meter_garbled_total": ("counter", "Replies that break the protocol."),
    "meter_retries_total": ("counter", "Questions asked once more."),
    "meter_refusals_total": ("counter", "Correct answers that say no."),
    "meter_glitches_total": ("counter", "Values of a counter that can't be."),
    "meter_quarantine_seconds_total": ("counter", "Time the line was kept silent after timeouts."),
    "meter_latency_seconds": ("gauge", "Time of the last answered questions, by quantile."),
    "meter_silent": ("gauge", "Whether the meter is only probed."),
    "spool_batches": ("gauge", "Batches that wait for a receipt."),
    "spool_readings_total": ("counter", "Readings ever taken in this generation."),
    "spool_octets": ("gauge", "Size of the spool, free pages not counted."),
    "spool_damaged_total": ("counter", "Spools that were found damaged and set aside."),
    "spool_disk_failed": ("gauge", "Whether the spool's disk has reported an error: readings are in memory only."),
    "spool_not_durable_total": ("counter", "Readings that went into memory only, since the start."),
    "lost_batches_total": ("counter", "Batches that were given up, by reason."),
    "lost_readings_total": ("counter", "Readings that were given up, by reason, as far as it is known how many."),
    "broker_connected": ("gauge", "Whether the connection to the broker stands."),
}


@dataclass(frozen=True, slots=True)
class SpoolFigures:
    """What is told of the spool; ``lost`` are batches and readings given up, by reason."""

    batches: int
    taken: int
    octets: int = 0
    damaged: int = 0
    disk_failed: bool = False
    not_durable: int = 0
    lost: Mapping[str, tuple[int, int]] = field(default_factory=dict)


def prometheus(buses: Iterable[BusStatistics], spool: SpoolFigures, *, connected: bool) -> str:
    """Return all as text (Prometheus exposition format 0.0.4)."""
    samples: dict[str, list[str]] = {name: [] for name in METRICS}

    def add(name: str, value: float, **labels: str) -> None:
        words = ",".join(f'{key}="{label}"' for key, label in labels.items())  # identifiers need no escapes
        number = repr(value) if isinstance(value, float) else str(int(value))  # all digits: a rate needs the last ones
        samples[name].append(f"congto_agent_{name}{{{words}}} {number}" if words else f"congto_agent_{name} {number}")

    for bus in buses:
        add("bus_open", bus.line_open, bus=bus.bus)
        add("bus_load_ratio", bus.load, bus=bus.bus)
        add("bus_urgent_total", bus.urgent, bus=bus.bus)
        for meter in bus.meters:
            labels = {"bus": bus.bus, "meter": meter.meter}
            for key in (*COUNTS, "refusals", "glitches"):
                add(f"meter_{key}_total", getattr(meter, key), **labels)
            add("meter_quarantine_seconds_total", meter.quarantine_ms / 1000, **labels)
            add("meter_silent", meter.silent, **labels)
            for quantile, latency in (("0.5", meter.latency_p50_ms), ("0.99", meter.latency_p99_ms)):
                if latency is not None:
                    add("meter_latency_seconds", latency / 1000, **labels, quantile=quantile)
    add("spool_batches", spool.batches)
    add("spool_readings_total", spool.taken)
    add("spool_octets", spool.octets)
    add("spool_damaged_total", spool.damaged)
    add("spool_disk_failed", spool.disk_failed)
    add("spool_not_durable_total", spool.not_durable)
    for reason, (batches, readings) in spool.lost.items():
        add("lost_batches_total", batches, reason=reason)
        add("lost_readings_total", readings, reason=reason)
    add("broker_connected", connected)
    lines: list[str] = []
    for name, (kind, meaning) in METRICS.items():
        lines += [f"# HELP congto_agent_{name} {meaning}", f"# TYPE congto_agent_{name} {kind}", *samples[name]]
    return "\n".join(lines) + "\n"
