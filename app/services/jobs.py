"""A job's life up to its end: submit, look, claim, renew; and the bells that are rung again for what waits too long.

A job exists once its row is committed; the doorbell is rung after that, and a lost bell costs time, never the job. How jobs
end is told in `app.services.outcomes`.
"""

import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.engine import Connection

from app.broker import Doorbell
from app.db import claims, deliveries, endpoints, sweeps
from app.db import jobs as rows
from app.db.session import Database
from app.domain.audit import OPERATOR, Act, Actor
from app.domain.images import IMAGE_MEMBERS
from app.domain.jobs import (
    LONGEST_DEADLINE,
    RETRIABLE,
    RING_AGAIN,
    START_DEADLINE,
    Claim,
    Company,
    Job,
    Lane,
    Priority,
    Status,
    priority,
)
from app.errors import (
    Conflict,
    EndpointNotFound,
    IdempotentParameterMismatch,
    JobGone,
    JobNotFound,
    ServiceError,
    ServiceUnavailable,
    ValidationError,
)
from app.failpoints import failpoint
from app.services import audit
from app.services.admission import Admission

#: Bells that one sweep rings at most for each kind of work; the next sweep is a second away, and a bell takes the oldest.
_BELLS_PER_SWEEP = 64

#: Expired jobs that one purge deletes at most, so that its transaction stays short.
_PURGE_LIMIT = 500


@dataclass(frozen=True, slots=True)
class Submission:
    """What a caller wants done; images in the input hold raw bytes under `Bytes`, or name another source."""

    account_id: int
    operation: str
    input: Mapping[str, Any]
    idempotency_key: str | None = None
    webhook_url: str | None = None
    webhook_endpoint_id: uuid.UUID | None = None
    tells_endpoints: bool = False
    caller_metadata: Mapping[str, str] | None = None
    priority: Priority = Priority.NORMAL
    start_by: timedelta | datetime | None = None  # a caller's own deadline: a time from now, or a moment
    region: str | None = None
    retry_of: str | None = None
    actor: Actor = OPERATOR


def submit(
    database: Database, doorbell: Doorbell, submission: Submission, admission: Admission | None = None
) -> tuple[Job, bool]:
    """Commit a job and ring for it; with a known idempotency key give the job of the first time and True.

    Where there is no room, only a known key gets an answer; all else is refused with an error that says when to come again.
    """
    stored, blobs = _without_bytes(submission.input)
    request_hash = _fingerprint(submission, stored)
    lane = submission.priority.lane
    refusal = None if admission is None else admission.refusal(submission.account_id, lane)
    if refusal is not None and submission.idempotency_key is None:
        raise refusal
    with database.transaction() as connection:
        job = None
        if refusal is None:
            job = rows.insert(connection, _values(submission, stored, request_hash), start_by=_start_by(submission))
        if job is None:
            return _replay(connection, submission, request_hash, refusal), True
        _check_new(connection, job)
        for name, content in blobs.items():
            rows.insert_blob(connection, job.job_id, name, content)
        failpoint("before_accept")
    failpoint("after_insert")
    doorbell.ring(lane)
    return job, False


def _check_new(connection: Connection, job: Job) -> None:
    """Refuse what depends on the moment: a repeated submit finds its job all the same, hence not before the insert."""
    if not timedelta() < job.start_deadline_at - job.created_at <= LONGEST_DEADLINE:
        raise ValidationError("Deadline must be in the future, a day away at most.")
    if (
        job.webhook_endpoint_id is not None
        and endpoints.find(connection, job.account_id, job.webhook_endpoint_id) is None
    ):
        raise EndpointNotFound(str(job.webhook_endpoint_id))  # it would tell nobody, in silence


def add(connection: Connection, submission: Submission) -> uuid.UUID | None:
    """Queue a job without inline pictures in the caller's transaction, or find the one under its key; give its id.

    None where that one ended, and forgot its key, in this moment.
    """
    values = _values(submission, submission.input, _fingerprint(submission, submission.input))
    job = rows.insert(connection, values, start_by=_start_by(submission))
    if job is None:
        job = rows.find_by_key(connection, submission.account_id, str(submission.idempotency_key))
    return None if job is None else uuid.UUID(job.job_id)


def _values(submission: Submission, stored: Mapping[str, Any], request_hash: bytes) -> dict[str, Any]:
    return {
        "account_id": submission.account_id,
        "operation": submission.operation,
        "input": stored,
        "lane": submission.priority.lane.value,
        "priority": submission.priority.rank,
        "region": submission.region,
        "idempotency_key": submission.idempotency_key,
        "request_hash": request_hash,
        "caller_metadata": dict(submission.caller_metadata) if submission.caller_metadata else None,
        "actor": submission.actor.stored(),
        "webhook_url": submission.webhook_url,
        "webhook_endpoint_id": submission.webhook_endpoint_id,
        "tells_endpoints": submission.tells_endpoints,
        "retry_of": None if submission.retry_of is None else uuid.UUID(submission.retry_of),
    }


def _start_by(submission: Submission) -> timedelta | datetime:
    return START_DEADLINE[submission.priority.lane] if submission.start_by is None else submission.start_by


