"""The drill: a database is lost, its backup restored, and the real agent asked for what came since."""

import uuid
from datetime import UTC, datetime

import psycopg
import pytest

from deploy.runtime.processes import wait_until
from ingest_server.database import connect, migrate
from ingest_server.database.backup import back_up, restore
from ingest_server.registry import load_registry
from tests.edge_agent.processes import Program
from tests.edge_agent.test_agent import CONFIG, METER
from tests.ingest_server.processes import DEADLINE_S, READY, Ingest

pytestmark = pytest.mark.integration

METERS = (1, 2, 3)
SELECT = "select meter_id, obis, measured_at, value, quality from reading join channel using (channel_id)"


def registry(gateway):
    rows = [f'[[meter]]\nid = "M-{number:04}"\ngateway = "{gateway}"\nmodel = "eastron_sdm120"\n' for number in METERS]
    return f'[[gateway]]\nid = "{gateway}"\n' + "".join(rows)


def readings(dsn):
    with connect(dsn) as connection:
        return set(connection.execute(SELECT).fetchall())


@pytest.fixture
def restored(database):
    """Give the DSN of a database that is made for the restore, and dropped after the test."""
    name = f"restored_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(f"create database {name}")
    yield psycopg.conninfo.make_conninfo(database, dbname=name)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(f"drop database {name} with (force)")


@pytest.fixture
def gateway(tmp_path, runtime):
    """Start three simulated meters and the agent that reads them; give its gateway's name."""
    name = f"gw-{uuid.uuid4().hex[:8]}"
    meters = Program("sim", "modbus", "--port-link", str(tmp_path / "line"), "--units", "1-3", "--unpaced")
    meters.wait_for("line")
    config = tmp_path / "agent.toml"
    rows = "".join(METER.format(address=address) for address in METERS)
    config.write_text(CONFIG.format(gateway=name, broker=runtime.broker_url) + rows)
    program = Program("agent", "run", "--config", str(config))
    yield name
    program.clear()
    meters.clear()


def test_what_came_after_the_backup_comes_again_from_the_agent(database, restored, runtime, gateway, tmp_path):
    migrate(database)
    with connect(database) as connection:
        load_registry(connection, registry(gateway), "test.toml")
    ingest = Ingest(database, runtime.broker_url)
    try:
        ingest.start()
        ingest.wait_for(READY)
        assert wait_until(lambda: len(readings(database)) > 50, DEADLINE_S)
        back_up(database, tmp_path / "backup", datetime.now(UTC))
        saved = len(readings(database))
        assert wait_until(lambda: len(readings(database)) > saved + 100, DEADLINE_S)
        ingest.kill()
        before = readings(database)
        restore(restored, tmp_path / "backup")
        assert not before <= readings(restored)
        ingest.point_at(restored)
        ingest.start()
        ingest.wait_for(r"resend\.asked")
        assert wait_until(lambda: before <= readings(restored), DEADLINE_S), (
            f"{len(before - readings(restored))} are missing"
        )
        with connect(restored) as connection:
            assert connection.execute("select count(*) from reading_conflict").fetchone() == (0,)
    finally:
        ingest.clear()
