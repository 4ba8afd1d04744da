"""Directories, users, ports and the state file: decisions that need no server."""

import os
import random
import socket
import subprocess
from pathlib import Path

import pytest

from deploy.runtime import elsewhere, places, ports, processes, settings, software
from deploy.runtime.packages import wrap_programs
from deploy.runtime.places import Identity
from deploy.runtime.state import Half, State, load_state, store_state
from protocols.errors import UsageError

SOMEBODY_ELSE = Identity(uid=54321, gid=54321)


def test_the_cache_is_where_the_caller_says(tmp_path: Path) -> None:
    assert places.cache_directory({"CONGTO_CACHE": str(tmp_path), "XDG_CACHE_HOME": "/elsewhere"}) == tmp_path
    assert places.cache_directory({"XDG_CACHE_HOME": str(tmp_path)}) == tmp_path / "congto"


def test_a_runtime_lives_where_the_caller_says(tmp_path: Path) -> None:
    assert places.runtime_directory({"XDG_STATE_HOME": str(tmp_path)}) == tmp_path / "congto" / "runtime"


def test_the_defaults_can_be_reached_by_the_servers_user() -> None:
    """As root the servers are somebody else, who cannot search root's home."""
    identity = places.server_identity(Path("/nonexistent"))
    assert identity.uid != 0
    for directory in (places.cache_directory({}), places.runtime_directory({})):
        existing = next(path for path in (directory, *directory.parents) if path.exists())
        places.check_searchable(existing, identity, "")


def test_a_closed_parent_is_named_with_its_cure(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    (closed / "runtime").mkdir(parents=True)
    tmp_path.chmod(0o755)
    closed.chmod(0o700)
    with pytest.raises(UsageError) as refused:
        places.check_searchable(closed / "runtime", SOMEBODY_ELSE, "choose another with --dir")
    assert "is closed to the user 54321" in str(refused.value)
    assert str(refused.value).endswith("choose another with --dir")


def test_a_file_for_a_server_replaces_a_planted_link_and_is_private(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "postgresql.conf").symlink_to(victim)
    places.write_for(tmp_path / "postgresql.conf", "port = 1\n", Identity(os.geteuid(), os.getegid()))
    assert victim.read_text() == "precious"
    assert (tmp_path / "postgresql.conf").read_text() == "port = 1\n"
    assert (tmp_path / "postgresql.conf").stat().st_mode & 0o777 == 0o600


def test_state_comes_back_as_it_was_stored_and_is_private(tmp_path: Path) -> None:
    state = State(Half(port=20001, password="p"), Half(port=20002, url="mqtt://broker.example:1883"))
    store_state(tmp_path, state)
    assert load_state(tmp_path) == state
    assert (tmp_path / "runtime.json").stat().st_mode & 0o777 == 0o600


def test_a_new_directory_remembers_nothing(tmp_path: Path) -> None:
    assert load_state(tmp_path) == State()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        '{"format": 2}',
        '{"format": 1, "broker": {"prot": 1}}',
        '{"format": 1, "broker": {"port": "x"}}',
    ],
)
def test_a_damaged_state_file_is_refused_with_its_name_and_the_cure(tmp_path: Path, content: str) -> None:
    (tmp_path / "runtime.json").write_text(content)
    with pytest.raises(UsageError, match=r"runtime\.json is not a state file of format 1 .*begin anew"):
        load_state(tmp_path)


@pytest.mark.parametrize(
    ("outgoing_from", "low", "high"), [(32768, 20000, 32768), (15000, 1024, 15000), (1024, 1024, 65536)]
)
def test_ports_are_chosen_outside_the_range_of_outgoing_connections(outgoing_from: int, low: int, high: int) -> None:
    chosen = ports.candidates(random.Random(1), outgoing_from)
    assert len(set(chosen)) == 200
    assert low <= min(chosen) < max(chosen) < high


def test_a_port_that_somebody_listens_on_is_not_free() -> None:
    with socket.socket() as taken:
        taken.bind((settings.LISTEN_ON, 0))
        taken.listen()
        assert not ports.is_free(taken.getsockname()[1])
    assert ports.is_free(ports.free_port())


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("postgres (PostgreSQL) 17.12 (Debian 17.12-0+deb13u1)", (17, 12)),
        ("mosquitto version 2.0.21\n\nmosquitto is an MQTT v5.0 broker.", (2, 0, 21)),
        ("command not found", ()),
    ],
)
def test_versions_are_read_from_what_programs_say(text: str, version: tuple[int, ...]) -> None:
    assert software.parse_version(text) == version


def _program(path: Path, says: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{says}'\nexit 3\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("version", "suits"), [("2.0.11", False), ("2.0.12", False), ("2.0.13", True), ("2.1.0", True)]
)
def test_a_broker_of_the_hosts_is_taken_from_2_0_13_on(tmp_path: Path, version: str, suits: bool) -> None:
    program = _program(tmp_path / "mosquitto", f"mosquitto version {version}")
    found = software.find_host_mosquitto({"PATH": str(tmp_path)})
    assert (found is not None and found.programs == program) is suits


