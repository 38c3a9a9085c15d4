"""Queries on faces, with the exact vector search.

A search scans the narrow half-precision table with the threshold in its WHERE, then reads the float32 truth of the hits and
decides by that: every face above the threshold, and no other, right after the transaction that indexed it.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.db.schema import face_tombstones, faces, search_tables
from app.db.session import Row

#: Half precision moves each number by at most 2**-11 of itself, hence a cosine of unit vectors by at most 2**-10 (Cauchy and
#: Schwarz), and the sum in single precision by a little more. Faces move by 1.3e-4; the scan looks as deep as any can.
_HALF_PRECISION_MARGIN = 1.1e-3

#: More rows than asked for, so that faces at the edge survive the float32 decision.
_EXTRA_ROWS = 64

_FACE_COLUMNS = [column for column in faces.c if column.name not in ("emb32", "details", "source")]


@dataclass(frozen=True, slots=True)
class Match:
    """A face of the collection and its cosine to the searched one."""

    face: Row
    cosine: float


def nearest(connection: Connection, collection: Row, embedding: bytes, *, min_cosine: float, limit: int) -> list[Match]:
    """List the closest faces, best first; an empty list is a normal answer."""
    query = np.frombuffer(embedding, dtype="<f4")
    table = search_tables[collection.model]
    distance = table.c.embedding.max_inner_product(query)  # the negative cosine of unit vectors
    statement = (
        sa.select(table.c.face_no)
        .where(
            table.c.bucket.in_(collection.buckets),
            table.c.collection_id == collection.collection_id,
            distance <= -(min_cosine - _HALF_PRECISION_MARGIN),
        )
        # «+ 0.0»: no approximate index can ever serve this order silently.
        .order_by(distance + 0.0)
        .limit(limit + _EXTRA_ROWS)
    )
    numbers = list(connection.execute(statement).scalars())
    if not numbers:
        return []
    rows = _by_numbers(connection, collection.collection_id, numbers)
    truth = np.stack([np.frombuffer(row.emb32, dtype="<f4") for row in rows])
    cosines = np.clip(truth @ query, -1.0, 1.0)  # a sum of rounded products may lie a hair outside
    order = np.argsort(-cosines, kind="stable")
    return [Match(rows[i], float(cosines[i])) for i in order if cosines[i] >= min_cosine][:limit]


def _by_numbers(connection: Connection, collection_id: int, numbers: Sequence[int]) -> list[Row]:
    statement = sa.select(*_FACE_COLUMNS, faces.c.emb32).where(
        faces.c.collection_id == collection_id, faces.c.face_no == sa.any_(sa.literal(numbers, sa.ARRAY(sa.BigInteger)))
    )
    return list(connection.execute(statement))


def insert(connection: Connection, collection: Row, rows: list[dict[str, Any]]) -> None:
    """Store faces of a collection whose row is locked, and put their embeddings into its search table."""
    numbered = [{**row, "face_no": collection.next_no + index} for index, row in enumerate(rows)]
    connection.execute(
        sa.insert(faces),
        [
            {
                **row,
                "collection_id": collection.collection_id,
                "model": collection.model,
                "change_seq": collection.change_seq,
            }
            for row in numbered
        ],
    )
    connection.execute(
        sa.insert(search_tables[collection.model]),
        [
            {
                "bucket": collection.buckets[-1],
                "collection_id": collection.collection_id,
                "face_no": row["face_no"],
                "embedding": np.frombuffer(row["emb32"], dtype="<f4"),
            }
            for row in numbered
        ],
    )


def find(connection: Connection, collection_id: int, face_id: str) -> Row | None:
    """Find one face with its embedding."""
    statement = sa.select(*_FACE_COLUMNS, faces.c.emb32).where(
        faces.c.collection_id == collection_id, faces.c.face_id == uuid.UUID(face_id)
    )
    return connection.execute(statement).one_or_none()


def of_image(
    connection: Connection, collection_id: int, image_id: uuid.UUID, external_image_id: str | None
) -> list[Row]:
    """List the faces that a collection holds of one image under one external id."""
    statement = sa.select(*_FACE_COLUMNS).where(
        faces.c.collection_id == collection_id,
        faces.c.image_id == image_id,
        faces.c.external_image_id.is_not_distinct_from(external_image_id),
    )
    return list(connection.execute(statement))


def list_page(
    connection: Connection, collection_id: int, *, after: uuid.UUID, face_ids: list[str] | None, limit: int
) -> list[Row]:
    """List faces by FaceId, beginning after one, of all or only of some ids."""
    statement = (
        sa.select(*_FACE_COLUMNS)
        .where(faces.c.collection_id == collection_id, faces.c.face_id > after)
        .order_by(faces.c.face_id)
        .limit(limit)
    )
    if face_ids is not None:
        statement = statement.where(faces.c.face_id.in_([uuid.UUID(face_id) for face_id in face_ids]))
    return list(connection.execute(statement))


def delete(connection: Connection, collection: Row, face_ids: list[str]) -> list[str]:
    """Delete faces of a collection whose row is locked, embeddings included; give the ids that existed."""
    wanted = [uuid.UUID(face_id) for face_id in face_ids]
    statement = (
        sa.delete(faces)
        .where(faces.c.collection_id == collection.collection_id, faces.c.face_id.in_(wanted))
        .returning(faces.c.face_no, faces.c.face_id)
    )
    gone = list(connection.execute(statement))
    if not gone:
        return []
    numbers = [row.face_no for row in gone]
    for search_table in search_tables.values():
        connection.execute(
            sa.delete(search_table).where(
                search_table.c.bucket.in_(collection.buckets),
                search_table.c.collection_id == collection.collection_id,
                search_table.c.face_no.in_(numbers),
            )
        )
    connection.execute(
        sa.insert(face_tombstones),
        [
            {"collection_id": collection.collection_id, "change_seq": collection.change_seq, "face_no": number}
            for number in numbers
        ],
    )
    return [str(row.face_id) for row in gone]
