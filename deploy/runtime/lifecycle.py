"""Both servers of one directory: up, down, status, and one at a time for those who test crashes.

::

    DIR/                 of whoever called; searchable for the servers' user
    ├── runtime.json     ports, password, and the URLs of servers that others run (state.py)
    ├── lock             held while `up`, `down`, `kill_*` or `start_*` work, so two callers do not start two servers
    ├── database/        of the servers' user: data/, log
    └── broker/          of the servers' user: mosquitto.conf, mosquitto.db, log

``up`` takes whatever it finds - nothing, half of it, a crashed server, a running one - and ends with both running.
"""

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from deploy.runtime import broker, database, elsewhere, places, ports, processes, settings, software
from deploy.runtime.packages import Say
from deploy.runtime.state import Half, State, load_state, store_state
from protocols.errors import UnavailableError, UsageError

PORT_TRIES = 5
PORT_TIMEOUT_S = 3
ELSEWHERE = "configured"  # where from: somebody else runs it, and its URL was given


@dataclass(frozen=True, slots=True)
class Running:
    """What a runtime offers: where to connect, which processes serve (``None``: somebody else's), where from."""

    directory: Path
    dsn: str
    broker_url: str
    database_pid: int | None
    broker_pid: int | None
    database_origin: str
    broker_origin: str


@dataclass(frozen=True, slots=True)
class Status:
    """What runs now. A half that somebody else runs (process ``None``) counts as running if it answers."""

    directory: Path
    dsn: str
    broker_url: str
    database_pid: int | None
    broker_pid: int | None
    database_running: bool
    broker_running: bool


def quiet(_line: str) -> None:
    """Say nothing of progress."""


def up(
    directory: Path,
    *,
    dsn: str = "",
    broker_url: str = "",
    environment: Mapping[str, str] = os.environ,
    say: Say = quiet,
) -> Running:
    """Have a database and a broker running for ``directory``, whatever state it is in; return how to reach them.

    ``dsn`` and ``broker_url`` (else $CONGTO_DSN and $CONGTO_BROKER) name servers that others run; nothing is started
    in their place, unless they name the directory's own servers. ``say`` receives a line of progress now and then.

    Raises
    ------
    UsageError
        The directory cannot serve: its parents are closed to the servers' user, or its state file is not ours. Or a
        DSN or URL cannot be read.
    UnavailableError
        The programs cannot be had, or a server does not start.
    """
    dsn = dsn or environment.get("CONGTO_DSN", "")
    broker_url = broker_url or environment.get("CONGTO_BROKER", "")
    if dsn:
        elsewhere.check_dsn(dsn)
    if broker_url:
        elsewhere.broker_address(broker_url)
    with _opened(directory) as place:
        state = load_state(place)
        if not dsn or elsewhere.names_own_database(dsn, state.database):
            database_pid, database_origin = _database_up(place, environment, say)
        else:
            database.prepare(dsn)
            _remember(place, database=replace(state.database or Half(), url=dsn))
            database_pid, database_origin = None, ELSEWHERE
        if not broker_url or elsewhere.names_own_broker(broker_url, state.broker):
            broker_pid, broker_origin = _broker_up(place, environment, say)
        else:
            _remember(place, broker=replace(state.broker or Half(), url=broker_url))
            broker_pid, broker_origin = None, ELSEWHERE
        state = load_state(place)
    return Running(place, _dsn(state), _broker_url(state), database_pid, broker_pid, database_origin, broker_origin)


def down(directory: Path) -> None:
    """Stop what ``directory`` runs, cleanly if it can be, so that no process is left."""
    if not _exists(directory):
        return
    with _opened(directory) as place:
        broker.stop(place / "broker", places.server_identity(place / "broker"))
        database.stop(place / "database", places.server_identity(place / "database"))


def status(directory: Path) -> Status:
    """Return what runs now; nothing is changed. Servers that others run are asked."""
    place = directory.resolve()
    state = load_state(place)
    database_half, broker_half = state.database or Half(), state.broker or Half()
    database_pid = broker_pid = None
    if not database_half.url:
        database_pid = database.postmaster(place / "database", places.server_identity(place / "database"))
    if not broker_half.url:
        broker_pid = broker.find(place / "broker", places.server_identity(place / "broker"))
    return Status(
        place,
        _dsn(state),
        _broker_url(state),
        database_pid,
        broker_pid,
        database_running=elsewhere.database_answers(database_half.url) if database_half.url else bool(database_pid),
        broker_running=elsewhere.broker_answers(broker_half.url) if broker_half.url else bool(broker_pid),
    )


def check_database_is_up(directory: Path, dsn: str) -> None:
    """Raise UsageError if ``dsn`` is the directory's own database and that does not run."""
    place = directory.resolve()
    if not elsewhere.names_own_database(dsn, load_state(place).database):
        return
    if database.postmaster(place / "database", places.server_identity(place / "database")) is None:
        raise UsageError(f"the database of {directory} is stopped; begin with: congto runtime up --dir {directory}")


def kill_database(directory: Path) -> None:
    """Kill the database with SIGKILL, all of its processes, and wait until they are gone."""
    with _opened(directory) as place:
        database.kill(place / "database", places.server_identity(place / "database"))


def start_database(directory: Path, *, environment: Mapping[str, str] = os.environ) -> int:
    """Start the database of a directory that has been up, on the same port; return its process id."""
    with _opened(directory) as place:
        return _database_up(place, environment, quiet, same_port=True)[0]


