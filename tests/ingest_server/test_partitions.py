"""Several processes share the gateways; two on one part do no harm."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.cli import main
from deploy.runtime.processes import has_ended, wait_until
from ingest_server.database import connect, migrate
from ingest_server.pipeline.partition import PARTS_MAX, Partition, parse_partition
from ingest_server.registry import load_registry
from protocols.errors import UsageError
from tests.ingest_server.processes import DEADLINE_S, READY, Gateway, Ingest
from tests.ingest_server.test_ingest import conflicts, half_hours, quarantined, registry, stored

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)


@given(st.lists(NAMES, unique=True), st.integers(1, PARTS_MAX))
def test_each_gateway_falls_to_one_part(names, of):
    parts = [Partition(number, of) for number in range(1, of + 1)]
    for name in names:
        assert [part.holds(name) for part in parts].count(True) == 1
    if of > 1:
        heard = [each for part in parts for each in part.filters(names) if not each.endswith("/status")]
        assert sorted(heard) == sorted(f"congto/v1/{name}/{kind}" for name in names for kind in ("readings", "events"))


def test_the_part_of_a_gateway_never_changes():
    """Sessions at the broker hold subscriptions of earlier versions."""
    assert [Partition(2, 4).holds(f"gw-{number:02}") for number in range(8)] == [
        True, False, False, False, False, False, False, False,
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "1/65", "a/b", "1/2/3", "-1/2"])
def test_what_is_no_part_is_refused(text):
    with pytest.raises(UsageError, match="K/N"):
        parse_partition(text)


@pytest.mark.parametrize("words", [["--processes", "0"], ["--partition", "3/2"], ["--tls-ca", "/no.pem"]])
def test_a_wrong_division_is_told_before_anything_opens(words, capsys):
    there = ["--dsn", "postgresql://congto@127.0.0.1:1/congto", "--broker", "mqtt://127.0.0.1:1"]
    assert main(["ingest", "run", *there, *words]) == 2
    assert words[0][:6] in capsys.readouterr().err


@pytest.fixture
def connection(database):
    migrate(database)
    with connect(database) as connection:
        connection.autocommit = True
        yield connection


@pytest.fixture
def gateways(runtime, connection):
    names = [f"gw-{uuid.uuid4().hex[:8]}" for _ in range(6)]
    load_registry(connection, "".join(registry(name, 2) for name in names), "test.toml")
    gateways = [Gateway(runtime.broker_url, name) for name in names]
    yield gateways
    for gateway in gateways:
        gateway.close()


@pytest.fixture
def ingest(runtime, database, connection):
    program = Ingest(database, runtime.broker_url)
    yield program
    program.clear()


def check(connection, gateways):
    for gateway in gateways:
        gateway.wait_for_receipts()
    for gateway in gateways:
        assert stored(connection, gateway) == sorted(gateway.sent)
        assert conflicts(connection, gateway) == quarantined(connection, gateway) == []


@pytest.mark.integration
def test_processes_share_the_gateways_and_one_that_is_killed_is_started_again(gateways, connection, ingest, runtime):
    ingest.start("--processes", "2")
    started = [ingest.wait_for(r"process\.started") for _ in range(2)]
    for _ in range(2):
        ingest.wait_for(READY)
    for step in range(50):
        for gateway in gateways:
            gateway.send(half_hours(gateway.name, step, 1))
    ingest.kill_part(started[0])
    ingest.wait_for(r"process\.ended")
    for step in range(50, 100):
        for gateway in gateways:
            gateway.send(half_hours(gateway.name, step, 1))
    ingest.wait_for(READY)
    check(connection, gateways)
    # A gateway that is registered while they run is heard by one of them.
    name = f"gw-{uuid.uuid4().hex[:8]}"
    late = Gateway(runtime.broker_url, name)
    try:
        late.send(half_hours(name, 0, 1))
        load_registry(connection, registry(name, 2), "test.toml")
        check(connection, [late])
    finally:
        late.close()
    status, said = ingest.end()
    assert (status, said.count("ingest.stopped")) == (0, 2)


@pytest.mark.integration
def test_two_processes_on_one_part_do_no_harm(gateways, connection, ingest, database, runtime):
    """Under one name the broker lets only one of them in at a time, and they take turns."""
    ingest.start("--partition", "1/2")
    ingest.wait_for(READY)
    twin, rest = Ingest(database, runtime.broker_url), Ingest(database, runtime.broker_url)
    rest.client_id = twin.client_id = ingest.client_id
    try:
        rest.start("--partition", "2/2")
        rest.wait_for(READY)
        for step in range(40):
            for gateway in gateways:
                gateway.send(half_hours(gateway.name, step, 1))
        twin.start("--partition", "1/2")
        twin.wait_for(READY)
        for step in range(40, 80):
            for gateway in gateways:
                gateway.send(half_hours(gateway.name, step, 1))
        check(connection, gateways)
        for program in (ingest, twin, rest):
            status, said = program.end()
            assert (status, "CRITICAL" in said) == (0, False)
    finally:
        twin.clear()
        rest.clear()


@pytest.mark.integration
def test_the_broker_forgets_a_session_that_nobody_continues(connection, ingest, runtime, capsys, monkeypatch):
    ingest.start()
    ingest.wait_for(READY)
    assert ingest.end()[0] == 0
    monkeypatch.setenv("CONGTO_BROKER", runtime.broker_url)
    assert main(["ingest", "leave", "--client-id", ingest.client_id]) == 0
    assert ingest.client_id in capsys.readouterr().out
    ingest.start()
    assert "session_present=False" in ingest.wait_for(r"broker\.connected")
    assert main(["ingest", "leave", "--broker", "mqtt://127.0.0.1:1"]) == 3


@pytest.mark.integration
def test_processes_whose_parent_is_killed_stop(connection, ingest):
    ingest.start("--processes", "2")
    pids = [int(ingest.wait_for(r"process\.started").rpartition("pid=")[2]) for _ in range(2)]
    for _ in pids:
        ingest.wait_for(READY)
    assert not any(map(has_ended, pids))
    ingest.kill()
    assert wait_until(lambda: all(map(has_ended, pids)), DEADLINE_S)
