"""How readings lie: chunks, compression and retention, and what the Apache edition, which tests run on, does of it."""

import asyncio
import json
from datetime import timedelta

import psycopg
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from deploy.cli import main
from ingest_server.database import connect, migrate
from ingest_server.database.edition import Edition, Served, served_by
from ingest_server.database.policies import (
    KEY_OCTETS,
    LENGTHS,
    Span,
    check,
    fitting_length,
    parse_span,
    standing,
)
from ingest_server.pipeline.store import open_connection
from ingest_server.registry import load_registry
from protocols.errors import UsageError
from protocols.telemetry.reading import Reading
from tests.ingest_server.stored_directly import HALF_HOUR_MS, START_MS, message, registry, store_transactions

# What the other edition leaves behind: the catalogue says that a chunk is compressed.
COMPRESSED = """
    update _timescaledb_catalog.hypertable set compression_state = 1 where table_name = 'reading';
    update _timescaledb_catalog.chunk set status = 1 where hypertable_id =
        (select id from _timescaledb_catalog.hypertable where table_name = 'reading')
"""


@pytest.mark.parametrize(
    ("edition", "version", "offers"),
    [
        (Edition.APACHE, "2.19.3", False),
        (Edition.TIMESCALE, "2.19.3", True),
        (Edition.TIMESCALE, "2.17.2", False),
        (Edition.TIMESCALE, "2.30.0-dev", True),
        (Edition.TIMESCALE, "3.0.0", True),
    ],
)
def test_compression_is_offered_by_the_timescale_edition_since_the_columnstore(edition, version, offers):
    assert Served(edition, version).offers_policies is offers


@given(st.integers(0, 10**12), st.integers(0, 10**12))
@example(4_800_000, 1 << 30)
def test_a_chunk_is_as_long_as_its_key_may_be(readings_a_day, memory):
    length = fitting_length(readings_a_day, memory)
    assert length in LENGTHS

    def fits(each):
        return readings_a_day * KEY_OCTETS * (each / timedelta(days=1)) <= memory / 4

    if readings_a_day:
        assert length == LENGTHS[0] or fits(length)
        assert not any(fits(each) for each in LENGTHS if each > length)


def test_a_chunk_is_a_day_long_if_nothing_is_registered():
    assert fitting_length(0, 1) == timedelta(days=1)


def test_the_country_on_a_large_machine_has_chunks_of_hours():
    assert fitting_length(30_000_000 * 48, 64 << 30) == timedelta(hours=3)


def test_spans_are_written_as_a_number_and_a_unit():
    assert parse_span("14d") == Span(14, "d")
    assert parse_span("5y").interval == "5 years"
    assert parse_span("12h").days == 0.5


@given(st.text(max_size=8))
def test_anything_else_is_no_span(text):
    try:
        span = parse_span(text)
    except ValueError:
        return
    assert f"{span.number}{span.unit}" == text


@pytest.mark.parametrize(
    ("compress_after", "keep", "said"),
    [
        ("1d", None, "live readings"),
        (None, "30d", "corrections"),
        ("2y", "1y", "--keep"),
        ("500d", "500d", "nothing is"),
    ],
)
def test_what_would_forget_too_early_is_refused(compress_after, keep, said):
    with pytest.raises(UsageError, match=said):
        check(compress_after and parse_span(compress_after), keep and parse_span(keep))


def test_what_keeps_long_enough_is_taken():
    check(parse_span("14d"), parse_span("5y"))
    check(None, None)


def run(capsys, *words):
    status = main(["ingest", "policies", *words])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


@pytest.fixture
def dsn(database, monkeypatch):
    migrate(database)
    monkeypatch.setenv("CONGTO_DSN", database)
    return database


def store_a_day(dsn):
    with connect(dsn) as connection:
        load_registry(connection, registry("g1", 1), "test.toml")
    rows = [Reading("g1-M0", "1.0.1.8.0", START_MS + step * HALF_HOUR_MS, step) for step in range(48)]
    store_transactions(dsn, [[message("g1", 1, rows)]])


@pytest.mark.integration
def test_readings_lie_in_chunks_of_a_day(dsn, capsys):
    store_a_day(dsn)
    status, out, _ = run(capsys, "--json")
    shown = json.loads(out)
    assert (status, shown["edition"], shown["offers_policies"]) == (0, "apache", False)
    assert (shown["chunk_hours"], shown["chunks"], shown["compressed"]) == (24, 2, 0)  # a civil day touches two of UTC
    assert shown["readings_a_day"] == 2 * 48
    assert shown["octets"] > 0


@pytest.mark.integration
@pytest.mark.parametrize(
    "words", [["--compress-after", "14d"], ["--keep", "5y"], ["--compress-after", "never", "--decompress"]]
)
def test_the_apache_edition_says_that_it_does_not_compress_and_changes_nothing(dsn, capsys, words):
    store_a_day(dsn)
    with connect(dsn) as connection:
        before = standing(connection)
    status, _, err = run(capsys, *words)
    with connect(dsn) as connection:
        assert standing(connection) == before
    assert status == 1
    assert "apache edition" in err
    assert "nothing of that was changed" in err


@pytest.mark.integration
def test_a_channels_readings_are_read_from_the_key_alone(dsn):
    store_a_day(dsn)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("vacuum reading")
        connection.execute("set enable_seqscan = off")
        connection.execute("set enable_bitmapscan = off")
        question = (
            "select channel_id, measured_at, value, quality from reading where channel_id = 1 order by measured_at"
        )
        plan = "\n".join(row for (row,) in connection.execute(f"explain (analyze, costs off) {question}"))
    assert "Index Only Scan" in plan
    assert plan.count("Heap Fetches: 0") == plan.count("Heap Fetches") > 0


@pytest.mark.integration
def test_the_length_of_chunks_is_set_in_any_edition(dsn, capsys):
    assert json.loads(run(capsys, "--chunk", "6h", "--json")[1])["chunk_hours"] == 6
    assert json.loads(run(capsys, "--chunk", "fitting", "--json")[1])["chunk_hours"] == 24
    store_a_day(dsn)
    assert json.loads(run(capsys, "--chunk", "fitting", "--json")[1])["chunk_hours"] == 168
    assert run(capsys, "--chunk", "40d")[0] == 2


@pytest.mark.integration
def test_decompressing_while_they_are_compressed_again_is_refused(dsn, capsys):
    status, _, err = run(capsys, "--decompress")
    assert (status, "--compress-after never" in err) == (2, True)


@pytest.mark.integration
def test_compressed_readings_are_not_passed_over_in_silence_by_the_apache_edition(dsn, capsys):
    store_a_day(dsn)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(COMPRESSED)
    with pytest.raises(UsageError, match="Apache edition"):
        connect(dsn)
    for words in (["ingest", "policies"], ["ingest", "digest"], ["ingest", "run", "--broker", "mqtt://127.0.0.1:1"]):
        assert main(words) == 2
        assert "timescaledb.license = timescale" in capsys.readouterr().err
    with pytest.raises(psycopg.OperationalError, match="are compressed"):  # ingest waits, and keeps what it has
        asyncio.run(open_connection(dsn))


@pytest.mark.integration
def test_the_embedded_runtime_has_the_apache_edition(runtime):
    with connect(runtime.dsn) as connection:
        assert served_by(connection).edition is Edition.APACHE


@pytest.mark.integration
def test_a_database_without_timescaledb_can_be_opened_and_is_told_to_be_migrated(database):
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("drop extension timescaledb")
    with connect(database) as connection, pytest.raises(UsageError, match="congto ingest migrate"):
        served_by(connection)
