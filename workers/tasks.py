"""Celery entry points. A message is only a bell: each task finds its work in Postgres and claims it there."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from celery import shared_task

from app import broker, service_model
from app.domain.jobs import LEASE, Claim, Company, Lane
from app.errors import InternalServerError, ServiceError, ServiceUnavailable
from app.failpoints import failpoint
from app.services import batches, jobs, schedules
from app.services.outcomes import Complete
from workers import courier
from workers.bells import Bell
from workers.bulk import slice as bulk_slice
from workers.heartbeat import CancelRequested
from workers.insist import insist
from workers.jobs import kinds
from workers.runtime import Runtime, current
from workers.schedules import run as ticking

log = logging.getLogger(__name__)


@shared_task(name=broker.RUN_NEXT, Request=Bell)  # type: ignore[untyped-decorator]  # Celery ships no types
def run_next(lane: str) -> bool:
    """Claim the next job of a lane, run it, and end it; for bulk work go on for a slice of time. False where there was none.

    A bell for bulk work first does what somebody waits for: behind a thousand bulk bells an interactive one is heard late.
    """
    if lane != Lane.BULK:
        return _run_urgent()
    _run_urgent()
    worked = False
    with _postgres_may_be_away(broker.RUN_NEXT):
        worked = bulk_slice.run(current(), run_job=lambda: _run_next(Lane.BULK))
    return worked  # noqa: RET504 - where the block swallowed an error, this is the first value


def _run_urgent() -> bool:
    with current().slots.urgent():
        return _run_next(Lane.INTERACTIVE)


def _run_next(lane: str) -> bool:
    return current().places.run(lambda company: _claim_and_run(lane, company))


def _claim_and_run(lane: str, company: Company) -> bool | Company:
    runtime, claim = current(), None
    # Who waited for a slot or a place until the process was asked to end begins nothing any more: the job is another one's.
    if runtime.stopping.is_set():
        return False
    with _postgres_may_be_away(broker.RUN_NEXT):
        claim = jobs.claim(
            runtime.database,
            lane,
            company,
            worker=runtime.worker,
            run_timeout=runtime.settings.run_timeout,
            most_running=runtime.settings.max_running_jobs,
        )
        if isinstance(claim, Claim):
            failpoint("after_claim")
            _run_and_log(claim, runtime)
    return claim if isinstance(claim, Company) else claim is not None


def _run_and_log(claim: Claim, runtime: Runtime) -> None:
    began = time.monotonic()
    with runtime.heartbeat.hold(claim):
        outcome = _run(claim, runtime)
    milliseconds = round((time.monotonic() - began) * 1000)
    fields = {"job_id": claim.job_id, "operation": claim.operation, "attempt": claim.attempt}
    log.info("job_finished", extra={**fields, "outcome": outcome, "milliseconds": milliseconds})


@contextmanager
def _postgres_may_be_away(task: str) -> Iterator[None]:
    """Give up quietly where Postgres stays away: what was to be done stands there, and is taken up when it is back."""
    try:
        yield
    except ServiceUnavailable:
        log.warning("postgres_unavailable", extra={"task": task})


def _run(claim: Claim, runtime: Runtime) -> str:
    """Run a claimed job. Faults of the caller end it; anything unexpected is logged and tried again a few times."""
    outcomes = runtime.outcomes
    try:
        complete = kinds.run(claim, runtime)
        failpoint("after_compute")
        shaped = _shaped(claim.operation, complete)
        return _end(lambda: outcomes.succeed(claim, shaped), "succeeded")
    except CancelRequested:
        return _end(lambda: outcomes.drop(claim), "canceled")
    except ServiceError as error:
        if not error.retryable:
            code, fault = error.code, error
            return _end(lambda: outcomes.fail(claim, fault), code)
        log.warning("job_interrupted", extra={"job_id": claim.job_id, "code": error.code})
        passing = error
    except Exception as error:  # the edge of the process: the job must end, the worker must live
        log.error("job_crashed", exc_info=error, extra={"job_id": claim.job_id})
        passing = InternalServerError()
    return _end(lambda: outcomes.retry(claim, passing), "retried")


def _shaped(operation: str, complete: Complete) -> Complete:
    return lambda connection: service_model.shape_output(operation, complete(connection))


def _end(ending: Callable[[], bool], outcome: str) -> str:
    """Write the ending of a job, for as long as its lease can last."""
    return outcome if insist(ending, LEASE.total_seconds()) else "lease-lost"


@shared_task(name=broker.DELIVER_NEXT, Request=Bell)  # type: ignore[untyped-decorator]
def deliver_next() -> None:
    """Wake the courier: it sends what is due in threads of its own."""
    courier.wake()


@shared_task(name=broker.SWEEP, Request=Bell)  # type: ignore[untyped-decorator]
def sweep() -> None:
    """Take work from dead workers, expire what nobody started, queue what is due, ring again for what waits."""
    runtime = current()
    with _postgres_may_be_away(broker.SWEEP):
        rescued = runtime.outcomes.rescue() + runtime.batch_outcomes.rescue()
        failpoint("after_sweep")
        expired = runtime.outcomes.expire()
        jobs.ring_again(runtime.database, runtime.doorbell)
        batches.ring_again(runtime.database, runtime.doorbell)
        runtime.batch_outcomes.tidy()
        runtime.reembedding.ring_again()
        schedules.make_ticks(runtime.database)
        schedules.ring(runtime.database, runtime.doorbell)
        if rescued or expired:
            log.warning("swept", extra={"rescued": rescued, "expired": expired})


@shared_task(name=broker.FIND_GROWTH, Request=Bell)  # type: ignore[untyped-decorator]
def find_growth() -> None:
    """Note the collections that outgrew their buckets, ring for those that nobody moves, and wake who builds indexes."""
    with _postgres_may_be_away(broker.FIND_GROWTH):
        current().bucket_work.find()
        current().indexer.wake()


@shared_task(name=broker.RUN_TICKS, Request=Bell)  # type: ignore[untyped-decorator]
def run_ticks() -> bool:
    """Run a schedule's tick for a slice of time and ring for what is left; False where there was none, or no thread for it."""
    runtime, found = current(), False
    with runtime.slots.bulk() as taken, _postgres_may_be_away(broker.RUN_TICKS):
        found = taken and runtime.places.run(lambda company: ticking.run_some(runtime))
        if found:
            schedules.ring(runtime.database, runtime.doorbell)
    return found


def drains(threads: int) -> list[Callable[[], object]]:
    """Give what the bells of a worker ask for, to be done without them: by so many threads for what somebody waits for."""

    def until_none(run: Callable[[], bool]) -> Callable[[], None]:
        def work() -> None:
            while not current().stopping.is_set() and run():
                pass

        return work

    def look_after() -> None:
        sweep()
        find_growth()

    urgent = until_none(lambda: bool(run_next(Lane.INTERACTIVE.value)))
    return [
        look_after,
        *[urgent] * threads,
        until_none(lambda: bool(run_next(Lane.BULK.value))),
        until_none(lambda: bool(run_ticks())),
    ]
