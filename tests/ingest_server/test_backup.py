"""The drill: back up while readings come, lose the database, restore, go on; nothing is lost and nothing doubled."""

import json
import uuid
from datetime import UTC, datetime

import psycopg
import pytest
from psycopg import conninfo, sql

from deploy.cli import main
from ingest_server.database import backup as backup_module
from ingest_server.database import connect, migrate
from ingest_server.database.backup import SELECT_TABLES, back_up, restore
from ingest_server.registry import load_registry
from protocols.errors import UsageError
from tests.ingest_server.processes import READY, Gateway, Ingest
from tests.ingest_server.stored_directly import message, registry, store_transactions
from tests.ingest_server.test_ingest import half_hours, stored

pytestmark = pytest.mark.integration


@pytest.fixture
def empty(runtime):
    name = f"restored_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(runtime.dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    yield conninfo.make_conninfo(runtime.dsn, dbname=name)
    with psycopg.connect(runtime.dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


def contents(dsn):
    """Return all rows of all tables."""
    with connect(dsn) as connection:
        return {
            table: sorted(map(str, connection.execute(sql.SQL("select * from {}").format(sql.Identifier(table)))))
            for table, _ in connection.execute(SELECT_TABLES).fetchall()
        }


def test_after_a_restore_gateways_bring_what_came_since_and_nothing_is_doubled(
    database, empty, runtime, tmp_path, monkeypatch
):
    migrate(database)
    name = f"gw-{uuid.uuid4().hex[:8]}"
    with connect(database) as connection:
        load_registry(connection, registry(name, 2), "test.toml")
    gateway = Gateway(runtime.broker_url, name)
    program = Ingest(database, runtime.broker_url)
    program.start()
    program.wait_for(READY)
    try:
        gateway.send(half_hours(name, 0, 60))
        gateway.publish(b"poison")
        gateway.wait_for_receipts()
        monkeypatch.setenv("CONGTO_DSN", database)
        assert main(["ingest", "backup", str(tmp_path / "backup")]) == 0
        before = contents(database)
        gateway.send(half_hours(name, 60, 10))
        gateway.wait_for_receipts()
    finally:
        program.clear()
    monkeypatch.setenv("CONGTO_DSN", empty)
    assert main(["ingest", "restore", str(tmp_path / "backup")]) == 0
    after = contents(empty)
    assert after.pop("resend_request")  # what came since is asked for
    assert after == {table: rows for table, rows in before.items() if table != "resend_request"}
    assert before["daily_register"]
    restored = Ingest(empty, runtime.broker_url)
    restored.start()
    restored.wait_for(READY)
    try:
        for first in (0, 60):  # an agent sends again what it still has, here under new sequences
            gateway.send(half_hours(name, first, 60 if first == 0 else 10))
        gateway.wait_for_receipts()
    finally:
        restored.clear()
        gateway.close()
    with connect(empty) as connection:
        assert stored(connection, gateway) == sorted(set(gateway.sent))
        load_registry(connection, registry("g-new", 1), "test.toml")  # identities go on after those restored


def test_a_damaged_backup_or_a_database_in_use_is_refused(database, empty, tmp_path, monkeypatch, capsys):
    migrate(database)
    with connect(database) as connection:
        load_registry(connection, registry("gw-1", 1), "test.toml")
    monkeypatch.setenv("CONGTO_DSN", database)
    backup = tmp_path / "backup"
    assert main(["ingest", "backup", str(backup)]) == 0
    assert main(["ingest", "backup", str(backup)]) == 2
    assert main(["ingest", "restore", str(backup)]) == 2
    assert "is not empty" in capsys.readouterr().err
    monkeypatch.setenv("CONGTO_DSN", empty)
    file, manifest = backup / "meter.copy.zst", backup / "manifest.json"
    whole, said = file.read_bytes(), manifest.read_text()
    for damage in (whole[:-4], b"", whole[:10] + b"\xff" + whole[11:]):
        file.write_bytes(damage)
        assert main(["ingest", "restore", str(backup)]) == 2
    file.write_bytes(whole)
    newer = json.loads(said)
    newer["migrations"].append([9999, "9999_tomorrow", "0"])
    manifest.write_text(json.dumps(newer))
    assert main(["ingest", "restore", str(backup)]) == 2
    manifest.write_text(said)
    assert main(["ingest", "restore", str(backup)]) == 0


@pytest.fixture
def backed_up(database, tmp_path):
    """Return a backup of a gateway with a meter and some readings."""
    migrate(database)
    with connect(database) as connection:
        load_registry(connection, registry("gw-1", 1), "test.toml")
    store_transactions(database, [[message("gw-1", 1, half_hours("gw-1", 0, 20))]])
    back_up(database, tmp_path / "backup", datetime.now(UTC))
    return tmp_path / "backup"


def test_a_restore_that_was_killed_before_its_rows_were_committed_is_done_again(backed_up, empty):
    migrate(empty)  # all that it can have left
    assert restore(empty, backed_up)["reading"] == 20
    with pytest.raises(UsageError, match="is not empty"):
        restore(empty, backed_up)


def test_a_database_of_a_newer_schema_than_the_backups_is_not_empty(backed_up, empty):
    manifest = backed_up / "manifest.json"
    said = json.loads(manifest.read_text())
    said["migrations"].pop()
    manifest.write_text(json.dumps(said))
    migrate(empty)
    with pytest.raises(UsageError, match="is not empty"):
        restore(empty, backed_up)


def test_killed_once_its_rows_are_committed_a_restore_has_noted_what_gateways_are_to_be_asked(
    backed_up, empty, monkeypatch
):
    whole = backup_module.migrate

    def killed(dsn, migrations=None):
        if migrations is None:
            raise KeyboardInterrupt
        return whole(dsn, migrations)

    monkeypatch.setattr(backup_module, "migrate", killed)
    with pytest.raises(KeyboardInterrupt):
        restore(empty, backed_up)
    with connect(empty) as connection:
        asked = connection.execute("select gateway_id, watermark from resend_request").fetchall()
        assert asked == [("gw-1", 1)]
        assert connection.execute("select count(*) from reading").fetchone() == (20,)