def kill_broker(directory: Path) -> None:
    """Kill the broker with SIGKILL and wait until it is gone."""
    with _opened(directory) as place:
        broker.kill(place / "broker", places.server_identity(place / "broker"))


def start_broker(directory: Path, *, environment: Mapping[str, str] = os.environ) -> int:
    """Start the broker of a directory that has been up, on the same port; return its process id."""
    with _opened(directory) as place:
        return _broker_up(place, environment, quiet, same_port=True)[0]


def _database_up(place: Path, environment: Mapping[str, str], say: Say, *, same_port: bool = False) -> tuple[int, str]:
    chosen = software.choose_postgres(environment, places.cache_directory(environment), say)
    home, identity = _half_directory(place, "database", chosen)
    half = load_state(place).database or Half()
    if not half.password:
        if (home / "data").exists():
            raise UsageError(
                f"{home}/data holds a database, but {place}/runtime.json does not know its password; "
                "restore that file, or remove the directory to begin anew"
            )
        half = replace(half, password=database.new_password(), url="")
        _remember(place, database=half)
    database.initialise(home, chosen, identity, half.password)
    running = database.postmaster(home, identity) is not None

    def start(port: int) -> int:
        _remember(place, database=Half(port, half.password))
        return database.start(home, chosen, identity, port=port, password=half.password)

    if not running:
        say("starting PostgreSQL")
    return _on_a_free_port(half.port, start, running=running, same_port=same_port), chosen.origin


def _broker_up(place: Path, environment: Mapping[str, str], say: Say, *, same_port: bool = False) -> tuple[int, str]:
    chosen = software.choose_mosquitto(environment, places.cache_directory(environment), say)
    home, identity = _half_directory(place, "broker", chosen)
    half = load_state(place).broker or Half()
    running = broker.find(home, identity) is not None

    def start(port: int) -> int:
        _remember(place, broker=Half(port))
        return broker.start(home, chosen, identity, port=port)

    if not running:
        say("starting Mosquitto")
    return _on_a_free_port(half.port, start, running=running, same_port=same_port), chosen.origin


def _on_a_free_port(port: int, start: Callable[[int], int], *, running: bool, same_port: bool) -> int:
    """Call ``start`` with the remembered port, or with another when somebody has taken that in the meantime."""
    if same_port and not port:
        raise UsageError("this directory has never been up, so there is no port to start on again; call up first")
    if running and port:
        return start(port)
    for _ in range(PORT_TRIES):
        if port and (_is_free_soon(port) or same_port):
            try:
                return start(port)
            except UnavailableError:
                if same_port or ports.is_free(port):
                    raise  # The port was not the reason, or there is no other.
        port = ports.free_port()
    raise UnavailableError(f"{PORT_TRIES} ports were free and then taken by others; call it again")


def _is_free_soon(port: int) -> bool:
    """Tell whether a port is free; a server that was just killed keeps its own until the kernel is done with it."""
    return processes.wait_until(lambda: ports.is_free(port), PORT_TIMEOUT_S)


def _half_directory(place: Path, name: str, chosen: software.Software) -> tuple[Path, places.Identity]:
    """Return the directory of one half, which belongs to the servers' user, who can reach it and the programs."""
    home = place / name
    identity = places.server_identity(home)
    if identity.uid != os.geteuid():
        place.chmod(place.stat().st_mode | 0o011)  # Search alone: the servers' user must get through.
        places.check_searchable(
            place, identity, "choose a directory with --dir that everybody may search, such as /var/lib/congto/runtime"
        )
        if chosen.root is not None:
            places.check_searchable(
                chosen.root, identity, "set CONGTO_CACHE to one that everybody may search, such as /var/cache/congto"
            )
    if not home.exists():
        home.mkdir(mode=0o700)
        if identity.uid != os.geteuid():
            os.chown(home, identity.uid, identity.gid)
    return home, identity


def _remember(place: Path, *, database: Half | None = None, broker: Half | None = None) -> None:
    state = load_state(place)
    changed = State(database or state.database, broker or state.broker)
    if changed != state:
        store_state(place, changed)


def _dsn(state: State) -> str:
    half = state.database or Half()
    return half.url or (settings.dsn(half.port, half.password) if half.port else "")


def _broker_url(state: State) -> str:
    half = state.broker or Half()
    return half.url or (settings.broker_url(half.port) if half.port else "")


def _exists(directory: Path) -> bool:
    try:
        return directory.exists()
    except OSError as error:  # such as a name that is too long
        raise _refusal(directory, error) from None


@contextmanager
def _opened(directory: Path) -> Iterator[Path]:
    """Make the directory if need be and hold its lock; yield its path without symbolic links."""
    try:
        places.make_directories(directory)
        place = directory.resolve()
        places.check_ours(place)
        file = (place / "lock").open("a")
    except OSError as error:
        raise _refusal(directory, error) from None
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield place
        except (PermissionError, FileExistsError, NotADirectoryError) as error:
            raise _refusal(directory, error) from None


def _refusal(directory: Path, error: OSError) -> UsageError:
    return UsageError(
        f"{directory} cannot be a runtime's directory: {error.strerror} ({error.filename}); "
        "choose another with --dir, or call this as its owner"
    )
