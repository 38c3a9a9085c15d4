"""Queries that move a collection's vectors from one bucket to another, in batches by number.

Whoever moves holds the lock of the collection's row, like every writer, so no row changes under the move. A batch is one
transaction: each search finds a vector in one of the two buckets, and in one only.
"""

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.db.session import Row


def end_of_batch(
    connection: Connection, table: sa.Table, collection: Row, bucket: int, *, after: int, size: int
) -> int | None:
    """Give the last number of the next batch in a bucket; None where all that is left is a batch."""
    statement = (
        sa.select(table.c.number)
        .where(*_inside(table, collection, bucket), table.c.number > after)
        .order_by(table.c.number)
        .offset(size - 1)
        .limit(1)
    )
    return connection.execute(statement).scalar_one_or_none()


def move(
    connection: Connection, table: sa.Table, collection: Row, bucket: int, *, after: int, until: int | None
) -> int:
    """Move a range of numbers out of a bucket into the newest one; give how many vectors that were."""
    wanted = [*_inside(table, collection, bucket), table.c.number > after]
    if until is not None:
        wanted.append(table.c.number <= until)
    return connection.execute(sa.update(table).where(*wanted).values(bucket=collection.buckets[-1])).rowcount


def any_in(connection: Connection, table: sa.Table, collection: Row, bucket: int) -> bool:
    """Tell whether a collection has vectors in a bucket."""
    return bool(connection.execute(sa.select(sa.exists().where(*_inside(table, collection, bucket)))).scalar_one())


def count(connection: Connection, table: sa.Table, collection: Row, bucket: int, *, limit: int) -> int:
    """Count a collection's vectors in a bucket, up to a limit."""
    some = sa.select(table.c.number).where(*_inside(table, collection, bucket)).limit(limit).subquery()
    return connection.execute(sa.select(sa.func.count()).select_from(some)).scalar_one()


def _inside(table: sa.Table, collection: Row, bucket: int) -> tuple[sa.ColumnElement[bool], ...]:
    return table.c.bucket == bucket, table.c.collection_id == collection.collection_id
