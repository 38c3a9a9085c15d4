"""The log of webhook deliveries: look at it, send one again, replay a range, send a test."""

import uuid
from collections.abc import Mapping
from typing import Any

from sqlalchemy.engine import Connection

from app.broker import Doorbell
from app.db import delivery_log as rows
from app.db import endpoints
from app.db.session import Database, now
from app.domain.audit import OPERATOR, Act, Actor, Line
from app.domain.deliveries import MAX_REPLAYED, Delivery, Filter, document, read_replay
from app.domain.endpoints import Endpoint
from app.domain.jobs import Lane, iso
from app.errors import Conflict, DeliveryNotFound, EndpointNotFound
from app.services import audit, events
from app.services.endpoints import read_id

#: Bells that a replay rings at most; each courier that hears one goes on until nothing is due, and the sweep rings again.
_BELLS = 16

Document = dict[str, Any]


def list_page(
    database: Database, account_id: int, wanted: Filter, *, before: uuid.UUID | None, limit: int
) -> list[Document]:
    """Show deliveries of an account, newest first."""
    with database.statement() as connection:
        return [
            document(delivery)
            for delivery in rows.list_page(connection, account_id, wanted, before=before, limit=limit)
        ]


def get(database: Database, account_id: int, delivery_id: str) -> Document:
    """Show a delivery with its newest attempts, or raise DeliveryNotFound."""
    with database.transaction() as connection:
        delivery = _found(connection, account_id, delivery_id)
        return document(delivery, rows.newest_attempts(connection, uuid.UUID(delivery_id)))


def redeliver(
    database: Database, doorbell: Doorbell, account_id: int, delivery_id: str, actor: Actor = OPERATOR
) -> Document:
    """Send a delivery again, whatever became of it, and show it; raises Conflict while it is being sent."""
    with database.transaction() as connection:
        delivery = _found(connection, account_id, delivery_id)
        if delivery.endpoint_id is not None:
            _enabled(connection, account_id, delivery.endpoint_id)
        if not rows.redeliver(connection, account_id, uuid.UUID(delivery_id)):
            raise Conflict(f"The delivery id: {delivery_id} is being sent; ask again once this attempt has ended.")
        shown = document(_found(connection, account_id, delivery_id))
        audit.note(connection, Line(account_id, actor, Act.REDELIVER, resources={"DeliveryId": delivery_id}))
    doorbell.ring(Lane.WEBHOOKS)
    return shown


def replay(
    database: Database,
    doorbell: Doorbell,
    account_id: int,
    endpoint_id: str,
    members: Mapping[str, Any],
    actor: Actor = OPERATOR,
) -> Document:
    """Send deliveries of an endpoint again, a bounded number of them, oldest first; tell how many, and where it stopped."""
    with database.transaction() as connection:
        number = uuid.UUID(_enabled(connection, account_id, endpoint_id).endpoint_id)
        wanted = read_replay(members, now(connection))
        replayed = rows.replay(connection, account_id, number, wanted, limit=MAX_REPLAYED)
        resources = {"EndpointId": str(number)}
        audit.note(connection, Line(account_id, actor, Act.REPLAY_DELIVERIES, resources=resources, count=len(replayed)))
    doorbell.ring(Lane.WEBHOOKS, min(len(replayed), _BELLS))
    told = {"Deliveries": len(replayed)}
    return {**told, "ReplayedUntil": iso(max(replayed))} if len(replayed) == MAX_REPLAYED else told


def send_test(
    database: Database, doorbell: Doorbell, account_id: int, endpoint_id: str, actor: Actor = OPERATOR
) -> Document:
    """Send a test event to an endpoint and show its delivery."""
    with database.transaction() as connection:
        number = uuid.UUID(_enabled(connection, account_id, endpoint_id).endpoint_id)
        delivery_id = events.publish_test(connection, account_id, number)
        shown = document(_found(connection, account_id, delivery_id))
        audit.note(connection, Line(account_id, actor, Act.TEST_ENDPOINT, resources={"EndpointId": str(number)}))
    doorbell.ring(Lane.WEBHOOKS)
    return shown


def _found(connection: Connection, account_id: int, delivery_id: str) -> Delivery:
    try:
        delivery = rows.find(connection, account_id, uuid.UUID(delivery_id))
    except ValueError as error:
        raise DeliveryNotFound(delivery_id) from error
    if delivery is None:
        raise DeliveryNotFound(delivery_id)
    return delivery


def _enabled(connection: Connection, account_id: int, endpoint_id: str) -> Endpoint:
    """Find an endpoint that may be sent to."""
    endpoint = endpoints.find(connection, account_id, read_id(endpoint_id))
    if endpoint is None:
        raise EndpointNotFound(endpoint_id)
    if not endpoint.enabled:
        raise Conflict(f"The webhook endpoint id: {endpoint_id} is disabled; enable it first.")
    return endpoint
