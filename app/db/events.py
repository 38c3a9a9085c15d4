"""Queries that write webhook events with their deliveries, and that forget events which belong to no job.

The event of a job goes when the job does.
"""

import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.db.bounded import once
from app.db.schema import deliveries, events

_now = sa.func.now()


def insert(connection: Connection, event: dict[str, Any], receivers: Sequence[dict[str, Any]]) -> list[uuid.UUID]:
    """Write an event and a delivery to each receiver, in the transaction that made it happen; give the deliveries' ids."""
    connection.execute(sa.insert(events).values(**event))
    whose = {"account_id": event["account_id"], "event_id": event["event_id"]}
    statement = sa.insert(deliveries).values([{**whose, **receiver} for receiver in receivers])
    return list(connection.execute(statement.returning(deliveries.c.delivery_id)).scalars())


def purge(connection: Connection, *, keep: timedelta, limit: int) -> int:
    """Delete old events that belong to no job, with their deliveries; give how many events."""
    doomed = (
        sa.select(events.c.event_id)
        .where(events.c.job_id.is_(None), events.c.created_at < _now - keep)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return connection.execute(sa.delete(events).where(events.c.event_id.in_(once(doomed)))).rowcount
