"""The embedded runtime, with its real servers."""

import psycopg
import pytest

from deploy.runtime.lifecycle import Running

pytestmark = pytest.mark.integration


def test_every_database_of_a_test_is_new_and_has_timescaledb(runtime: Running, database: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("create table reading (measured_at timestamptz not null, value bigint)")
        connection.execute("select create_hypertable('reading', 'measured_at')")
        row = connection.execute("select current_database(), current_setting('server_version_num')").fetchone()
    assert row is not None
    assert row[0].startswith("test_")
    assert row[1].startswith("17")
    assert database != runtime.dsn
