"""Take a due delivery, attempt it, write down what came of it.

The attempt is committed before it is made: a courier that dies in between leaves a row that says so, and the delivery is
taken again later with the same event id and the same bytes.
"""

import logging
from datetime import timedelta

from app.db import deliveries
from app.db.session import Row
from app.domain import webhooks
from workers.insist import insist
from workers.runtime import Runtime
from workers.webhooks import Delivery, Outcome, attempt

log = logging.getLogger(__name__)

#: How long the outcome of an attempt is kept while Postgres is away: what its lease leaves after a slow attempt.
_KEEP_SECONDS = 40.0


def deliver_next(runtime: Runtime, *, chance: float) -> bool:
    """Deliver what is due the longest; False where nothing is. `chance` in 0..1 spreads the retries."""
    with runtime.database.transaction() as connection:
        row = deliveries.claim(connection, lease=webhooks.LEASE)
    if row is None:
        return False
    outcome = _attempt(row, runtime)
    status, pause = _standing(outcome, row.attempts, chance)
    answer = {
        "status_code": outcome.status,
        "error": outcome.error,
        "milliseconds": outcome.milliseconds,
        "answer": outcome.answer,
    }

    def record() -> None:
        with runtime.database.transaction() as connection:
            deliveries.record(connection, row.delivery_id, row.attempts, answer, status=status, pause=pause)

    insist(record, _KEEP_SECONDS)
    log.info("delivery_attempted", extra={"event_id": row.event_id, "attempt": row.attempts, "status": status})
    return True


def _attempt(row: Row, runtime: Runtime) -> Outcome:
    """Attempt a delivery; whatever goes wrong on our side is an attempt like any other, so that the schedule goes on."""
    try:
        secret = runtime.cipher.decrypt(bytes(row.webhook_secret), owner=f"account {row.account}")
        return attempt(runtime.dialer, Delivery(row.event_id, row.url, secret, bytes(row.body)), int(row.timestamp))
    except Exception as error:
        log.error("delivery_crashed", exc_info=error, extra={"event_id": row.event_id})
        return Outcome(False, None, "internal error", 0, b"", None, False)


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