@pytest.mark.parametrize(
    ("version", "extension", "suits"), [("17.4", True, True), ("17.4", False, False), ("16.9", True, False)]
)
def test_a_database_of_the_hosts_is_taken_with_timescaledb_beside_it(
    tmp_path: Path, version: str, extension: bool, suits: bool
) -> None:
    for name in ("postgres", "initdb", "psql"):
        _program(tmp_path / "pg" / "bin" / name, f"{name} (PostgreSQL) {version}")
    if extension:
        control = tmp_path / "pg" / "share" / "extension" / "timescaledb.control"
        control.parent.mkdir(parents=True)
        control.touch()
    found = software.find_host_postgres({"PATH": str(tmp_path / "pg" / "bin")})
    assert (found is not None and found.programs == tmp_path / "pg" / "bin") is suits


def test_unpacked_programs_run_under_their_own_names_wherever_the_tree_is_moved(tmp_path: Path) -> None:
    """The loader here only prints what it was asked to run; the tree's name has what shells stumble over."""
    root, moved = tmp_path / "work", tmp_path / "it's a usr" / "$moved"
    programs = root / "usr/lib/postgresql/17/bin"
    (root / "usr/lib/x86_64-linux-gnu").mkdir(parents=True)
    loader = root / "usr/lib64/ld-linux-x86-64.so.2"
    loader.parent.mkdir()
    loader.write_text('#!/bin/sh\nfor word; do echo "$word"; done\n')
    loader.chmod(0o755)
    programs.mkdir(parents=True)
    (programs / "postgres").write_bytes(b"\x7fELF...")
    (programs / "script").write_text("#!/bin/sh\n")
    wrap_programs(root)
    moved.parent.mkdir()
    root.rename(moved)
    wrapper = moved / "usr/lib/postgresql/17/bin/postgres"
    said = subprocess.run([str(wrapper), "-D", "a b"], capture_output=True, text=True, check=True).stdout
    assert said.splitlines() == [
        *("--library-path", f"{moved}/usr/lib/x86_64-linux-gnu"),
        *("--argv0", str(wrapper), f"{moved}/usr/lib/postgresql/17/bin.unpacked/postgres"),
        *("-D", "a b"),
    ]
    assert [path.name for path in wrapper.parent.iterdir()] == ["postgres"]


def test_the_broker_template_is_filled_in_whole() -> None:
    template = Path(settings.__file__).parents[1].joinpath("mosquitto", "embedded.conf").read_text(encoding="utf-8")
    rendered = settings.render_mosquitto(template, port=20002, directory=Path("/srv/congto/broker"))
    assert "listener 20002 127.0.0.1\n" in rendered
    assert "persistence_location /srv/congto/broker/\n" in rendered
    assert "$" not in rendered


def test_the_database_listens_on_the_loopback_interface_alone_and_asks_for_a_password() -> None:
    rendered = settings.render_postgres(20001)
    assert "listen_addresses = '127.0.0.1'\n" in rendered
    assert "timescaledb.telemetry_level = off\n" in rendered
    rules = [line.split() for line in settings.render_access().splitlines() if not line.startswith("#")]
    assert rules == [["host", "all", "all", "127.0.0.1/32", "scram-sha-256"]]


def test_another_process_that_names_the_same_file_is_not_taken_for_the_server() -> None:
    """This very test's process does, in its memory and perhaps on its command line, but is no mosquitto."""
    mark = processes.Mark("mosquitto", "pytest", os.geteuid())
    assert processes.find_processes(mark) == []


OWN_DATABASE = Half(port=20001, password="p")


@pytest.mark.parametrize(
    ("dsn", "own"),
    [
        ("postgresql://congto:p@127.0.0.1:20001/congto", True),
        ("postgresql://congto@localhost:20001/congto", True),
        ("host=127.0.0.1 port=20001 user=congto dbname=congto password=p", True),
        ("postgresql://congto:other@127.0.0.1:20001/congto", False),
        ("postgresql://congto:p@127.0.0.1:20002/congto", False),
        ("postgresql://congto:p@127.0.0.1:20001/another", False),
        ("postgresql://congto:p@db.example:20001/congto", False),
    ],
)
def test_the_own_database_is_recognised_however_its_dsn_is_written(dsn: str, own: bool) -> None:
    assert elsewhere.names_own_database(dsn, OWN_DATABASE) == own
    assert not elsewhere.names_own_database(dsn, Half(url=dsn))


@pytest.mark.parametrize(
    ("url", "own"),
    [
        ("mqtt://127.0.0.1:20002", True),
        ("mqtt://localhost:20002/", True),
        ("mqtts://127.0.0.1:20002", False),
        ("mqtt://127.0.0.1", False),
        ("mqtt://broker.example:20002", False),
    ],
)
def test_the_own_broker_is_recognised_however_its_url_is_written(url: str, own: bool) -> None:
    assert elsewhere.names_own_broker(url, Half(port=20002)) == own
