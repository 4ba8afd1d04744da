"""``congto ingest policies``: how long chunks of readings are, when they are compressed, how long they are kept."""

import argparse
import json
import sys
from datetime import timedelta
from typing import TYPE_CHECKING

from ingest_server.database.connection import add_dsn_arguments, connect, dsn_from
from protocols.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest_server.database.policies import Span, Standing

NEVER, FOREVER, FITTING = "never", "forever", "fitting"
LENGTH_DAYS_MAX = 31


def add_policies_arguments(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the action."""
    policies = actions.add_parser(
        "policies",
        help="show or set how readings are cut into chunks, compressed and forgotten; status 1 if this edition of "
        "TimescaleDB does not offer what was asked for",
    )
    policies.add_argument(
        "--compress-after",
        type=_span_or(NEVER),
        metavar="SPAN",
        help=f"have chunks compressed that are so old, such as 14d; or {NEVER}",
    )
    policies.add_argument(
        "--keep",
        type=_span_or(FOREVER),
        metavar="SPAN",
        help=f"have readings removed that are older, such as 5y; or {FOREVER} (registers at midnight stay)",
    )
    policies.add_argument(
        "--chunk",
        type=_span_or(FITTING),
        metavar="SPAN",
        help=f"how long new chunks are, such as 1d or 6h; or {FITTING}: what fits this registry and this machine",
    )
    policies.add_argument(
        "--decompress",
        action="store_true",
        help="make all compressed chunks plain again, which they must be before the edition changes to Apache",
    )
    policies.add_argument("--json", action="store_true", help="print one JSON object")
    add_dsn_arguments(policies)


def _span_or(word: str) -> "Callable[[str], Span | str]":
    def parse(text: str) -> "Span | str":
        from ingest_server.database.policies import parse_span

        try:
            return word if text == word else parse_span(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{error}, or {word}") from None

    return parse


def policies(arguments: argparse.Namespace) -> int:
    """Set what is given, then show how the readings lie."""
    from ingest_server.database import policies as store

    compress, keep = arguments.compress_after, arguments.keep
    store.check(None if compress == NEVER else compress, None if keep == FOREVER else keep)
    if arguments.decompress and compress != NEVER:
        raise UsageError("--decompress: needs --compress-after never, or the chunks would be compressed again")
    asked = compress is not None or keep is not None or arguments.decompress
    with connect(dsn_from(arguments)) as connection:
        before = store.standing(connection)
        if arguments.chunk is not None:
            store.set_length(connection, before.fitting if arguments.chunk == FITTING else _length(arguments.chunk))
        refused = asked and not before.served.offers_policies
        if asked and not refused:
            if compress is not None:
                store.set_compression(connection, None if compress == NEVER else compress)
            if keep is not None:
                store.set_retention(connection, None if keep == FOREVER else keep)
            connection.commit()
            if arguments.decompress:
                store.decompress(connection)
        connection.commit()
        _show(store.standing(connection), as_json=arguments.json)
    if refused:
        print(
            f"congto ingest: TimescaleDB {before.served.version}, {before.served.edition.value} edition, neither "
            "compresses nor removes by itself: nothing of that was changed. See docs/operations/store.md",
            file=sys.stderr,
        )
    return 1 if refused else 0


def _length(span: "Span") -> timedelta:
    if not 0 < span.days <= LENGTH_DAYS_MAX:
        raise UsageError(f"--chunk: expected 1h to {LENGTH_DAYS_MAX}d")
    return timedelta(days=span.days)


def _show(found: "Standing", *, as_json: bool) -> None:
    if as_json:
        shown = {
            "edition": found.served.edition.value,
            "version": found.served.version,
            "offers_policies": found.served.offers_policies,
            "chunk_hours": found.length / timedelta(hours=1),
            "fitting_hours": found.fitting / timedelta(hours=1),
            "readings_a_day": found.readings_a_day,
            "chunks": found.chunks,
            "compressed": found.compressed,
            "octets": found.octets,
            "compress_after": found.compress_after,
            "keep": found.keep,
        }
        print(json.dumps(shown))
        return
    offered = "" if found.served.offers_policies else " (does not offer it)"
    print(f"TimescaleDB       {found.served.version}, {found.served.edition.value} edition")
    print(f"chunks            {found.chunks}, {found.compressed} of them compressed, {found.octets / 1e6:,.1f} MB")
    print(f"a new chunk       {_hours(found.length)}")
    print(
        f"fitting           {_hours(found.fitting)}: {found.readings_a_day:,} readings a day are expected, and "
        f"effective_cache_size is {found.memory_octets / 1e9:.1f} GB"
    )
    print(f"compressed after  {found.compress_after or NEVER}{offered}")
    print(f"kept              {found.keep or FOREVER}{offered}")


def _hours(length: timedelta) -> str:
    hours = length / timedelta(hours=1)
    return f"{hours / 24:g} days" if hours % 24 == 0 else f"{hours:g} hours"
