"""Celery entry points. A message is only a bell: each task finds its work in Postgres and claims it there."""

import logging
import random
import time

from celery import shared_task

from app import broker, service_model
from app.domain.jobs import Claim
from app.errors import ServiceError
from app.services import jobs
from workers import courier
from workers.jobs import index_faces, search_faces
from workers.runtime import Runtime, current

log = logging.getLogger(__name__)

_KINDS = {"IndexFaces": index_faces.run, "SearchFacesByImage": search_faces.run}


@shared_task(name=broker.RUN_NEXT)  # type: ignore[untyped-decorator]  # Celery ships no types
def run_next(lane: str) -> None:
    """Claim the next job of a lane, run it, and end it."""
    runtime = current()
    claim = jobs.claim(runtime.database, lane, worker=runtime.worker, run_timeout=runtime.settings.run_timeout)
    if claim is None:
        return
    began = time.monotonic()
    with runtime.heartbeat.hold(claim):
        outcome = _run(claim, runtime)
    milliseconds = round((time.monotonic() - began) * 1000)
    fields = {"job_id": claim.job_id, "operation": claim.operation, "attempt": claim.attempt}
    log.info("job_finished", extra={**fields, "outcome": outcome, "milliseconds": milliseconds})


def _run(claim: Claim, runtime: Runtime) -> str:
    """Run a claimed job. Faults of the caller end it; anything unexpected is logged and tried again a few times."""
    try:
        complete = _KINDS[claim.operation](claim, runtime)
        held = runtime.outcomes.succeed(
            claim, lambda connection: service_model.shape_output(claim.operation, complete(connection))
        )
        outcome = "succeeded"
    except ServiceError as error:
        if error.retryable:
            held, outcome = runtime.outcomes.retry(claim), "retried"
        else:
            held, outcome = runtime.outcomes.fail(claim, error), error.code
    except Exception as error:
        log.error("job_crashed", exc_info=error, extra={"job_id": claim.job_id})
        held, outcome = runtime.outcomes.retry(claim), "retried"
    return outcome if held else "lease-lost"


@shared_task(name=broker.DELIVER_NEXT)  # type: ignore[untyped-decorator]
def deliver_next() -> None:
    """Send the webhook that is due the longest."""
    courier.deliver_next(current(), chance=random.random())  # noqa: S311 - jitter, not a secret


@shared_task(name=broker.SWEEP)  # type: ignore[untyped-decorator]
def sweep() -> None:
    """Take jobs from dead workers, expire what nobody started, ring again for what waits."""
    runtime = current()
    rescued = runtime.outcomes.rescue()
    expired = runtime.outcomes.expire()
    jobs.ring_again(runtime.database, runtime.doorbell)
    if rescued or expired:
        log.warning("swept", extra={"rescued": rescued, "expired": expired})


@shared_task(name=broker.PURGE)  # type: ignore[untyped-decorator]
def purge() -> None:
    """Delete jobs past their retention."""
    deleted = jobs.purge(current().database)
    if deleted:
        log.info("purged", extra={"jobs": deleted})
