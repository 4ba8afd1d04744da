"""Readings as Parquet: the columns of our CSV with types, read and written a row group at a time.

``meter`` and ``obis`` are strings (dictionaries are as good), ``at`` a timestamp with a zone, in milliseconds or finer,
``value`` an int64 in the base unit of the OBIS code, ``quality`` an int16: the sum of the flags of
:class:`~protocols.telemetry.reading.Quality`; a file without it holds actual readings. pyarrow is an extra of its own.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from ingest_server.bulk.row import Row, make_reading
from protocols.errors import UsageError
from protocols.telemetry.batch import QUALITY_MAX

BEGINNING = b"PAR1"  # Parquet's magic number, at either end of a file
GROUP_ROWS = 65_536
COLUMNS = ("meter", "obis", "at", "value", "quality")


def load_pyarrow() -> tuple[Any, Any]:
    """Return pyarrow and its parquet module; raise :class:`UsageError` if they are not installed."""
    try:
        import pyarrow  # noqa: PLC0415  # an extra: only who uses it needs it
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError as missing:
        raise UsageError("Parquet needs pyarrow, which is not installed: pip install 'congto[parquet]'") from missing
    return pyarrow, parquet


def read_parquet(path: Path, tell: Callable[[int], None]) -> Iterator[Row]:
    """Yield the readings in a file; ``tell`` is told how many of its octets more have been read, by its rows.

    Raises :class:`UsageError` naming file, row, what is wrong and the cure.
    """
    arrow, parquet = load_pyarrow()
    name = str(path)
    try:
        with parquet.ParquetFile(path) as file:
            _check_columns(arrow, file.schema_arrow, name)
            wanted = [column for column in COLUMNS if column in file.schema_arrow.names]
            octets, number, told = path.stat().st_size, 0, 0
            for part in file.iter_batches(GROUP_ROWS, columns=wanted):
                for row in _rows(part.to_pydict(), part.num_rows, name, number):
                    number += 1
                    yield row
                reached = octets * number // max(1, file.metadata.num_rows)
                tell(reached - told)
                told = reached
    except (arrow.ArrowException, OSError) as error:
        raise UsageError(f"{name}: {error}; expected a whole Parquet file") from error


def write_parquet(rows: Iterable[Row], path: Path) -> int:
    """Write the readings; return how many."""
    arrow, parquet = load_pyarrow()
    schema = arrow.schema(
        [
            ("meter", arrow.string()),
            ("obis", arrow.string()),
            ("at", arrow.timestamp("ms", tz="UTC")),
            ("value", arrow.int64()),
            ("quality", arrow.int16()),
        ]
    )
    count = 0
    rows = iter(rows)
    with parquet.ParquetWriter(path, schema, compression="zstd") as file:
        while part := [row.reading for row in islice(rows, GROUP_ROWS)]:
            columns = [list(column) for column in zip(*part, strict=True)]
            file.write_table(arrow.table(columns, schema=schema), GROUP_ROWS)
            count += len(part)
    return count


def _check_columns(arrow: Any, schema: Any, name: str) -> None:
    """Refuse columns from which readings can't be taken without guessing."""
    types = dict(zip(schema.names, schema.types, strict=True))
    kinds = arrow.types

    def plain(found: Any) -> Any:
        return found.value_type if kinds.is_dictionary(found) else found

    expected: dict[str, tuple[Callable[[Any], bool], str]] = {
        "meter": (lambda found: bool(kinds.is_string(plain(found))), "a string"),
        "obis": (lambda found: bool(kinds.is_string(plain(found))), "a string"),
        "at": (lambda found: bool(kinds.is_timestamp(found)) and found.tz is not None, "a timestamp with its zone"),
        "value": (lambda found: bool(kinds.is_integer(found)), "an integer in the base unit, such as Wh"),
        "quality": (lambda found: bool(kinds.is_integer(found)), "an integer, the sum of the flags"),
    }
    for column, (fits, what) in expected.items():
        found = types.get(column)
        if found is None and column == "quality":
            continue
        if found is None or not fits(found):
            raise UsageError(f"{name}: column {column} is {found or 'missing'}; expected {what}")


def _rows(columns: dict[str, list[Any]], length: int, name: str, before: int) -> Iterator[Row]:
    qualities = columns.get("quality") or [0] * length
    found = zip(columns["meter"], columns["obis"], columns["at"], columns["value"], qualities, strict=True)
    for number, (meter, obis, at, value, quality) in enumerate(found, before + 1):
        try:
            if None in (meter, obis, at, value, quality):
                raise UsageError("found a null; expected a value in each column")
            if not 0 <= quality <= QUALITY_MAX:
                raise UsageError(f"quality {quality}: expected 0 to {QUALITY_MAX}, the sum of the flags")
            yield Row(make_reading(meter, obis, at, value, quality))
        except UsageError as error:
            raise UsageError(f"{name}: row {number}: {error}") from error
