"""Queries on webhook endpoints and their secrets.

Whoever writes a delivery holds its endpoint by a key-share lock, so that an endpoint never goes away under it; changes of an
endpoint do not wait for that, only its deletion does. Times are Postgres's now().
"""

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.db.bounded import once
from app.db.schema import accounts, deliveries, receivers, webhook_endpoints, webhook_secrets
from app.db.session import Row
from app.domain.endpoints import Endpoint
from app.domain.receivers import FAILURES_TO_OPEN, Health

_now = sa.func.now()
_receiver = sa.cast(webhook_endpoints.c.endpoint_id, sa.Text)
_COLUMNS = (
    webhook_endpoints.c.endpoint_id,
    webhook_endpoints.c.account_id,
    webhook_endpoints.c.url,
    webhook_endpoints.c.event_types,
    webhook_endpoints.c.description,
    webhook_endpoints.c.headers,
    webhook_endpoints.c.payload,
    webhook_endpoints.c.status,
    webhook_endpoints.c.disabled_reason,
    webhook_endpoints.c.disabled_at,
    webhook_endpoints.c.created_at,
    webhook_endpoints.c.updated_at,
    _now.label("now"),
    sa.func.coalesce(receivers.c.failures, 0).label("failures"),
    receivers.c.failing_since,
    receivers.c.open_until,
)
_SELECT = sa.select(*_COLUMNS).select_from(
    webhook_endpoints.outerjoin(
        receivers,
        sa.and_(receivers.c.account_id == webhook_endpoints.c.account_id, receivers.c.receiver == _receiver),
    )
)


def _endpoint(row: Row) -> Endpoint:
    members = {**row._mapping, "endpoint_id": str(row.endpoint_id)}
    circuit = Health(failures=row.failures, open_until=row.open_until).circuit(members.pop("now"))
    return Endpoint(**members, circuit=circuit.value)


def _is(account_id: int, endpoint_id: uuid.UUID) -> sa.ColumnElement[bool]:
    return sa.and_(webhook_endpoints.c.account_id == account_id, webhook_endpoints.c.endpoint_id == endpoint_id)


def new_id(connection: Connection) -> uuid.UUID:
    """Make the id of a new endpoint, which its secrets are bound to before it is there."""
    made: uuid.UUID = connection.execute(sa.select(sa.func.uuidv7(type_=sa.Uuid))).scalar_one()
    return made


def lock_and_count(connection: Connection, account_id: int) -> int:
    """Count the endpoints of an account, after its other counters are done."""
    lock = sa.select(accounts.c.account_id).where(accounts.c.account_id == account_id)
    connection.execute(lock.with_for_update(key_share=True))
    mine = sa.select(sa.func.count()).where(webhook_endpoints.c.account_id == account_id)
    return connection.execute(mine).scalar_one()


def insert(connection: Connection, values: dict[str, Any]) -> None:
    """Insert an endpoint."""
    connection.execute(sa.insert(webhook_endpoints).values(**values))


def find(connection: Connection, account_id: int, endpoint_id: uuid.UUID, *, lock: bool = False) -> Endpoint | None:
    """Find an endpoint of an account; with a lock, rotations of its secret wait for each other."""
    statement = _SELECT.where(_is(account_id, endpoint_id))
    if lock:
        statement = statement.with_for_update(of=webhook_endpoints, key_share=True)
    row = connection.execute(statement).one_or_none()
    return None if row is None else _endpoint(row)


def list_page(connection: Connection, account_id: int, *, before: uuid.UUID | None, limit: int) -> list[Endpoint]:
    """List endpoints of an account, newest first."""
    statement = _SELECT.where(webhook_endpoints.c.account_id == account_id)
    if before is not None:
        statement = statement.where(webhook_endpoints.c.endpoint_id < before)
    rows = connection.execute(statement.order_by(webhook_endpoints.c.endpoint_id.desc()).limit(limit))
    return [_endpoint(row) for row in rows]


def update(connection: Connection, account_id: int, endpoint_id: uuid.UUID, values: dict[str, Any]) -> None:
    """Change an endpoint."""
    statement = sa.update(webhook_endpoints).where(_is(account_id, endpoint_id))
    connection.execute(statement.values(**values, updated_at=_now))


def enable(connection: Connection, account_id: int, endpoint_id: uuid.UUID) -> None:
    """Let webhooks be sent to an endpoint."""
    update(connection, account_id, endpoint_id, {"status": "ENABLED", "disabled_reason": None, "disabled_at": None})


