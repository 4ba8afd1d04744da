"""What a running ingest is and has done, as values: the text for Prometheus, and whether it is well.

Source of the text format: Prometheus documentation, "Exposition formats", version 0.0.4.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from ingest_server.pipeline.counts import Counts
from ingest_server.pipeline.monitoring import Requests, Share

GIVEN_UP_TOLD_S = 3600.0  # the quarantine had no room: it is told for so long after the last time
STILL_S_MAX = 30.0  # messages wait and nothing was stored for so long; a transaction takes tenths of a second
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Snapshot(NamedTuple):
    """Ingest at one moment; ``still_s`` is for how long nothing has moved although something waits."""

    counts: Counts
    broker_connected: bool
    database_connected: bool
    inbox_messages: int
    inbox_octets: int
    inbox_full: bool
    still_s: float
    clocks_s: Collection[float] = ()  # each gateway's clock less ours
    shares: Sequence[Share] = ()  # readings expected and found
    gave_up_s: float | None = None  # how long ago the quarantine last had no room
    requests: Requests | None = None  # what gateways are asked to send again


def render_metrics(now: Snapshot) -> str:
    """Return the metrics of ``now`` in Prometheus' text format."""
    counts = now.counts
    lines: list[str] = []

    def add(name: str, kind: str, meaning: str, values: Mapping[str, float]) -> None:
        lines.extend((f"# HELP congto_ingest_{name} {meaning}", f"# TYPE congto_ingest_{name} {kind}"))
        lines.extend(f"congto_ingest_{name}{labels} {value}" for labels, value in values.items())

    add("messages_total", "counter", "Messages stored, quarantined or counted.", {"": counts.messages})
    add("transactions_total", "counter", "Transactions committed.", {"": counts.transactions})
    add("store_seconds_total", "counter", "Time spent in these transactions.", {"": round(counts.store_s, 6)})
    readings = {"new": counts.new, "duplicate": counts.duplicate, "conflict": counts.conflict}
    labelled = {f'{{result="{result}"}}': value for result, value in readings.items()}
    add("readings_total", "counter", "Readings by what became of them.", labelled)
    add("events_total", "counter", "Meter events taken.", {"": counts.events})
    add("lost_batches_total", "counter", "Batches that gateways have declared lost.", {"": counts.lost})
    add("quarantined_total", "counter", "Messages and parts of messages put into quarantine.", {"": counts.quarantined})
    add("quarantine_given_up_total", "counter", "Messages for which the quarantine had no room.", {"": counts.given_up})
    add("strangers_total", "counter", "Statuses of gateways that are not registered.", {"": counts.strangers})
    add("broker_connected", "gauge", "1 while subscribed at the broker.", {"": int(now.broker_connected)})
    add("database_connected", "gauge", "1 unless the last transaction failed.", {"": int(now.database_connected)})
    add("inbox_messages", "gauge", "Messages that wait to be decoded.", {"": now.inbox_messages})
    add("inbox_octets", "gauge", "Their size.", {"": now.inbox_octets})
    if now.clocks_s:
        clocks = {'{bound="lowest"}': min(now.clocks_s), '{bound="highest"}': max(now.clocks_s)}
        add("gateway_clock_ahead_seconds", "gauge", "Gateways' clocks less ours, by their last status.", clocks)
    add("still_seconds", "gauge", "For how long nothing moved though something waits.", {"": round(now.still_s, 3)})
    if now.requests is not None:
        states = {'{state="asked"}': now.requests.asked, '{state="unanswered"}': now.requests.unanswered}
        add("resend_requests", "gauge", "Spools that are asked to send again, or were often and in vain.", states)
        given_up = {"": now.requests.given_up}
        add("quarantine_given_up_batches", "gauge", "Batches of what was given up, to be asked for.", given_up)
    if now.shares:
        expected = {_labels(each): each.expected for each in now.shares}
        found = {_labels(each): each.found for each in now.shares}
        add("expected_readings", "gauge", "Readings due by now, of this civil day and the last.", expected)
        add("found_readings", "gauge", "How many of them are stored.", found)
    return "\n".join(lines) + "\n"


def _labels(share: Share) -> str:
    name = share.name.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    return f'{{by="{share.by}",name="{name}",day="{share.day}"}}'


def parse_metrics(text: str) -> dict[str, float]:
    """Return the values in what :func:`render_metrics` has made, by name without ``congto_ingest_``."""
    found = {}
    for line in text.splitlines():
        if line.startswith("congto_ingest_"):
            name, _, value = line.rpartition(" ")
            found[name.removeprefix("congto_ingest_")] = float(value)
    return found


def complaints(now: Snapshot) -> list[str]:
    """Return what is wrong at the moment, each with who must act; nothing if all is well."""
    found = []
    if not now.broker_connected:
        found.append("not subscribed at the broker: is it up, and may this user subscribe? It is tried again and again")
    if not now.database_connected:
        found.append("the database does not take transactions: is it up, is its disk full? It is tried again and again")
    if now.still_s > STILL_S_MAX:
        found.append(
            f"messages wait and nothing was stored for {now.still_s:.0f} s: look for a lock in pg_stat_activity"
        )
    elif now.inbox_full:
        found.append("the inbox is full, the broker is held up: the database is slower than what comes")
    if now.gave_up_s is not None and now.gave_up_s < GIVEN_UP_TOLD_S:
        found.append(
            f"the quarantine is full for a gateway, {now.counts.given_up} messages were given up since the start: see "
            "`congto ingest quarantine`, mend the cause, make room with `congto ingest readmit` or `--forget-all`"
        )
    return found
