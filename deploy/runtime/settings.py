"""The configuration files of the embedded servers. Pure."""

from pathlib import Path
from string import Template

LISTEN_ON = "127.0.0.1"
DATABASE = "congto"
DATABASE_USER = "congto"

# For two cores shared with the rest of congto. Every database with TimescaleDB keeps one background worker of its
# scheduler, and tests make many databases.
POSTGRES_SETTINGS = {
    "listen_addresses": f"'{LISTEN_ON}'",
    "unix_socket_directories": "''",  # TCP alone: a socket's path is limited to 107 octets, a directory's is not
    "max_connections": "100",
    "password_encryption": "'scram-sha-256'",
    "shared_preload_libraries": "'timescaledb'",
    "timescaledb.telemetry_level": "off",
    "timescaledb.max_background_workers": "16",
    "max_worker_processes": "32",
    "max_parallel_workers": "2",
    "shared_buffers": "'256MB'",
    "work_mem": "'16MB'",
    "maintenance_work_mem": "'128MB'",
    "effective_cache_size": "'1GB'",
    "max_wal_size": "'1GB'",
    "max_locks_per_transaction": "128",  # TimescaleDB locks every chunk it touches
    "jit": "off",  # its compiler is not unpacked, and short queries lose by it
    "timezone": "'UTC'",
    "log_timezone": "'UTC'",
    "datestyle": "'iso, ymd'",
    "default_text_search_config": "'pg_catalog.simple'",
    "log_line_prefix": "'%m [%p] %d '",
    "log_destination": "'stderr'",
    "logging_collector": "off",
}


def render_postgres(port: int) -> str:
    """Return ``postgresql.conf``."""
    settings = {"port": str(port), **POSTGRES_SETTINGS}
    rows = [f"{name} = {value}" for name, value in settings.items()]
    return "\n".join(["# Written by `congto runtime up` at every start; changes here are lost.", *rows, ""])


def render_access() -> str:
    """Return ``pg_hba.conf``: this machine, with a password, as any user would have to have."""
    return f"# type  database  user  address  method\nhost  all  all  {LISTEN_ON}/32  scram-sha-256\n"


def render_mosquitto(template: str, *, port: int, directory: Path) -> str:
    """Return ``mosquitto.conf`` from the template in ``deploy/mosquitto/``."""
    return Template(template).substitute(address=LISTEN_ON, port=port, directory=directory)


def dsn(port: int, password: str) -> str:
    """Return the connection URI of an embedded database."""
    return f"postgresql://{DATABASE_USER}:{password}@{LISTEN_ON}:{port}/{DATABASE}"


def broker_url(port: int) -> str:
    """Return the URL of an embedded broker."""
    return f"mqtt://{LISTEN_ON}:{port}"
