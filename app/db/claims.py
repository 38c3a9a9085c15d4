"""Queries on claims: whose turn it is, the lease that a worker holds, and the attempts that are written down.

A claim sets a lease number; every heartbeat and every ending names it. No row changed means that the lease was lost, and the
worker throws its work away. Times are Postgres's now().
"""

import uuid
from dataclasses import fields
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.db.bounded import once
from app.db.schema import job_attempts, jobs
from app.domain.jobs import Claim, Company, Lane, Status

_now = sa.func.now()

#: Accounts take turns: the one that was served the longest ago comes first, whatever the others have queued. Every claim sets
#: the run deadline anew, so its order is that of the claims. Within an account the order is priority, then age. The accounts
#: that wait are found by skipping along an index, so a deep queue costs nothing; of the rows that are looked at, only the one
#: that is taken is locked, because the outer LIMIT ends the nested loop.
_CLAIM = sa.text(f"""
    WITH RECURSIVE waiting AS (
        (SELECT account_id FROM jobs WHERE status = 'QUEUED' AND lane = :lane ORDER BY account_id LIMIT 1)
        UNION ALL
        SELECT (SELECT account_id FROM jobs WHERE status = 'QUEUED' AND lane = :lane AND account_id > waiting.account_id
                ORDER BY account_id LIMIT 1)
        FROM waiting WHERE waiting.account_id IS NOT NULL
    ), turns AS MATERIALIZED (
        SELECT account_id, (
            SELECT run_deadline_at FROM jobs
            WHERE lane = :lane AND account_id = waiting.account_id AND run_deadline_at IS NOT NULL
            ORDER BY run_deadline_at DESC LIMIT 1) AS served
        FROM waiting WHERE account_id IS NOT NULL AND :most_running > (
            SELECT count(*) FROM jobs WHERE status = 'IN_PROGRESS' AND account_id = waiting.account_id)
        ORDER BY served NULLS FIRST
    ), next AS (
        SELECT job_id, crashes > 0 AS alone FROM turns CROSS JOIN LATERAL (
            SELECT job_id, crashes FROM jobs
            WHERE status = 'QUEUED' AND lane = :lane AND account_id = turns.account_id
                AND available_at <= now() AND start_deadline_at > now()
            ORDER BY priority DESC, available_at LIMIT 1
            FOR UPDATE SKIP LOCKED) AS oldest
        LIMIT 1
    ), claimed AS (
        UPDATE jobs SET status = 'IN_PROGRESS', lease = lease + 1, attempt = attempt + 1,
            started_at = coalesce(started_at, now()), heartbeat_at = now(), run_deadline_at = now() + :run_timeout
        FROM next WHERE jobs.job_id = next.job_id AND next.alone = :alone
        RETURNING {", ".join(f"jobs.{field.name}" for field in fields(Claim))}
    ), opened AS (
        INSERT INTO job_attempts (job_id, lease, worker) SELECT job_id, lease, :worker FROM claimed
    )
    SELECT next.alone, claimed.* FROM next LEFT JOIN claimed ON true
    """).bindparams(sa.bindparam("run_timeout", type_=sa.Interval))  # noqa: S608 - our own names


def claim(
    connection: Connection, lane: str, company: Company, *, worker: str, run_timeout: timedelta, most_running: int
) -> Claim | Company | None:
    """Take the next queued job of a lane, of an account that has not too many running; two callers never get the same one.

    One that runs in another company is left alone, and that company is given.
    """
    limits = {"run_timeout": run_timeout, "most_running": most_running}
    parameters = {"lane": lane, "alone": company is Company.ALONE, "worker": worker, **limits}
    row = connection.execute(_CLAIM, parameters).one_or_none()
    if row is None:
        return None
    if row.job_id is None:
        return Company.ALONE if row.alone else Company.BESIDE
    values = {field.name: getattr(row, field.name) for field in fields(Claim)}
    return Claim(**{**values, "job_id": str(row.job_id), "lane": Lane(row.lane)})


def heartbeat(connection: Connection, claims: list[Claim]) -> set[tuple[str, int]]:
    """Renew the leases of the jobs that a process runs; a lost one stays lost. Gives those whose caller wants them canceled."""
    held = sa.tuple_(jobs.c.job_id, jobs.c.lease).in_([(uuid.UUID(claim.job_id), claim.lease) for claim in claims])
    # A job that is being finished is locked, and its lease needs no renewal: waiting for it would starve the others.
    free = sa.select(jobs.c.job_id).where(held, jobs.c.status == Status.IN_PROGRESS).with_for_update(skip_locked=True)
    renewed = connection.execute(
        sa.update(jobs)
        .where(jobs.c.job_id.in_(once(free)))
        .values(heartbeat_at=_now)
        .returning(jobs.c.job_id, jobs.c.lease, jobs.c.cancel_requested_at)
    )
    return {(str(row.job_id), row.lease) for row in renewed if row.cancel_requested_at is not None}


def lock(connection: Connection, claim: Claim) -> bool | None:
    """Lock the row of a claimed job: tell whether its caller wants it canceled, or None when the lease was lost."""
    statement = (
        sa.select(jobs.c.cancel_requested_at.is_not(None))
        .where(
            jobs.c.job_id == uuid.UUID(claim.job_id),
            jobs.c.lease == claim.lease,
            jobs.c.status == Status.IN_PROGRESS,
        )
        .with_for_update()
    )
    return connection.execute(statement).scalar_one_or_none()


def requeue(connection: Connection, job_id: str, *, pause: timedelta, crashed: bool) -> None:
    """Put a running job back into its lane; a crash counts towards the poison limit."""
    values: dict[str, Any] = {"status": Status.QUEUED, "available_at": _now + pause, "rung_at": None}
    if crashed:
        values["crashes"] = jobs.c.crashes + 1
    # The job did start in time; what it gets is a fresh chance to start again.
    values["start_deadline_at"] = sa.func.greatest(jobs.c.start_deadline_at, _now + pause + timedelta(minutes=1))
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
