"""Columns out of and into PostgreSQL in its binary form, made and read by NumPy and never row by row.

Source: PostgreSQL documentation, COPY, "Binary Format": a row is a count of fields, then each field's length and value
in network byte order. An array's value is its number of dimensions, whether it holds nulls, the type's OID, then of
each dimension its size and lower bound, then each element's length and value; an empty one has no dimension.

Rows go in as one NumPy record each, so all rows of a call must be laid out alike: no nulls, texts and octets of one
length, arrays of one size. Columns come out as arrays, under the same conditions.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection, sql

WIDTHS = {"i2": 2, "i4": 4, "i8": 8}
OIDS = {"i2": 21, "i4": 23, "i8": 20}  # int2, int4, int8: PostgreSQL, pg_type.dat
VALUES, TEXTS = sql.SQL("array_agg({})"), sql.SQL("string_agg({}, E'\\n')")


@dataclass(frozen=True, slots=True)
class Field:
    """How a column lies in a row: an integer, ``length`` octets (kind ``S``), or an array of ``length`` integers."""

    kind: str
    length: int | None = None

    @property
    def octets(self) -> int:
        """Length of the value in a row."""
        if self.kind == "S":
            return self.length or 0
        if self.length is None:
            return WIDTHS[self.kind]
        return 12 if self.length == 0 else 20 + self.length * (4 + WIDTHS[self.kind])

    def layout(self) -> Any:
        """Return the value's NumPy type."""
        if self.kind == "S":
            return f"V{self.length}"
        number = f">{self.kind}"
        if self.length is None:
            return number
        head = [("dimensions", ">i4"), ("nulls", ">i4"), ("oid", ">i4")]
        if self.length == 0:
            return np.dtype(head)
        element = np.dtype([("octets", ">i4"), ("value", number)])
        return np.dtype([*head, ("size", ">i4"), ("lower", ">i4"), ("elements", element, (self.length,))])


def layout_of(fields: Mapping[str, Field]) -> np.dtype[Any]:
    """Return the type of a row with these fields."""
    parts: list[Any] = [("fields", ">i2")]
    for name, field in fields.items():
        parts += [(f"{name} octets", ">i4"), (name, field.layout())]
    return np.dtype(parts)


def fetch_columns(
    connection: Connection[Any], query: Any, parameters: Mapping[str, Any], fields: Mapping[str, Field]
) -> dict[str, NDArray[Any]]:
    """Return the columns of ``query``, a select whose columns are ``fields`` in order; integers as int64.

    A field of kind ``T`` is a text without line breaks, of any length; its column holds ``str``.

    The database gathers each column into an array and sends all in one row: COPY would send each row for itself, which
    costs a client in Python ten times as much.

    Raises
    ------
    ValueError
        If the columns are not laid out as said: a null, a text of another length. The query has to see to it.
    """
    names = [f"c{place}" for place in range(len(fields))]
    gathered = sql.SQL("select {} from ({}) as gathered ({})").format(
        sql.SQL(", ").join(
            (TEXTS if field.kind == "T" else VALUES).format(sql.Identifier(name))
            for name, field in zip(names, fields.values(), strict=True)
        ),
        sql.SQL(query),
        sql.SQL(", ").join(map(sql.Identifier, names)),
    )
    with connection.cursor(binary=True) as cursor:
        cursor.execute(gathered, parameters)
        result = cursor.pgresult
        assert result is not None, "a select gives a result"
        values = [result.get_value(0, place) for place in range(len(fields))]
    return {name: _column(name, field, octets) for (name, field), octets in zip(fields.items(), values, strict=True)}


def _column(name: str, field: Field, octets: bytes | None) -> NDArray[Any]:
    """Return an array as PostgreSQL sends it; of arrays, one row each."""
    if field.kind == "T":
        return np.array([] if octets is None else octets.decode().split("\n"), dtype=object)
    width = field.length or 0 if field.kind == "S" else WIDTHS[field.kind]
    kind: Any = f"V{width}" if field.kind == "S" else f">{field.kind}"
    if octets is None:  # no rows
        shape = (0,) if field.kind == "S" or field.length is None else (0, field.length)
        return np.empty(shape, dtype=kind if field.kind == "S" else np.int64)
    dimensions, nulls, _ = np.frombuffer(octets, ">i4", 3).tolist()
    if nulls:
        raise ValueError(f"column {name}: found a null")
    sizes = np.frombuffer(octets, ">i4", 2 * dimensions, 12)[::2].tolist()
    element = np.dtype([("octets", ">i4"), ("value", kind)])
    count, begin = int(np.prod(sizes)), 12 + 8 * dimensions
    if len(octets) - begin != count * element.itemsize:
        raise ValueError(f"column {name}: found values that are not of {width} octets")
    elements = np.frombuffer(octets, element, count, begin)
    if (elements["octets"] != width).any():
        raise ValueError(f"column {name}: found values that are not of {width} octets")
    values = elements["value"] if field.kind == "S" else elements["value"].astype(np.int64)
    return values.reshape(sizes)


def encode_rows(fields: Mapping[str, Field], columns: Mapping[str, NDArray[Any]]) -> bytes:
    """Return rows for a COPY; the stream begins with ``HEADER`` and ends with ``TRAILER``."""
    count = len(next(iter(columns.values())))
    rows = np.zeros(count, layout_of(fields))
    rows["fields"] = len(fields)
    for name, field in fields.items():
        rows[f"{name} octets"] = field.octets
        if field.kind == "S" or field.length is None:
            rows[name] = columns[name]
            continue
        value = rows[name]
        value["oid"] = OIDS[field.kind]
        if field.length:
            value["dimensions"], value["size"], value["lower"] = 1, field.length, 1
            value["elements"]["octets"], value["elements"]["value"] = WIDTHS[field.kind], columns[name]
    return rows.tobytes()
