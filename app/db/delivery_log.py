"""Queries on the log of webhook deliveries: look, and send again.

Sending again makes the same row pending, so an event has one delivery to a receiver and keeps its id and its bytes. A delivery
that a courier is at is left to it.
"""

import uuid
from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.db.bounded import once
from app.db.schema import deliveries, delivery_attempts, events, webhook_endpoints
from app.domain.deliveries import MAX_SHOWN_ATTEMPTS, Attempt, Delivery, Filter, Replay

_now = sa.func.now()
_SELECT = sa.select(
    deliveries.c.delivery_id,
    deliveries.c.event_id,
    events.c.type.label("event_type"),
    events.c.job_id,
    deliveries.c.endpoint_id,
    deliveries.c.url,
    deliveries.c.status,
    deliveries.c.attempts,
    sa.case((webhook_endpoints.c.status == "DISABLED", None), else_=deliveries.c.next_attempt_at).label(
        "next_attempt_at"
    ),
    deliveries.c.created_at,
    deliveries.c.finished_at,
).select_from(
    deliveries.join(events, events.c.event_id == deliveries.c.event_id).outerjoin(
        webhook_endpoints, webhook_endpoints.c.endpoint_id == deliveries.c.endpoint_id
    )
)

_AGAIN = {
    "status": "PENDING",
    "trigger": "MANUAL",
    "round_start": deliveries.c.attempts,
    "next_attempt_at": _now,
    "leased_until": None,
    "finished_at": None,
}


def _delivery(row: sa.RowMapping) -> Delivery:
    ids = {name: None if row[name] is None else str(row[name]) for name in ("delivery_id", "job_id", "endpoint_id")}
    return Delivery(**{**row, **ids})


def list_page(
    connection: Connection, account_id: int, wanted: Filter, *, before: uuid.UUID | None, limit: int
) -> list[Delivery]:
    """List deliveries of an account, newest first."""
    statement = _SELECT.where(deliveries.c.account_id == account_id)
    for column, value in (
        (deliveries.c.endpoint_id, wanted.endpoint_id),
        (deliveries.c.status, wanted.status),
        (events.c.type, wanted.event_type),
        (events.c.job_id, wanted.job_id),
    ):
        if value is not None:
            statement = statement.where(column == value)
    if before is not None:
        statement = statement.where(deliveries.c.delivery_id < before)
    rows = connection.execute(statement.order_by(deliveries.c.delivery_id.desc()).limit(limit)).mappings()
    return [_delivery(row) for row in rows]


def find(connection: Connection, account_id: int, delivery_id: uuid.UUID) -> Delivery | None:
    """Find a delivery of an account."""
    mine = sa.and_(deliveries.c.account_id == account_id, deliveries.c.delivery_id == delivery_id)
    row = connection.execute(_SELECT.where(mine)).mappings().one_or_none()
    return None if row is None else _delivery(row)


def newest_attempts(connection: Connection, delivery_id: uuid.UUID) -> list[Attempt]:
    """List the newest attempts of a delivery, a bounded number of them, in their order."""
    statement = (
        sa.select(*(delivery_attempts.c[field.name] for field in fields(Attempt)))
        .where(delivery_attempts.c.delivery_id == delivery_id)
        .order_by(delivery_attempts.c.attempt.desc())
        .limit(MAX_SHOWN_ATTEMPTS)
    )
    return [Attempt(**row) for row in connection.execute(statement).mappings()][::-1]


def redeliver(connection: Connection, account_id: int, delivery_id: uuid.UUID) -> bool:
    """Make a delivery due at once, with the whole schedule before it; False where it is being sent, and stays as it is."""
    under_way = sa.and_(deliveries.c.status == "PENDING", deliveries.c.leased_until > _now)
    statement = sa.update(deliveries).where(
        deliveries.c.account_id == account_id,
        deliveries.c.delivery_id == delivery_id,
        sa.func.coalesce(under_way, sa.false()).is_(sa.false()),
    )
    return connection.execute(statement.values(**_AGAIN, urgent=True)).rowcount == 1


def replay(
    connection: Connection, account_id: int, endpoint_id: uuid.UUID, wanted: Replay, *, limit: int
) -> Sequence[datetime]:
    """Make deliveries of an endpoint due that ended or wait for a retry, oldest first; give when each was created."""
    retries = sa.and_(
        deliveries.c.status == "PENDING",
        deliveries.c.attempts != deliveries.c.round_start,
        sa.func.coalesce(deliveries.c.leased_until <= _now, True),
    )
    ended = deliveries.c.status.in_(("FAILED",) if wanted.only_failed else ("FAILED", "SUCCEEDED"))
    chosen = (
        sa.select(deliveries.c.delivery_id)
        .where(
            deliveries.c.account_id == account_id,
            deliveries.c.endpoint_id == endpoint_id,
            deliveries.c.created_at >= wanted.since,
            deliveries.c.created_at < wanted.until,
            sa.or_(ended, retries),
        )
        .order_by(deliveries.c.created_at, deliveries.c.delivery_id)
        .limit(limit)
        .with_for_update(of=deliveries, skip_locked=True)
    )
    if wanted.event_types is not None:
        chosen = chosen.join(events, events.c.event_id == deliveries.c.event_id)
        chosen = chosen.where(events.c.type.in_(wanted.event_types))
    statement = sa.update(deliveries).where(deliveries.c.delivery_id.in_(once(chosen)))
    return connection.execute(statement.values(_AGAIN).returning(deliveries.c.created_at)).scalars().all()
