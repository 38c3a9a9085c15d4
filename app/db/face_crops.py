"""Queries on kept crops: the aligned 112 x 112 pictures of faces, as lossless PNG."""

from collections.abc import Iterable, Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.db.schema import face_crops


def insert(connection: Connection, collection_id: int, crops: Iterable[tuple[int, bytes]]) -> None:
    """Keep the crops of numbered faces."""
    rows = [{"collection_id": collection_id, "face_no": number, "crop": crop} for number, crop in crops]
    if rows:
        connection.execute(sa.insert(face_crops), rows)


def find_many(connection: Connection, collection_id: int, numbers: Sequence[int]) -> dict[int, bytes]:
    """Read the crops of those faces that have one."""
    statement = sa.select(face_crops.c.face_no, face_crops.c.crop).where(
        face_crops.c.collection_id == collection_id, face_crops.c.face_no.in_(numbers)
    )
    return {row.face_no: bytes(row.crop) for row in connection.execute(statement)}


def count(connection: Connection, collection_id: int) -> int:
    """Count the crops of a collection."""
    statement = sa.select(sa.func.count()).where(face_crops.c.collection_id == collection_id)
    return connection.execute(statement).scalar_one()


def delete(connection: Connection, collection_id: int, numbers: Sequence[int]) -> None:
    """Delete the crops of some faces."""
    connection.execute(
        sa.delete(face_crops).where(face_crops.c.collection_id == collection_id, face_crops.c.face_no.in_(numbers))
    )


def delete_some(connection: Connection, collection_id: int, *, limit: int) -> int:
    """Delete crops of a collection, at most so many; give how many."""
    doomed = sa.select(face_crops.c.face_no).where(face_crops.c.collection_id == collection_id).limit(limit)
    statement = sa.delete(face_crops).where(
        face_crops.c.collection_id == collection_id,
        face_crops.c.face_no.in_(sa.select(doomed.cte("doomed").prefix_with("MATERIALIZED").c.face_no)),
    )
    return connection.execute(statement).rowcount
