"""Queries on jobs and their blobs: in, looked at, closed, gone.

Every change of a status is a guarded update that names the status it leaves; no row changed means that somebody else was first.
What workers do with a job is in `app.db.claims`. Times are Postgres's now().
"""

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Connection

from app.db.bounded import once
from app.db.schema import blobs, jobs
from app.domain.jobs import LAST_POSITION, Job, Status

#: Where a finished job is announced to whoever waits for it; the payload is the job id.
FINISHED_CHANNEL = "rekollect_job_finished"

_now = sa.func.now()
_COLLECTION = jobs.c.input["CollectionId"].astext
_SUBJECT = sa.func.jsonb_strip_nulls(
    sa.func.jsonb_build_object(
        *(part for name in ("CollectionId", "ResourceArn", "Tags") for part in (sa.literal(name), jobs.c.input[name]))
    ),
    type_=jobs.c.input.type,
)
_JOB_COLUMNS = (
    jobs.c.job_id,
    jobs.c.account_id,
    jobs.c.operation,
    _SUBJECT.label("subject"),
    jobs.c.lane,
    jobs.c.priority,
    jobs.c.status,
    jobs.c.attempt,
    jobs.c.result,
    jobs.c.error,
    jobs.c.caller_metadata,
    jobs.c.actor,
    jobs.c.webhook_url,
    jobs.c.webhook_endpoint_id,
    jobs.c.tells_endpoints,
    jobs.c.retry_of,
    jobs.c.request_hash,
    jobs.c.created_at,
    jobs.c.available_at,
    jobs.c.start_deadline_at,
    jobs.c.started_at,
    jobs.c.cancel_requested_at,
    jobs.c.finished_at,
    jobs.c.expires_at,
)


def _job(row: Sequence[Any] | None) -> Job | None:
    if row is None:
        return None
    values = dict(zip((column.key for column in _JOB_COLUMNS), row, strict=True))
    return Job(**{**values, "job_id": str(values["job_id"]), "status": Status(values["status"])})


