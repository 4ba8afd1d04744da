"""``congto gateway``: ask a gateway for something, wait for its answer, keep the record of both.

Exit status, by what became of it: 0 done · 1 the meter or the gateway said no, nothing was changed · 2 refused: the
call, a right, a second person · 3 broker or database can't be reached · 4 no answer in time · 5 it is not known what
was done · 6 expired.
"""

import argparse
import json
import secrets
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from ingest_server.database.connection import add_dsn_arguments, connect, dsn_from, translated
from protocols.errors import LocalProtocolError, UsageError
from protocols.telemetry.command import (
    LIMIT_S_MAX,
    RANGE_MS_MAX,
    WATCH_S_MAX,
    Arm,
    Asked,
    Command,
    Configure,
    Confirm,
    Profile,
    Read,
    Resend,
    SetClock,
    Tell,
    decode_command,
)
from protocols.telemetry.reply import Outcome, Reply, decode_reply
from protocols.telemetry.topics import check_identifier

STATUS = {Outcome.DONE: 0, Outcome.FAILED: 1, Outcome.REFUSED: 2, Outcome.UNKNOWN: 5, Outcome.EXPIRED: 6}
STATUS_NO_ANSWER = 4
KEY_OCTETS = 8
SPARE_S = 30  # a configuration's answer comes when it was watched; meters are asked then
LIFE_S_MAX = 86_400
DAY_MS = 86_400_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of ``congto gateway``."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, purpose in (
        ("read", "read a meter now"),
        ("profile", "read a range of a meter's load profile"),
        ("clock", "bring a meter's clock to the gateway's, within a limit"),
        ("disconnect", "switch a supply off: first armed, then confirmed by a second person"),
        ("reconnect", "switch a supply on: first armed, then confirmed by a second person"),
        ("resend", "have batches sent again that the gateway still keeps"),
        ("configure", "try a new configuration; the gateway takes it back if it does not stay well"),
        ("status", "show buses and meters as the gateway counts them"),
    ):
        action = actions.add_parser(name, help=purpose, description=purpose.capitalize() + ".")
        action.add_argument("gateway", metavar="GATEWAY", help="which gateway")
        if name in ("read", "profile", "clock", "disconnect", "reconnect"):
            action.add_argument("meter", metavar="METER", help="which of its meters")
        _add_own(action, name)
        _add_common(action)


def _add_own(action: argparse.ArgumentParser, name: str) -> None:
    """Add what one action alone takes."""
    if name == "read":
        action.add_argument(
            "--object", action="append", default=[], metavar="OBIS", help="such as 1.0.1.8.0; again for more"
        )
    elif name == "profile":
        for end in ("from", "to"):
            action.add_argument(
                f"--{end}",
                dest=f"{end}_at",
                type=_instant,
                required=True,
                metavar="T",
                help="as 2026-09-30T00:00+07:00",
            )
    elif name == "clock":
        action.add_argument(
            "--limit", type=int, required=True, metavar="S", help=f"not if it differs by more, 1 to {LIMIT_S_MAX}"
        )
    elif name in ("disconnect", "reconnect"):
        action.add_argument("--confirm", metavar="TOKEN", help="switch what another person has armed")
    elif name == "resend":
        action.add_argument("--generation", required=True, metavar="HEX", help="of the spool, as its status says")
        action.add_argument("--first", type=int, required=True, metavar="N", help="the first batch")
        action.add_argument("--last", type=int, required=True, metavar="N", help="the last batch")
    elif name == "configure":
        action.add_argument("file", type=Path, metavar="FILE", help="the new agent.toml")
        action.add_argument(
            "--watch", type=int, default=60, metavar="S", help=f"how long it is watched, 1 to {WATCH_S_MAX}; default 60"
        )


def _add_common(action: argparse.ArgumentParser) -> None:
    action.add_argument(
        "--broker", metavar="URL", help="such as mqtt://127.0.0.1:1883, without a password (default: $CONGTO_BROKER)"
    )
    action.add_argument("--tls-ca", type=Path, metavar="FILE", help="the authority of the broker's certificate, PEM")
    action.add_argument("--tls-certificate", type=Path, metavar="FILE", help="our certificate for the broker, PEM")
    action.add_argument("--tls-key", type=Path, metavar="FILE", help="its private key, PEM, owner-only")
    action.add_argument("--wait", type=int, metavar="S", help="for the answer (default: 60, plus what is watched)")
    action.add_argument("--expires", type=int, metavar="S", help="begin nothing after so long (default: as --wait)")
    action.add_argument("--key", metavar="HEX", help="ask again for a command of the record, which is done only once")
    action.add_argument("--json", action="store_true", help="print the reply as one JSON object")
    add_dsn_arguments(action)


def _instant(text: str) -> int:
    expected = "expected a time with its offset, as 2026-09-30T00:00+07:00"
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {expected}") from error
    if found.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text!r}: {expected}")
    return int(found.timestamp() * 1000)


def run(arguments: argparse.Namespace) -> int:
    """Ask, wait, record, print; return the exit status."""
    with translated():
        return _run(arguments)


