"""The exact vector search that faces and users share.

A search scans a narrow half-precision table with the threshold in its WHERE, then the caller reads the float32 truth of the
hits and `decide` keeps those that are truly above the threshold: every one, and no other.

Invariant: writers hold the lock of the collection's row, so the buckets that it names are theirs; a search holds none, and the
very statement that scans tells whether the rows have moved since.
"""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple, Protocol

import numpy as np
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.db import copying
from app.db.schema import collections
from app.db.session import Row

#: Half precision moves each number by at most 2**-11 of itself, hence a cosine of unit vectors by at most 2**-10 (Cauchy and
#: Schwarz), and the sum in single precision by a little more. Faces move by 1.3e-4; the scan looks as deep as any can.
HALF_PRECISION_MARGIN = 1.1e-3

#: Two more processes share the scan of a large collection; for a smaller one they cost more than they save.
_PARALLEL_FACES, _PARALLEL_WORKERS = 200_000, 2

#: More rows than asked for, so that rows at the edge survive the float32 decision.
EXTRA_ROWS = 64


class Hit(NamedTuple):
    """A row and the cosine of its vector to the searched one."""

    row: Row
    cosine: float


class Scan(Protocol):
    """A way to the numbers of the rows that may be above a threshold."""

    def __call__(
        self,
        connection: Connection,
        table: sa.Table,
        collection: Row,
        vector: bytes,
        *,
        min_cosine: float,
        limit: int,
    ) -> list[int]:
        """Give them, a few more than the limit."""


def scan(
    connection: Connection, table: sa.Table, collection: Row, vector: bytes, *, min_cosine: float, limit: int
) -> list[int]:
    """Give the numbers of the rows that may be above the threshold, a few more than the limit; the nearest ones."""
    if collection.live_faces > _PARALLEL_FACES:
        connection.execute(_allow_workers(_PARALLEL_WORKERS))
    values: dict[str, object] = {
        "number": collection.collection_id,
        "vector": as_array(vector),
        "farthest": -(min_cosine - HALF_PRECISION_MARGIN),
        "limit": limit + EXTRA_ROWS,
    }
    buckets = collection.buckets
    while True:
        rows = list(connection.execute(_statement(table), {**values, "buckets": buckets, "known": buckets}))
        if not rows:  # the collection was deleted
            return []
        if rows[0].is_current:
            return [row.number for row in rows if row.number is not None]
        # Rows moved, or began to, after the collection was read: they may lie where this scan did not look.
        buckets = buckets_of(connection, collection)


def buckets_of(connection: Connection, collection: Row) -> list[int]:
    """Read anew where the vectors of a collection lie; nowhere where it was deleted."""
    again = sa.select(collections.c.buckets).where(collections.c.collection_id == collection.collection_id)
    return connection.execute(again).scalar_one_or_none() or []


@cache
def _statement(table: sa.Table) -> sa.Select[tuple[bool, int | None]]:
    """Make the scan of a table, once: to build it costs as much as to scan two thousand faces."""
    # The negative cosine of unit vectors.
    distance = table.c.embedding.max_inner_product(sa.bindparam("vector", type_=table.c.embedding.type))
    hits = (
        sa.select(table.c.number)
        .where(
            table.c.bucket.in_(sa.bindparam("buckets", expanding=True)),
            table.c.collection_id == sa.bindparam("number"),
            distance <= sa.bindparam("farthest", type_=sa.Double),
        )
        # «+ 0.0»: no approximate index can ever serve this order silently.
        .order_by(distance + 0.0)
        .limit(sa.bindparam("limit", type_=sa.Integer))
        .subquery("hits")
    )
    is_current = collections.c.buckets == sa.bindparam("known", type_=collections.c.buckets.type)
    return (
        sa.select(is_current.label("is_current"), hits.c.number)
        .select_from(collections.outerjoin(hits, sa.true()))
        .where(collections.c.collection_id == sa.bindparam("number"))
    )


def _allow_workers(count: int) -> sa.Select[tuple[str]]:
    """Give the statement that lets the queries of this transaction have parallel workers; sessions begin with none."""
    return sa.select(sa.func.set_config("max_parallel_workers_per_gather", str(count), True))


def decide(rows: Sequence[Row], truths: Sequence[bytes], vector: bytes, *, min_cosine: float, limit: int) -> list[Hit]:
    """Compare in float32 and give the rows above the threshold, best first."""
    if not rows:
        return []
    # A sum of rounded products may lie a hair outside of what a cosine can be.
    cosines = np.clip(np.stack([as_array(truth) for truth in truths]) @ as_array(vector), -1.0, 1.0)
    order = np.argsort(-cosines, kind="stable")
    return [Hit(rows[i], float(cosines[i])) for i in order if cosines[i] >= min_cosine][:limit]


def insert(connection: Connection, table: sa.Table, collection: Row, vectors: list[tuple[int, bytes]]) -> None:
    """Put numbered vectors into a search table."""
    bucket = collection.buckets[-1]
    if len(vectors) >= copying.FEW:
        numbers = [number for number, _ in vectors]
        matrix = as_array(b"".join(vector for _, vector in vectors)).reshape(len(vectors), -1)
        copy(connection, table, collection.collection_id, bucket, numbers, matrix)
        return
    connection.execute(
        sa.insert(table),
        [
            {
                "bucket": bucket,
                "collection_id": collection.collection_id,
                "number": number,
                "embedding": as_array(vector),
            }
            for number, vector in vectors
        ],
    )


def copy(
    connection: Connection,
    table: sa.Table,
    collection_id: int,
    bucket: int,
    numbers: "Sequence[int] | np.ndarray[tuple[int], np.dtype[np.int64]]",
    matrix: "np.ndarray[tuple[int, int], np.dtype[np.float32]]",
) -> None:
    """Put many numbered vectors, the rows of a matrix, into a bucket at the speed of a bulk load."""
    dimension = matrix.shape[1]
    layout = np.dtype(
        [
            *(("fields", ">i2"), ("size1", ">i4"), ("bucket", ">i2"), ("size2", ">i4"), ("collection", ">i4")),
            *(("size3", ">i4"), ("number", ">i8"), ("size4", ">i4"), ("dimension", ">i2"), ("unused", ">i2")),
            ("embedding", ">f2", (dimension,)),
        ]
    )
    rows = np.zeros(len(matrix), dtype=layout)
    rows["fields"], rows["size1"], rows["size2"], rows["size3"], rows["size4"] = 4, 2, 4, 8, 4 + 2 * dimension
    rows["bucket"], rows["collection"], rows["number"] = bucket, collection_id, numbers
    rows["dimension"], rows["embedding"] = dimension, matrix
    columns = [table.c.bucket, table.c.collection_id, table.c.number, table.c.embedding]
    copying.send(connection, table, columns, rows.tobytes())


def delete(connection: Connection, table: sa.Table, collection: Row, numbers: Sequence[int]) -> None:
    """Take numbered vectors out of a search table."""
    connection.execute(
        sa.delete(table).where(
            table.c.bucket.in_(collection.buckets),
            table.c.collection_id == collection.collection_id,
            table.c.number.in_(numbers),
        )
    )


def delete_all(connection: Connection, table: sa.Table, collection: Row) -> None:
    """Take all vectors of a collection out of a search table."""
    connection.execute(
        sa.delete(table).where(
            table.c.bucket.in_(collection.buckets), table.c.collection_id == collection.collection_id
        )
    )


def as_array(vector: bytes) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    """Read the float32 little-endian bytes of a vector."""
    return np.frombuffer(vector, dtype="<f4")
