"""The embedded runtime with its real servers, killed in various ways."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from deploy.runtime import broker, database, lifecycle, places, processes, settings
from deploy.runtime.lifecycle import Running
from deploy.runtime.state import Half, State, store_state
from protocols.errors import UnavailableError, UsageError

pytestmark = pytest.mark.integration

DEADLINE_S = 60


def congto(*words: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "deploy.cli", "runtime", *words]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
        env={**os.environ, **(environment or {})},
    )


def one_value(dsn: str, query: str) -> object:
    with psycopg.connect(dsn) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]


def left_over(directory: Path) -> list[int]:
    """Return every process that the runtime of ``directory`` started and that still lives, whatever its name."""
    marks = [
        database.mark(directory / "database", places.server_identity(directory / "database")),
        broker.mark(directory / "broker", places.server_identity(directory / "broker")),
    ]
    return [pid for mark in marks for pid in processes.find_processes(mark)]


@pytest.fixture(scope="module")
def spare(runtime_directories: Path) -> Running:
    """Give a runtime of this module's own, to be ill-treated; each test leaves it up."""
    return lifecycle.up(runtime_directories / "spare")


def test_every_database_of_a_test_is_new_and_has_timescaledb(runtime: Running, database: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("create table reading (measured_at timestamptz not null, value bigint)")
        connection.execute("select create_hypertable('reading', 'measured_at')")
        row = connection.execute("select current_database(), current_setting('server_version_num')").fetchone()
    assert row is not None
    assert row[0].startswith("test_")
    assert row[1].startswith("17")
    assert database != runtime.dsn


def test_servers_run_as_somebody_other_than_root(runtime: Running) -> None:
    now = lifecycle.status(runtime.directory)  # other tests have killed and started them again
    for pid in (now.database_pid, now.broker_pid):
        assert Path(f"/proc/{pid}").stat().st_uid != 0


def test_the_database_knows_civil_time_and_folds_vietnamese_letters(runtime: Running) -> None:
    query = "select (timestamptz '2026-01-01 00:00Z' at time zone 'Asia/Ho_Chi_Minh')::text || lower('ĐÔNG ÁNH')"
    assert one_value(runtime.dsn, query) == "2026-01-01 07:00:00đông ánh"


def test_up_twice_changes_nothing(spare: Running) -> None:
    again = lifecycle.up(spare.directory)
    assert again == spare


def test_two_callers_of_up_get_the_same_servers(runtime_directories: Path) -> None:
    directory = runtime_directories / "contended"
    command = [sys.executable, "-m", "deploy.cli", "runtime", "up", "--json", "--dir", str(directory)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = [json.loads(caller.communicate(timeout=DEADLINE_S)[0]) for caller in both]
    assert answers[0] == answers[1]
    lifecycle.down(directory)


def test_two_runtimes_live_side_by_side(runtime: Running, spare: Running) -> None:
    assert len({runtime.dsn, spare.dsn}) == 2
    assert len({runtime.broker_url, spare.broker_url}) == 2
    assert len({runtime.database_pid, spare.database_pid, runtime.broker_pid, spare.broker_pid}) == 4


def test_up_recovers_a_database_whose_postmaster_was_killed_alone(spare: Running) -> None:
    """Its backends live on for a moment and hold the shared memory."""
    with psycopg.connect(spare.dsn, autocommit=True) as connection:
        connection.execute("create table if not exists committed (n int)")
        connection.execute("insert into committed values (1)")
    before = lifecycle.status(spare.directory)
    assert before.database_pid is not None
    os.kill(before.database_pid, signal.SIGKILL)
    after = lifecycle.up(spare.directory)
    assert after.dsn == spare.dsn
    assert after.database_pid != before.database_pid
    assert one_value(spare.dsn, "select count(*) > 0 from committed")


def test_up_waits_for_a_database_that_recovers_from_a_killed_backend(spare: Running) -> None:
    before = lifecycle.up(spare.directory)
    with psycopg.connect(spare.dsn) as connection:
        os.kill(connection.info.backend_pid, signal.SIGKILL)
        after = lifecycle.up(spare.directory)
    assert after.database_pid == before.database_pid


def test_up_recovers_a_broker_that_was_killed_this_moment(spare: Running) -> None:
    before = lifecycle.up(spare.directory)
    assert before.broker_pid is not None
    os.kill(before.broker_pid, signal.SIGKILL)
    after = lifecycle.up(spare.directory)
    assert after.broker_url == before.broker_url
    assert after.broker_pid != before.broker_pid
    assert broker.answers(int(after.broker_url.rpartition(":")[2]))


def test_killing_and_starting_one_server_leaves_the_other_alone(spare: Running) -> None:
    before = lifecycle.up(spare.directory)
    lifecycle.kill_database(spare.directory)
    assert lifecycle.status(spare.directory).database_pid is None
    lifecycle.start_database(spare.directory)
    lifecycle.kill_broker(spare.directory)
    assert lifecycle.status(spare.directory).broker_pid is None
    assert lifecycle.start_broker(spare.directory) != before.broker_pid
    after = lifecycle.up(spare.directory)
    assert (after.dsn, after.broker_url) == (before.dsn, before.broker_url)


def test_a_stale_pid_file_that_names_a_living_process_does_not_hold_up_the_start(spare: Running) -> None:
    """After a reboot the old number may be anybody's, even of the same user."""
    lifecycle.kill_database(spare.directory)
    bystander = subprocess.Popen(["sleep", "600"])
    try:
        (spare.directory / "database" / "data" / "postmaster.pid").write_text(f"{bystander.pid}\n")
        assert lifecycle.status(spare.directory).database_pid is None
        lifecycle.start_database(spare.directory)
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_up_takes_another_port_when_the_remembered_one_was_taken_meanwhile(spare: Running) -> None:
    before = lifecycle.up(spare.directory)
    port = int(before.broker_url.rpartition(":")[2])
    lifecycle.kill_broker(spare.directory)
    with socket.socket() as intruder:
        intruder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        intruder.bind((settings.LISTEN_ON, port))
        intruder.listen()
        with pytest.raises(UnavailableError, match=str(port)):
            lifecycle.start_broker(spare.directory)
        after = lifecycle.up(spare.directory)
    assert after.broker_url != before.broker_url
    assert after.dsn == before.dsn


def test_up_finishes_what_an_interrupted_first_up_began(runtime_directories: Path) -> None:
    directory = runtime_directories / "interrupted"
    lifecycle.up(directory)
    lifecycle.down(directory)
    (directory / "database" / "data").rename(directory / "database" / "data.new")
    (directory / "database" / "data.new" / "PG_VERSION").unlink()
    begun_again = lifecycle.up(directory)
    assert one_value(begun_again.dsn, "select current_database()") == settings.DATABASE
    lifecycle.down(directory)


def test_no_server_reports_home(runtime: Running) -> None:
    assert one_value(runtime.dsn, "show timescaledb.telemetry_level") == "off"


def test_down_leaves_no_process_and_is_content_to_be_called_again(runtime_directories: Path) -> None:
    directory = runtime_directories / "short-lived"
    running = lifecycle.up(directory)
    with psycopg.connect(running.dsn):  # A client that holds on does not hold it up.
        assert len(left_over(directory)) > 2
        lifecycle.down(directory)
    assert left_over(directory) == []
    lifecycle.down(directory)
    assert not lifecycle.status(directory).database_running


def test_down_after_a_crash_leaves_no_process(runtime_directories: Path) -> None:
    directory = runtime_directories / "crashed"
    running = lifecycle.up(directory)
    assert running.database_pid is not None
    os.kill(running.database_pid, signal.SIGKILL)
    lifecycle.down(directory)
    assert left_over(directory) == []


def test_servers_of_others_are_used_and_none_is_started(runtime: Running, runtime_directories: Path) -> None:
    directory = runtime_directories / "borrowed"
    borrowed = lifecycle.up(directory, environment={"CONGTO_DSN": runtime.dsn, "CONGTO_BROKER": runtime.broker_url})
    assert (borrowed.dsn, borrowed.broker_url) == (runtime.dsn, runtime.broker_url)
    assert (borrowed.database_pid, borrowed.broker_pid) == (None, None)
    assert left_over(directory) == []
    assert lifecycle.status(directory).database_running
    lifecycle.down(directory)
    assert one_value(runtime.dsn, "select 1") == 1


def test_status_asks_the_servers_of_others_whether_they_answer(runtime: Running, runtime_directories: Path) -> None:
    directory = runtime_directories / "asking"
    lifecycle.up(directory, environment={"CONGTO_DSN": runtime.dsn, "CONGTO_BROKER": runtime.broker_url})
    now = lifecycle.status(directory)
    assert (now.database_running, now.broker_running) == (True, True)
    with socket.socket() as closed:  # bound and not listening: nobody answers there, and nobody else takes it
        closed.bind((settings.LISTEN_ON, 0))
        port = closed.getsockname()[1]
        gone = State(
            Half(url=f"postgresql://congto:hush@{settings.LISTEN_ON}:{port}/congto"),
            Half(url=f"mqtt://{settings.LISTEN_ON}:{port}"),
        )
        store_state(directory, gone)
        now = lifecycle.status(directory)
        assert (now.database_running, now.broker_running) == (False, False)
        assert congto("status", "--dir", str(directory)).returncode == 1


def test_the_own_servers_named_in_the_environment_are_started_again_and_not_forgotten(spare: Running) -> None:
    """``export CONGTO_DSN=$(congto runtime dsn)`` and then ``up`` after a crash."""
    before = lifecycle.up(spare.directory)
    remembered = (spare.directory / "runtime.json").read_text(encoding="utf-8")
    own = {**os.environ, "CONGTO_DSN": before.dsn, "CONGTO_BROKER": before.broker_url.replace("127.0.0.1", "localhost")}
    lifecycle.kill_broker(spare.directory)
    lifecycle.kill_database(spare.directory)
    after = lifecycle.up(spare.directory, environment=own)
    assert (after.dsn, after.broker_url) == (before.dsn, before.broker_url)
    assert None not in (after.database_pid, after.broker_pid)
    assert lifecycle.status(spare.directory).broker_running
    assert (spare.directory / "runtime.json").read_text(encoding="utf-8") == remembered


def test_the_own_servers_come_back_after_those_of_others_were_used(spare: Running, runtime: Running) -> None:
    before = lifecycle.up(spare.directory)
    borrowed = lifecycle.up(spare.directory, dsn=runtime.dsn, broker_url=runtime.broker_url)
    assert (borrowed.dsn, borrowed.broker_url) == (runtime.dsn, runtime.broker_url)
    assert lifecycle.status(spare.directory).database_pid is None
    assert lifecycle.up(spare.directory) == before


def test_psql_on_a_stopped_runtime_says_what_to_do(spare: Running) -> None:
    lifecycle.kill_database(spare.directory)
    for environment in ({}, {"CONGTO_DSN": spare.dsn}):
        asked = congto("psql", "--dir", str(spare.directory), "--", "-c", "select 1", environment=environment)
        assert asked.returncode == 2
        assert f"begin with: congto runtime up --dir {spare.directory}" in asked.stderr
    lifecycle.up(spare.directory)


def test_a_database_of_others_that_does_not_answer_is_named_and_no_password_is_shown(runtime_directories: Path) -> None:
    dsn = f"postgresql://congto:hush@{settings.LISTEN_ON}:1/congto"
    with pytest.raises(UnavailableError) as refused:
        lifecycle.up(runtime_directories / "unanswered", dsn=dsn, environment={})
    assert "port 1 failed" in str(refused.value)
    assert "hush" not in str(refused.value)


def test_a_file_in_the_directorys_place_is_refused_with_the_cure(runtime_directories: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"cannot be a runtime's directory: File exists .* choose another with --dir"):
        lifecycle.up(tmp_path / "file")
    with pytest.raises(UsageError, match="Not a directory"):
        lifecycle.up(tmp_path / "file" / "below")
    with pytest.raises(UsageError, match="Not a directory"):
        lifecycle.status(tmp_path / "file")
    with pytest.raises(UsageError, match="choose another with --dir"):
        lifecycle.up(Path("/proc/no-such-place"))
    with pytest.raises(UsageError, match="choose another with --dir"):
        lifecycle.down(tmp_path / ("long" * 100))


def test_a_directory_of_somebody_else_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    for call in (lifecycle.up, lifecycle.down):
        with pytest.raises(UsageError, match=r"no runtime's directory: it holds 'thesis\.txt'.* with --dir"):
            call(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["--dsn", "nonsense"], "expected postgresql://USER@HOST/DATABASE"),
        (["--dsn", "host=127.0.0.1 port=1"], "names no database"),
        (["--broker", "nonsense"], "expected mqtt://"),
        (["--broker", "mqtt://host:port"], "expected mqtt://HOST:PORT"),
    ],
)
def test_what_is_no_dsn_or_url_is_refused_before_anything_is_made(tmp_path: Path, words: list[str], found: str) -> None:
    refused = congto("up", "--dir", str(tmp_path / "new"), *words)
    assert refused.returncode == 2
    assert found in refused.stderr
    assert not (tmp_path / "new").exists()


