"""Columns through binary COPY, against what PostgreSQL itself says of them."""

import numpy as np
import psycopg
import pytest

from ingest_server.database.binary_rows import Field, encode_rows, fetch_columns
from ingest_server.database.copy import HEADER, TRAILER

FIELDS = {
    "small": Field("i2"), "number": Field("i8"), "day": Field("i4"), "name": Field("S", 5),
    "many": Field("i8", 3), "few": Field("i4", 0),
}  # fmt: skip


@pytest.mark.integration
def test_columns_come_back_as_they_went_in_and_sql_reads_them_the_same(database: str) -> None:
    chance = np.random.default_rng(1)
    columns = {
        "small": chance.integers(-(2**15), 2**15, 1000),
        "number": chance.integers(-(2**63), 2**63 - 1, 1000),
        "day": chance.integers(-(2**31), 2**31, 1000),
        "name": np.array([f"{place:05}".encode() for place in range(1000)], dtype="V5"),
        "many": chance.integers(-(2**63), 2**63 - 1, (1000, 3)),
        "few": np.empty((1000, 0), dtype=np.int64),
    }
    with psycopg.connect(database) as connection:
        connection.execute(
            "create temp table t (small int2, number int8, day int4, name text, many int8[], few int4[])"
        )
        with connection.cursor().copy("copy t from stdin (format binary)") as copy:
            copy.write(HEADER + encode_rows(FIELDS, columns) + TRAILER)
        read = connection.execute("select name, small, number, day, many, few from t order by name").fetchall()
        assert [row[0] for row in read] == [f"{place:05}" for place in range(1000)]
        for place, name in enumerate(("small", "number", "day"), 1):
            assert [row[place] for row in read] == columns[name].tolist()
        assert [row[4] for row in read] == columns["many"].tolist()
        assert all(row[5] == [] for row in read)
        some = {name: field for name, field in FIELDS.items() if name != "few"}
        back = fetch_columns(connection, "select small, number, day, name, many from t order by name", {}, some)
    for name in some:
        assert back[name].tolist() == columns[name].tolist()


@pytest.mark.integration
def test_a_null_is_refused_and_never_becomes_a_value(database: str) -> None:
    with psycopg.connect(database) as connection, pytest.raises(ValueError, match="null"):
        fetch_columns(connection, "select * from (values (1::int8), (null)) v (n)", {}, {"n": Field("i8")})
    fields = {"a": Field("S", 3), "b": Field("S", 1)}
    with psycopg.connect(database) as connection, pytest.raises(ValueError, match="not of 3 octets"):
        fetch_columns(connection, "select 'a'::text, 'abc'::text", {}, fields)


@pytest.mark.integration
def test_no_rows_are_no_rows(database: str) -> None:
    with psycopg.connect(database) as connection:
        found = fetch_columns(connection, "select 1::int8 where false", {}, {"n": Field("i8")})
    assert found["n"].shape == (0,)