def insert(connection: Connection, values: dict[str, Any], *, start_by: timedelta | datetime) -> Job | None:
    """Insert a queued job and give it, or None where the account used the idempotency key before."""
    deadline = start_by if isinstance(start_by, datetime) else _now + start_by
    statement = (
        postgresql.insert(jobs)
        .values(**values, start_deadline_at=deadline, rung_at=_now)
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
    """Find a job of an account that is not past its retention."""
    statement = sa.select(*_JOB_COLUMNS).where(
        jobs.c.job_id == uuid.UUID(job_id), jobs.c.account_id == account_id, _kept()
    )
    return _job(connection.execute(statement).one_or_none())


def _kept() -> sa.ColumnElement[bool]:
    return sa.or_(jobs.c.expires_at.is_(None), jobs.c.expires_at > _now)


def is_past(connection: Connection, job_id: str, *, keep: timedelta) -> bool:
    """Tell from a job's id, which holds the time of its making, whether such a job is past its retention by now."""
    made = sa.func.uuid_extract_timestamp(sa.literal(uuid.UUID(job_id), sa.Uuid))
    return bool(connection.execute(sa.select(made < _now - keep)).scalar_one())


def lock(connection: Connection, account_id: int, job_id: str) -> Job | None:
    """Find a job of an account and keep everybody else from changing it."""
    statement = sa.select(*_JOB_COLUMNS).where(
        jobs.c.job_id == uuid.UUID(job_id), jobs.c.account_id == account_id, _kept()
    )
    return _job(connection.execute(statement.with_for_update()).one_or_none())


def request_cancel(connection: Connection, job_id: str) -> Job | None:
    """Note that the caller wants a running job canceled; the first time counts."""
    statement = (
        sa.update(jobs)
        .where(jobs.c.job_id == uuid.UUID(job_id), jobs.c.status == Status.IN_PROGRESS)
        .values(cancel_requested_at=sa.func.coalesce(jobs.c.cancel_requested_at, _now))
        .returning(*_JOB_COLUMNS)
    )
    return _job(connection.execute(statement).one_or_none())


def list_page(
    connection: Connection, account_id: int, *, before: uuid.UUID | None, limit: int, filters: dict[str, str]
) -> list[Job]:
    """List jobs of an account, newest first, beginning before one; filters are by status, operation and collection."""
    wanted = {"status": jobs.c.status, "operation": jobs.c.operation, "collection": _COLLECTION}
    conditions = [wanted[name] == value for name, value in filters.items()]
    if before is not None:
        conditions.append(jobs.c.job_id < before)
    statement = (
        sa.select(*_JOB_COLUMNS)
        .where(jobs.c.account_id == account_id, _kept(), *conditions)
        .order_by(jobs.c.job_id.desc())
        .limit(limit)
    )
    return [job for row in connection.execute(statement) if (job := _job(row)) is not None]


def position(connection: Connection, job: Job) -> int:
    """Count the account's queued jobs of the lane that became available no later than this one, itself included, up to a limit.

    Those of others are nobody's business; accounts take turns, so they tell little of when this one's comes.
    """
    ahead = (
        sa.select(jobs.c.job_id)
        .where(
            jobs.c.status == Status.QUEUED,
            jobs.c.lane == job.lane,
            jobs.c.account_id == job.account_id,
            jobs.c.available_at <= job.available_at,
        )
        .limit(LAST_POSITION)
        .subquery()
    )
    return max(1, connection.execute(sa.select(sa.func.count()).select_from(ahead)).scalar_one())


class Load(NamedTuple):
    """What an account has queued in a lane (counted up to a limit), and how long it waits for a worker there, in seconds."""

    queued: int
    wait: float
    interactive_wait: float


def load(connection: Connection, account_id: int, lane: str, *, limit: int) -> Load:
    """Read how much of an account waits in a lane; accounts take turns, so the wait of others says nothing."""
    row = connection.execute(_LOAD, {"account_id": account_id, "lane": lane, "most": limit}).one()
    return Load(row.queued, float(row.wait), float(row.interactive_wait))


def _head_wait(lane: str) -> str:
    """Select how long the job that is next in a lane has waited."""
    return f"""coalesce((
            SELECT extract(epoch FROM now() - available_at) FROM jobs
            WHERE status = 'QUEUED' AND lane = {lane} AND account_id = :account_id
                AND available_at <= now() AND start_deadline_at > now()
            ORDER BY priority DESC, available_at LIMIT 1), 0)"""  # noqa: S608 - a name of ours or a bound parameter


_LOAD = sa.text(f"""
    SELECT
        (SELECT count(*) FROM (
            SELECT FROM jobs WHERE status = 'QUEUED' AND lane = :lane AND account_id = :account_id LIMIT :most
        ) AS own) AS queued,
        {_head_wait(":lane")} AS wait,
        {_head_wait("'interactive'")} AS interactive_wait""")  # noqa: S608 - our own text


def get_input(connection: Connection, job_id: str) -> dict[str, Any]:
    """Read what a job was asked to do, for doing it once more."""
    stored: dict[str, Any] = connection.execute(
        sa.select(jobs.c.input).where(jobs.c.job_id == uuid.UUID(job_id))
    ).scalar_one()
    return stored


def find_by_key(connection: Connection, account_id: int, idempotency_key: str) -> Job | None:
    """Find the job that an account submitted under an idempotency key."""
    statement = sa.select(*_JOB_COLUMNS).where(
        jobs.c.account_id == account_id, jobs.c.idempotency_key == idempotency_key, _kept()
    )
    return _job(connection.execute(statement).one_or_none())


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


def purge(connection: Connection, *, limit: int) -> int:
    """Delete jobs past their retention, with everything that hangs on them; give how many."""
    doomed = sa.select(jobs.c.job_id).where(jobs.c.expires_at < _now).limit(limit).with_for_update(skip_locked=True)
    return connection.execute(sa.delete(jobs).where(jobs.c.job_id.in_(once(doomed)))).rowcount
