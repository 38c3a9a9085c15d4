"""Queries on jobs, their attempts and blobs.

Every change of a status is a guarded update: it names the status that it leaves, and for a running job the lease that it
holds. No row changed means that somebody else was first, and the caller throws its work away. Times are Postgres's now().
"""

import uuid
from dataclasses import fields
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Connection

from app.db.schema import blobs, job_attempts, jobs
from app.db.session import Row
from app.domain.jobs import Claim, Job, Status

#: Where a finished job is announced to whoever waits for it; the payload is the job id.
FINISHED_CHANNEL = "rekollect_job_finished"

_now = sa.func.now()
_JOB_COLUMNS = (
    jobs.c.job_id,
    jobs.c.account_id,
    jobs.c.operation,
    jobs.c.status,
    jobs.c.attempt,
    jobs.c.result,
    jobs.c.error,
    jobs.c.caller_metadata,
    jobs.c.webhook_url,
    jobs.c.request_hash,
    jobs.c.created_at,
    jobs.c.started_at,
    jobs.c.finished_at,
    jobs.c.expires_at,
)


def _job(row: Row | None) -> Job | None:
    if row is None:
        return None
    values = dict(zip((column.key for column in _JOB_COLUMNS), row, strict=True))
    return Job(**{**values, "job_id": str(values["job_id"]), "status": Status(values["status"])})


def insert(connection: Connection, values: dict[str, Any], *, start_within: timedelta) -> Job | None:
    """Insert a queued job and give it, or None where the account used the idempotency key before."""
    statement = (
        postgresql.insert(jobs)
        .values(**values, start_deadline_at=_now + start_within, rung_at=_now)
        .on_conflict_do_nothing(constraint="uq_jobs_account_id_idempotency_key")
        .returning(*_JOB_COLUMNS)
    )
    return _job(connection.execute(statement).one_or_none())


def insert_blob(connection: Connection, job_id: str, name: str, content: bytes) -> None:
    """Keep the bytes of an inline image until the job ends."""
    connection.execute(sa.insert(blobs).values(job_id=uuid.UUID(job_id), name=name, content=content))


def get_blob(connection: Connection, job_id: str, name: str) -> bytes:
    """Read the bytes of an inline image."""
    statement = sa.select(blobs.c.content).where(blobs.c.job_id == uuid.UUID(job_id), blobs.c.name == name)
    return bytes(connection.execute(statement).scalar_one())


def find(connection: Connection, account_id: int, job_id: str) -> Job | None:
    """Find a job of an account."""
    statement = sa.select(*_JOB_COLUMNS).where(jobs.c.job_id == uuid.UUID(job_id), jobs.c.account_id == account_id)
    return _job(connection.execute(statement).one_or_none())


def find_by_key(connection: Connection, account_id: int, idempotency_key: str) -> Job | None:
    """Find the job that an account submitted under an idempotency key."""
    statement = sa.select(*_JOB_COLUMNS).where(
        jobs.c.account_id == account_id, jobs.c.idempotency_key == idempotency_key
    )
    return _job(connection.execute(statement).one_or_none())


