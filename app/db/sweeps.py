"""Queries of the sweeper: jobs whose worker fell silent, jobs that nobody started, jobs whose doorbell may be lost.

Rows that another sweeper holds are skipped, so any number of sweepers may run. Times are Postgres's now().
"""

from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.db.bounded import once
from app.db.schema import jobs
from app.db.session import Row
from app.domain.jobs import Status

_now = sa.func.now()


def lock_stale(connection: Connection, *, lease: timedelta, limit: int) -> list[Row]:
    """Lock running jobs whose worker fell silent or that run too long: job_id, lease, crashes, silent, canceled."""
    silent = jobs.c.heartbeat_at < _now - lease
    canceled = jobs.c.cancel_requested_at.is_not(None)
    statement = (
        sa.select(jobs.c.job_id, jobs.c.lease, jobs.c.crashes, silent.label("silent"), canceled.label("canceled"))
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
        .order_by(jobs.c.start_deadline_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return [str(job_id) for job_id in connection.execute(statement).scalars()]


def unheard(connection: Connection, lane: str, *, silence: timedelta, limit: int) -> int:
    """Count queued jobs of a lane whose last doorbell is this long ago, up to a limit, and note that it is rung now."""
    candidates = (
        sa.select(jobs.c.job_id)
        .where(
            jobs.c.status == Status.QUEUED,
            jobs.c.lane == lane,
            jobs.c.available_at <= _now,
            sa.func.coalesce(jobs.c.rung_at, sa.literal("-infinity", sa.DateTime(timezone=True))) < _now - silence,
        )
        .order_by(jobs.c.available_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    statement = sa.update(jobs).where(jobs.c.job_id.in_(once(candidates))).values(rung_at=_now)
    return connection.execute(statement).rowcount
