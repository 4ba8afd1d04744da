"""Bills a second from database to database: readings in, bills with control, lines and ledger entries out.

``CONGTO_BENCH_CUSTOMERS`` says how many household customers there are; the issue's figures are for 1,000,000 and for
26,800,000, a country. Up to five million a month is billed beforehand, so that history, bills and a ledger exist; of a
country only the month that is measured is loaded, for the sake of the disk (some 2.4 kB a customer). What counts is
processor time, shared out over two cores, because the machine is shared; the clock on the wall is given beside it.
"""

import multiprocessing
import os
import shutil
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

import psycopg

from billing_core.ledger import first_broken
from deploy.runtime import lifecycle
from ingest_server.billing.book import blocks, sums
from ingest_server.billing.period import Period
from ingest_server.billing.run import Plan, Summary, run_billing
from ingest_server.database import connect, migrate
from ingest_server.registry.bulk import load_bulk
from simulators.customers import write_customers
from tests.bench._ingest_world import row
from tests.bench._processor import used

CUSTOMERS = int(os.environ.get("CONGTO_BENCH_CUSTOMERS", "100000"))
WORKERS, CORES = 3, 2  # one more than cores: while one waits for the disk, two compute
TARGET = 50_000  # a second on two cores: a million in 20 s
MEMORY_MAX = 2 * 10**9
COUNTRY_S = 600  # for all customers of the country
COUNTRY = 5_000_000  # from here on one month alone is loaded
PART = 1_000_000  # customers written while the part before is loaded
TOLD_S = 15  # between two lines of progress
MONTH = "2026-09"
SELECT_OCTETS = "select pg_database_size(current_database())"
BEGUN = time.monotonic()


def measure() -> list[dict[str, Any]]:
    """Return how fast a month of so many customers is billed and issued, and with how much memory."""
    directory = Path(tempfile.mkdtemp(prefix="congto-bench-"))
    directory.chmod(0o711)  # the servers' user must get through
    try:
        running = lifecycle.up(directory / "runtime")
        assert running.database_pid is not None, "the bench's server is its own"
        begun = time.perf_counter()
        _fill(running.dsn, directory)
        loaded_s = time.perf_counter() - begun
        if CUSTOMERS <= COUNTRY:
            _bill(running.dsn, "2026-08")
        before = _settled(running.dsn)
        with used(running.database_pid) as cost:
            begun = time.perf_counter()
            summary = _bill(running.dsn, MONTH)
            took_s = time.perf_counter() - begun
        after = _octets(running.dsn)
        _tell(f"{summary.billed:,} billed, {summary.issued:,} issued, {summary.held:,} held, {summary.total:,} đ")
        ledger = _checked_ledger(running.dsn, summary)
    finally:
        lifecycle.down(directory / "runtime")
        shutil.rmtree(directory)
    assert (summary.billed, summary.held) == (CUSTOMERS, 0), summary.holds[:3]
    rate, million = CUSTOMERS * CORES / cost.all_s, 1_000_000 / CUSTOMERS
    name = f"billing run, {CUSTOMERS:,} customers"

    def told(what: str, value: float, unit: str) -> dict[str, Any]:
        return row(f"{name}{what}", value, unit, "reference", met=True)

    country = CUSTOMERS > COUNTRY
    seconds = row(f"{name}: the whole run", took_s, "s", f"≤ {COUNTRY_S}", met=took_s <= COUNTRY_S)
    return [
        row(f"{name}, by processor time of two cores", rate, "bills/s", f"≥ {TARGET:,}", met=rate >= TARGET),
        told(": in Python, a million", cost.own_s * million, "core s"),
        told(": in the database, a million", cost.server_s * million, "core s"),
        told(", by the clock", CUSTOMERS / took_s, "bills/s"),
        seconds if country else told(": the whole run", took_s, "s"),
        row(
            f"{name}: memory of all processes",
            cost.memory_max / 1e6,
            "MB",
            "≤ 2,000",
            met=cost.memory_max <= MEMORY_MAX,
        ),
        row(f"{name}: sum of the ledger", ledger, "đ", "= 0", met=ledger == 0),
        told(": to load, a million", loaded_s * million, "s"),
        told(": in the database before, a customer", before / CUSTOMERS, "octets"),
        told(": in the database after, a customer", after / CUSTOMERS, "octets"),
    ]


def _fill(dsn: str, directory: Path) -> None:
    """Load the customers part by part; the next part is written by another process meanwhile."""
    migrate(dsn)
    firsts = range(0, CUSTOMERS, PART)
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawned) as writer, connect(dsn) as connection:
        written = [writer.submit(_write, directory / f"tables-{first}", first) for first in firsts[:1]]
        for first in firsts:
            written.pop().result()
            if first + PART < CUSTOMERS:
                written.append(writer.submit(_write, directory / f"tables-{first + PART}", first + PART))
            load_bulk(connection, directory / f"tables-{first}")
            shutil.rmtree(directory / f"tables-{first}")
            _tell(f"{min(first + PART, CUSTOMERS):,} customers loaded")


def _write(tables: Path, first: int) -> None:
    count = min(PART, CUSTOMERS - first)
    if CUSTOMERS > COUNTRY:
        write_customers(tables, count, date.fromisoformat(f"{MONTH}-01"), months=1, first=first)
    else:
        write_customers(tables, count, date(2026, 8, 1), months=2, first=first)


def _settled(dsn: str) -> int:
    """Have what was loaded written to the disk, which is no part of the run; return the database's size. [octets]"""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("checkpoint")
    return _octets(dsn)


def _octets(dsn: str) -> int:
    with connect(dsn) as connection:
        found = connection.execute(SELECT_OCTETS).fetchone()
    assert found is not None, "a function gives a row"
    octets = int(found[0])
    _tell(f"the database has {octets:,} octets, {octets // CUSTOMERS:,} a customer")
    return octets


def _bill(dsn: str, month: str) -> Summary:
    begun = told = time.monotonic()

    def progress(done: int, of: int) -> None:
        nonlocal told
        now = time.monotonic()
        if now >= told + TOLD_S or done == of:
            told = now
            _tell(f"{month}: {done:,} of {of:,}, {done / (now - begun):,.0f} a second")

    plan = Plan(workers=WORKERS, issue_as="bench", kept=0)
    return run_billing(dsn, Period.of_month(month), plan, progress=progress)


def _checked_ledger(dsn: str, summary: Summary) -> int:
    """Return what all accounts sum to; stop if the chain is broken, or customers owe other than they were billed."""
    with connect(dsn) as connection:
        accounts, broken = sums(connection), first_broken(blocks(connection))
    _tell(f"ledger: {accounts}, {'every block as it was sealed' if broken is None else f'block {broken} is broken'}")
    assert broken is None, broken
    if CUSTOMERS > COUNTRY:
        assert accounts["receivable"] == summary.total, (accounts, summary.total)
    return sum(accounts.values())


def _tell(what: str) -> None:
    print(f"{time.monotonic() - BEGUN:7.1f} s  {what}", flush=True)
