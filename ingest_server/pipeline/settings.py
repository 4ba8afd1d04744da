"""What ingest is told, and the maximum of everything that grows in it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from ingest_server.pipeline.partition import Partition
from ingest_server.pipeline.quarantine import Limits
from ingest_server.pipeline.tls import Credentials
from protocols.errors import UsageError
from protocols.telemetry.batch import MESSAGE_OCTETS_MAX
from protocols.telemetry.topics import check_identifier

BROKER_VARIABLE = "CONGTO_BROKER"
PASSWORD_VARIABLE = "CONGTO_BROKER_PASSWORD"  # noqa: S105  # the name of a variable
PORTS = {"mqtt": 1883, "mqtts": 8883}  # IANA service names mqtt, secure-mqtt

RECEIVE_MAXIMUM = 1000  # messages that the broker may have under way to us, MQTT 5, section 3.1.2.11.3
INBOX_MESSAGES_MAX = RECEIVE_MAXIMUM  # a broker that keeps to it never finds the inbox full
INBOX_OCTETS_MAX = 8 << 20  # 500 readings take 2 kB, so it is the number that counts, unless messages are bad
BUNDLE_ROWS_MAX = 50_000  # a transaction of that many rows takes about a tenth of a second
BUNDLE_OCTETS_MAX = 2 << 20  # 50,000 rows take 200 kB: it is reached by bad messages only
KEPT_OCTETS_MAX = MESSAGE_OCTETS_MAX  # of a message that is larger than any may be
TRANSACTIONS_AT_ONCE = 2  # the database commits one while it takes the other's rows
LINGER_S = 0.01  # what arrives within it shares a commit; a commit costs some milliseconds
TURN_ROWS = 2000  # decoding that many takes some milliseconds
RECEIPTS_UNDER_WAY_MAX = 100

KEEPALIVE_S = 30
SESSION_EXPIRY_S = 14 * 86_400  # the broker keeps our subscription and what came meanwhile for that long
WATCHDOG_S = 120.0  # the longest that one transaction may take; with 50,000 rows it is a thousandfold of the usual
WATCHDOG_EVERY_S = 5.0
REPORT_EVERY_S = 10.0
RESEND_EVERY_S = 5.0  # it looks for what is missing
RESEND_AFTER_S = 300.0  # a gateway sends again by itself what has no receipt, and needs some minutes for it
RESEND_AFTER_S_MAX = 86_400.0


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Where the broker listens, and as whom to go there."""

    host: str
    port: int
    tls: bool
    username: str | None = None
    password: str | None = None

    def __str__(self) -> str:
        return f"{'mqtts' if self.tls else 'mqtt'}://{self.host}:{self.port}"


def parse_broker(argument: str | None, environment: Mapping[str, str] = os.environ) -> BrokerAddress:
    """Return the address in ``argument`` or ``$CONGTO_BROKER``; raise :class:`UsageError` if it is none."""
    url = argument or environment.get(BROKER_VARIABLE, "")
    if not url:
        raise UsageError(f"no broker given: use --broker or ${BROKER_VARIABLE}, such as mqtt://127.0.0.1:1883")
    name = "--broker" if argument else f"${BROKER_VARIABLE}"
    try:
        parts = urlsplit(url)
        port = parts.port or PORTS.get(parts.scheme, 0)
    except ValueError as error:
        raise UsageError(f"{name}: {error}; expected mqtt://HOST:PORT") from error
    if parts.scheme not in PORTS or not parts.hostname or parts.path.strip("/") or parts.query or parts.fragment:
        raise UsageError(f"{name}: expected mqtt://[USER@]HOST[:PORT], or mqtts:// for TLS")
    if argument and parts.password:
        raise UsageError(
            f"--broker: holds a password, which every user of this machine can read there; put it into "
            f"${PASSWORD_VARIABLE}"
        )
    password = parts.password or environment.get(PASSWORD_VARIABLE)
    return BrokerAddress(parts.hostname, port, parts.scheme == "mqtts", parts.username, password)


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that ``congto ingest run`` is told."""

    dsn: str
    broker: BrokerAddress
    client_id: str
    metrics_port: int | None = None  # on the loopback interface; 0 takes a free one, None is none
    partition: Partition = field(default_factory=Partition)
    credentials: Credentials = field(default_factory=Credentials)
    resend_after_s: float = RESEND_AFTER_S
    quarantine: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        check_identifier(self.client_id, "--client-id")
        if self.credentials != Credentials() and not self.broker.tls:
            raise UsageError("--tls-…: the broker's URL begins with mqtt://; certificates need mqtts://")
        if not 0 < self.resend_after_s <= RESEND_AFTER_S_MAX:
            raise UsageError(f"--resend-after {self.resend_after_s:g}: expected more than 0 and at most a day")
        if self.metrics_port is not None and not 0 <= self.metrics_port <= 65_535:
            raise UsageError(f"--metrics-port {self.metrics_port}: expected 0 to 65535")
