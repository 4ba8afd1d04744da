"""How much memory ingest takes at the most: from a broker that heeds no Receive Maximum, and with the database gone."""

from pathlib import Path
from time import monotonic
from typing import Any

from deploy.runtime import lifecycle
from deploy.runtime.processes import wait_until
from tests.bench import _ingest_world as world
from tests.ingest_server.flooding_broker import FloodingBroker
from tests.ingest_server.processes import DEADLINE_S, READY, Ingest

FLOOD_S = 20.0
DATABASE_STOPPED_S = 60.0
RSS_MIB_MAX = 300
FLOOD_MIN = 1500  # more than the inbox takes


def peak_mib(pid: int) -> float:
    """Return the most that the process has ever had in memory."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def measure() -> list[dict[str, Any]]:
    """Return the peaks."""
    messages = [(each.topic, each.payload) for each in world.make_messages(500, 4000)]
    with world.servers() as servers:
        broker = FloodingBroker(messages)
        program = Ingest(servers.dsn, broker.url)
        program.start()
        program.wait_for(READY)
        until = monotonic() + FLOOD_S
        wait_until(lambda: monotonic() >= until, 2 * FLOOD_S)
        overload = peak_mib(program.pid)
        assert broker.sent > FLOOD_MIN, f"only {broker.sent} messages were taken"
        lifecycle.kill_database(servers.directory)
        program.wait_for(r"database\.lost")
        until = monotonic() + DATABASE_STOPPED_S
        wait_until(lambda: monotonic() >= until, 2 * DATABASE_STOPPED_S)
        stopped = peak_mib(program.pid)
        lifecycle.start_database(servers.directory)
        program.wait_for(r"database\.back")
        sent = broker.sent
        assert wait_until(lambda: broker.sent > sent, DEADLINE_S), "it does not go on"
        program.kill()
        broker.close()
    return [
        world.row(
            "ingest: RSS, flooded without Receive Maximum", overload, "MiB", "≤ 300", met=overload <= RSS_MIB_MAX
        ),
        world.row("ingest: RSS, and the database a minute gone", stopped, "MiB", "≤ 300", met=stopped <= RSS_MIB_MAX),
    ]
