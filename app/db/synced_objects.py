"""Queries on the S3 objects that a re-sync has seen, each with the job that indexes it."""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Connection

from app.db.schema import jobs, synced_objects
from app.domain.resync import Seen

#: A job that was neither deleted nor has ended.
_busy = sa.func.coalesce(jobs.c.status.in_(("QUEUED", "IN_PROGRESS")), sa.false())

#: A job that ended in an error that may be tried again has lost its idempotency key; one that was purged meanwhile is good.
_again = sa.or_(
    synced_objects.c.job_id.is_(None), sa.and_(jobs.c.job_id.is_not(None), jobs.c.idempotency_key.is_(None))
)

_SELECT = sa.select(
    synced_objects.c.key,
    synced_objects.c.etag,
    synced_objects.c.collection_id,
    synced_objects.c.job_id,
    _busy.label("busy"),
    _again.label("again"),
).select_from(synced_objects.outerjoin(jobs, jobs.c.job_id == synced_objects.c.job_id))


def find_many(connection: Connection, schedule_id: uuid.UUID, keys: Sequence[str]) -> dict[str, Seen]:
    """Give what is known of objects, by key."""
    statement = _SELECT.where(synced_objects.c.schedule_id == schedule_id, synced_objects.c.key.in_(keys))
    return {row.key: Seen(**row._mapping) for row in connection.execute(statement)}


def unseen(connection: Connection, schedule_id: uuid.UUID, *, since: datetime, limit: int) -> list[Seen]:
    """List objects that no tick has seen since a due time."""
    statement = _SELECT.where(synced_objects.c.schedule_id == schedule_id, synced_objects.c.seen_at < since)
    return [Seen(**row._mapping) for row in connection.execute(statement.limit(limit))]


def keep(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Note objects as they were seen; keys are distinct."""
    if not rows:
        return
    statement = postgresql.insert(synced_objects).values(list(rows))
    fresh = {name: statement.excluded[name] for name in ("collection_id", "etag", "job_id", "seen_at")}
    connection.execute(statement.on_conflict_do_update(constraint="pk_synced_objects", set_=fresh))


def touch(connection: Connection, schedule_id: uuid.UUID, keys: Sequence[str], *, seen_at: datetime) -> None:
    """Note that objects were seen, and nothing else about them."""
    statement = sa.update(synced_objects).where(
        synced_objects.c.schedule_id == schedule_id, synced_objects.c.key.in_(keys)
    )
    connection.execute(statement.values(seen_at=seen_at))


def forget(connection: Connection, schedule_id: uuid.UUID, keys: Sequence[str]) -> None:
    """Forget objects that are gone."""
    connection.execute(
        sa.delete(synced_objects).where(synced_objects.c.schedule_id == schedule_id, synced_objects.c.key.in_(keys))
    )
