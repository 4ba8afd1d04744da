"""``congto ingest run`` and ``leave``: one process or several, under fixed names at the broker."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ingest_server.database.connection import add_dsn_arguments, dsn_from
from protocols.errors import UsageError
from protocols.telemetry.topics import check_identifier

if TYPE_CHECKING:
    from ingest_server.pipeline.partition import Partition
    from ingest_server.pipeline.settings import BrokerAddress, Settings
    from ingest_server.pipeline.tls import Credentials

CLIENT_ID = "congto-ingest"


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``congto ingest run``."""
    _add_broker_arguments(parser)
    share = parser.add_mutually_exclusive_group()
    share.add_argument(
        "--partition",
        metavar="K/N",
        help="take the part K of N of the registered gateways; the client id becomes ID-K-of-N (default: all gateways)",
    )
    share.add_argument(
        "--processes",
        type=int,
        metavar="N",
        help="start N processes, one a part, and again whenever one ends; the metrics port counts up from the first's",
    )
    parser.add_argument(
        "--metrics-port",
        type=int,
        metavar="PORT",
        help="serve /metrics and /health on 127.0.0.1; 0 takes a free port (default: neither is served)",
    )
    parser.add_argument(
        "--resend-after",
        type=float,
        default=300.0,
        metavar="SECONDS",
        help="ask a gateway to send again batches that are missing for that long (default: %(default)g)",
    )
    parser.add_argument(
        "--quarantine-mib",
        type=int,
        default=64,
        metavar="N",
        help="keep at most so much of what can't be taken, of each gateway and kind of refusal (default: %(default)s)",
    )
    parser.add_argument(
        "--quarantine-total-mib",
        type=int,
        default=4096,
        metavar="N",
        help="keep at most so much of all together, and of each the first and the latest (default: %(default)s)",
    )
    add_dsn_arguments(parser)


def add_leave_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``congto ingest leave``."""
    _add_broker_arguments(parser)
    parser.add_argument(
        "--partition", metavar="K/N", help="the part whose session it is (default: that of a single process)"
    )


def _add_broker_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--broker", metavar="URL", help="such as mqtt://127.0.0.1:1883, without a password (default: $CONGTO_BROKER)"
    )
    parser.add_argument(
        "--client-id",
        default=CLIENT_ID,
        metavar="ID",
        help="fixed name at the broker, which keeps our session under it (default: %(default)s)",
    )
    parser.add_argument(
        "--tls-ca",
        type=Path,
        metavar="FILE",
        help="authority that signed the broker's certificate (default: the system's)",
    )
    parser.add_argument(
        "--tls-certificate",
        metavar="FILE",
        help="our certificate, whose common name is who we are to the broker; {client_id} stands for the process's own",
    )
    parser.add_argument("--tls-key", metavar="FILE", help="its private key, which only its owner may read")


def run_ingest(arguments: argparse.Namespace) -> int:
    """Take messages until asked to stop; the status says how it ended."""
    from ingest_server.pipeline.partition import PARTS_MAX, Partition, parse_partition
    from ingest_server.pipeline.run import run_here
    from ingest_server.pipeline.supervise import supervise

    if arguments.processes is None:
        part = Partition() if arguments.partition is None else parse_partition(arguments.partition)
        return run_here(_settings(arguments, part, arguments.metrics_port))
    if not 1 <= arguments.processes <= PARTS_MAX:
        raise UsageError(
            f"--processes {arguments.processes}: expected 1 to {PARTS_MAX}; as many as there are cores to spare"
        )
    port: int | None = arguments.metrics_port
    return supervise(
        [
            _settings(arguments, Partition(number + 1, arguments.processes), port + number if port else port)
            for number in range(arguments.processes)
        ]
    )


def leave_session(arguments: argparse.Namespace) -> int:
    """End the session at the broker, with all that waits in it."""
    from ingest_server.pipeline.leave import leave
    from ingest_server.pipeline.partition import Partition, parse_partition

    part = Partition() if arguments.partition is None else parse_partition(arguments.partition)
    address, client_id, credentials = _at_the_broker(arguments, part.client_id(arguments.client_id))
    leave(address, client_id, credentials)
    print(f"the broker has forgotten {client_id}")
    return 0


def _settings(arguments: argparse.Namespace, part: "Partition", metrics_port: int | None) -> "Settings":
    from ingest_server.pipeline.quarantine import Limits
    from ingest_server.pipeline.settings import Settings

    address, client_id, credentials = _at_the_broker(arguments, part.client_id(arguments.client_id))
    quarantine = Limits.of_mib(arguments.quarantine_mib, arguments.quarantine_total_mib)
    return Settings(
        dsn_from(arguments),
        address,
        client_id,
        metrics_port,
        part,
        credentials,
        arguments.resend_after,
        quarantine,
    )


def _at_the_broker(arguments: argparse.Namespace, client_id: str) -> "tuple[BrokerAddress, str, Credentials]":
    from ingest_server.pipeline.settings import parse_broker
    from ingest_server.pipeline.tls import Credentials

    def path(given: str | None) -> Path | None:
        return None if given is None else Path(given.replace("{client_id}", client_id))

    credentials = Credentials(arguments.tls_ca, path(arguments.tls_certificate), path(arguments.tls_key))
    return parse_broker(arguments.broker), check_identifier(client_id, "--client-id"), credentials
