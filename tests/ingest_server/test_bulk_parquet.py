"""Readings in Parquet: out, in again, and refused where readings can't be taken without guessing."""

from datetime import UTC, datetime, timedelta, timezone

import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from deploy.cli import main
from ingest_server.bulk import load
from ingest_server.bulk.parquet_file import read_parquet, write_parquet
from ingest_server.bulk.row import Row
from ingest_server.database import connect
from protocols.errors import UsageError
from protocols.telemetry.batch import AT_MS_MAX, AT_MS_MIN, QUALITY_MAX, VALUE_MAX
from protocols.telemetry.reading import Quality, Reading
from tests.ingest_server.test_bulk import csv_file, dsn, imported, readings, stored
from tests.ingest_server.test_bulk_files import possible

assert dsn  # the fixture of test_bulk

READINGS = st.builds(
    Reading,
    st.sampled_from(["M-1", "M-2"]),
    st.sampled_from(["1.0.1.8.0", "1.0.2.8.0", "1.0.16.7.0"]),
    st.integers(AT_MS_MIN, AT_MS_MAX),
    st.integers(-VALUE_MAX, VALUE_MAX),
    st.integers(0, QUALITY_MAX),
).map(possible)


@given(st.lists(READINGS, max_size=50))
def test_what_is_written_is_read_again(tmp_path_factory, found):
    path = tmp_path_factory.mktemp("parquet") / "readings.parquet"
    told = []
    assert write_parquet(map(Row, found), path) == len(found)
    assert [row.reading for part in read_parquet(path, told.append) for row in part.rows()] == found
    assert sum(told) == (path.stat().st_size if found else 0)


GOOD = {
    "meter": ["M-1"], "obis": ["1.0.1.8.0"], "at": [datetime(2025, 10, 1, tzinfo=UTC)], "value": [7], "quality": [0],
}  # fmt: skip


def written(path, **changes):
    columns = {key: value for key, value in {**GOOD, **changes}.items() if value is not None}
    parquet.write_table(pyarrow.table(columns), path)
    return path


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"value": [7.0]}, "column value is double; expected an integer"),
        ({"at": [datetime(2025, 10, 1)]}, "expected a timestamp with its zone"),  # noqa: DTZ001
        ({"at": None}, "column at is missing"),
        ({"meter": [7]}, "column meter is int64; expected a string"),
    ],
)
def test_what_cannot_be_taken_without_guessing_is_refused(changes, reason, tmp_path):
    with pytest.raises(UsageError, match=r"wrong\.parquet: ") as refused:
        list(read_parquet(written(tmp_path / "wrong.parquet", **changes)))
    assert reason in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"meter": ["M 1"]}, "meter 'M 1'"),
        ({"meter": pyarrow.array([None], pyarrow.string())}, "found a null"),
        ({"obis": ["x"]}, "OBIS code 'x'"),
        ({"value": [VALUE_MAX + 1]}, f"value {VALUE_MAX + 1}"),
        ({"value": pyarrow.array([2**64 - 1], pyarrow.uint64())}, f"value {2**64 - 1}"),
        ({"quality": [QUALITY_MAX + 1]}, "quality 128"),
        ({"at": [datetime(1970, 1, 1, tzinfo=UTC)]}, "time 1970-01-01"),
        ({"at": [datetime(2025, 1, 1, 0, 0, 0, 1, tzinfo=UTC)]}, "time 2025-01-01 00:00:00.000001"),
        ({"at": pyarrow.array([2**62], pyarrow.timestamp("ms", "UTC"))}, "time "),
        ({"value": pyarrow.array([None], pyarrow.int64())}, "found a null"),
    ],
)
def test_a_wrong_row_is_told_with_its_number_and_the_others_stand(changes, reason, tmp_path):
    wrong = parquet.read_table(written(tmp_path / "wrong.parquet", **changes))
    good = parquet.read_table(written(tmp_path / "good.parquet")).cast(wrong.schema)
    parquet.write_table(pyarrow.concat_tables([good, wrong, good]), tmp_path / "x.parquet")
    (part,) = read_parquet(tmp_path / "x.parquet")
    assert [row.reading.value for row in part.rows()] == [7, 7]
    ((place, number, said, _),) = part.bad
    assert (place, number) == (1, 2)
    assert reason in said


def test_a_file_of_others_may_name_its_zone_and_leave_qualities_out(tmp_path):
    vietnam = timezone(timedelta(hours=7))
    path = written(
        tmp_path / "x.parquet",
        quality=None,
        at=[datetime(2025, 10, 1, tzinfo=vietnam)],
        value=pyarrow.array([7], pyarrow.int32()),
    )
    (part,) = read_parquet(path)
    ((reading, _),) = part.rows()
    assert reading == Reading("M-1", "1.0.1.8.0", 1_759_251_600_000, 7, 0)


@pytest.mark.integration
def test_an_export_comes_in_again_and_a_broken_import_goes_on(dsn, tmp_path, capsys, monkeypatch):
    imported(capsys, csv_file(tmp_path / "first.csv", readings()))
    out = str(tmp_path / "out.parquet")
    assert main(["export", out, "--format", "parquet"]) == 0
    with connect(dsn) as connection:
        connection.execute("truncate reading")
        connection.execute("alter table bulk_import add check (rows < 50)")
    monkeypatch.setattr(load, "CHUNK_ROWS", 20)
    with pytest.raises(Exception, match="bulk_import"):
        main(["import", out])
    with connect(dsn) as connection:
        connection.execute("alter table bulk_import drop constraint bulk_import_rows_check")
    found = imported(capsys, out)
    assert (found["skipped"], found["new"]) == (40, 50)
    assert stored(dsn) == sorted(readings())


@pytest.mark.integration
def test_readings_by_hand_and_files_that_are_none(dsn, tmp_path, capsys):
    path = tmp_path / "hand.parquet"
    write_parquet([Row(readings(count=1)[0])], path)
    assert imported(capsys, str(path), "--manual")["new"] == 1
    assert [row.quality for row in stored(dsn)] == [Quality.MANUAL]
    (tmp_path / "cut.parquet").write_bytes(path.read_bytes()[:-9])
    assert main(["import", str(tmp_path / "cut.parquet")]) == 2
    assert "expected a whole Parquet file" in capsys.readouterr().err
    assert main(["export", "-", "--format", "parquet"]) == 2
