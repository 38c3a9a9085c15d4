"""How jobs end: the only code that moves a job out of IN_PROGRESS or into a terminal status.

Ending is one transaction: result, status, webhook event and its delivery, and the line of the audit log. Every ending by a
worker is fenced by its lease; one whose lease was lost changes nothing.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from sqlalchemy.engine import Connection

from app.broker import Doorbell
from app.db import claims, sweeps
from app.db import jobs as rows
from app.db.session import Database
from app.domain.audit import OPERATOR, Act, Actor, Line
from app.domain.jobs import LEASE, MAX_CRASHES, Claim, Job, Lane, Status
from app.errors import GivenUp, ServiceError, ServiceUnavailable
from app.failpoints import failpoint
from app.services import audit, events, retries

#: Rows that one sweep handles at most; the next sweep is a second away.
_SWEEP_LIMIT = 500

#: Writes the end of a job in the transaction that is open; gives how many are told of it.
End = Callable[[Connection], int]

#: Runs inside the finishing transaction: writes what the operation stores, gives its output.
Complete = Callable[[Connection], dict[str, Any]]


class Outcomes:
    """Ends jobs. Holds what every ending needs: where to write, whom to ring, how long to keep."""

    def __init__(self, database: Database, doorbell: Doorbell, *, keep: timedelta) -> None:
        self._database = database
        self._doorbell = doorbell
        self._keep = keep

    def succeed(self, claim: Claim, complete: Complete) -> bool:
        """Run the completing writes and end the job in one transaction; False where the lease was lost."""

        def end(connection: Connection) -> int:
            result = complete(connection)
            claims.close_attempt(connection, claim.job_id, claim.lease, "succeeded")
            return self._close(connection, claim.job_id, Status.IN_PROGRESS, Status.SUCCEEDED, result=result)

        return self._end(claim, end)

    def fail(self, claim: Claim, error: ServiceError) -> bool:
        """End the job with an error of the caller; False where the lease was lost."""
        return self._end(claim, lambda connection: self._fail(connection, claim.job_id, claim.lease, error, "failed"))

    def retry(self, claim: Claim, error: ServiceError) -> bool:
        """Queue the job again after a pause, or end it where the pauses are used up; False where the lease was lost."""
        tries = claim.attempt - claim.crashes  # a crash has its own limit, and is no reason to give up sooner here
        pause = retries.pause(error, claim.lane, tries=tries)

        def end(connection: Connection) -> int:
            if pause is None:
                return self._fail(connection, claim.job_id, claim.lease, retries.told(error), "failed")
            claims.requeue(connection, claim.job_id, pause=pause, crashed=False)
            claims.close_attempt(connection, claim.job_id, claim.lease, "retried")
            return 0

        return self._end(claim, end)

    def drop(self, claim: Claim) -> bool:
        """End a job that its caller wants canceled; False where the lease was lost."""
        return self._end(claim, lambda connection: self._cancel_claimed(connection, claim.job_id, claim.lease))

    def _end(self, claim: Claim, end: End) -> bool:
        """Run an ending under the claim's lease; where the caller canceled meanwhile, nothing else is written."""
        with self._database.transaction() as connection:
            canceled = claims.lock(connection, claim)
            if canceled is None:
                return False
            told = self._cancel_claimed(connection, claim.job_id, claim.lease) if canceled else end(connection)
            failpoint("before_commit")
        failpoint("after_commit")
        self._announce(told)
        return True

    def cancel(self, account_id: int, job_id: str, actor: Actor = OPERATOR) -> Job | None:
        """Take a job back: a queued one ends at once, a running one as soon as its worker looks. None: no such job."""
        with self._database.transaction() as connection:
            job = rows.lock(connection, account_id, job_id)
            if job is None or job.done:
                return job
            audit.note(connection, Line(account_id, actor, Act.CANCEL_JOB, resources={"JobId": job_id}))
            if job.status is Status.IN_PROGRESS:
                return rows.request_cancel(connection, job_id)
            told = self._close(connection, job_id, Status.QUEUED, Status.CANCELED)
            job = rows.lock(connection, account_id, job_id)
        self._announce(told)
        return job

    def rescue(self) -> int:
        """Take jobs from workers that died or hang; a job that killed too many workers fails. Gives how many."""
        told = 0
        with self._database.transaction() as connection:
            stale = sweeps.lock_stale(connection, lease=LEASE, limit=_SWEEP_LIMIT)
            for row in stale:
                job_id, outcome = str(row.job_id), "crashed" if row.silent else "timed-out"
                if row.canceled:
                    told += self._cancel_claimed(connection, job_id, row.lease)
                elif row.crashes + 1 >= MAX_CRASHES:
                    told += self._fail(connection, job_id, row.lease, GivenUp(), outcome)
                else:
                    claims.requeue(connection, job_id, pause=timedelta(), crashed=True)
                    claims.close_attempt(connection, job_id, row.lease, outcome)
            if stale:
                failpoint("in_sweep")
        self._announce(told)
        return len(stale)

    def expire(self) -> int:
        """End jobs that no worker started before their deadline; give how many."""
        error = ServiceUnavailable("No worker started the job before its deadline.")
        with self._database.transaction() as connection:
            overdue = sweeps.lock_overdue(connection, limit=_SWEEP_LIMIT)
            told = sum(
                self._close(connection, job_id, Status.QUEUED, Status.EXPIRED, error=error) for job_id in overdue
            )
        self._announce(told)
        return len(overdue)

    def _fail(self, connection: Connection, job_id: str, lease: int, error: ServiceError, outcome: str) -> int:
        told = self._close(connection, job_id, Status.IN_PROGRESS, Status.FAILED, error=error)
        claims.close_attempt(connection, job_id, lease, outcome, _error_document(error))
        return told

    def _cancel_claimed(self, connection: Connection, job_id: str, lease: int) -> int:
        claims.close_attempt(connection, job_id, lease, "canceled")
        return self._close(connection, job_id, Status.IN_PROGRESS, Status.CANCELED)

    def _close(
        self,
        connection: Connection,
        job_id: str,
        leaving: Status,
        status: Status,
        *,
        result: dict[str, Any] | None = None,
        error: ServiceError | None = None,
    ) -> int:
        """End a job and write its event; give how many are told."""
        job = rows.close(
            connection,
            job_id,
            leaving=leaving,
            status=status,
            result=result,
            error=None if error is None else _error_document(error),
            keep=self._keep,
            # An error of ours must not be frozen under a caller's key: the next try may succeed.
            forget_key=error is not None and error.retryable,
        )
        if job is None:
            return 0
        audit.note(connection, audit.of_job(job))
        return events.publish(connection, job)

    def _announce(self, told: int) -> None:
        if told:
            self._doorbell.ring(Lane.WEBHOOKS)  # the courier that hears it goes on until nothing is due


def _error_document(error: ServiceError) -> dict[str, Any]:
    return {"Code": error.code, "Message": error.message, "Retryable": error.retryable}
