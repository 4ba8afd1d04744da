"""What ends ingest, with which status, and what doesn't."""

import subprocess
import sys
import uuid

import pytest

from deploy.cli import main
from ingest_server.database import connect, migrate
from ingest_server.registry import load_registry
from tests.ingest_server.processes import DEADLINE_S, READY, Gateway, Ingest
from tests.ingest_server.test_ingest import half_hours, quarantined, registry, stored

NOWHERE = ["--dsn", "postgresql://congto@127.0.0.1:1/congto", "--broker", "mqtt://127.0.0.1:1"]


def test_a_process_that_gets_nowhere_is_ended_with_status_3():
    program = """
import time
from ingest_server.journal import configure
from ingest_server.pipeline.watchdog import watch
configure()
watch(lambda: [(1, True), (1, False)], limit_s=0.1, every_s=0.01)
time.sleep(3600)
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert (ended.returncode, "ingest.stuck" in ended.stderr) == (3, True)


def test_without_a_database_it_does_not_begin(capsys):
    assert main(["ingest", "run", *NOWHERE]) == 3
    assert "congto ingest: database: " in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--broker", "tcp://b"], ["--client-id", "a b"]])
def test_a_wrong_call_is_told_before_anything_opens(words, capsys):
    assert main(["ingest", "run", *NOWHERE, *words]) == 2
    assert words[0] in capsys.readouterr().err


@pytest.mark.integration
def test_a_newer_database_ends_it_with_status_2(database, capsys, monkeypatch):
    migrate(database)
    with connect(database) as connection:
        connection.execute("insert into schema_migration (version, name, sha256) values (9999, '9999_later', '')")
    monkeypatch.setenv("CONGTO_DSN", database)
    assert main(["ingest", "run", "--broker", "mqtt://127.0.0.1:1"]) == 2
    assert "9999_later, which this congto does not know" in capsys.readouterr().err


@pytest.fixture
def connection(database):
    migrate(database)
    with connect(database) as connection:
        connection.autocommit = True
        yield connection


@pytest.fixture
def gateway(runtime, connection):
    name = f"gw-{uuid.uuid4().hex[:8]}"
    load_registry(connection, registry(name, 2), "test.toml")
    gateway = Gateway(runtime.broker_url, name)
    yield gateway
    gateway.close()


@pytest.fixture
def ingest(runtime, database, connection):
    program = Ingest(database, runtime.broker_url)
    program.start()
    program.wait_for(READY)
    yield program
    program.clear()


@pytest.mark.integration
def test_a_message_that_the_database_refuses_is_quarantined_alone(gateway, connection, ingest):
    poison = half_hours(gateway.name, 5, 1)
    connection.execute(f"alter table reading add constraint planted check (value <> {poison[0].value})")
    for step in range(10):
        gateway.send(half_hours(gateway.name, step, 1))
    gateway.wait_for_receipts()
    assert stored(connection, gateway) == sorted(set(gateway.sent) - set(poison))
    assert [reason for reason, _, _ in quarantined(connection, gateway)] == ["refused by the database: CheckViolation"]


@pytest.mark.integration
def test_what_nobody_foresaw_ends_it_with_status_3_and_it_goes_on_when_started_again(gateway, connection, ingest):
    connection.execute("alter table gateway_sequence rename to planted")
    gateway.send(half_hours(gateway.name, 0, 3))
    assert "exit_status=3" in ingest.wait_for(r"ingest\.failed")
    status, said = ingest.wait()
    assert (status, "UndefinedTable" in said) == (3, True)
    connection.execute("alter table planted rename to gateway_sequence")
    ingest.start()
    gateway.wait_for_receipts()
    assert stored(connection, gateway) == sorted(gateway.sent)


DISK_FULL = """
    create function full_disk() returns trigger language plpgsql as $$
    begin
        raise exception 'could not extend file: No space left on device' using errcode = 'disk_full';
    end
    $$;
    create trigger full_disk before insert on reading for each row execute function full_disk()
"""


@pytest.mark.integration
def test_a_full_disk_holds_it_up_until_there_is_room(gateway, connection, ingest):
    """As PostgreSQL answers then; tried with a real one as docs/operations/ingest.md says."""
    connection.execute(DISK_FULL)
    for step in range(5):
        gateway.send(half_hours(gateway.name, step, 1))
    assert "No space left on device" in ingest.wait_for(r"database\.lost")
    connection.execute("drop trigger full_disk on reading")
    ingest.wait_for(r"database\.back")
    gateway.wait_for_receipts()
    assert stored(connection, gateway) == sorted(gateway.sent)
    assert quarantined(connection, gateway) == []
