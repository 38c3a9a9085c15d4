"""Take due deliveries, attempt them, write down what came of it.

The attempt is committed before it is made: a courier that dies in between leaves a row that says so, and the delivery is
taken again later with the same event id and the same bytes.
"""

import json
import logging
import random
from datetime import timedelta
from typing import Any

from app.db import deliveries
from app.db.session import Row
from app.domain import webhooks
from app.encryption import Cipher
from app.failpoints import failpoint
from app.services import receivers
from app.services.receivers import Attempted
from workers.dispatcher import Dispatcher
from workers.insist import insist
from workers.runtime import Runtime
from workers.webhooks import INTERNAL, Delivery, Outcome, attempt

log = logging.getLogger(__name__)

#: How long the outcome of an attempt is kept while Postgres is away: what its lease leaves after a slow attempt.
_KEEP_SECONDS = 40.0

#: One thread of so many is kept for accounts that have nothing under way, whatever the others do with theirs.
_RESERVED = 4

_current: list[Dispatcher[Row]] = []


def open_courier(runtime: Runtime) -> None:
    """Start the courier of this process: from now on it delivers what is due whenever it is woken."""
    dispatcher = Dispatcher(
        lambda free: take(runtime, free),
        lambda claim: deliver(claim, runtime, chance=random.random()),  # noqa: S311 - jitter, not a secret
        threads=runtime.settings.courier_threads,
    )
    _current[:] = [dispatcher]
    dispatcher.start()


def wake() -> None:
    """Let the courier of this process look for what is due."""
    for dispatcher in _current:
        dispatcher.wake()


def close_courier() -> None:
    """Take nothing more; what is being sent is sent."""
    for dispatcher in _current:
        dispatcher.stop()
    _current.clear()


def take(runtime: Runtime, count: int) -> list[Row]:
    """Take up to so many due deliveries, one for each receiver; the last threads are for accounts that have none under way."""
    spare = count - runtime.settings.courier_threads // _RESERVED
    with runtime.database.statement() as connection:
        limit = spare if spare > 0 else count
        return deliveries.claim(connection, lease=webhooks.LEASE, limit=limit, idle_only=spare <= 0)


def deliver(claim: Row, runtime: Runtime, *, chance: float) -> None:
    """Make an attempt at a delivery that was taken, and record it. `chance` in 0..1 spreads the retries."""
    failpoint("before_post")
    outcome = _attempt(claim, runtime)
    failpoint("after_post")
    attempted = _attempted(claim, outcome)
    status = insist(lambda: receivers.record(runtime.database, attempted, chance=chance), _KEEP_SECONDS)
    log.info("delivery_attempted", extra={"event_id": claim.event_id, "attempt": claim.attempts, "status": status})


def _attempt(claim: Row, runtime: Runtime) -> Outcome:
    """Attempt a delivery; whatever goes wrong on our side is an attempt like any other, so that the schedule goes on."""
    try:
        return attempt(runtime.dialer, _delivery(claim, runtime.cipher), int(claim.timestamp))
    except Exception as error:
        log.error("delivery_crashed", exc_info=error, extra={"event_id": claim.event_id})
        return Outcome(False, kind=INTERNAL, error="internal error")


def _delivery(claim: Row, cipher: Cipher) -> Delivery:
    """Open the secrets of a claim: the endpoint's, or the account's for a job's own URL."""
    body = bytes(claim.body)
    if claim.endpoint_id is None:
        secret = cipher.decrypt(bytes(claim.webhook_secret), owner=f"account {claim.account}")
        return Delivery(claim.event_id, claim.url, (secret,), body)
    owner = f"endpoint {claim.endpoint_id}"
    secrets = tuple(cipher.decrypt(bytes(secret), owner=owner) for secret in claim.secrets)
    headers = {} if claim.headers is None else json.loads(cipher.decrypt(bytes(claim.headers), owner=owner))
    by_reference = claim.payload == "REFERENCE"
    return Delivery(
        claim.event_id, claim.url, secrets, webhooks.without_result(body) if by_reference else body, headers
    )


def _attempted(claim: Row, outcome: Outcome) -> Attempted:
    asked = outcome.retry_after_seconds
    return Attempted(
        claim=claim,
        answer=_answer(outcome),
        succeeded=outcome.succeeded,
        gone=outcome.gone,
        overloaded=outcome.overloaded,
        ours=outcome.ours,
        asked_pause=None if asked is None else timedelta(seconds=asked),
    )


def _answer(outcome: Outcome) -> dict[str, Any]:
    return {
        "status_code": outcome.status,
        "error_kind": outcome.kind,
        "error": outcome.error,
        "milliseconds": outcome.milliseconds,
        "address": outcome.address,
        "answer": outcome.answer,
    }
