"""Queries on ticks: due, claimed, got on with, ended.

Only the oldest open tick of a schedule is ever claimed, under a lock of the schedule's row, so runs of one schedule never
overlap and keep their order. A claim sets a lease number that every later write names. Times are Postgres's now().
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Connection

from app.db.bounded import once
from app.db.schema import schedules, ticks
from app.db.session import Row
from app.domain.schedules import Kind, Tick, TickStatus

_now = sa.func.now()
_is_open = ticks.c.status.in_(("QUEUED", "IN_PROGRESS"))
_COLUMNS = (
    ticks.c.schedule_id,
    ticks.c.due_at,
    ticks.c.trigger,
    ticks.c.status,
    ticks.c.failures,
    ticks.c.result,
    ticks.c.error,
    ticks.c.started_at,
    ticks.c.finished_at,
)


@dataclass(frozen=True, slots=True)
class TickClaim:
    """The right to run one tick on from its cursor; a newer claim of it voids this one."""

    schedule_id: uuid.UUID
    due_at: datetime
    lease: int
    failures: int
    account_id: int | None
    kind: Kind
    settings: dict[str, Any]
    cursor: dict[str, Any] | None
    result: dict[str, Any] | None


def _tick(row: Row) -> Tick:
    return Tick(**{**row._mapping, "status": TickStatus(row.status)})


def insert(connection: Connection, schedule_id: uuid.UUID, due: Sequence[datetime]) -> int:
    """Queue due times that have no tick yet; give how many."""
    if not due:
        return 0
    statement = postgresql.insert(ticks).values([{"schedule_id": schedule_id, "due_at": moment} for moment in due])
    return len(list(connection.execute(statement.on_conflict_do_nothing().returning(ticks.c.due_at))))


def insert_manual(connection: Connection, schedule_id: uuid.UUID) -> Tick:
    """Queue a tick that somebody asked for, due at this moment."""
    values = {"schedule_id": schedule_id, "due_at": sa.func.clock_timestamp(), "trigger": "MANUAL"}
    return _tick(connection.execute(sa.insert(ticks).values(**values).returning(*_COLUMNS)).one())


def count_open(connection: Connection, schedule_id: uuid.UUID) -> int:
    """Count the ticks of a schedule that have not ended."""
    statement = sa.select(sa.func.count()).where(ticks.c.schedule_id == schedule_id, _is_open)
    return connection.execute(statement).scalar_one()


def newest(connection: Connection, schedule_id: uuid.UUID, *, limit: int) -> list[Tick]:
    """List the newest ticks of a schedule, newest first."""
    statement = sa.select(*_COLUMNS).where(ticks.c.schedule_id == schedule_id)
    return [_tick(row) for row in connection.execute(statement.order_by(ticks.c.due_at.desc()).limit(limit))]


def newest_of_each(connection: Connection, schedule_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Tick]:
    """Give the newest tick of each schedule that has one."""
    wanted = sa.select(schedules.c.schedule_id).where(schedules.c.schedule_id.in_(schedule_ids)).subquery()
    last = (
        sa.select(*_COLUMNS)
        .where(ticks.c.schedule_id == wanted.c.schedule_id)
        .order_by(ticks.c.due_at.desc())
        .limit(1)
        .lateral()
    )
    rows = connection.execute(sa.select(last).select_from(wanted.join(last, sa.true())))
    return {row.schedule_id: _tick(row) for row in rows}


def _claimable() -> sa.ColumnElement[bool]:
    older = ticks.alias("older")
    has_older = sa.exists().where(
        older.c.schedule_id == ticks.c.schedule_id,
        older.c.status.in_(("QUEUED", "IN_PROGRESS")),
        older.c.due_at < ticks.c.due_at,
    )
    return sa.and_(_is_open, ticks.c.leased_until <= _now, ~has_older)


def count_claimable(connection: Connection, *, limit: int) -> int:
    """Count ticks that a worker could take now, up to a limit."""
    some = sa.select(ticks.c.due_at).where(_claimable()).limit(limit).subquery()
    return connection.execute(sa.select(sa.func.count()).select_from(some)).scalar_one()


def lock_next_schedule(connection: Connection) -> uuid.UUID | None:
    """Lock the schedule whose oldest open tick has waited the longest; one that another worker looks at is skipped."""
    statement = (
        sa.select(schedules.c.schedule_id)
        .select_from(ticks.join(schedules))
        .where(_claimable())
        .order_by(ticks.c.leased_until)
        .limit(1)
        .with_for_update(of=schedules, skip_locked=True, key_share=True)
    )
    return connection.execute(statement).scalar_one_or_none()


def claim(connection: Connection, schedule_id: uuid.UUID, *, lease: timedelta) -> TickClaim | None:
    """Claim the oldest open tick of a schedule whose row is locked; None where it is leased.

    A lease that ran out counts as a failure.
    """
    oldest = (
        sa.select(ticks.c.due_at)
        .where(ticks.c.schedule_id == schedule_id, _is_open)
        .order_by(ticks.c.due_at)
        .limit(1)
        .scalar_subquery()
    )
    died = sa.cast(ticks.c.status == TickStatus.IN_PROGRESS, sa.Integer)
    statement = (
        sa.update(ticks)
        .where(
            ticks.c.schedule_id == schedule_id,
            ticks.c.due_at == oldest,
            ticks.c.leased_until <= _now,
            schedules.c.schedule_id == ticks.c.schedule_id,
        )
        .values(
            status=TickStatus.IN_PROGRESS,
            lease=ticks.c.lease + 1,
            failures=ticks.c.failures + died,
            leased_until=_now + lease,
            started_at=sa.func.coalesce(ticks.c.started_at, _now),
        )
        .returning(
            ticks.c.schedule_id,
            ticks.c.due_at,
            ticks.c.lease,
            ticks.c.failures,
            schedules.c.account_id,
            schedules.c.kind,
            schedules.c.settings,
            ticks.c.cursor,
            ticks.c.result,
        )
    )
    row = connection.execute(statement).one_or_none()
    return None if row is None else TickClaim(**{**row._mapping, "kind": Kind(row.kind)})


def _held(claim: TickClaim) -> sa.ColumnElement[bool]:
    return sa.and_(
        ticks.c.schedule_id == claim.schedule_id,
        ticks.c.due_at == claim.due_at,
        ticks.c.lease == claim.lease,
        ticks.c.status == TickStatus.IN_PROGRESS,
    )


def lock(connection: Connection, claim: TickClaim) -> bool:
    """Lock the row of a claimed tick; False where the lease was lost."""
    statement = sa.select(ticks.c.lease).where(_held(claim)).with_for_update()
    return connection.execute(statement).one_or_none() is not None


def save(
    connection: Connection, claim: TickClaim, *, cursor: dict[str, Any], result: dict[str, Any], lease: timedelta
) -> None:
    """Note how far a tick has come, and renew its lease."""
    values = {"cursor": cursor, "result": result, "leased_until": _now + lease}
    connection.execute(sa.update(ticks).where(_held(claim)).values(**values))


def give_back(connection: Connection, claim: TickClaim, *, pause: timedelta, failed: bool = False) -> None:
    """Queue a claimed tick again, to go on after a pause."""
    values = {"status": TickStatus.QUEUED, "leased_until": _now + pause, "failures": ticks.c.failures + int(failed)}
    connection.execute(sa.update(ticks).where(_held(claim)).values(**values))


def finish(
    connection: Connection,
    claim: TickClaim,
    status: TickStatus,
    *,
    result: dict[str, Any] | None = None,
    error: dict[str, Any] | None = None,
) -> None:
    """End a claimed tick; without a result what it had so far stays."""
    values: dict[str, Any] = {"status": status, "finished_at": _now, "cursor": None, "error": error}
    if result is not None:
        values["result"] = result
    connection.execute(sa.update(ticks).where(_held(claim)).values(**values))


def end_open(connection: Connection, schedule_id: uuid.UUID, *, error: dict[str, Any]) -> None:
    """End all open ticks of a schedule whose row is locked; what they had so far stays."""
    values = {"status": TickStatus.FAILED, "finished_at": _now, "cursor": None, "error": error}
    connection.execute(sa.update(ticks).where(ticks.c.schedule_id == schedule_id, _is_open).values(**values))


def purge(connection: Connection, *, keep: timedelta, limit: int) -> int:
    """Forget ticks that ended long ago, except the newest of each schedule; give how many."""
    newer = ticks.alias("newer")
    has_newer = sa.exists().where(newer.c.schedule_id == ticks.c.schedule_id, newer.c.due_at > ticks.c.due_at)
    key = sa.tuple_(ticks.c.schedule_id, ticks.c.due_at)
    doomed = (
        sa.select(ticks.c.schedule_id, ticks.c.due_at)
        .where(ticks.c.finished_at < _now - keep, has_newer)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return connection.execute(sa.delete(ticks).where(key.in_(once(doomed)))).rowcount
