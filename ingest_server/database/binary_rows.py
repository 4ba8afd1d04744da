"""Columns out of and into PostgreSQL by binary COPY, made and read by NumPy and never row by row.

Source: PostgreSQL documentation, COPY, "Binary Format": a row is a count of fields, then each field's length and value
in network byte order. An array's value is its number of dimensions, whether it holds nulls, the type's OID, then of
each dimension its size and lower bound, then each element's length and value; an empty one has no dimension.

Rows are handled as one NumPy record, so all rows of a call must be laid out alike: no nulls, texts and octets of one
length, arrays of one size.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection

from ingest_server.database.copy import HEADER, TRAILER

WIDTHS = {"i2": 2, "i4": 4, "i8": 8}
OIDS = {"i2": 21, "i4": 23, "i8": 20}  # int2, int4, int8: PostgreSQL, pg_type.dat


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


def copy_out(
    connection: Connection[Any], query: Any, parameters: Mapping[str, Any], fields: Mapping[str, Field]
) -> dict[str, NDArray[Any]]:
    """Return the columns of ``query``, a select whose columns are ``fields`` in order; integers as int64.

    Raises
    ------
    ValueError
        If the rows are not laid out as said: a null, a text of another length. The query has to see to it.
    """
    with connection.cursor().copy(b"copy (" + query.encode() + b") to stdout (format binary)", parameters) as copy:
        octets = b"".join(copy)
    layout = layout_of(fields)
    body = len(octets) - len(HEADER) - len(TRAILER)
    if body % layout.itemsize:
        raise ValueError(f"found rows of {body} octets in all, expected a multiple of {layout.itemsize}: a null?")
    rows = np.frombuffer(octets, layout, count=body // layout.itemsize, offset=len(HEADER))
    columns = {}
    for name, field in fields.items():
        if (rows[f"{name} octets"] != field.octets).any():
            raise ValueError(f"column {name}: found values that are null or not of {field.octets} octets")
        if field.kind == "S":
            columns[name] = rows[name]
        elif field.length is None:
            columns[name] = rows[name].astype(np.int64)
        else:
            columns[name] = rows[name]["elements"]["value"].astype(np.int64)
    return columns


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


def octets_of(texts: Sequence[str]) -> list[bytes]:
    """Return texts as PostgreSQL takes them in a database in UTF-8."""
    return [text.encode() for text in texts]
