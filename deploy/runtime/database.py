"""The embedded PostgreSQL of one directory: create, start, stop, kill."""

import hashlib
import secrets
import shutil
import signal
from pathlib import Path

import psycopg
from psycopg import sql

from deploy.runtime import processes, settings
from deploy.runtime.places import Identity, write_for
from deploy.runtime.software import Software
from protocols.errors import UnavailableError

INITDB_TIMEOUT_S = 120
START_TIMEOUT_S = 120  # crash recovery replays what was written since the last checkpoint, at most max_wal_size
RECOVER_TIMEOUT_S = 60
STOP_TIMEOUT_S = 60
KILL_TIMEOUT_S = 20
ORPHANS_TIMEOUT_S = 10  # backends notice the death of their postmaster by themselves
CONNECT_TIMEOUT_S = 10

# What a server says, or does, that is starting, stopping or dying (postgres.c, backend_startup.c, fe-misc.c).
PASSING = (
    "starting up",
    "shutting down",
    "recovery mode",
    "not accepting connections",
    "not yet accepting",
    "closed the connection unexpectedly",
    "Connection refused",
    "Connection reset",
    "due to administrator command",
)
DATABASE_EXISTS = "select 1 from pg_database where datname = %s"
CREATE_EXTENSION = "create extension if not exists timescaledb"


def mark(directory: Path, identity: Identity) -> processes.Mark:
    """Return how this directory's PostgreSQL processes are recognised.

    ``cluster_name`` is the text: PostgreSQL puts it into the title of every backend, where the directory is not.
    """
    return processes.Mark("postgres", cluster_name(directory), identity.uid)


def cluster_name(directory: Path) -> str:
    """Return a short name that no other runtime directory has."""
    return "congto-" + hashlib.sha256(str(directory).encode()).hexdigest()[:16]


def new_password() -> str:
    """Return a password that needs no quoting in a URI."""
    return secrets.token_hex(16)


def postmaster(directory: Path, identity: Identity) -> int | None:
    """Return the process id of the running server, ``None`` if there is none."""
    try:
        first = (directory / "data" / "postmaster.pid").read_text(encoding="utf-8").split("\n", 1)[0]
        pid = int(first)
    except (OSError, ValueError):
        return None
    return pid if processes.is_alive(pid, mark(directory, identity)) else None


def initialise(directory: Path, software: Software, identity: Identity, password: str) -> None:
    """Create the cluster in ``directory/data`` if it is not there; it appears complete or not at all."""
    data = directory / "data"
    if (data / "PG_VERSION").exists():
        return
    work = directory / "data.new"
    if work.exists():
        shutil.rmtree(work)
    password_file = directory / "password.new"
    write_for(password_file, password + "\n", identity)
    command = [str(software.programs / "initdb"), "-D", str(work), "-U", settings.DATABASE_USER]
    command += [f"--pwfile={password_file}", "--auth=scram-sha-256", "--encoding=UTF8"]
    # The built-in locale is the same on every host, whatever locales it has.
    command += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-instructions"]
    try:
        processes.run_to_end(command, directory=directory, identity=identity, timeout_s=INITDB_TIMEOUT_S)
    finally:
        password_file.unlink()
    work.rename(data)


def start(directory: Path, software: Software, identity: Identity, *, port: int, password: str) -> int:
    """Start the server unless it runs; return its process id once it takes commands and has TimescaleDB."""
    dsn = settings.dsn(port, password)
    running = postmaster(directory, identity)
    if running is not None and _prepare_patiently(dsn, directory, identity):
        return running
    _settle(directory, identity)
    started = _launch(directory, software, identity, port)
    prepare(dsn)
    return started


def _prepare_patiently(dsn: str, directory: Path, identity: Identity) -> bool:
    """Prepare a server that may be recovering from a killed backend; tell whether it lived through that.

    One that was just killed looks alive until the kernel is done with it.
    """
    refusals: list[UnavailableError] = []

    def settled() -> bool:
        try:
            prepare(dsn)
        except UnavailableError as refused:
            if not any(words in str(refused) for words in PASSING):
                raise
            refusals[:] = [refused]
            return postmaster(directory, identity) is None
        refusals.clear()
        return True

    if not processes.wait_until(settled, RECOVER_TIMEOUT_S):
        raise refusals[0]
    return not refusals


def _settle(directory: Path, identity: Identity) -> None:
    """After a crash: let the backends of a dead postmaster go, then forget its pid file."""
    leftover = mark(directory, identity)
    if not processes.wait_for_end(leftover, ORPHANS_TIMEOUT_S):
        processes.end_processes(leftover, KILL_TIMEOUT_S)
    (directory / "data" / "postmaster.pid").unlink(missing_ok=True)


def _launch(directory: Path, software: Software, identity: Identity, port: int) -> int:
    data = directory / "data"
    log = directory / "log"
    processes.begin_log(log)
    write_for(data / "postgresql.conf", settings.render_postgres(port), identity)
    write_for(data / "pg_hba.conf", settings.render_access(), identity)
    command = [str(software.programs / "postgres"), "-D", str(data), "-c", f"cluster_name={cluster_name(directory)}"]
    pid = processes.launch(command, directory=directory, log=log, identity=identity)

    def ready() -> bool:
        try:
            rows = (data / "postmaster.pid").read_text(encoding="utf-8").split("\n")
        except OSError:
            return False
        return len(rows) > 7 and rows[0] == str(pid) and rows[7].strip() == "ready"  # miscadmin.h, LOCK_FILE_LINE_*

    settled = processes.wait_until(lambda: ready() or processes.has_ended(pid), START_TIMEOUT_S)
    if not ready():
        kill(directory, identity)  # One that is late must not be found by the next try, on another port.
        what = "ended" if settled else f"was not ready within {START_TIMEOUT_S} s"
        raise UnavailableError(f"PostgreSQL {what}: {processes.last_words(log)} (log: {log})")
    return pid


def prepare(dsn: str) -> None:
    """Create the database of ``dsn`` and TimescaleDB in it, where they are not there yet."""
    wanted = psycopg.conninfo.conninfo_to_dict(dsn)
    name = str(wanted["dbname"])
    try:
        with psycopg.connect(dsn, dbname="postgres", autocommit=True, connect_timeout=CONNECT_TIMEOUT_S) as connection:
            if connection.execute(DATABASE_EXISTS, [name]).fetchone() is None:
                connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        with psycopg.connect(dsn, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S) as connection:
            connection.execute(CREATE_EXTENSION)
    except psycopg.Error as error:
        raise UnavailableError(f"the database {name!r} could not be prepared: {str(error).strip()}") from error


def stop(directory: Path, identity: Identity) -> None:
    """Stop the server with a clean shutdown, and whatever is left of it in any way it takes."""
    pid = postmaster(directory, identity)
    ours = mark(directory, identity)
    if pid is not None:
        processes.send_signal([pid], signal.SIGINT)  # "fast": clients are disconnected, nothing committed is lost
        processes.wait_until(lambda: processes.has_ended(pid), STOP_TIMEOUT_S)
    processes.end_processes(ours, KILL_TIMEOUT_S)


def kill(directory: Path, identity: Identity) -> None:
    """Kill every process of the server at once, as a power cut would."""
    processes.end_processes(mark(directory, identity), KILL_TIMEOUT_S)
