"""A run doesn't get slow where PostgreSQL guesses wrong how many rows the range of a chunk has."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import psycopg
import pytest

from ingest_server.billing.gather import Frame, Selection, chunks_of_run, gather, terms_of_run
from ingest_server.billing.period import Period
from ingest_server.billing.queries import PREPARE
from ingest_server.billing.terms import plan_of
from ingest_server.database import migrate
from ingest_server.registry.bulk import load_bulk
from ingest_server.registry.store import load_registry
from simulators.customers import write_customers
from tests.billing_runs.test_rate_plans import FILE

CUSTOMERS = 1500
JOINED = ["installation", "contract", "metering_point", "meter", "channel"]


@pytest.mark.integration
def test_ranges_are_read_once_even_if_the_planner_takes_them_for_one_row(database: str, tmp_path: Path) -> None:
    write_customers(tmp_path / "tables", CUSTOMERS, date(2026, 8, 1))
    migrate(database)
    with psycopg.connect(database) as connection:
        load_bulk(connection, tmp_path / "tables")
        connection.execute("update pg_class set reltuples = relpages / 100.0 where relname = any (%s)", [JOINED])
        connection.execute("delete from pg_statistic where starelid = any (%s::regclass[])", [JOINED])
        connection.execute("select pg_stat_reset()")
    period = Period.of_month("2026-08")
    with psycopg.connect(database) as connection:
        terms = terms_of_run(connection, period)
        frame = Frame(period, Selection(), terms, tuple(range(1, len(terms) + 1)))
        (chunk,) = chunks_of_run(connection, Selection(), CUSTOMERS)
        connection.execute(PREPARE)
        points = gather(connection, frame, chunk)
        assert connection.execute("show enable_nestloop").fetchone() == ("on",)
        connection.rollback()
        connection.execute("select pg_stat_force_next_flush()")
        connection.commit()
        scans = connection.execute(
            "select max(idx_scan) from pg_stat_user_indexes where relname = any (%s)", [JOINED]
        ).fetchone()
    assert len(points) == CUSTOMERS
    assert scans is not None
    assert 0 < scans[0] < CUSTOMERS // 10


@pytest.mark.integration
def test_the_figures_of_a_plan_are_looked_up_once_for_all_contracts_that_have_it(database: str, tmp_path: Path) -> None:
    """And parsed once: another chunk gets the very plan."""
    write_customers(tmp_path / "tables", 200, date(2026, 8, 1))
    migrate(database)
    period = Period.of_month("2026-08")
    with psycopg.connect(database) as connection:
        load_bulk(connection, tmp_path / "tables")
        load_registry(connection, FILE.read_text(), FILE.name)
        connection.execute("update contract set rate_plan = 'home'")
        connection.execute("select pg_stat_reset()")
    with psycopg.connect(database) as connection:
        terms = terms_of_run(connection, period)
        frame = Frame(period, Selection(), terms, tuple(range(1, len(terms) + 1)))
        (chunk,) = chunks_of_run(connection, Selection(), 200)
        points = gather(connection, frame, chunk)
        connection.rollback()
        connection.execute("select pg_stat_force_next_flush()")
        connection.commit()
        looked = connection.execute(
            "select seq_scan + coalesce(idx_scan, 0) from pg_stat_user_tables where relname = 'rate_plan'"
        ).fetchone()
    assert (len(points), {each.plan_name for each in terms}) == (200, {"home"})
    assert looked is not None
    assert 0 < looked[0] < 200 // 10
    assert plan_of(terms[0]) is plan_of(replace(terms[0], households=99))
