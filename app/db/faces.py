"""Queries on faces, with their search."""

import uuid
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.db import vectors
from app.db.schema import face_tombstones, face_vectors, faces
from app.db.session import Row
from app.db.vectors import Hit

_FACE_COLUMNS = [column for column in faces.c if column.name not in ("emb32", "details", "source")]


def nearest(connection: Connection, collection: Row, embedding: bytes, *, min_cosine: float, limit: int) -> list[Hit]:
    """List the closest faces, best first; an empty list is a normal answer."""
    table = face_vectors[collection.model]
    numbers = vectors.scan(connection, table, collection, embedding, min_cosine=min_cosine, limit=limit)
    rows = _by_numbers(connection, collection.collection_id, numbers)
    return vectors.decide(rows, [row.emb32 for row in rows], embedding, min_cosine=min_cosine, limit=limit)


def _by_numbers(connection: Connection, collection_id: int, numbers: Sequence[int]) -> list[Row]:
    if not numbers:
        return []
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
    vectors.insert(
        connection, face_vectors[collection.model], collection, [(row["face_no"], row["emb32"]) for row in numbered]
    )


def find(connection: Connection, collection_id: int, face_id: str) -> Row | None:
    """Find one face with its embedding."""
    statement = sa.select(*_FACE_COLUMNS, faces.c.emb32).where(
        faces.c.collection_id == collection_id, faces.c.face_id == uuid.UUID(face_id)
    )
    return connection.execute(statement).one_or_none()


def find_many(connection: Connection, collection_id: int, face_ids: list[str]) -> dict[str, Row]:
    """Find faces with their embeddings, by FaceId."""
    statement = sa.select(*_FACE_COLUMNS, faces.c.emb32).where(
        faces.c.collection_id == collection_id, faces.c.face_id.in_([uuid.UUID(face_id) for face_id in face_ids])
    )
    return {str(row.face_id): row for row in connection.execute(statement)}


def embeddings_of_user(connection: Connection, collection_id: int, user_id: str) -> list[bytes]:
    """List the embeddings of a user's faces."""
    statement = (
        sa.select(faces.c.emb32)
        .where(faces.c.collection_id == collection_id, faces.c.user_id == user_id)
        .order_by(faces.c.face_no)
    )
    return [bytes(embedding) for embedding in connection.execute(statement).scalars()]


def owners(connection: Connection, collection_id: int, face_ids: list[str]) -> dict[str, str]:
    """Name the user of each face that belongs to one."""
    statement = sa.select(faces.c.face_id, faces.c.user_id).where(
        faces.c.collection_id == collection_id,
        faces.c.face_id.in_([uuid.UUID(face_id) for face_id in face_ids]),
        faces.c.user_id.is_not(None),
    )
    return {str(row.face_id): row.user_id for row in connection.execute(statement)}


def set_user(connection: Connection, collection_id: int, face_ids: list[str], user_id: str | None) -> None:
    """Give faces to a user, or to none."""
    connection.execute(
        sa.update(faces)
        .where(
            faces.c.collection_id == collection_id, faces.c.face_id.in_([uuid.UUID(face_id) for face_id in face_ids])
        )
        .values(user_id=user_id)
    )


def leave_user(connection: Connection, collection_id: int, user_id: str) -> None:
    """Take all faces from a user; they stay in the collection."""
    connection.execute(
        sa.update(faces).where(faces.c.collection_id == collection_id, faces.c.user_id == user_id).values(user_id=None)
    )


def of_image(
    connection: Connection, collection_id: int, image_id: uuid.UUID, external_image_id: str | None
) -> list[Row]:
    """List the faces that a collection holds of one image under one external id."""
    # Not «is not distinct from», which no index serves: one picture may be there under thousands of ids.
    its = faces.c.external_image_id
    called = its.is_(None) if external_image_id is None else its == external_image_id
    statement = sa.select(*_FACE_COLUMNS).where(
        faces.c.collection_id == collection_id,
        faces.c.image_id == image_id,
        called,
    )
    return list(connection.execute(statement))


def list_page(
    connection: Connection,
    collection_id: int,
    *,
    after: uuid.UUID,
    limit: int,
    face_ids: list[str] | None = None,
    user_id: str | None = None,
) -> list[Row]:
    """List faces by FaceId, beginning after one; of all, or only of some ids, or of one user."""
    statement = (
        sa.select(*_FACE_COLUMNS)
        .where(faces.c.collection_id == collection_id, faces.c.face_id > after)
        .order_by(faces.c.face_id)
        .limit(limit)
    )
    if face_ids is not None:
        statement = statement.where(faces.c.face_id.in_([uuid.UUID(face_id) for face_id in face_ids]))
    if user_id is not None:
        statement = statement.where(faces.c.user_id == user_id)
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
    for table in face_vectors.values():
        vectors.delete(connection, table, collection, numbers)
    connection.execute(
        sa.insert(face_tombstones),
        [
            {"collection_id": collection.collection_id, "change_seq": collection.change_seq, "face_no": number}
            for number in numbers
        ],
    )
    return [str(row.face_id) for row in gone]
