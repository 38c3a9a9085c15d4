"""Queries on receivers: how each has been doing.

One that was never heard of has no row, and begins with little at once. Whoever changes a row locks the delivery
first and the receiver second, as a claim does.
"""

from dataclasses import asdict, fields
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Connection

from app.db.schema import receivers
from app.domain.receivers import MAX_CONCURRENCY, Health

_now = sa.func.now()
_HEALTH = tuple(receivers.c[field.name] for field in fields(Health))


def lock(connection: Connection, account_id: int, receiver: str) -> tuple[Health, datetime]:
    """Lock the row of a receiver, making it where there is none; give its health and the time."""
    statement = (
        postgresql.insert(receivers)
        .values(account_id=account_id, receiver=receiver)
        .on_conflict_do_update(constraint="pk_receivers", set_={"updated_at": _now})
        .returning(*_HEALTH, _now.label("now"))
    )
    *health, now = connection.execute(statement).one()
    return Health(*health), now


def lock_unwell(connection: Connection, account_id: int, receiver: str) -> Health | None:
    """Lock the row of a receiver that did not always do well of late; None, and no lock, where it did."""
    unwell = sa.or_(receivers.c.failures > 0, receivers.c.concurrency < MAX_CONCURRENCY)
    row = connection.execute(
        sa.select(*_HEALTH).where(_is(account_id, receiver), unwell).with_for_update()
    ).one_or_none()
    return None if row is None else Health(*row)


def save(connection: Connection, account_id: int, receiver: str, health: Health) -> None:
    """Write down the health of a receiver whose row is locked."""
    statement = sa.update(receivers).where(_is(account_id, receiver))
    connection.execute(statement.values(**asdict(health), updated_at=_now))


def purge(connection: Connection, *, keep: timedelta, limit: int) -> int:
    """Forget receivers of whom nothing was noted for long; give how many."""
    old = (
        sa.select(receivers.c.account_id, receivers.c.receiver)
        .where(receivers.c.updated_at < _now - keep)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("old")
    )
    statement = sa.delete(receivers).where(
        receivers.c.account_id == old.c.account_id, receivers.c.receiver == old.c.receiver
    )
    return connection.execute(statement).rowcount


def _is(account_id: int, receiver: str) -> sa.ColumnElement[bool]:
    return sa.and_(receivers.c.account_id == account_id, receivers.c.receiver == receiver)
