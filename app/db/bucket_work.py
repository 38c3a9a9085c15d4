"""Queries on what workers have to do about buckets: noted, claimed, got on with, done.

A claim sets a lease number that every later write names. Times are Postgres's now().
"""

from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Connection

from app.db.schema import FIRST_DEDICATED, bucket_work, collections, dedicated_buckets
from app.db.session import Row
from app.domain.buckets import LEASE, BucketWorkKind

_now = sa.func.now()


def clear(connection: Connection, collection_id: int) -> None:
    """Note that a collection was deleted and is to be cleared away; whoever was moving its rows loses the lease."""
    statement = postgresql.insert(bucket_work).values(collection_id=collection_id, kind=BucketWorkKind.CLEAR)
    anew = {"kind": BucketWorkKind.CLEAR, "lease": bucket_work.c.lease + 1, "leased_until": _now}
    connection.execute(statement.on_conflict_do_update(index_elements=["collection_id"], set_=anew))


def forget(connection: Connection, collection_id: int) -> None:
    """Forget what was to be done for a collection that had not begun to grow."""
    connection.execute(sa.delete(bucket_work).where(bucket_work.c.collection_id == collection_id))


def find_growth(connection: Connection, *, threshold: int, capacity: int) -> int:
    """Note the collections that outgrew a shared bucket or their newest one, or left one; give how many are new."""
    newest = collections.c.buckets[sa.func.cardinality(collections.c.buckets)]
    most = dedicated_buckets.c.faces + collections.c.next_no - dedicated_buckets.c.next_no
    is_large = (collections.c.live_faces > threshold) & (collections.c.buckets[1] < FIRST_DEDICATED)
    outgrown = (
        sa.select(collections.c.collection_id, sa.literal(BucketWorkKind.GROW.value))
        .select_from(collections.outerjoin(dedicated_buckets, dedicated_buckets.c.bucket == newest))
        .where(is_large | (most >= capacity))
    )
    left = (
        sa.select(collections.c.collection_id, sa.literal(BucketWorkKind.GROW.value))
        .join(dedicated_buckets, dedicated_buckets.c.collection_id == collections.c.collection_id)
        .where(dedicated_buckets.c.bucket != sa.all_(collections.c.buckets))
    )
    statement = postgresql.insert(bucket_work).from_select(["collection_id", "kind"], outgrown.union(left))
    noted = statement.on_conflict_do_nothing().returning(bucket_work.c.collection_id)
    return len(list(connection.execute(noted)))


def any_waiting(connection: Connection) -> bool:
    """Tell whether there is something to do that nobody does."""
    return bool(connection.execute(sa.select(sa.exists().where(bucket_work.c.leased_until <= _now))).scalar_one())


def claim(connection: Connection) -> Row | None:
    """Take what has waited the longest: collection_id, kind, cursor, lease. None where there is nothing."""
    waiting = (
        sa.select(bucket_work.c.collection_id)
        .where(bucket_work.c.leased_until <= _now)
        .order_by(bucket_work.c.leased_until)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    statement = (
        sa.update(bucket_work)
        .where(bucket_work.c.collection_id == waiting.scalar_subquery())
        .values(lease=bucket_work.c.lease + 1, leased_until=_now + LEASE)
        .returning(bucket_work)
    )
    return connection.execute(statement).one_or_none()


def lock(connection: Connection, work: Row) -> Row | None:
    """Lock claimed work and give it as it is now; None where the lease was lost."""
    return connection.execute(sa.select(bucket_work).where(*_held(work)).with_for_update()).one_or_none()


def save(connection: Connection, work: Row, *, cursor: int) -> None:
    """Note how far claimed work has come, and renew its lease."""
    connection.execute(sa.update(bucket_work).where(*_held(work)).values(cursor=cursor, leased_until=_now + LEASE))


def give_back(connection: Connection, work: Row, *, pause: timedelta) -> None:
    """Let claimed work be taken again after a pause."""
    connection.execute(sa.update(bucket_work).where(*_held(work)).values(leased_until=_now + pause))


def finish(connection: Connection, work: Row) -> None:
    """Forget claimed work: it is done."""
    connection.execute(sa.delete(bucket_work).where(*_held(work)))


def _held(work: Row) -> tuple[sa.ColumnElement[bool], ...]:
    return bucket_work.c.collection_id == work.collection_id, bucket_work.c.lease == work.lease
