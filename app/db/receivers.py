"""Queries on receivers: how each has been doing, and what follows for its endpoint.

A receiver in full health has no row, so the table stays as small as the trouble is. Whoever changes a row locks the delivery
first and the receiver second, as a claim does.
"""

import uuid
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Connection

from app.db.schema import deliveries, events, receivers, webhook_endpoints
from app.db.session import Row
from app.domain.receivers import HEALTHY, MAX_CONCURRENCY, DisabledReason, Health

_now = sa.func.now()
_HEALTH = tuple(receivers.c[field.name] for field in fields(Health))


def lock(connection: Connection, account_id: int, receiver: str) -> tuple[Health, datetime]:
    """Lock the row of a receiver that failed, making it where there is none; give its health and the time."""
    statement = (
        postgresql.insert(receivers)
        .values(account_id=account_id, receiver=receiver)
        .on_conflict_do_update(constraint="pk_receivers", set_={"updated_at": _now})
        .returning(*_HEALTH, _now.label("now"))
    )
    *health, now = connection.execute(statement).one()
    return Health(*health), now


def lock_unwell(connection: Connection, account_id: int, receiver: str) -> Health | None:
    """Lock the row of a receiver that did not always do well of late; None, and no lock, for all others."""
    unwell = sa.or_(receivers.c.failures > 0, receivers.c.concurrency < MAX_CONCURRENCY)
    row = connection.execute(
        sa.select(*_HEALTH).where(_is(account_id, receiver), unwell).with_for_update()
    ).one_or_none()
    return None if row is None else Health(*row)


def save(connection: Connection, account_id: int, receiver: str, health: Health) -> None:
    """Write down the health of a receiver whose row is locked."""
    if health == HEALTHY:
        connection.execute(sa.delete(receivers).where(_is(account_id, receiver)))
    else:
        connection.execute(
            sa.update(receivers).where(_is(account_id, receiver)).values(**asdict(health), updated_at=_now)
        )


def disable(connection: Connection, account_id: int, endpoint_id: uuid.UUID, reason: DisabledReason) -> bool:
    """Disable an endpoint; False where it is disabled already."""
    statement = (
        sa.update(webhook_endpoints)
        .where(_is_endpoint(account_id, endpoint_id), webhook_endpoints.c.status == "ENABLED")
        .values(status="DISABLED", disabled_reason=reason.value, disabled_at=_now, updated_at=_now)
    )
    return connection.execute(statement).rowcount == 1


def find_endpoint(connection: Connection, account_id: int, endpoint_id: uuid.UUID) -> Row | None:
    """Find what an account is told of its failing endpoint, and the time."""
    columns = ("endpoint_id", "url", "description", "status", "disabled_reason")
    statement = sa.select(*(webhook_endpoints.c[name] for name in columns), _now.label("now"))
    return connection.execute(statement.where(_is_endpoint(account_id, endpoint_id))).one_or_none()


def tell_others(connection: Connection, event: dict[str, Any], endpoint_id: uuid.UUID) -> int:
    """Write an event about an endpoint for the account's other endpoints that want it; give how many there are."""
    others = sa.select(webhook_endpoints.c.endpoint_id, webhook_endpoints.c.url).where(
        webhook_endpoints.c.account_id == event["account_id"],
        webhook_endpoints.c.endpoint_id != endpoint_id,
        webhook_endpoints.c.status == "ENABLED",
        sa.func.coalesce(webhook_endpoints.c.event_types.any(event["type"]), True),
    )
    told = [
        {
            "account_id": event["account_id"],
            "event_id": event["event_id"],
            "endpoint_id": other.endpoint_id,
            "receiver": str(other.endpoint_id),
            "url": other.url,
        }
        for other in connection.execute(others)
    ]
    if told:
        connection.execute(sa.insert(events).values(**event))
        connection.execute(sa.insert(deliveries), told)
    return len(told)


def _is(account_id: int, receiver: str) -> sa.ColumnElement[bool]:
    return sa.and_(receivers.c.account_id == account_id, receivers.c.receiver == receiver)


def _is_endpoint(account_id: int, endpoint_id: uuid.UUID) -> sa.ColumnElement[bool]:
    return sa.and_(webhook_endpoints.c.account_id == account_id, webhook_endpoints.c.endpoint_id == endpoint_id)
