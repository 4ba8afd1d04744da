"""The record of commands: who asked what of which gateway, and the reply."""

import os
import pwd
from datetime import UTC, datetime
from typing import NamedTuple

import psycopg
from psycopg.rows import TupleRow, class_row

from protocols.errors import UsageError
from protocols.telemetry.command import Command
from protocols.telemetry.reply import Reply

SELECT_ROLE = "select session_user::text"
SELECT_GATEWAY = "select 1 from gateway where gateway_id = %s"
INSERT_COMMAND = """
    insert into command (key, gateway_id, kind, meter_id, token, asked_by, asked_at, expires_at, request)
    values (%s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
INSERT_STEP = """
    insert into command_step (key, step, done_by, what, outcome)
    select %(key)s, count(*) + 1, %(by)s, %(what)s, %(outcome)s from command_step where key = %(key)s
"""
UPDATE_REPLY = """
    update command set outcome = %s, reply = %s, replied_at = now(), token = coalesce(%s, token) where key = %s
"""
SELECT_COMMAND = """
    select key, gateway_id, kind, meter_id, asked_by, expires_at, request, reply from command where key = %s
"""
SELECT_ARMED = """
    select key, gateway_id, kind, meter_id, asked_by, expires_at, request, reply from command
    where token = %s and kind = 'arm' and gateway_id = %s
"""


class Asked(NamedTuple):
    """A command of the record."""

    key: str
    gateway_id: str
    kind: str
    meter_id: str | None
    asked_by: str
    expires_at: datetime
    request: bytes
    reply: bytes | None


def person(connection: psycopg.Connection[TupleRow]) -> str:
    """Return who we are: the role that the database let in, and the account that runs us."""
    row = connection.execute(SELECT_ROLE).fetchone()
    assert row is not None
    try:
        account = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        account = str(os.getuid())
    return f"{row[0]}@{account}"


def check_gateway(connection: psycopg.Connection[TupleRow], gateway: str) -> None:
    """Raise :class:`UsageError` if the gateway is not registered."""
    if connection.execute(SELECT_GATEWAY, (gateway,)).fetchone() is None:
        raise UsageError(f"gateway {gateway}: is not registered; see `congto registry show`")


def note_asked(
    connection: psycopg.Connection[TupleRow], command: Command, request: bytes, by: str, token: str | None
) -> None:
    """Record a new command before it is published."""
    asked_at, expires_at = (datetime.fromtimestamp(ms / 1000, UTC) for ms in (command.at_ms, command.expires_ms))
    meter = getattr(command.asked, "meter", None)
    row = (command.key, command.gateway, command.kind.value, meter, token, by, asked_at, expires_at, request)
    connection.execute(INSERT_COMMAND, row)
    note_step(connection, command.key, by, "asked")


def note_step(
    connection: psycopg.Connection[TupleRow], key: str, by: str, what: str, outcome: str | None = None
) -> None:
    """Record what was done with a command, and commit."""
    connection.execute(INSERT_STEP, {"key": key, "by": by, "what": what, "outcome": outcome})
    connection.commit()


def note_reply(connection: psycopg.Connection[TupleRow], reply: Reply, payload: bytes, by: str) -> None:
    """Record the reply; the token of an arming is what its confirmation is found by."""
    connection.execute(UPDATE_REPLY, (reply.outcome.value, payload, reply.result.get("token"), reply.key))
    note_step(connection, reply.key, by, "replied", reply.outcome.value)


def find(connection: psycopg.Connection[TupleRow], key: str) -> Asked | None:
    """Return the command of ``key``."""
    with connection.cursor(row_factory=class_row(Asked)) as cursor:
        return cursor.execute(SELECT_COMMAND, (key,)).fetchone()


def find_armed(connection: psycopg.Connection[TupleRow], gateway: str, token: str) -> Asked | None:
    """Return the arming that the gateway answered with ``token``."""
    with connection.cursor(row_factory=class_row(Asked)) as cursor:
        return cursor.execute(SELECT_ARMED, (token, gateway)).fetchone()
