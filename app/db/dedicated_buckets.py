"""Queries on the buckets that belong to one collection each: opened, filled, found full.

Everything here happens under the lock of the collection's row.
"""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Connection

from app.db import search_tables, second_versions
from app.db.schema import FIRST_DEDICATED, LAST_BUCKET, collections, dedicated_buckets
from app.db.session import Row
from app.domain.face_models import FaceModelVersion

#: A bucket waits no longer than this for its place in the search tables: meanwhile no one writes to the collection.
_LOCK_TIMEOUT = "2s"


def is_shared(bucket: int) -> bool:
    """Tell whether a bucket holds many collections."""
    return bucket < FIRST_DEDICATED


def open_next(connection: Connection, collection: Row, *, beside: list[int]) -> None:
    """Make a bucket in all search tables of a collection, have it take every new row, and keep others beside it.

    Where somebody else takes the number at the same moment nothing is done.
    """
    bucket = _reserve(connection, collection)
    if bucket is None:
        return
    for version in second_versions.versions(connection, collection):
        _add(connection, collection, version, bucket)
    set_buckets(connection, collection, [*beside, bucket])


def _reserve(connection: Connection, collection: Row) -> int | None:
    # Higher than all before: a collection gets no number twice, so who is late with dropping a bucket never drops a new one.
    first = max(FIRST_DEDICATED, collection.buckets[-1] + 1)
    numbers = sa.func.generate_series(first, LAST_BUCKET).table_valued("bucket").render_derived("numbers")
    free = (
        sa.select(numbers.c.bucket, sa.literal(collection.collection_id), sa.literal(collection.next_no))
        .where(~sa.exists().where(dedicated_buckets.c.bucket == numbers.c.bucket))
        .order_by(numbers.c.bucket)
        .limit(1)
    )
    statement = postgresql.insert(dedicated_buckets).from_select(["bucket", "collection_id", "next_no"], free)
    statement = statement.on_conflict_do_nothing()
    return connection.execute(statement.returning(dedicated_buckets.c.bucket)).scalar_one_or_none()


def _add(connection: Connection, collection: Row, version: FaceModelVersion, bucket: int) -> None:
    connection.execute(sa.select(sa.func.set_config("lock_timeout", _LOCK_TIMEOUT, True)))
    search_tables.add_bucket(connection, version, bucket, collection.collection_id)


def follow(connection: Connection, collection: Row, version: FaceModelVersion) -> None:
    """Make a collection's buckets in the search tables of a version that it gets embeddings of."""
    for bucket in collection.buckets:
        if not is_shared(bucket):
            _add(connection, collection, version, bucket)


def set_buckets(connection: Connection, collection: Row, buckets: list[int]) -> None:
    """Say where the vectors of a collection lie; the last bucket takes the new ones."""
    mine = collections.c.collection_id == collection.collection_id
    connection.execute(sa.update(collections).where(mine).values(buckets=buckets))


def find(connection: Connection, bucket: int) -> Row | None:
    """Find a bucket by its number; None where it is shared."""
    statement = sa.select(dedicated_buckets).where(dedicated_buckets.c.bucket == bucket)
    return connection.execute(statement).one_or_none()


def owned(connection: Connection, collection_id: int) -> list[int]:
    """List the buckets that belong to a collection, those that it has left included."""
    mine = dedicated_buckets.c.collection_id == collection_id
    return list(connection.execute(sa.select(dedicated_buckets.c.bucket).where(mine)).scalars())


def unused(connection: Connection, collection_id: int) -> list[int]:
    """List the buckets that a collection has left, all of them where it was deleted."""
    is_used = sa.exists().where(
        collections.c.collection_id == collection_id, dedicated_buckets.c.bucket == sa.any_(collections.c.buckets)
    )
    mine = dedicated_buckets.c.collection_id == collection_id
    return list(connection.execute(sa.select(dedicated_buckets.c.bucket).where(mine, ~is_used)).scalars())


def release(connection: Connection, collection_id: int, bucket: int) -> None:
    """Let the number of a bucket be used again: its tables were dropped."""
    mine = (dedicated_buckets.c.collection_id == collection_id) & (dedicated_buckets.c.bucket == bucket)
    connection.execute(sa.delete(dedicated_buckets).where(mine))


def most_faces(bucket: Row, collection: Row) -> int:
    """Give a number of faces that a collection's newest bucket has at most."""
    return int(bucket.faces + collection.next_no - bucket.next_no)


def set_faces(connection: Connection, bucket: Row, collection: Row, faces: int) -> None:
    """Note how many faces the newest bucket has now."""
    mine = dedicated_buckets.c.bucket == bucket.bucket
    connection.execute(sa.update(dedicated_buckets).where(mine).values(faces=faces, next_no=collection.next_no))
