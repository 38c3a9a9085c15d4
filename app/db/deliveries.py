"""Queries on webhook events, deliveries and attempts.

A courier takes a delivery by moving its next attempt past its own lease, so a courier that dies leaves it to be taken again:
at least once, with the same event id and the same bytes.
"""

from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.db.schema import accounts, deliveries, delivery_attempts, events
from app.db.session import Row

_now = sa.func.now()


def claim(connection: Connection, *, lease: timedelta) -> Row | None:
    """Take the delivery that is due the longest, with its body, its account's secret and the time in epoch seconds."""
    due = (
        sa.select(deliveries.c.delivery_id)
        .where(deliveries.c.status == "PENDING", deliveries.c.next_attempt_at <= _now)
        .order_by(deliveries.c.next_attempt_at)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    taken = (
        sa.update(deliveries)
        .where(deliveries.c.delivery_id == due)
        .values(attempts=deliveries.c.attempts + 1, next_attempt_at=_now + lease)
        .returning(deliveries.c.delivery_id, deliveries.c.event_id, deliveries.c.url, deliveries.c.attempts)
        .cte("taken")
    )
    statement = (
        sa.select(
            taken,
            events.c.body,
            accounts.c.name.label("account"),
            accounts.c.webhook_secret,
            sa.extract("epoch", _now).label("timestamp"),
        )
        .join(events, events.c.event_id == taken.c.event_id)
        .join(accounts, accounts.c.account_id == events.c.account_id)
    )
    row = connection.execute(statement).one_or_none()
    if row is not None:
        connection.execute(sa.insert(delivery_attempts).values(delivery_id=row.delivery_id, attempt=row.attempts))
    return row


def record(
    connection: Connection,
    delivery_id: object,
    attempt: int,
    answer: dict[str, Any],
    *,
    status: str,
    pause: timedelta | None,
) -> None:
    """Write down one attempt and where the delivery stands after it; a newer attempt is never overwritten."""
    connection.execute(
        sa.update(delivery_attempts)
        .where(delivery_attempts.c.delivery_id == delivery_id, delivery_attempts.c.attempt == attempt)
        .values(**answer)
    )
    values: dict[str, Any] = {"status": status}
    if pause is None:
        values["finished_at"] = _now
    else:
        values["next_attempt_at"] = _now + pause
    connection.execute(
        sa.update(deliveries)
        .where(
            deliveries.c.delivery_id == delivery_id,
            deliveries.c.attempts == attempt,
            deliveries.c.status == "PENDING",
        )
        .values(**values)
    )


def count_due(connection: Connection, *, limit: int) -> int:
    """Count deliveries whose time has come, up to a limit."""
    due = (
        sa.select(deliveries.c.delivery_id)
        .where(deliveries.c.status == "PENDING", deliveries.c.next_attempt_at <= _now)
        .limit(limit)
        .subquery()
    )
    return connection.execute(sa.select(sa.func.count()).select_from(due)).scalar_one()