def _replay(connection: Connection, submission: Submission, request_hash: bytes, refusal: ServiceError | None) -> Job:
    key = submission.idempotency_key
    job = None if key is None else rows.find_by_key(connection, submission.account_id, key)
    if job is None:
        # Not refused: it ended in an error that may be retried, and forgot its key, between our insert and this look.
        raise refusal or ServiceUnavailable
    if job.request_hash != request_hash:
        raise IdempotentParameterMismatch(str(key).partition(":")[2])  # without our own prefix
    return job


def _without_bytes(input_: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, bytes]]:
    stored = dict(input_)
    blobs: dict[str, bytes] = {}
    for member in IMAGE_MEMBERS:
        content = stored.get(member, {}).get("Bytes")
        if content is not None:
            blobs[member] = content
            stored[member] = {"Blob": {"Name": member, "Sha256": hashlib.sha256(content).hexdigest()}}
    return stored, blobs


def _fingerprint(submission: Submission, stored: Mapping[str, Any]) -> bytes:
    parts: list[Any] = [submission.operation, stored, submission.webhook_url, submission.caller_metadata]
    # What was not there in earlier versions counts only where it is used, so that their keys stay good.
    extras = {
        "endpoint": submission.webhook_endpoint_id,
        "priority": None if submission.priority is Priority.NORMAL else submission.priority.value,
        "start_by": submission.start_by,
        "retry_of": submission.retry_of,
    }
    used = {name: str(value) for name, value in extras.items() if value is not None}
    text = json.dumps([*parts, used] if used else parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).digest()


def get(database: Database, account_id: int, job_id: str, *, keep: timedelta | None = None) -> Job:
    """Read a job of an account, or raise JobNotFound; JobGone where such a job is past its retention of `keep`."""
    try:
        uuid.UUID(job_id)
    except ValueError as error:
        raise JobNotFound(job_id) from error
    with database.statement() as connection:
        job = rows.find(connection, account_id, job_id)
        if job is not None:
            return job
        raise (
            JobGone(job_id) if keep is not None and rows.is_past(connection, job_id, keep=keep) else JobNotFound(job_id)
        )


def list_page(
    database: Database, account_id: int, *, before: uuid.UUID | None, limit: int, filters: dict[str, str]
) -> list[Job]:
    """List jobs of an account, newest first."""
    with database.statement() as connection:
        return rows.list_page(connection, account_id, before=before, limit=limit, filters=filters)


def position(database: Database, job: Job) -> int | None:
    """Estimate how many jobs are before this one, itself included; None where it does not wait."""
    if job.status is not Status.QUEUED:
        return None
    with database.statement() as connection:
        return rows.position(connection, job)


def again(database: Database, job: Job, *, idempotency_key: str | None, actor: Actor = OPERATOR) -> Submission:
    """Make a submission of a job that ended without success; raise Conflict where that cannot be."""
    if job.status not in RETRIABLE:
        raise Conflict(f"The job is {job.status.value}; only one that FAILED, EXPIRED or was CANCELED can be retried.")
    with database.statement() as connection:
        stored = rows.get_input(connection, job.job_id)
    if any("Blob" in stored.get(member, {}) for member in IMAGE_MEMBERS):
        raise Conflict("The job's picture came with the request and was deleted when the job ended. Submit it again.")
    return Submission(
        account_id=job.account_id,
        operation=job.operation,
        input=stored,
        idempotency_key=idempotency_key,
        webhook_url=job.webhook_url,
        webhook_endpoint_id=job.webhook_endpoint_id,
        tells_endpoints=job.tells_endpoints,
        caller_metadata=job.caller_metadata,
        priority=priority(job),
        retry_of=job.job_id,
        actor=actor,
    )


def claim(
    database: Database, lane: str, company: Company, *, worker: str, run_timeout: timedelta, most_running: int
) -> Claim | Company | None:
    """Take the next job of a lane, or None where there is none of an account that may have one more running.

    Where the next one runs in another company, give that.
    """
    with database.statement() as connection:
        return claims.claim(
            connection, lane, company, worker=worker, run_timeout=run_timeout, most_running=most_running
        )


def renew(database: Database, held: list[Claim]) -> set[tuple[str, int]]:
    """Show that the worker of these claims is alive; give the (job id, lease) of those whose caller wants them canceled."""
    with database.statement() as connection:
        return claims.heartbeat(connection, held)


def ring_again(database: Database, doorbell: Doorbell) -> None:
    """Ring for every queued job and due delivery whose bell may have been lost."""
    lanes = (Lane.INTERACTIVE, Lane.BULK)
    with database.transaction() as connection:
        unheard = {lane: sweeps.unheard(connection, lane, silence=RING_AGAIN, limit=_BELLS_PER_SWEEP) for lane in lanes}
        due = deliveries.count_due(connection, limit=_BELLS_PER_SWEEP)
    for lane, count in {**unheard, Lane.WEBHOOKS: due}.items():
        doorbell.ring(lane, count)


def purge(database: Database) -> int:
    """Delete jobs past their retention; give how many."""
    with database.transaction() as connection:
        deleted = rows.purge(connection, limit=_PURGE_LIMIT)
        audit.note(connection, *audit.of_purge(Act.PURGE_JOBS, deleted))
    return deleted
