"""What one attempt means for its delivery and its receiver: one transaction writes down all of it.

The attempt, where the delivery stands, the receiver's circuit, and an endpoint that is disabled with the event that says so.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.engine import Connection

from app.db import deliveries, endpoints, receivers
from app.db.session import Database, Row
from app.domain import webhooks
from app.domain.jobs import iso
from app.domain.receivers import Health, after_failure, after_nothing, after_success, is_disabled_by, is_warned_by
from app.domain.webhook_events import DISABLED, FAILING
from app.services import events

#: How a receiver has been doing is remembered for this long after the last change.
KEEP = timedelta(days=30)

#: Rows that one transaction of a purge changes at most.
_PURGE_LIMIT = 2000


@dataclass(frozen=True, slots=True)
class Attempted:
    """An attempt that was made: which, what came of it, and what the receiver let us know."""

    claim: Row
    answer: dict[str, Any]
    succeeded: bool
    gone: bool
    overloaded: bool
    ours: bool  # it failed by a fault of ours
    asked_pause: timedelta | None

    @property
    def is_test(self) -> bool:
        """Whether a caller tries the endpoint: it is attempted once, and a failure is held against nobody."""
        return bool(self.claim.asked_by == "TEST")


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


def bury(database: Database) -> int:
    """End what waits for endpoints that were disabled because they failed or have gone, a bounded number; give how many."""
    with database.transaction() as connection:
        return deliveries.bury(connection, limit=_PURGE_LIMIT)


def purge(database: Database) -> int:
    """Forget receivers of whom nothing was noted for long, a bounded number; they begin as new ones. Give how many."""
    with database.transaction() as connection:
        return receivers.purge(connection, keep=KEEP, limit=_PURGE_LIMIT)


def _standing(attempted: Attempted, chance: float) -> tuple[str, timedelta | None]:
    """Decide where a delivery stands after an attempt, and how long it pauses before the next."""
    if attempted.succeeded:
        return "SUCCEEDED", None
    made = attempted.claim.attempts - attempted.claim.round_start
    pause = webhooks.pause_after(made, chance, attempted.asked_pause)
    ended = attempted.gone or attempted.is_test or pause is None
    return ("FAILED", None) if ended else ("PENDING", pause)


def _note_success(connection: Connection, claim: Row) -> None:
    health: Health | None
    if claim.known:
        health = receivers.lock_unwell(connection, claim.account_id, claim.receiver)
    else:
        health, _ = receivers.lock(connection, claim.account_id, claim.receiver)
    if health is not None:
        receivers.save(connection, claim.account_id, claim.receiver, after_success(health))


def _note_failure(connection: Connection, attempted: Attempted) -> None:
    claim = attempted.claim
    before, now = receivers.lock(connection, claim.account_id, claim.receiver)
    if attempted.ours or (attempted.is_test and not attempted.gone):
        health = after_nothing(before, now, probe=claim.probing)
    else:
        health = after_failure(before, now, overloaded=attempted.overloaded, probe=claim.probing)
        if claim.endpoint_id is not None:
            health = _judge_endpoint(connection, claim, health, now, gone=attempted.gone)
    receivers.save(connection, claim.account_id, claim.receiver, health)


def _judge_endpoint(connection: Connection, claim: Row, health: Health, now: datetime, *, gone: bool) -> Health:
    """Disable an endpoint that has gone or failed for too long, warn half way; tell the account's other endpoints."""
    if gone or is_disabled_by(health, now):
        _disable(connection, claim, health, "GONE" if gone else "FAILING")
    elif is_warned_by(health, now):
        _report(connection, claim, FAILING, health)
        return replace(health, warned_at=now)
    return health


def _disable(connection: Connection, claim: Row, health: Health, reason: str) -> None:
    endpoint = endpoints.find(connection, claim.account_id, claim.endpoint_id)
    if endpoint is not None and endpoint.status == "ENABLED":  # who holds the receiver's row is alone here
        endpoints.disable(connection, claim.account_id, claim.endpoint_id, reason)
        _report(connection, claim, DISABLED, health)


def _report(connection: Connection, claim: Row, type_: str, health: Health) -> None:
    endpoint = endpoints.find(connection, claim.account_id, claim.endpoint_id)
    if endpoint is None:  # deleted in this moment
        return
    data = {
        "EndpointId": endpoint.endpoint_id,
        "Url": endpoint.url,
        "Description": endpoint.description,
        "Status": endpoint.status,
        "DisabledReason": endpoint.disabled_reason,
        "ConsecutiveFailures": health.failures,
        "FailingSince": iso(health.failing_since),
    }
    shown = {name: value for name, value in data.items() if value is not None}
    events.report(connection, claim.account_id, type_, shown, about=claim.endpoint_id)
