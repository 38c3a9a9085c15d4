"""Many rows at once by binary COPY: what an INSERT spends on every value of every row is spent once.

A row is in the table when the transaction commits, like an inserted one; constraints and defaults hold as they always do.
"""

import json
import struct
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import psycopg
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Connection

#: With fewer rows one INSERT is quicker: COPY asks Postgres twice.
FEW = 8

_HEADER, _END = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"
_FLOAT4_OID = 700

#: Lays a value out as its length in bytes and these; four bytes of ones stand for null.
_Encoder = Callable[[Any], bytes]
_length = struct.Struct(">i").pack
_NULL = _length(-1)


def insert(connection: Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]], **same: Any) -> None:
    """Put rows into a table, each with these columns too; all name the same ones, what nobody names gets its default."""
    if len(rows) < FEW:
        if rows:
            connection.execute(sa.insert(table), [{**row, **same} for row in rows])
        return
    columns = [*rows[0], *same]
    fields = [(key, _encoder(table.c[key])) for key in rows[0]]
    count = struct.pack(">h", len(columns))
    end = b"".join(_encoder(table.c[key])(value) for key, value in same.items())
    parts = [part for row in rows for part in (count, *[encode(row[key]) for key, encode in fields], end)]
    send(connection, table, [table.c[key] for key in columns], b"".join(parts))


def send(connection: Connection, table: sa.Table, columns: Sequence[sa.Column[Any]], rows: bytes) -> None:
    """Send rows that are laid out already: each the number of its fields, then the length and the bytes of each."""
    names = ", ".join(column.name for column in columns)
    statement = f"COPY {table.name} ({names}) FROM STDIN (FORMAT BINARY)"
    driver: Any = connection.connection.driver_connection
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as stream:
            stream.write(_HEADER + rows + _END)
    except psycopg.Error as error:  # callers know SQLAlchemy's errors alone
        raise sa.exc.DBAPIError.instance(statement, None, error, psycopg.Error, hide_parameters=True) from error


def _fixed(layout: str) -> _Encoder:
    """Make the encoder of a number that always takes as many bytes."""
    pack = struct.Struct(f">i{layout}").pack
    size = struct.calcsize(f">{layout}")
    return lambda value: pack(size, value)


def _floats(values: Sequence[float]) -> bytes:
    """Lay out an array of one dimension that has no nulls and begins at 1."""
    fields = [part for value in values for part in (4, value)]
    return struct.pack(f">6i{'if' * len(values)}", 20 + 8 * len(values), 1, 0, _FLOAT4_OID, len(values), 1, *fields)


def _uuid(value: uuid.UUID) -> bytes:
    return _SIXTEEN + value.bytes


_SIXTEEN = _length(16)


def _bytes(value: bytes) -> bytes:
    return _length(len(value)) + value


def _text(value: str) -> bytes:
    return _bytes(value.encode())


def _json(value: Any) -> bytes:
    return _bytes(b"\x01" + json.dumps(value).encode())  # the version of the format comes first


#: The kinds of columns that are loaded; the more special ones first.
_ENCODERS: Sequence[tuple[type[sa.types.TypeEngine[Any]], _Encoder]] = (
    (sa.BigInteger, _fixed("q")),
    (sa.Integer, _fixed("i")),
    (sa.REAL, _fixed("f")),
    (sa.ARRAY, _floats),
    (sa.Uuid, _uuid),
    (sa.Text, _text),
    (sa.LargeBinary, _bytes),
    (JSONB, _json),
)


def _encoder(column: sa.Column[Any]) -> _Encoder:
    encode = next(encode for known, encode in _ENCODERS if isinstance(column.type, known))
    return (lambda value: _NULL if value is None else encode(value)) if column.nullable else encode
