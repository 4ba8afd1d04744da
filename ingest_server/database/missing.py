"""Noting that gateways are to be asked for what a database lacks; a running ingest asks (pipeline/asking.py)."""

import psycopg
from psycopg.rows import TupleRow

NOTE_ALL = """
    insert into resend_request (gateway_id, generation, watermark, seen_at)
    select gateway_id, generation, coalesce(greatest(upper(received), upper(lost)) - 1, 0), 'epoch'
    from gateway_sequence
    where %(gateway)s::text is null or gateway_id = %(gateway)s
    on conflict (gateway_id, generation) do update
    set watermark = excluded.watermark, seen_at = excluded.seen_at, times = 0, asked_at = null
"""


def want_all(connection: psycopg.Connection[TupleRow], gateway: str | None = None) -> int:
    """Have a running ingest ask ``gateway``, or all, for everything above what is stored; return of how many spools."""
    return connection.execute(NOTE_ALL, {"gateway": gateway}).rowcount
