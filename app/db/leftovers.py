"""What is left of a large collection that was deleted: rows that nothing finds, removed in batches by workers."""

from collections.abc import Iterable, Iterator

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.db import search_tables
from app.db.schema import (
    FIRST_DEDICATED,
    face_crops,
    face_embeddings,
    face_tombstones,
    faces,
    user_embeddings,
    user_tombstones,
    users,
)
from app.domain.face_models import FaceModelVersion

#: The tables that have rows for faces and users of a collection, besides the search tables.
TABLES = (faces, face_tombstones, face_embeddings, face_crops, users, user_tombstones, user_embeddings)


def remove_some(
    connection: Connection, collection_id: int, versions: Iterable[FaceModelVersion], *, limit: int
) -> bool:
    """Remove a batch of rows, vectors in shared buckets included; False where there was none any more."""
    for table, key, mine in _places(collection_id, versions):
        some = sa.select(*key).where(*mine).limit(limit).cte("some").prefix_with("MATERIALIZED")
        statement = sa.delete(table).where(*mine, sa.tuple_(*key).in_(sa.select(*some.c)))
        if connection.execute(statement).rowcount:
            return True
    return False


def _places(
    collection_id: int, versions: Iterable[FaceModelVersion]
) -> Iterator[tuple[sa.Table, list[sa.ColumnElement[object]], list[sa.ColumnElement[bool]]]]:
    """Name each table, the key of its rows, and which ones are meant."""
    for table in TABLES:
        yield table, list(table.primary_key), [table.c.collection_id == collection_id]
    for version in versions:
        for table in (search_tables.of_faces(version), search_tables.of_users(version)):
            shared = [table.c.collection_id == collection_id, table.c.bucket < FIRST_DEDICATED]
            yield table, [table.c.bucket, table.c.number], shared