def test_a_database_without_its_password_is_refused_and_kept(runtime_directories: Path) -> None:
    directory = runtime_directories / "forgetful"
    (directory / "database" / "data").mkdir(parents=True)
    with pytest.raises(UsageError, match="does not know its password; restore that file, or remove the directory"):
        lifecycle.up(directory)
    assert (directory / "database" / "data").is_dir()


def test_a_server_that_was_never_up_is_not_started_alone(runtime_directories: Path) -> None:
    with pytest.raises(UsageError, match="call up first"):
        lifecycle.start_broker(runtime_directories / "unborn")


def test_the_command_says_where_to_connect_and_whether_both_run(spare: Running) -> None:
    lifecycle.up(spare.directory)
    where = ["--dir", str(spare.directory)]
    up = json.loads(congto("up", "--json", *where).stdout)
    assert one_value(up["dsn"], "select 1") == 1
    assert congto("dsn", *where).stdout == up["dsn"] + "\n"
    status = congto("status", "--json", *where)
    assert (status.returncode, json.loads(status.stdout)["broker_pid"]) == (0, up["broker_pid"])
    asked = congto("psql", *where, "--", "-Atc", "select extname from pg_extension where extname = 'timescaledb'")
    assert (asked.returncode, asked.stdout) == (0, "timescaledb\n")
    lifecycle.kill_broker(spare.directory)
    assert congto("status", *where).returncode == 1


def test_the_command_says_who_must_act(tmp_path: Path) -> None:
    nothing = congto("dsn", "--dir", str(tmp_path), environment={"CONGTO_DSN": ""})
    assert nothing.returncode == 2
    assert f"begin with: congto runtime up --dir {tmp_path}" in nothing.stderr
    unanswered = congto("up", "--dir", str(tmp_path), "--dsn", f"postgresql://{settings.LISTEN_ON}:1/x")
    assert unanswered.returncode == 3
    assert "Traceback" not in unanswered.stderr
