"""Queries on jobs, their attempts and blobs.

Every change of a status is a guarded update: it names the status that it leaves, and for a running job the lease that it
holds. No row changed means that somebody else was first, and the caller throws its work away. Times are Postgres's now().
"""

import uuid
from collections.abc import Sequence
from dataclasses import fields
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Connection

from app.db.schema import blobs, job_attempts, jobs
from app.domain.jobs import Claim, Job, Status

#: Where a finished job is announced to whoever waits for it; the payload is the job id.
FINISHED_CHANNEL = "rekollect_job_finished"

_now = sa.func.now()
_JOB_COLUMNS = (
    jobs.c.job_id,
    jobs.c.account_id,
    jobs.c.operation,
    jobs.c.input["CollectionId"].astext.label("collection"),
    jobs.c.status,
    jobs.c.attempt,
    jobs.c.result,
    jobs.c.error,
    jobs.c.caller_metadata,
    jobs.c.webhook_url,
    jobs.c.webhook_endpoint_id,
    jobs.c.tells_endpoints,
    jobs.c.request_hash,
    jobs.c.created_at,
    jobs.c.started_at,
    jobs.c.finished_at,
    jobs.c.expires_at,
)


def _job(row: Sequence[Any] | None) -> Job | None:
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
    row = connection.execute(_CLAIM, {"rung_lane": lane, "claimer": worker, "run_timeout": run_timeout}).one_or_none()
    return None if row is None else Claim(**{**row._mapping, "job_id": str(row.job_id)})


def _claim_and_open_attempt() -> sa.Select[*tuple[Any, ...]]:
    candidate = (
        sa.select(jobs.c.job_id)
        .where(
            jobs.c.status == Status.QUEUED,
            jobs.c.lane == sa.bindparam("rung_lane"),
            jobs.c.available_at <= _now,
            jobs.c.start_deadline_at > _now,
        )
        .order_by(jobs.c.priority.desc(), jobs.c.available_at)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    claimed = (
        sa.update(jobs)
        .where(jobs.c.job_id == candidate)
        .values(
            status=Status.IN_PROGRESS,
            lease=jobs.c.lease + 1,
            attempt=jobs.c.attempt + 1,
            started_at=sa.func.coalesce(jobs.c.started_at, _now),
            heartbeat_at=_now,
            run_deadline_at=_now + sa.bindparam("run_timeout", type_=sa.Interval),
        )
        .returning(*(jobs.c[field.name] for field in fields(Claim)))
        .cte("claimed")
    )
    worker = sa.bindparam("claimer", type_=sa.Text)
    opened = sa.insert(job_attempts).from_select(
        ["job_id", "lease", "worker"], sa.select(claimed.c.job_id, claimed.c.lease, worker)
    )
    return sa.select(claimed).add_cte(opened.cte("opened"))


#: Built once: between a doorbell and the start of its job every millisecond counts.
_CLAIM = _claim_and_open_attempt()


def heartbeat(connection: Connection, claims: list[Claim]) -> None:
    """Renew the leases of the jobs that a process runs; a lease that was lost stays lost."""
    held = sa.tuple_(jobs.c.job_id, jobs.c.lease).in_([(uuid.UUID(claim.job_id), claim.lease) for claim in claims])
    # A job that is being finished is locked, and its lease needs no renewal: waiting for it would starve the others.
    free = sa.select(jobs.c.job_id).where(held, jobs.c.status == Status.IN_PROGRESS).with_for_update(skip_locked=True)
    connection.execute(sa.update(jobs).where(jobs.c.job_id.in_(once(free))).values(heartbeat_at=_now))


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
    parameters = {
        "closed_job_id": uuid.UUID(job_id),
        "leaving": leaving,
        "new_status": status,
        "new_result": result,
        "new_error": error,
        "keep": keep,
        "forget_key": forget_key,
    }
    row = connection.execute(_CLOSE, parameters).one_or_none()
    return None if row is None else _job(row[:-1])  # the last column is what pg_notify gives, which is nothing


def _close_and_announce() -> sa.Select[*tuple[Any, ...]]:
    closed = (
        sa.update(jobs)
        .where(jobs.c.job_id == sa.bindparam("closed_job_id"), jobs.c.status == sa.bindparam("leaving"))
        .values(
            status=sa.bindparam("new_status"),
            result=sa.bindparam("new_result", type_=jobs.c.result.type),
            error=sa.bindparam("new_error", type_=jobs.c.error.type),
            finished_at=_now,
            expires_at=_now + sa.bindparam("keep", type_=sa.Interval),
            idempotency_key=sa.case((sa.bindparam("forget_key", type_=sa.Boolean), None), else_=jobs.c.idempotency_key),
        )
        .returning(*_JOB_COLUMNS)
        .cte("closed")
    )
    dropped = sa.delete(blobs).where(blobs.c.job_id == closed.c.job_id).cte("dropped")
    announced = sa.func.pg_notify(FINISHED_CHANNEL, sa.cast(closed.c.job_id, sa.Text))
    return sa.select(closed, announced.label("announced")).add_cte(dropped)


_CLOSE = _close_and_announce()


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


def purge(connection: Connection, *, limit: int) -> int:
    """Delete jobs past their retention, with everything that hangs on them; give how many."""
    doomed = sa.select(jobs.c.job_id).where(jobs.c.expires_at < _now).limit(limit).with_for_update(skip_locked=True)
    return connection.execute(sa.delete(jobs).where(jobs.c.job_id.in_(once(doomed)))).rowcount


def once(candidates: sa.Select[tuple[uuid.UUID]]) -> sa.Select[tuple[uuid.UUID]]:
    """Have a subquery run once: a nested loop asks a plain one again for each row, and its limit bounds nothing."""
    return sa.select(candidates.cte("candidates").prefix_with("MATERIALIZED").c.job_id)
