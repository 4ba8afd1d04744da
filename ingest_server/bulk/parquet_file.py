"""Readings as Parquet: the columns of our CSV with types, read and written a row group at a time.

``meter`` and ``obis`` are strings (dictionaries are as good), ``at`` a timestamp with a zone, in milliseconds or finer,
``value`` an int64 in the base unit of the OBIS code, ``quality`` an int16: the sum of the flags of
:class:`~protocols.telemetry.reading.Quality`; a file without it holds actual readings. pyarrow is an extra of its own.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest_server.bulk.part import BadLine, ChannelNumbers, Part
from ingest_server.bulk.row import Row, check_value, counts_up, known_meter, known_obis
from protocols.errors import UsageError
from protocols.telemetry.batch import AT_MS_MAX, AT_MS_MIN, QUALITY_MAX, VALUE_MAX

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


def read_parquet(path: Path, tell: Callable[[int], None] = lambda _: None) -> Iterator[Part]:
    """Yield the readings in a file; ``tell`` is told how many of its octets more have been read, by its rows.

    A row that holds no reading is bad and told with its number. Raises :class:`UsageError` naming the file, what is
    wrong and the cure where the columns are others.
    """
    arrow, parquet = load_pyarrow()
    name = str(path)
    try:
        with parquet.ParquetFile(path) as file:
            _check_columns(arrow, file.schema_arrow, name)
            wanted = [column for column in COLUMNS if column in file.schema_arrow.names]
            octets, number, told = path.stat().st_size, 0, 0
            numbers = ChannelNumbers()
            for group in file.iter_batches(GROUP_ROWS, columns=wanted):
                yield _part(arrow, group, number, numbers)
                number += group.num_rows
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


def _part(arrow: Any, group: Any, before: int, numbers: ChannelNumbers) -> Part:
    """Return the readings in a group of rows, which come after so many others."""
    columns = {name: group.column(name) for name in group.schema.names}
    good = np.ones(group.num_rows, bool)
    for column in columns.values():
        if column.null_count:
            good &= column.is_valid().to_numpy(zero_copy_only=False)
    meter_names, meter = _names(arrow, columns["meter"], known_meter)
    obis_names, obis = _names(arrow, columns["obis"], known_obis)
    good &= (meter >= 0) & (obis >= 0)
    at_ms, whole = _at_ms(arrow, columns["at"])
    good &= whole & (at_ms >= AT_MS_MIN) & (at_ms <= AT_MS_MAX)
    value, within = _integers(columns["value"], -VALUE_MAX, VALUE_MAX)
    quality, known = np.zeros(group.num_rows, np.int64), np.ones(group.num_rows, bool)
    if "quality" in columns:
        quality, known = _integers(columns["quality"], 0, QUALITY_MAX)
    upward = np.array([*map(counts_up, obis_names), False])[obis]
    good &= within & known & ~(upward & (value < 0))
    numbers.begin_part()
    pairs, which = np.unique((meter * len(obis_names) + obis)[good], return_inverse=True)
    found = [
        numbers.number(meter_names[pair // len(obis_names)], obis_names[pair % len(obis_names)])
        for pair in pairs.tolist()
    ]
    channel = np.array(found, np.int64)[which]
    bad: list[BadLine] = []
    for place in np.flatnonzero(~good).tolist():
        row = group.slice(place, 1)
        bad.append(BadLine(place - len(bad), before + place + 1, _wrong(arrow, row), _shown(arrow, row)))
    return Part(numbers.channels, channel, at_ms[good], value[good], quality[good].astype(np.int16), bad=bad)


def _names(arrow: Any, column: Any, read: Callable[[str], str]) -> tuple[list[str], NDArray[np.int64]]:
    """Return the texts of a column as ``read`` reads them, each once, and the number of each row's, -1 if it can't."""
    if not arrow.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    said, place = [], []
    for text in column.dictionary.to_pylist():
        try:
            said.append(read(text))
            place.append(len(said) - 1)
        except UsageError:
            place.append(-1)
    index = column.indices.fill_null(len(place)).to_numpy(zero_copy_only=False)
    return said, np.array([*place, -1], np.int64)[index]


def _at_ms(arrow: Any, column: Any) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the milliseconds since 1970 of a column of timestamps, and which are whole and can be."""
    found = column.cast(arrow.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    unit = column.type.unit
    if unit == "s":
        possible = np.abs(found) <= AT_MS_MAX // 1000
        return np.where(possible, found, 0) * 1000, possible
    at_ms, rest = np.divmod(found, {"ms": 1, "us": 1000, "ns": 1_000_000}[unit])
    return at_ms, rest == 0


def _integers(column: Any, lowest: int, highest: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return a column of integers of any width, and which lie within the bounds."""
    found = column.fill_null(0).to_numpy(zero_copy_only=False)
    within = (found >= lowest) & (found <= highest)
    return np.where(within, found, 0).astype(np.int64), within


def _wrong(arrow: Any, row: Any) -> str:
    """Return what is wrong with a single row."""
    columns = {name: row.column(name) for name in row.schema.names}
    if any(column.null_count for column in columns.values()):
        return "found a null; expected a value in each column"
    try:
        known_meter(columns["meter"].to_pylist()[0])
        code = known_obis(columns["obis"].to_pylist()[0])
        check_value(columns["value"].to_pylist()[0], code)
    except UsageError as error:
        return str(error)
    quality = columns["quality"].to_pylist()[0] if "quality" in columns else 0
    if not 0 <= quality <= QUALITY_MAX:
        return f"quality {quality}: expected 0 to {QUALITY_MAX}, the sum of the flags"
    return f"time {columns['at'].cast(arrow.string()).to_pylist()[0]}: expected whole milliseconds from 2000 to 2100"


def _shown(arrow: Any, row: Any) -> str:
    """Return a row as text."""
    return ",".join(str(row.column(name).cast(arrow.string()).to_pylist()[0]) for name in row.schema.names)
