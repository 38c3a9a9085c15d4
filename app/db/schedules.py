"""Queries on schedules: what an account has set up, and which of all are due. Times are Postgres's now()."""

import uuid
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Connection

from app.db.bounded import once
from app.db.schema import accounts, schedules, synced_objects
from app.db.session import Row
from app.domain.cron import CatchUp, Rule
from app.domain.schedules import Kind, Schedule

_now = sa.func.now()
_COLUMNS = (
    schedules.c.schedule_id,
    schedules.c.account_id,
    schedules.c.name,
    schedules.c.kind,
    schedules.c.settings,
    schedules.c.enabled,
    schedules.c.next_due_at,
    schedules.c.created_at,
    schedules.c.updated_at,
    schedules.c.cron,
    schedules.c.timezone,
    schedules.c.catch_up,
)


def _schedule(row: Row) -> Schedule:
    values = {column.name: row._mapping[column.name] for column in _COLUMNS}
    rule = Rule(values.pop("cron"), values.pop("timezone"), CatchUp(values.pop("catch_up")))
    return Schedule(**{**values, "kind": Kind(row.kind), "rule": rule})


def _is(account_id: int | None, schedule_id: uuid.UUID) -> sa.ColumnElement[bool]:
    return sa.and_(schedules.c.account_id == account_id, schedules.c.schedule_id == schedule_id)


def lock_and_count(connection: Connection, account_id: int) -> int:
    """Count the schedules of an account, after its other counters are done."""
    lock = sa.select(accounts.c.account_id).where(accounts.c.account_id == account_id)
    connection.execute(lock.with_for_update(key_share=True))
    mine = sa.select(sa.func.count()).select_from(schedules).where(schedules.c.account_id == account_id)
    return connection.execute(mine).scalar_one()


def insert(connection: Connection, values: dict[str, Any]) -> Schedule | None:
    """Insert a schedule and give it; None where the account has one of that name."""
    statement = (
        postgresql.insert(schedules)
        .values(**values)
        .on_conflict_do_nothing(constraint="uq_schedules_account_id_name")
        .returning(*_COLUMNS)
    )
    row = connection.execute(statement).one_or_none()
    return None if row is None else _schedule(row)


def has_name(connection: Connection, account_id: int | None, name: str, *, but: uuid.UUID) -> bool:
    """Tell whether another schedule of the account has a name."""
    statement = sa.select(schedules.c.schedule_id).where(
        schedules.c.account_id == account_id, schedules.c.name == name, schedules.c.schedule_id != but
    )
    return connection.execute(statement).one_or_none() is not None


def find(
    connection: Connection, account_id: int | None, schedule_id: uuid.UUID, *, lock: bool = False
) -> Schedule | None:
    """Find a schedule of an account, if need be with its changes kept off."""
    statement = sa.select(*_COLUMNS).where(_is(account_id, schedule_id))
    row = connection.execute(statement.with_for_update(key_share=True) if lock else statement).one_or_none()
    return None if row is None else _schedule(row)


def list_page(
    connection: Connection, account_id: int | None, *, before: uuid.UUID | None, limit: int
) -> list[Schedule]:
    """List schedules of an account, newest first."""
    statement = sa.select(*_COLUMNS).where(schedules.c.account_id == account_id)
    if before is not None:
        statement = statement.where(schedules.c.schedule_id < before)
    rows = connection.execute(statement.order_by(schedules.c.schedule_id.desc()).limit(limit))
    return [_schedule(row) for row in rows]


def list_all(connection: Connection) -> list[tuple[str | None, Schedule]]:
    """List the schedules of all accounts with the names of those, the built-in ones first."""
    statement = (
        sa.select(accounts.c.name.label("account"), *_COLUMNS)
        .select_from(schedules.outerjoin(accounts))
        .order_by(schedules.c.account_id.nulls_first(), schedules.c.schedule_id)
    )
    return [(row.account, _schedule(row)) for row in connection.execute(statement)]


def update(connection: Connection, schedule_id: uuid.UUID, values: dict[str, Any]) -> None:
    """Change a schedule."""
    statement = sa.update(schedules).where(schedules.c.schedule_id == schedule_id)
    connection.execute(statement.values(**values, updated_at=_now))


def delete(connection: Connection, account_id: int | None, schedule_id: uuid.UUID) -> None:
    """Delete a schedule with its ticks."""
    connection.execute(sa.delete(schedules).where(_is(account_id, schedule_id)))


def forget_objects(connection: Connection, schedule_id: uuid.UUID, *, limit: int) -> int:
    """Forget some of the objects that a schedule has seen; give how many."""
    some = sa.select(synced_objects.c.key).where(synced_objects.c.schedule_id == schedule_id).limit(limit)
    statement = sa.delete(synced_objects).where(
        synced_objects.c.schedule_id == schedule_id, synced_objects.c.key.in_(once(some))
    )
    return connection.execute(statement).rowcount


def lock_due(connection: Connection, *, limit: int) -> list[Schedule]:
    """Lock schedules that are due; those that another sweeper holds are skipped."""
    statement = (
        sa.select(*_COLUMNS)
        .where(schedules.c.next_due_at <= _now)
        .order_by(schedules.c.next_due_at)
        .limit(limit)
        .with_for_update(skip_locked=True, key_share=True)
    )
    return [_schedule(row) for row in connection.execute(statement)]


def advance(
    connection: Connection, schedule_id: uuid.UUID, *, next_due_at: datetime, last_due_at: datetime | None
) -> None:
    """Note when a schedule comes due next, and last was, where it was."""
    values: dict[str, Any] = {"next_due_at": next_due_at}
    if last_due_at is not None:
        values["last_due_at"] = last_due_at
    connection.execute(sa.update(schedules).where(schedules.c.schedule_id == schedule_id).values(**values))
