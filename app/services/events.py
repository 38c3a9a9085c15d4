"""Webhook events: what is told, and to whom.

An event and its deliveries are written by the transaction that made it happen, so there is a webhook if and only if there is an
ending. The body is stored once, and every attempt sends exactly those bytes. An event that nobody wants is not written.
"""

import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Protocol

from sqlalchemy.engine import Connection

from app.db import endpoints
from app.db import events as rows
from app.db.session import Database, Row, now
from app.domain import batches, webhooks
from app.domain.batches import Batch
from app.domain.jobs import Job, document, event_type, iso
from app.domain.webhook_events import TEST, message
from app.errors import EndpointNotFound

#: Events that belong to no job are kept as long as a job is by default.
KEEP = timedelta(days=30)

#: Events that one purge deletes at most, so that its transaction stays short.
_PURGE_LIMIT = 500


class Work(Protocol):
    """A job or a batch: work whose end may be told."""

    @property
    def account_id(self) -> int: ...
    @property
    def webhook_url(self) -> str | None: ...
    @property
    def webhook_endpoint_id(self) -> uuid.UUID | None: ...
    @property
    def tells_endpoints(self) -> bool: ...


def has_receiver(work: Work) -> bool:
    """Tell whether the end of a job or a batch may be told to somebody."""
    return work.webhook_url is not None or work.webhook_endpoint_id is not None or work.tells_endpoints


def publish(connection: Connection, job: Job) -> int:
    """Write the event of a job that has ended, with a delivery to whoever wants it; give how many deliveries."""
    type_ = event_type(job.status)
    receivers = _receivers(connection, job, type_)
    if receivers:
        shown = document(job)
        event = _event(job.account_id, type_, shown["FinishedAt"], shown, job_id=uuid.UUID(job.job_id))
        rows.insert(connection, event, receivers)
    return len(receivers)


def publish_batch(connection: Connection, batch: Batch) -> int:
    """Write the one event of a batch, as it has ended, with a delivery to whoever wants it; give how many deliveries."""
    receivers = _receivers(connection, batch, batches.COMPLETED)
    if receivers:
        shown = batches.document(batch)
        event = _event(batch.account_id, batches.COMPLETED, shown["FinishedAt"], shown)
        rows.insert(connection, {**event, "batch_id": uuid.UUID(batch.batch_id)}, receivers)
    return len(receivers)


def _receivers(connection: Connection, work: Work, type_: str) -> list[dict[str, Any]]:
    """List whom work tells: its own URL, the endpoint that it names whatever that wants, or all that want the event."""
    if work.webhook_url is not None:
        return [{"receiver": webhooks.origin(work.webhook_url), "url": work.webhook_url}]
    if work.webhook_endpoint_id is not None:
        return _to(endpoints.hold(connection, work.account_id, work.webhook_endpoint_id))
    if work.tells_endpoints:
        return _to(endpoints.hold_wanting(connection, work.account_id, type_))
    return []


def report(
    connection: Connection, account_id: int, type_: str, data: dict[str, Any], *, about: uuid.UUID | None = None
) -> int:
    """Write an event for all endpoints that want it, but the one that it is about; give how many deliveries."""
    receivers = _to(endpoints.hold_wanting(connection, account_id, type_, but=about))
    if receivers:
        rows.insert(connection, _event(account_id, type_, iso(now(connection)), data), receivers)
    return len(receivers)


def publish_test(connection: Connection, account_id: int, endpoint_id: uuid.UUID) -> str:
    """Write a test event for one endpoint, whatever that wants to hear; give its delivery's id, or raise EndpointNotFound."""
    receivers = _to(endpoints.hold(connection, account_id, endpoint_id))
    if not receivers:
        raise EndpointNotFound(str(endpoint_id))
    event = _event(account_id, TEST, iso(now(connection)), {"EndpointId": str(endpoint_id)})
    (delivery_id,) = rows.insert(
        connection, event, [{**receiver, "trigger": "TEST", "urgent": True} for receiver in receivers]
    )
    return str(delivery_id)


def _to(held: Sequence[Row]) -> list[dict[str, Any]]:
    return [{"receiver": str(row.endpoint_id), "endpoint_id": row.endpoint_id, "url": row.url} for row in held]


def _event(
    account_id: int, type_: str, timestamp: str | None, data: dict[str, Any], *, job_id: uuid.UUID | None = None
) -> dict[str, Any]:
    return {
        "event_id": f"evt_{uuid.uuid4().hex}",
        "account_id": account_id,
        "job_id": job_id,
        "type": type_,
        "body": message(type_, timestamp, data),
    }


def purge(database: Database) -> int:
    """Forget old events that belong to no job; give how many."""
    with database.transaction() as connection:
        return rows.purge(connection, keep=KEEP, limit=_PURGE_LIMIT)
