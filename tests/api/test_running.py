"""How the API runs: its token, its database going away, its end."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from ingest_server.api.connections import Connections
from ingest_server.api.security import Guard, load_token
from ingest_server.database import migrate
from protocols.errors import UnavailableError, UsageError
from tests.api.server import TOKEN, problem_of, serving
from tests.billing_runs.district import District

END_OTHERS = """
    select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid()
"""


def test_a_missing_token_file_is_made_closed_to_others_and_read_again(tmp_path: Path):
    path = tmp_path / "token"
    token = load_token(path, {})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(token) >= 43
    assert load_token(path, {}) == token
    assert load_token(tmp_path / "other", {}) != token


def test_a_token_file_others_can_read_is_refused_with_the_cure(tmp_path: Path):
    path = tmp_path / "token"
    load_token(path, {})
    path.chmod(0o640)
    with pytest.raises(UsageError, match="chmod 600"):
        load_token(path, {})


@pytest.mark.parametrize("text", ["", "short", "x" * 257, "has a\nline break in it", "không phải ASCII 0123456"])
def test_a_token_that_is_none_is_refused(tmp_path: Path, text: str):
    path = tmp_path / "token"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    with pytest.raises(UsageError):
        load_token(path, {})
    with pytest.raises(UsageError):
        load_token(None, {"CONGTO_API_TOKEN": text})


def test_no_token_at_all_is_refused():
    with pytest.raises(UsageError, match="CONGTO_API_TOKEN"):
        load_token(None, {})


def test_a_token_is_admitted_as_bearer_only():
    guard = Guard(TOKEN)
    assert guard.admits(f"Bearer {TOKEN}")
    assert guard.admits(f"bearer {TOKEN}")
    assert not any(
        guard.admits(header) for header in (None, "", TOKEN, "Bearer", f"Basic {TOKEN}", f"Bearer {TOKEN}\udcff")
    )


def test_a_cursor_opens_only_where_it_was_signed():
    guard = Guard(TOKEN)
    cursor = guard.sign_cursor("meters", ["Mé-1", 2])
    assert guard.open_cursor("meters", cursor) == ["Mé-1", 2]
    assert guard.open_cursor("bills", cursor) is None
    assert Guard(TOKEN + "x").open_cursor("meters", cursor) is None
    assert guard.open_cursor("meters", "") is None


@pytest.mark.integration
def test_the_token_is_not_printed_and_its_file_serves(district: District, tmp_path: Path):
    path = tmp_path / "token"
    with serving(district.dsn, "--token-file", str(path), environment={}) as api:
        token = path.read_text(encoding="ascii").strip()
        assert api.client.get("/v1/meters").status_code == 401
        assert api.client.get("/v1/meters", headers={"Authorization": f"Bearer {token}"}).status_code == 200
        assert token not in " ".join(Path(f"/proc/{api.process.pid}/cmdline").read_text(encoding="utf-8").split("\0"))


@pytest.mark.integration
def test_connections_that_broke_are_replaced(district: District):
    with serving(district.dsn) as api:
        assert api.client.get("/v1/meters").status_code == 200
        district.connection.execute(END_OTHERS)
        assert api.client.get("/v1/meters").status_code == 200


@pytest.mark.integration
def test_a_database_that_is_gone_is_a_503_without_its_address():
    with serving("postgresql://secret_user@127.0.0.1:1/nothing") as api:
        problem = problem_of(api.client.get("/v1/meters"), 503)
        assert "secret_user" not in str(problem)
        assert api.stranger.get("/health").status_code == 503


@pytest.mark.integration
def test_a_database_without_tables_is_a_503_that_says_so(database: str):
    with serving(database) as api:
        assert "no tables" in problem_of(api.client.get("/v1/meters"), 503)["detail"]


@pytest.mark.integration
def test_a_database_that_lacks_a_column_is_a_503_that_says_so(database: str):
    """As one of an older version does."""
    migrate(database)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("alter table meter_event drop column body")
    with serving(database) as api:
        assert "congto ingest migrate" in problem_of(api.client.get("/v1/events"), 503)["detail"]


@pytest.mark.integration
def test_when_all_connections_are_lent_the_next_is_told_to_come_back(district: District):
    connections = Connections(district.dsn, connections_max=1)
    with connections.take() as lent:
        assert lent.execute("select 1").fetchone() == (1,)
        with pytest.raises(UnavailableError, match="busy"), connections.take(wait_s=0):
            pass
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            lent.execute("delete from bill")
    with connections.take() as again:
        assert again is lent
    connections.close()


@pytest.mark.integration
def test_a_fault_of_ours_is_a_500_without_its_insides(district: District):
    with serving(district.dsn) as api:
        district.connection.execute("alter table gateway alter column registered_at drop not null")
        district.connection.execute("update gateway set registered_at = null")
        try:
            problem = problem_of(api.client.get("/v1/gateways"), 500)
        finally:
            district.connection.execute("update gateway set registered_at = now()")
            district.connection.execute("alter table gateway alter column registered_at set not null")
        assert "NoneType" not in str(problem)
        assert api.client.get("/v1/gateways").status_code == 200


@pytest.mark.parametrize("words", [["--port", "99999"], ["--token-file", "/nowhere/at/all/token"]])
def test_a_wrong_call_ends_with_status_2(words: list[str]):
    environment = {**os.environ, "CONGTO_DSN": "postgresql://127.0.0.1:1/x", "CONGTO_API_TOKEN": TOKEN}
    command = [sys.executable, "-m", "deploy.cli", "api", "run", *words]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
