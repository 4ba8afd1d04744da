import subprocess
import sys
import threading

import psycopg
import pytest

from deploy.runtime.processes import wait_until
from ingest_server.database import connect, migrate
from ingest_server.database.migrations import LOCK, LOCK_KEY, Migration, load_migrations, pending
from protocols.errors import UnavailableError, UsageError
from tests.ingest_server.processes import DEADLINE_S

NO_SUCH_DATABASE = "postgresql://congto@127.0.0.1:1/congto"


def applied(*migrations):
    return [(migration.version, migration.name, migration.sha256) for migration in migrations]


def test_the_files_are_numbered_from_one_without_gaps():
    found = load_migrations()
    assert [migration.version for migration in found] == list(range(1, len(found) + 1))


def test_only_what_has_not_run_is_pending():
    first, second = Migration(1, "0001_a", b"select 1"), Migration(2, "0002_b", b"select 2")
    assert pending([first, second], []) == (first, second)
    assert pending([first, second], applied(first)) == (second,)
    assert pending([first, second], applied(first, second)) == ()


def test_a_newer_database_is_refused():
    first, second = Migration(1, "0001_a", b"select 1"), Migration(2, "0002_b", b"select 2")
    with pytest.raises(UsageError, match="0002_b, which this congto does not know"):
        pending([first], applied(first, second))


def test_a_file_changed_after_it_ran_is_refused():
    with pytest.raises(UsageError, match="changes go into a new file"):
        pending([Migration(1, "0001_a", b"select 2")], applied(Migration(1, "0001_a", b"select 1")))


def test_a_database_that_does_not_answer_is_unavailable():
    with pytest.raises(UnavailableError, match="database: "):
        migrate(NO_SUCH_DATABASE)


def test_a_dsn_that_cannot_be_read_is_the_callers_fault():
    with pytest.raises(UsageError, match="DSN: "):
        connect("nonsense")


@pytest.mark.integration
def test_every_migration_runs_once(database):
    names = tuple(migration.name for migration in load_migrations())
    assert migrate(database) == names
    assert migrate(database) == ()
    with connect(database) as connection:
        assert connection.execute("show timezone").fetchone() == ("UTC",)
        found = connection.execute("select hypertable_name from timescaledb_information.hypertables").fetchall()
    assert found == [("reading",)]


@pytest.mark.integration
def test_a_migration_that_fails_leaves_nothing_and_those_before_it_stay(database):
    good = Migration(1, "0001_good", b"create table good (n integer)")
    half = Migration(2, "0002_half", b"create table half (n integer); select 1 / 0")
    with pytest.raises(UnavailableError, match="division by zero"):
        migrate(database, [good, half])
    with connect(database) as connection:
        found = connection.execute("select to_regclass('good') is not null, to_regclass('half') is not null").fetchone()
    assert found == (True, False)
    assert migrate(database, [good, Migration(2, "0002_half", b"create table half (n integer)")]) == ("0002_half",)


@pytest.mark.integration
def test_a_second_migrator_waits_for_the_first(database):
    ran = []
    with psycopg.connect(database, autocommit=True) as first:
        first.execute(LOCK, [LOCK_KEY])
        second = threading.Thread(target=lambda: ran.append(migrate(database)))
        second.start()
        waiting = "select count(*) from pg_locks where locktype = 'advisory' and not granted"
        while first.execute(waiting).fetchone() != (1,):
            assert second.is_alive()
        assert ran == []
    second.join(timeout=60)
    assert ran == [tuple(migration.name for migration in load_migrations())]


KILLED = """
import sys
from ingest_server.database.migrations import Migration, load_migrations, migrate
slow = Migration(9999, "9999_slow", b"create table half_done (); select pg_sleep(600)")
migrate(sys.argv[1], [*load_migrations(), slow])
"""


@pytest.mark.integration
def test_a_migration_whose_process_is_killed_leaves_nothing_and_holds_up_nobody(database):
    sleeping = "select count(*) from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'"
    with subprocess.Popen([sys.executable, "-c", KILLED, database]) as program, connect(database) as connection:
        connection.autocommit = True
        assert wait_until(lambda: connection.execute(sleeping).fetchone() == (1,), DEADLINE_S)
        program.kill()
        program.wait()
        assert migrate(database) == ()
        assert connection.execute("select to_regclass('half_done')").fetchone() == (None,)
