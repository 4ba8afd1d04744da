"""``congto api``: serve meters, readings, bills and quotes over HTTP, and the first page."""

import argparse
import os
from pathlib import Path

from protocols.errors import UnavailableError, UsageError

LOOPBACK = "127.0.0.1"
STOP_S = 5  # for requests under way when asked to stop; none takes longer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``congto api``."""
    from ingest_server.database.connection import add_dsn_arguments

    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    run_parser = actions.add_parser("run", help="serve until stopped")
    add_dsn_arguments(run_parser)
    run_parser.add_argument("--host", default=LOOPBACK, help=f"address to listen on (default: {LOOPBACK})")
    run_parser.add_argument(
        "--port", type=int, default=8000, help="port to listen on; 0 takes a free one (default: 8000)"
    )
    run_parser.add_argument(
        "--token-file",
        metavar="FILE",
        type=Path,
        help="file with the token, closed to others; made with a new token if missing (default: $CONGTO_API_TOKEN)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; the address is printed once it answers."""
    import signal
    import socket

    import uvicorn

    from ingest_server import journal
    from ingest_server.api.app import create_app
    from ingest_server.api.connections import Connections
    from ingest_server.api.security import Guard, load_token
    from ingest_server.database.connection import dsn_from

    if not 0 <= arguments.port <= 65_535:
        raise UsageError(f"--port: found {arguments.port}, expected 0 to 65535")
    connections = Connections(dsn_from(arguments))
    guard = Guard(load_token(arguments.token_file, os.environ))
    family = socket.AF_INET6 if ":" in arguments.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((arguments.host, arguments.port))
    except OSError as refused:
        listener.close()
        raise UnavailableError(
            f"cannot listen on {arguments.host}:{arguments.port}: {refused.strerror or refused}; choose another with "
            "--host and --port, or stop what listens there"
        ) from refused
    journal.configure()
    config = uvicorn.Config(
        create_app(connections, guard),
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=STOP_S,
        h11_max_incomplete_event_size=16 * 1024,  # of request line and headers; a token, a cursor and a query fit
    )
    host = f"[{arguments.host}]" if family == socket.AF_INET6 else arguments.host
    where = "the environment" if arguments.token_file is None else arguments.token_file
    listener.listen()
    print(f"congto: serving http://{host}:{listener.getsockname()[1]}/ (token from {where})", flush=True)
    # uvicorn stops cleanly on SIGTERM and then raises it again; asked to stop and stopped is status 0.
    signal.signal(signal.SIGTERM, lambda *_: None)
    uvicorn.Server(config).run(sockets=[listener])
    return 0
