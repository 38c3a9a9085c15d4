"""Queries of the sweeper on batches: stopped, abandoned or unheard ones, and those whose time is over.

Rows that another sweeper holds are skipped, so any number of sweepers may run. Times are Postgres's now().
"""

import uuid
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.db.bounded import once
from app.db.schema import batch_items, batches
from app.domain.batches import BatchStatus

_now = sa.func.now()
_ENDED = batches.c.succeeded + batches.c.failed + batches.c.canceled


def list_stopped(connection: Connection, *, limit: int) -> list[str]:
    """List batches that were stopped and have not ended."""
    statement = (
        sa.select(batches.c.batch_id)
        .where(batches.c.status == BatchStatus.IN_PROGRESS, batches.c.stopped_at.is_not(None))
        .order_by(batches.c.batch_id)
        .limit(limit)
    )
    return [str(batch_id) for batch_id in connection.execute(statement).scalars()]


def list_abandoned(connection: Connection, *, silence: timedelta, limit: int) -> list[str]:
    """List batches whose upload broke off or was refused."""
    is_over = sa.or_(batches.c.stopped_at.is_not(None), batches.c.touched_at < _now - silence)
    statement = sa.select(batches.c.batch_id).where(batches.c.status == BatchStatus.UPLOADING, is_over).limit(limit)
    return [str(batch_id) for batch_id in connection.execute(statement).scalars()]


def unheard(connection: Connection, *, silence: timedelta, limit: int) -> int:
    """Count open batches with work that no worker took for this long, and note that they are rung for now."""
    long_ago = sa.literal("-infinity", sa.DateTime(timezone=True))
    newest = sa.func.greatest(
        sa.func.coalesce(batches.c.served_at, long_ago), sa.func.coalesce(batches.c.rung_at, long_ago)
    )
    listable = sa.func.coalesce(batches.c.listable_at, long_ago) <= _now
    waits = sa.or_(
        sa.and_(batches.c.status == BatchStatus.EXPANDING, listable), batches.c.running + _ENDED < batches.c.total
    )
    candidates = (
        sa.select(batches.c.batch_id)
        .where(
            batches.c.status.in_([BatchStatus.EXPANDING, BatchStatus.IN_PROGRESS]),
            batches.c.paused_at.is_(None),
            batches.c.stopped_at.is_(None),
            waits,
            newest < _now - silence,
        )
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return connection.execute(
        sa.update(batches).where(batches.c.batch_id.in_(once(candidates))).values(rung_at=_now)
    ).rowcount


def abandon(connection: Connection, batch_id: str) -> None:
    """Take no more items of an upload, so that those there are can be deleted."""
    connection.execute(
        sa.update(batches)
        .where(batches.c.batch_id == uuid.UUID(batch_id), batches.c.status == BatchStatus.UPLOADING)
        .values(stopped_at=_now)
    )


def lock_doomed(connection: Connection) -> str | None:
    """Lock a batch that is past its retention, unless what failed of it is being listed for a retry."""
    retry = batches.alias("retry")
    is_read = sa.exists().where(retry.c.retry_of == batches.c.batch_id, retry.c.status == BatchStatus.EXPANDING)
    statement = (
        sa.select(batches.c.batch_id)
        .where(batches.c.expires_at < _now, ~is_read)
        .order_by(batches.c.expires_at)
        .limit(1)
        .with_for_update(skip_locked=True, of=batches)
    )
    batch_id = connection.execute(statement).scalar_one_or_none()
    return None if batch_id is None else str(batch_id)


def delete(connection: Connection, batch_id: str, *, limit: int) -> int:
    """Delete items of a batch, and the batch itself with the last of them; give how many items."""
    doomed = sa.select(batch_items.c.item_no).where(batch_items.c.batch_id == uuid.UUID(batch_id)).limit(limit)
    deleted = connection.execute(
        sa.delete(batch_items).where(
            batch_items.c.batch_id == uuid.UUID(batch_id), batch_items.c.item_no.in_(once(doomed))
        )
    ).rowcount
    if deleted < limit:
        connection.execute(sa.delete(batches).where(batches.c.batch_id == uuid.UUID(batch_id)))
    return deleted
