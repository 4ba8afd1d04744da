"""What systemd is told, through a socket as it gives one."""

import socket
import uuid

import pytest

from ingest_server.database import migrate
from ingest_server.pipeline.service import VARIABLE, tell
from tests.ingest_server.processes import DEADLINE_S, READY, Ingest


@pytest.mark.parametrize("abstract", [False, True])
def test_a_state_reaches_the_socket_that_the_environment_names(abstract, tmp_path, monkeypatch):
    name = f"@congto-{uuid.uuid4().hex}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.settimeout(DEADLINE_S)
        heard.bind("\0" + name[1:] if abstract else name)
        monkeypatch.setenv(VARIABLE, name)
        tell("READY=1")
        assert heard.recv(100) == b"READY=1"


@pytest.mark.parametrize("address", ["", "/nowhere/at/all", "host:1"])
def test_without_anybody_who_listens_nothing_happens(address, monkeypatch):
    monkeypatch.setenv(VARIABLE, address)
    tell("READY=1")


@pytest.mark.integration
def test_ingest_says_when_it_is_ready_that_it_gets_on_and_that_it_stops(database, runtime, tmp_path, monkeypatch):
    migrate(database)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.settimeout(DEADLINE_S)
        heard.bind(str(tmp_path / "notify"))
        monkeypatch.setenv(VARIABLE, str(tmp_path / "notify"))
        program = Ingest(database, runtime.broker_url)
        try:
            program.start()
            program.wait_for(READY)
            assert program.end()[0] == 0
            said = set()
            while b"STOPPING=1" not in said:
                said.add(heard.recv(100))
            assert said == {b"READY=1", b"WATCHDOG=1", b"STOPPING=1"}
        finally:
            program.clear()
