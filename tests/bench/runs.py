"""Bills a second from database to database: readings in, bills with control, lines and ledger entries out.

``CONGTO_BENCH_CUSTOMERS`` says how many household customers there are; the issue's figure is for 1,000,000. A month is
billed beforehand, so that history, issued bills and the ledger exist. What counts is processor time, shared out over
two cores, because the machine is shared; the clock on the wall is given beside it.
"""

import os
import shutil
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

from deploy.runtime import lifecycle
from ingest_server.billing.period import Period
from ingest_server.billing.run import Plan, Summary, run_billing
from ingest_server.database import connect, migrate
from ingest_server.registry.bulk import load_bulk
from simulators.customers import write_customers
from tests.bench._ingest_world import row
from tests.bench._processor import used

CUSTOMERS = int(os.environ.get("CONGTO_BENCH_CUSTOMERS", "100000"))
WORKERS, CORES = 2, 2
TARGET = 50_000  # a second on two cores: a million in 20 s
MEMORY_MAX = 2 * 10**9
FIRST = date(2026, 8, 1)


def measure() -> list[dict[str, Any]]:
    """Return how fast the second month of so many customers is billed and issued, and with how much memory."""
    directory = Path(tempfile.mkdtemp(prefix="congto-bench-"))
    directory.chmod(0o711)  # the servers' user must get through
    try:
        running = lifecycle.up(directory / "runtime")
        assert running.database_pid is not None, "the bench's server is its own"
        _fill(running.dsn, directory / "tables")
        _bill(running.dsn, "2026-08")
        with used(running.database_pid) as cost:
            begun = time.perf_counter()
            summary = _bill(running.dsn, "2026-09")
            took_s = time.perf_counter() - begun
    finally:
        lifecycle.down(directory / "runtime")
        shutil.rmtree(directory)
    assert summary.billed == CUSTOMERS, summary.holds[:3]
    rate, million = CUSTOMERS * CORES / cost.all_s, 1_000_000 / CUSTOMERS
    name = f"billing run, {CUSTOMERS:,} customers"
    return [
        row(f"{name}, by processor time of two cores", rate, "bills/s", f"≥ {TARGET:,}", met=rate >= TARGET),
        row(f"{name}: in Python, a million", cost.own_s * million, "core s", "reference", met=True),
        row(f"{name}: in the database, a million", cost.server_s * million, "core s", "reference", met=True),
        row(f"{name}, by the clock", CUSTOMERS / took_s, "bills/s", "reference", met=True),
        row(
            f"{name}: memory of all processes",
            cost.memory_max / 1e6,
            "MB",
            "≤ 2,000",
            met=cost.memory_max <= MEMORY_MAX,
        ),
    ]


def _fill(dsn: str, tables: Path) -> None:
    write_customers(tables, CUSTOMERS, FIRST, months=2)
    migrate(dsn)
    with connect(dsn) as connection:
        load_bulk(connection, tables)
    shutil.rmtree(tables)


def _bill(dsn: str, month: str) -> Summary:
    plan = Plan(workers=WORKERS, issue_as="bench", kept=0)
    return run_billing(dsn, Period.of_month(month), plan)
