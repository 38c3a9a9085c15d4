"""Take a due delivery, attempt it, write down what came of it.

The attempt is committed before it is made: a courier that dies in between leaves a row that says so, and the delivery is
taken again later with the same event id and the same bytes.
"""

import logging
from datetime import timedelta

from app.db import deliveries
from app.db.session import Row
from app.domain import webhooks
from app.encryption import WrongSecretKey
from workers.runtime import Runtime
from workers.webhooks import Delivery, Outcome, attempt

log = logging.getLogger(__name__)


def deliver_next(runtime: Runtime, *, chance: float) -> None:
    """Deliver what is due the longest, if anything is; `chance` in 0..1 spreads the retries."""
    with runtime.database.transaction() as connection:
        row = deliveries.claim(connection, lease=webhooks.LEASE)
    if row is None:
        return
    outcome = _attempt(row, runtime)
    status, pause = _standing(outcome, row.attempts, chance)
    answer = {
        "status_code": outcome.status,
        "error": outcome.error,
        "milliseconds": outcome.milliseconds,
        "answer": outcome.answer,
    }
    with runtime.database.transaction() as connection:
        deliveries.record(connection, row.delivery_id, row.attempts, answer, status=status, pause=pause)
    log.info("delivery_attempted", extra={"event_id": row.event_id, "attempt": row.attempts, "status": status})


def _attempt(row: Row, runtime: Runtime) -> Outcome:
    try:
        secret = runtime.cipher.decrypt(bytes(row.webhook_secret), owner=f"account {row.account}")
    except WrongSecretKey as error:  # an attempt like any other: the operator sees it, and the schedule goes on
        log.error("webhook_secret_unreadable", extra={"event_id": row.event_id})
        return Outcome(False, None, str(error), 0, b"", None, False)
    delivery = Delivery(str(row.delivery_id), row.event_id, row.url, secret, bytes(row.body), row.attempts)
    return attempt(runtime.dialer, delivery, int(row.timestamp))


def _standing(outcome: Outcome, attempts: int, chance: float) -> tuple[str, timedelta | None]:
    """Decide where a delivery stands after an attempt, and how long it pauses before the next."""
    if outcome.succeeded:
        return "SUCCEEDED", None
    pause = webhooks.pause_before(attempts + 1, chance)
    if outcome.final or pause is None:
        return "FAILED", None
    if outcome.retry_after_seconds is not None:
        pause = max(pause, timedelta(seconds=outcome.retry_after_seconds))
    return "PENDING", pause
