"""Fixtures for tests that need real servers.

The runtime is started once per session, when the first test asks for it, and each test that wants a database gets a
new one, so tests do not see one another's rows. The broker is one for all: take a client id and a gateway name of
your own.
"""

import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from psycopg import sql

from deploy.runtime import lifecycle
from deploy.runtime.lifecycle import Running

# A property says nothing about the pace of the machine; what does is measured by `make bench`. The examples follow from
# the test's own text, so that a change is judged by what it changed; `--hypothesis-profile search` draws new ones.
settings.register_profile("search", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.register_profile("congto", settings.get_profile("search"), derandomize=True)
settings.load_profile("congto")


@pytest.fixture(scope="session")
def runtime_directories() -> Iterator[Path]:
    """Give an empty directory for runtimes; the servers' user can reach it, which pytest's own is closed to."""
    directory = Path(tempfile.mkdtemp(prefix="congto-test-"))
    directory.chmod(0o711)
    yield directory
    for runtime in directory.iterdir():  # What they hold is thrown away, so nobody waits for it to be written.
        lifecycle.kill_broker(runtime)
        lifecycle.kill_database(runtime)
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def runtime(runtime_directories: Path) -> Running:
    """Start a database and a broker for the session; ``.dsn`` and ``.broker_url`` say where they are."""
    return lifecycle.up(runtime_directories / "session")


@pytest.fixture
def database(runtime: Running) -> Iterator[str]:
    """Create a database with TimescaleDB for one test; yield its DSN."""
    yield from _fresh_database(runtime)


@pytest.fixture(scope="module")
def module_database(runtime: Running) -> Iterator[str]:
    """Create a database with TimescaleDB for the tests of one module; yield its DSN."""
    yield from _fresh_database(runtime)


def _fresh_database(runtime: Running) -> Iterator[str]:
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(runtime.dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    dsn = psycopg.conninfo.make_conninfo(runtime.dsn, dbname=name)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("create extension timescaledb")
    yield dsn
    with psycopg.connect(runtime.dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))