def _run(arguments: argparse.Namespace) -> int:
    from ingest_server.pipeline.settings import parse_broker
    from ingest_server.pipeline.tls import Credentials, tls_context
    from ingest_server.remote import record
    from ingest_server.remote.exchange import connected

    gateway = check_identifier(arguments.gateway, "gateway")
    address = parse_broker(arguments.broker)
    credentials = Credentials(arguments.tls_ca, arguments.tls_certificate, arguments.tls_key)
    context = tls_context(credentials) if address.tls else None
    wait_s = arguments.wait or 60 + (arguments.watch + SPARE_S if arguments.action == "configure" else 0)
    with connect(dsn_from(arguments)) as connection:
        by = record.person(connection)
        record.check_gateway(connection, gateway)
        if arguments.key is not None:
            command, request, recorded = _known(record.find(connection, arguments.key), arguments)
            if recorded is not None:
                return show(recorded, arguments.json)
            if time.time_ns() // 1_000_000 >= command.expires_ms:
                print(f"congto: {command.key} has expired without an answer; ask anew", file=sys.stderr)
                return STATUS[Outcome.EXPIRED]
            record.note_step(connection, command.key, by, "asked_again")
        else:
            armed = None
            if getattr(arguments, "confirm", None) is not None:
                armed = record.find_armed(connection, gateway, arguments.confirm)
            asked = _asked(arguments, armed, by)
            command, request = _new(gateway, asked, arguments.expires or wait_s)
            record.note_asked(connection, command, request, by, getattr(asked, "token", None))
        with connected(address, gateway, f"congto-gateway-{command.key[:16]}", context) as line:
            answer = line.ask(command, request, wait_s)
        if answer is None:
            record.note_step(connection, command.key, by, "given_up")
            print(
                f"congto: no answer from {gateway} within {wait_s} s; ask again: --key {command.key}", file=sys.stderr
            )
            return STATUS_NO_ANSWER
        record.note_reply(connection, *answer, by)
    return show(answer[0], arguments.json)


def _new(gateway: str, asked: Asked, life_s: int) -> tuple[Command, bytes]:
    if not 1 <= life_s <= LIFE_S_MAX:
        raise UsageError(f"--expires {life_s}: expected 1 to {LIFE_S_MAX}")
    now_ms = time.time_ns() // 1_000_000
    command = Command(gateway, secrets.token_hex(KEY_OCTETS), now_ms, now_ms + 1000 * life_s, asked)
    try:
        return command, command.encode()
    except LocalProtocolError as error:
        raise UsageError(str(error)) from error


def _known(found: object, arguments: argparse.Namespace) -> tuple[Command, bytes, Reply | None]:
    """Return a command of the record, and its reply if there is one."""
    from ingest_server.remote.record import Asked as Recorded

    if not isinstance(found, Recorded) or found.gateway_id != arguments.gateway:
        raise UsageError(f"--key {arguments.key}: no such command of {arguments.gateway} is recorded")
    reply = None if found.reply is None else decode_reply(found.reply)
    return decode_command(found.request), found.request, reply


def _asked(arguments: argparse.Namespace, armed: object, by: str) -> Asked:
    match arguments.action:
        case "read":
            return Read(arguments.meter, tuple(arguments.object))
        case "profile":
            return _profile(arguments.meter, arguments.from_at, arguments.to_at)
        case "clock":
            return SetClock(arguments.meter, arguments.limit)
        case "resend":
            return Resend(arguments.generation, arguments.first, arguments.last)
        case "configure":
            return Configure(_text(arguments.file), arguments.watch)
        case "status":
            return Tell()
        case _:
            return _switching(arguments, armed, by)


def _profile(meter: str, from_ms: int, to_ms: int) -> Profile:
    """Return the question for a range of a load profile; one that can't be is refused in dates."""
    first, last = (datetime.fromtimestamp(each / 1000, UTC).isoformat(timespec="seconds") for each in (from_ms, to_ms))
    if from_ms > to_ms:
        raise UsageError(f"--from {first} is after --to {last}; the earlier one comes first")
    if to_ms - from_ms > RANGE_MS_MAX:
        raise UsageError(f"--from {first} --to {last}: expected {RANGE_MS_MAX // DAY_MS} days at most; ask in parts")
    return Profile(meter, from_ms, to_ms)


def _switching(arguments: argparse.Namespace, armed: object, by: str) -> Asked:
    """Return the arming, or the confirmation of what another person has armed."""
    from ingest_server.remote.record import Asked as Recorded

    connect_it = arguments.action == "reconnect"
    if arguments.confirm is None:
        return Arm(arguments.meter, connect_it)
    if not isinstance(armed, Recorded):
        raise UsageError(f"--confirm {arguments.confirm}: nothing is armed under this token at {arguments.gateway}")
    if decode_command(armed.request).asked != Arm(arguments.meter, connect_it):
        raise UsageError(f"--confirm {arguments.confirm}: belongs to another meter or to the other direction")
    if armed.asked_by == by:
        raise UsageError(
            f"--confirm: {by} has armed it; a second person must confirm, with a role or account of theirs"
        )
    return Confirm(arguments.meter, connect_it, arguments.confirm)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {error}; expected a configuration, TOML in UTF-8") from error


def show(reply: Reply, as_json: bool) -> int:
    """Print a reply; return the exit status."""
    if as_json:
        said: dict[str, object] = {"gateway": reply.gateway, "key": reply.key, "kind": reply.kind.value}
        said |= {"at": reply.at_ms, "clock": reply.clock.value, "outcome": reply.outcome.value, "reason": reply.reason}
        json.dump({**said, "result": reply.result}, sys.stdout)
        print()
    else:
        from ingest_server.remote.display import display

        display(reply)
    return STATUS[reply.outcome]