def claim(connection: Connection, lane: str, *, worker: str, run_timeout: timedelta) -> Claim | None:
    """Take the next queued job of a lane: highest priority, then oldest; two callers never get the same one."""
    candidate = (
        sa.select(jobs.c.job_id)
        .where(
            jobs.c.status == Status.QUEUED,
            jobs.c.lane == lane,
            jobs.c.available_at <= _now,
            jobs.c.start_deadline_at > _now,
        )
        .order_by(jobs.c.priority.desc(), jobs.c.available_at)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    statement = (
        sa.update(jobs)
        .where(jobs.c.job_id == candidate)
        .values(
            status=Status.IN_PROGRESS,
            lease=jobs.c.lease + 1,
            attempt=jobs.c.attempt + 1,
            started_at=sa.func.coalesce(jobs.c.started_at, _now),
            heartbeat_at=_now,
            run_deadline_at=_now + run_timeout,
        )
        .returning(*(jobs.c[field.name] for field in fields(Claim)))
    )
    row = connection.execute(statement).one_or_none()
    if row is None:
        return None
    connection.execute(sa.insert(job_attempts).values(job_id=row.job_id, lease=row.lease, worker=worker))
    return Claim(**{**row._mapping, "job_id": str(row.job_id)})


def heartbeat(connection: Connection, claims: list[Claim]) -> None:
    """Renew the leases of the jobs that a process runs; a lease that was lost stays lost."""
    held = sa.tuple_(jobs.c.job_id, jobs.c.lease).in_([(uuid.UUID(claim.job_id), claim.lease) for claim in claims])
    connection.execute(sa.update(jobs).where(held, jobs.c.status == Status.IN_PROGRESS).values(heartbeat_at=_now))


def lock_claim(connection: Connection, claim: Claim) -> bool:
    """Lock the row of a claimed job; False when the lease was lost meanwhile."""
    statement = (
        sa.select(jobs.c.job_id)
        .where(
            jobs.c.job_id == uuid.UUID(claim.job_id),
            jobs.c.lease == claim.lease,
            jobs.c.status == Status.IN_PROGRESS,
        )
        .with_for_update()
    )
    return connection.execute(statement).one_or_none() is not None


def close(
    connection: Connection,
    job_id: str,
    *,
    leaving: Status,
    status: Status,
    result: dict[str, Any] | None,
    error: dict[str, Any] | None,
    keep: timedelta,
    forget_key: bool,
) -> Job | None:
    """Move a job from a status to a terminal one, drop its blobs and announce it; None where it had left that status."""
    values: dict[str, Any] = {
        "status": status,
        "result": result,
        "error": error,
        "finished_at": _now,
        "expires_at": _now + keep,
    }
    if forget_key:
        values["idempotency_key"] = None
    statement = (
        sa.update(jobs)
        .where(jobs.c.job_id == uuid.UUID(job_id), jobs.c.status == leaving)
        .values(**values)
        .returning(*_JOB_COLUMNS)
    )
    job = _job(connection.execute(statement).one_or_none())
    if job is not None:
        connection.execute(sa.delete(blobs).where(blobs.c.job_id == uuid.UUID(job_id)))
        connection.execute(sa.select(sa.func.pg_notify(FINISHED_CHANNEL, job_id)))
    return job


def requeue(connection: Connection, job_id: str, *, pause: timedelta, crashed: bool) -> None:
    """Put a running job back into its lane; a crash counts towards the poison limit."""
    values: dict[str, Any] = {"status": Status.QUEUED, "available_at": _now + pause, "rung_at": None}
    if crashed:
        values["crashes"] = jobs.c.crashes + 1
    # The job did start in time; what it gets is a fresh chance to start again.
    values["start_deadline_at"] = sa.func.greatest(jobs.c.start_deadline_at, _now + timedelta(minutes=1))
    connection.execute(
        sa.update(jobs).where(jobs.c.job_id == uuid.UUID(job_id), jobs.c.status == Status.IN_PROGRESS).values(**values)
    )


def close_attempt(
    connection: Connection, job_id: str, lease: int, outcome: str, error: dict[str, Any] | None = None
) -> None:
    """Write down how one attempt ended."""
    connection.execute(
        sa.update(job_attempts)
        .where(job_attempts.c.job_id == uuid.UUID(job_id), job_attempts.c.lease == lease)
        .values(finished_at=_now, outcome=outcome, error=error)
    )


def lock_stale(connection: Connection, *, lease: timedelta, limit: int) -> list[Row]:
    """Lock running jobs whose worker fell silent or that run too long: job_id, lease, crashes, silent."""
    silent = jobs.c.heartbeat_at < _now - lease
    statement = (
        sa.select(jobs.c.job_id, jobs.c.lease, jobs.c.crashes, silent.label("silent"))
        .where(jobs.c.status == Status.IN_PROGRESS, sa.or_(silent, jobs.c.run_deadline_at < _now))
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return list(connection.execute(statement))


def lock_overdue(connection: Connection, *, limit: int) -> list[str]:
    """Lock queued jobs that no worker started before their deadline."""
    statement = (
        sa.select(jobs.c.job_id)
        .where(jobs.c.status == Status.QUEUED, jobs.c.start_deadline_at < _now)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return [str(job_id) for job_id in connection.execute(statement).scalars()]


def unheard(connection: Connection, *, silence: timedelta, limit: int) -> list[str]:
    """Give the lane of each queued job whose last doorbell is this long ago, and note that it is rung now."""
    candidates = (
        sa.select(jobs.c.job_id)
        .where(
            jobs.c.status == Status.QUEUED,
            jobs.c.available_at <= _now,
            sa.func.coalesce(jobs.c.rung_at, sa.literal("-infinity", sa.DateTime(timezone=True))) < _now - silence,
        )
        .order_by(jobs.c.available_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    statement = sa.update(jobs).where(jobs.c.job_id.in_(_once(candidates))).values(rung_at=_now).returning(jobs.c.lane)
    return list(connection.execute(statement).scalars())


def purge(connection: Connection, *, limit: int) -> int:
    """Delete jobs past their retention, with everything that hangs on them; give how many."""
    doomed = sa.select(jobs.c.job_id).where(jobs.c.expires_at < _now).limit(limit).with_for_update(skip_locked=True)
    return connection.execute(sa.delete(jobs).where(jobs.c.job_id.in_(_once(doomed)))).rowcount


def _once(candidates: sa.Select[tuple[uuid.UUID]]) -> sa.Select[tuple[uuid.UUID]]:
    """Have a subquery run once: a nested loop asks a plain one again for each row, and its limit bounds nothing."""
    return sa.select(candidates.cte("candidates").prefix_with("MATERIALIZED").c.job_id)
