"""URLs of servers: which of them name this directory's own, and whether those that others run answer."""

from urllib.parse import urlsplit

import psycopg
from psycopg import conninfo

from deploy.runtime import broker, settings
from deploy.runtime.state import Half
from ingest_server.database.connection import connection_options
from protocols.errors import UsageError

PROBE_TIMEOUT_S = 3  # of `status`: a person waits for it
OURSELVES = frozenset({settings.LISTEN_ON, "localhost"})
BROKER_PORTS = {"mqtt": 1883, "mqtts": 8883}  # IANA's service names mqtt and secure-mqtt


def check_dsn(dsn: str) -> None:
    """Raise UsageError unless ``dsn`` can be read and names a database, which is to be created if need be."""
    connection_options(dsn)
    if not conninfo.conninfo_to_dict(dsn).get("dbname"):
        raise UsageError(
            "DSN: it names no database; expected postgresql://USER@HOST/DATABASE or key=value pairs with dbname"
        )


def broker_address(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port of a broker's URL; raise UsageError if it is none."""
    try:
        parts = urlsplit(url)
        port = parts.port or BROKER_PORTS.get(parts.scheme, 0)
    except ValueError as error:
        raise UsageError(f"broker: {error}; expected mqtt://HOST:PORT") from error
    if parts.scheme not in BROKER_PORTS or not parts.hostname or parts.path.strip("/") or parts.query or parts.fragment:
        raise UsageError("broker: expected mqtt://[USER@]HOST[:PORT], or mqtts:// for TLS")
    return parts.scheme, parts.hostname, port


def names_own_database(dsn: str, half: Half | None) -> bool:
    """Tell whether ``dsn`` is the connection URI of this directory's own database, however it is written.

    One with another password is not: it would not open the database.
    """
    if half is None or not half.port:
        return False
    own = conninfo.conninfo_to_dict(settings.dsn(half.port, half.password))
    given = conninfo.conninfo_to_dict(dsn)
    if (given.get("hostaddr") or given.get("host")) not in OURSELVES:
        return False
    return all(str(given.get(name)) == str(own[name]) for name in ("port", "dbname", "user")) and given.get(
        "password"
    ) in (None, own["password"])


def names_own_broker(url: str, half: Half | None) -> bool:
    """Tell whether ``url`` is that of this directory's own broker, however it is written."""
    if half is None or not half.port:
        return False
    scheme, host, port = broker_address(url)
    return scheme == "mqtt" and host in OURSELVES and port == half.port


def database_answers(dsn: str) -> bool:
    """Tell whether the database of ``dsn`` takes us."""
    try:
        with psycopg.connect(dsn, connect_timeout=PROBE_TIMEOUT_S):
            return True
    except psycopg.Error:
        return False


def broker_answers(url: str) -> bool:
    """Tell whether a broker answers at ``url``; of one behind TLS, whether it takes connections."""
    scheme, host, port = broker_address(url)
    if scheme == "mqtts":
        return broker.accepts(host, port, PROBE_TIMEOUT_S)
    return broker.answers(port, host, PROBE_TIMEOUT_S)
