"""The search tables of a face model version and their buckets: how they are made, and how queries name them.

One function gives the DDL to the migrations and to `rekollect models add`. Changing it changes no table that exists: that takes
a migration which goes over the tables of every version.
"""

from collections.abc import Iterator
from functools import cache

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.db.schema import SHARED_BUCKETS, face_vectors, user_vectors
from app.db.schema.search import search_table
from app.domain.face_models import FaceModelVersion

#: 512 halves fill a seventh of a page; beyond 2,000 a row would not fit into one, and a vector never leaves its row.
LARGEST_DIMENSION = 2000

# The scan of a shared bucket is index-only while the visibility map is fresh, and no scan reads dead rows for long.
_VACUUMED = (
    "autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.02,"
    " autovacuum_vacuum_insert_threshold = 1000"
)


def ddl(name: str, number: str, dimension: int) -> Iterator[str]:
    """Give the statements that make a search table with its shared buckets; `number` names the column of numbers."""
    yield f"""
        CREATE TABLE {name} (
            bucket int2 NOT NULL,
            collection_id int NOT NULL,
            {number} int8 NOT NULL,
            embedding halfvec({dimension}) STORAGE PLAIN NOT NULL
        ) PARTITION BY LIST (bucket)"""
    for bucket in range(SHARED_BUCKETS):
        yield f"CREATE TABLE {name}_{bucket} PARTITION OF {name} FOR VALUES IN ({bucket}) WITH ({_VACUUMED})"
        yield (
            f"CREATE UNIQUE INDEX uq_{name}_{bucket} ON {name}_{bucket}"
            f" (collection_id, {number}) INCLUDE (bucket, embedding)"
        )


def _dedicated_ddl(name: str, number: str, bucket: int, collection_id: int) -> Iterator[str]:
    """Give the statements that make a bucket of one collection's own, while searches and writes go on.

    A table that is attached needs a lock that nobody notices; PARTITION OF would wait for every search, and all others for it.
    """
    own = _dedicated(name, bucket, collection_id)
    yield f"""
        CREATE TABLE {own} (
            LIKE {name} INCLUDING STORAGE,
            CONSTRAINT ck_{own}_owner CHECK (bucket = {bucket} AND collection_id = {collection_id})
        ) WITH ({_VACUUMED})"""
    # A search reads all of it, one after the other: there must be no index that the planner could think of instead.
    yield f"CREATE UNIQUE INDEX uq_{own} ON {own} ({number})"
    yield f"ALTER TABLE {name} ATTACH PARTITION {own} FOR VALUES IN ({bucket})"


def add_bucket(connection: Connection, version: FaceModelVersion, bucket: int, collection_id: int) -> None:
    """Make a bucket of a collection's own in both search tables of a version, where it is not there yet."""
    for name, number in _names(version):
        if not _exists(connection, _dedicated(name, bucket, collection_id)):
            for statement in _dedicated_ddl(name, number, bucket, collection_id):
                connection.execute(sa.text(statement))


def drop_bucket(connection: Connection, version: FaceModelVersion, bucket: int, collection_id: int) -> None:
    """Drop a bucket of a deleted collection from both search tables of a version, or what is left of it.

    Each statement commits by itself, and no search waits for any of them: they wait for the searches. Raises ServiceUnavailable
    where those take too long.
    """
    for name, _ in _names(version):
        own = _dedicated(name, bucket, collection_id)
        is_pending = sa.text("SELECT inhdetachpending FROM pg_inherits WHERE inhrelid = to_regclass(:own)")
        pending = connection.execute(is_pending, {"own": own}).scalar_one_or_none()
        if pending is not None:
            how = "FINALIZE" if pending else "CONCURRENTLY"
            connection.execute(sa.text(f"ALTER TABLE {name} DETACH PARTITION {own} {how}"))
        connection.execute(sa.text(f"DROP TABLE IF EXISTS {own}"))


def _dedicated(name: str, bucket: int, collection_id: int) -> str:
    """Name a bucket's table; with its owner, so that who is late with dropping one never drops another's of that number."""
    return f"{name}_{bucket}_{collection_id}"


def own_table(version: FaceModelVersion, bucket: int, collection_id: int) -> str:
    """Name the table of a version's faces in a bucket of a collection's own."""
    return _dedicated(version.search_table, bucket, collection_id)


def _exists(connection: Connection, name: str) -> bool:
    return connection.execute(sa.select(sa.func.to_regclass(name))).scalar_one() is not None


def _names(version: FaceModelVersion) -> tuple[tuple[str, str], tuple[str, str]]:
    """Give the names of both tables, and of their columns of numbers."""
    return (version.search_table, "face_no"), (version.user_search_table, "user_no")


def create(connection: Connection, version: FaceModelVersion) -> None:
    """Make both search tables of a registered version."""
    for name, number in _names(version):
        for statement in ddl(name, number, version.dimension):
            connection.execute(sa.text(statement))


def of_faces(version: FaceModelVersion) -> sa.Table:
    """Give the table that a version's faces are searched in."""
    built_in = face_vectors.get(version.version)
    return _registered(version.search_table, "face_no", version.dimension) if built_in is None else built_in


def of_users(version: FaceModelVersion) -> sa.Table:
    """Give the table that a version's users are searched in."""
    built_in = user_vectors.get(version.version)
    return _registered(version.user_search_table, "user_no", version.dimension) if built_in is None else built_in


def is_of_faces(table: sa.Table) -> bool:
    """Tell a search table of faces from one of users."""
    return "face_no" in {column.name for column in table.c}


@cache
def _registered(name: str, number: str, dimension: int) -> sa.Table:
    return search_table(name, number, dimension, sa.MetaData())
