"""A job's life up to its end: submit, look, claim, renew; and the bells that are rung again for what waits too long.

A job exists once its row is committed; the doorbell is rung after that, and a lost bell costs time, never the job. How jobs
end is told in `app.services.outcomes`.
"""

import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy.engine import Connection

from app.broker import Doorbell
from app.db import deliveries, sweeps
from app.db import jobs as rows
from app.db.session import Database
from app.domain.images import IMAGE_MEMBERS
from app.domain.jobs import RING_AGAIN, START_DEADLINE, Claim, Job, Lane
from app.errors import IdempotentParameterMismatch, JobNotFound, ServiceUnavailable

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
    caller_metadata: Mapping[str, str] | None = None
    lane: Lane = Lane.INTERACTIVE


def submit(database: Database, doorbell: Doorbell, submission: Submission) -> tuple[Job, bool]:
    """Commit a job and ring for it; with a known idempotency key give the job of the first time and True."""
    stored, blobs = _without_bytes(submission.input)
    request_hash = _fingerprint(submission, stored)
    values = {
        "account_id": submission.account_id,
        "operation": submission.operation,
        "input": stored,
        "lane": submission.lane.value,
        "idempotency_key": submission.idempotency_key,
        "request_hash": request_hash,
        "caller_metadata": dict(submission.caller_metadata) if submission.caller_metadata else None,
        "webhook_url": submission.webhook_url,
    }
    with database.transaction() as connection:
        job = rows.insert(connection, values, start_within=START_DEADLINE)
        if job is None:
            return _replay(connection, submission, request_hash), True
        for name, content in blobs.items():
            rows.insert_blob(connection, job.job_id, name, content)
    doorbell.ring(submission.lane)
    return job, False


def _replay(connection: Connection, submission: Submission, request_hash: bytes) -> Job:
    key = submission.idempotency_key or ""
    job = rows.find_by_key(connection, submission.account_id, key)
    if job is None:  # it ended in an error that may be retried, and forgot its key, between our insert and this look
        raise ServiceUnavailable
    if job.request_hash != request_hash:
        raise IdempotentParameterMismatch(key.partition(":")[2])  # without our own prefix
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
    parts = [submission.operation, stored, submission.webhook_url, submission.caller_metadata]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, separators=(",", ":")).encode()).digest()


def get(database: Database, account_id: int, job_id: str) -> Job:
    """Read a job of an account, or raise JobNotFound."""
    try:
        uuid.UUID(job_id)
    except ValueError as error:
        raise JobNotFound(job_id) from error
    with database.statement() as connection:
        job = rows.find(connection, account_id, job_id)
    if job is None:
        raise JobNotFound(job_id)
    return job


def claim(database: Database, lane: str, *, worker: str, run_timeout: timedelta) -> Claim | None:
    """Take the next job of a lane, or None where there is none."""
    with database.statement() as connection:
        return rows.claim(connection, lane, worker=worker, run_timeout=run_timeout)


def renew(database: Database, claims: list[Claim]) -> None:
    """Show that the worker of these claims is alive."""
    with database.statement() as connection:
        rows.heartbeat(connection, claims)


def ring_again(database: Database, doorbell: Doorbell) -> None:
    """Ring for every queued job and due delivery whose bell may have been lost."""
    with database.transaction() as connection:
        lanes = sweeps.unheard(connection, silence=RING_AGAIN, limit=_BELLS_PER_SWEEP)
        due = deliveries.count_due(connection, limit=_BELLS_PER_SWEEP)
    for lane in lanes:
        doorbell.ring(lane)
    doorbell.ring(Lane.WEBHOOKS, due)


def purge(database: Database) -> int:
    """Delete jobs past their retention; give how many."""
    with database.transaction() as connection:
        return rows.purge(connection, limit=_PURGE_LIMIT)