def disable(connection: Connection, account_id: int, endpoint_id: uuid.UUID, reason: str) -> None:
    """Stop sending to an endpoint that is enabled; REQUESTED, FAILING or GONE says why."""
    statement = (
        sa.update(webhook_endpoints)
        .where(_is(account_id, endpoint_id), webhook_endpoints.c.status == "ENABLED")
        .values(status="DISABLED", disabled_reason=reason, disabled_at=_now, updated_at=_now)
    )
    connection.execute(statement)


def probe_first(connection: Connection, account_id: int, endpoint_id: uuid.UUID) -> None:
    """Half open the circuit of an endpoint that has failed, however often, and forget for how long it did.

    One delivery goes through, and the others follow once that succeeds.
    """
    statement = (
        sa.update(receivers)
        .where(
            receivers.c.account_id == account_id,
            receivers.c.receiver == str(endpoint_id),
            receivers.c.failures > 0,
        )
        .values(
            failures=sa.func.greatest(receivers.c.failures, FAILURES_TO_OPEN),
            open_until=_now,
            failing_since=None,
            warned_at=None,
            concurrency=1,
            updated_at=_now,
        )
    )
    connection.execute(statement)


def delete(connection: Connection, account_id: int, endpoint_id: uuid.UUID) -> None:
    """Delete an endpoint with its secrets, what is left of its deliveries, and the memory of how it did."""
    connection.execute(sa.delete(webhook_endpoints).where(_is(account_id, endpoint_id)))
    memory = sa.and_(receivers.c.account_id == account_id, receivers.c.receiver == str(endpoint_id))
    connection.execute(sa.delete(receivers).where(memory))


def delete_deliveries(connection: Connection, account_id: int, endpoint_id: uuid.UUID, *, limit: int) -> int:
    """Delete some deliveries of an endpoint, with their attempts; give how many."""
    some = (
        sa.select(deliveries.c.delivery_id)
        .where(deliveries.c.account_id == account_id, deliveries.c.endpoint_id == endpoint_id)
        .limit(limit)
    )
    return connection.execute(sa.delete(deliveries).where(deliveries.c.delivery_id.in_(once(some)))).rowcount


def hold_wanting(
    connection: Connection, account_id: int, event_type: str, *, but: uuid.UUID | None = None
) -> list[Row]:
    """Hold the enabled endpoints of an account that want an event, all or all but one: endpoint_id and url."""
    wants = sa.or_(
        webhook_endpoints.c.event_types.is_(None),
        sa.literal(event_type, sa.Text) == sa.any_(webhook_endpoints.c.event_types),
    )
    statement = _held().where(
        webhook_endpoints.c.account_id == account_id, webhook_endpoints.c.status == "ENABLED", wants
    )
    if but is not None:
        statement = statement.where(webhook_endpoints.c.endpoint_id != but)
    return list(connection.execute(statement.order_by(webhook_endpoints.c.endpoint_id)))


def hold(connection: Connection, account_id: int, endpoint_id: uuid.UUID) -> list[Row]:
    """Hold one endpoint, if it is still there: endpoint_id and url."""
    return list(connection.execute(_held().where(_is(account_id, endpoint_id))))


def _held() -> sa.Select[tuple[uuid.UUID, str]]:
    columns = sa.select(webhook_endpoints.c.endpoint_id, webhook_endpoints.c.url)
    return columns.with_for_update(read=True, key_share=True)


def insert_secret(connection: Connection, endpoint_id: uuid.UUID, secret: bytes) -> None:
    """Add the newest secret of an endpoint; encrypted."""
    connection.execute(sa.insert(webhook_secrets).values(endpoint_id=endpoint_id, secret=secret))


def retire_secrets(
    connection: Connection, endpoint_id: uuid.UUID, *, overlap: timedelta, keep: int
) -> Sequence[datetime]:
    """Let the newest secrets of an endpoint, `keep` of them, end after a while and the others now; give when they end."""
    newest = (
        sa.select(webhook_secrets.c.secret_id)
        .where(webhook_secrets.c.endpoint_id == endpoint_id)
        .order_by(webhook_secrets.c.secret_id.desc())
        .limit(keep)
    )
    end = sa.func.least(webhook_secrets.c.expires_at, _now + overlap)  # least() passes over what is null
    mine = webhook_secrets.c.endpoint_id == endpoint_id
    ended = sa.or_(end <= _now, webhook_secrets.c.secret_id.not_in(newest))
    connection.execute(sa.delete(webhook_secrets).where(mine, ended))
    statement = sa.update(webhook_secrets).where(mine).values(expires_at=end).returning(webhook_secrets.c.expires_at)
    return connection.execute(statement).scalars().all()
