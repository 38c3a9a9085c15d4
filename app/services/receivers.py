"""What one attempt means for its delivery and its receiver: one transaction writes down all of it.

The attempt, where the delivery stands, the receiver's circuit, and an endpoint that is disabled with the event that says so.
"""

import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy.engine import Connection

from app.db import deliveries, receivers
from app.db.session import Database, Row
from app.domain import webhooks
from app.domain.receivers import (
    DISABLED_EVENT,
    FAILING_EVENT,
    DisabledReason,
    Health,
    after_failure,
    after_success,
    is_disabled_by,
    is_warned_by,
)


@dataclass(frozen=True, slots=True)
class Attempted:
    """An attempt that was made: which, what came of it, and what the receiver let us know."""

    claim: Row
    answer: dict[str, Any]
    succeeded: bool
    gone: bool
    overloaded: bool
    asked_pause: timedelta | None


def record(database: Database, attempted: Attempted, *, chance: float) -> str:
    """Write down an attempt; give where its delivery stands. `chance` in 0..1 spreads the retries."""
    claim = attempted.claim
    status, pause = _standing(attempted, chance)
    with database.transaction() as connection:
        newest = deliveries.record(
            connection, claim.delivery_id, claim.attempts, attempted.answer, status=status, pause=pause
        )
        if newest and attempted.succeeded:
            _note_success(connection, claim)
        elif newest:
            _note_failure(connection, attempted)
    return status


def _standing(attempted: Attempted, chance: float) -> tuple[str, timedelta | None]:
    """Decide where a delivery stands after an attempt, and how long it pauses before the next."""
    if attempted.succeeded:
        return "SUCCEEDED", None
    made = attempted.claim.attempts - attempted.claim.round_start
    pause = webhooks.pause_after(made, chance, attempted.asked_pause)
    return ("FAILED", None) if attempted.gone or pause is None else ("PENDING", pause)


def _note_success(connection: Connection, claim: Row) -> None:
    health = receivers.lock_unwell(connection, claim.account_id, claim.receiver)
    if health is not None:
        receivers.save(connection, claim.account_id, claim.receiver, after_success(health))


def _note_failure(connection: Connection, attempted: Attempted) -> None:
    claim = attempted.claim
    before, now = receivers.lock(connection, claim.account_id, claim.receiver)
    health = after_failure(before, now, overloaded=attempted.overloaded, probe=claim.probing)
    if claim.endpoint_id is not None:
        health = _judge_endpoint(connection, claim, health, now, gone=attempted.gone)
    receivers.save(connection, claim.account_id, claim.receiver, health)


def _judge_endpoint(connection: Connection, claim: Row, health: Health, now: datetime, *, gone: bool) -> Health:
    """Disable an endpoint that has gone or failed for too long, warn half way; tell the account's other endpoints."""
    if gone or is_disabled_by(health, now):
        reason = DisabledReason.GONE if gone else DisabledReason.FAILING
        if receivers.disable(connection, claim.account_id, claim.endpoint_id, reason):
            _tell_others(connection, claim, DISABLED_EVENT, health)
    elif is_warned_by(health, now):
        _tell_others(connection, claim, FAILING_EVENT, health)
        return replace(health, warned_at=now)
    return health


def _tell_others(connection: Connection, claim: Row, type_: str, health: Health) -> None:
    endpoint = receivers.find_endpoint(connection, claim.account_id, claim.endpoint_id)
    if endpoint is None:  # deleted in this moment
        return
    data = {
        "EndpointId": str(endpoint.endpoint_id),
        "Url": endpoint.url,
        "Description": endpoint.description,
        "Status": endpoint.status,
        "DisabledReason": endpoint.disabled_reason,
        "ConsecutiveFailures": health.failures,
        "FailingSince": None if health.failing_since is None else _iso(health.failing_since),
    }
    shown = {name: value for name, value in data.items() if value is not None}
    event = {
        "event_id": f"evt_{uuid.uuid4().hex}",
        "account_id": claim.account_id,
        "type": type_,
        "body": webhooks.as_body({"type": type_, "timestamp": _iso(endpoint.now), "data": shown}),
    }
    receivers.tell_others(connection, event, claim.endpoint_id)


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
