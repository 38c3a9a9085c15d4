"""Queries on batches: in, looked at, counted, halted, closed. Those of the sweeper are in `app.db.batch_sweeps`.

A batch's row is locked last in every transaction that also touches items, and its counts give the endings their numbers, so
these follow the order of the commits. Times are Postgres's now().
"""

import uuid
from dataclasses import fields
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Connection

from app.db.schema import batches
from app.db.session import Row
from app.domain.batches import DONE, Batch, BatchStatus

_now = sa.func.now()
_COLUMNS = tuple(batches.c[field.name] for field in fields(Batch))
_ENDED = batches.c.succeeded + batches.c.failed + batches.c.canceled

#: A rate is measured over at least this long; a first one is given earlier.
_STRETCH = timedelta(seconds=10)
_FIRST_STRETCH = timedelta(seconds=1)


def _batch(row: Row | None) -> Batch | None:
    if row is None:
        return None
    values = {field.name: row._mapping[batches.c[field.name]] for field in fields(Batch)}
    return Batch(**{**values, "batch_id": str(values["batch_id"]), "status": BatchStatus(values["status"])})


def _its(batch_id: str) -> sa.ColumnElement[bool]:
    return batches.c.batch_id == uuid.UUID(batch_id)


def _kept() -> sa.ColumnElement[bool]:
    return sa.or_(batches.c.expires_at.is_(None), batches.c.expires_at > _now)


def insert(connection: Connection, values: dict[str, Any]) -> Batch | None:
    """Insert a batch and give it, or None where the account used the idempotency key before."""
    statement = (
        postgresql.insert(batches)
        .values(**values)
        .on_conflict_do_nothing(constraint="uq_batches_account_id_idempotency_key")
        .returning(*_COLUMNS)
    )
    return _batch(connection.execute(statement).one_or_none())


def find(connection: Connection, account_id: int, batch_id: str) -> Batch | None:
    """Find a batch of an account that is not past its retention."""
    statement = sa.select(*_COLUMNS).where(_its(batch_id), batches.c.account_id == account_id, _kept())
    return _batch(connection.execute(statement).one_or_none())


def find_by_key(connection: Connection, account_id: int, idempotency_key: str) -> Batch | None:
    """Find the batch that an account submitted under an idempotency key."""
    statement = sa.select(*_COLUMNS).where(
        batches.c.account_id == account_id, batches.c.idempotency_key == idempotency_key
    )
    return _batch(connection.execute(statement).one_or_none())


def lock(connection: Connection, batch_id: str) -> Batch | None:
    """Find a batch and keep everybody else from changing it."""
    return _batch(connection.execute(sa.select(*_COLUMNS).where(_its(batch_id)).with_for_update()).one_or_none())


def exists(connection: Connection, batch_id: str) -> bool:
    """Tell whether a batch is there, be it past its retention."""
    return bool(connection.execute(sa.select(sa.exists().where(_its(batch_id)))).scalar_one())


def list_page(connection: Connection, account_id: int, *, before: uuid.UUID | None, limit: int) -> list[Batch]:
    """List batches of an account, newest first, beginning before one."""
    statement = (
        sa.select(*_COLUMNS)
        .where(batches.c.account_id == account_id, _kept())
        .order_by(batches.c.batch_id.desc())
        .limit(limit)
    )
    if before is not None:
        statement = statement.where(batches.c.batch_id < before)
    return [batch for row in connection.execute(statement) if (batch := _batch(row)) is not None]


def count_open(connection: Connection, account_id: int) -> int:
    """Count the batches of an account that have not ended."""
    statement = sa.select(sa.func.count()).where(
        batches.c.account_id == account_id, batches.c.status.in_([BatchStatus.EXPANDING, BatchStatus.IN_PROGRESS])
    )
    return connection.execute(statement).scalar_one()


def change(connection: Connection, batch_id: str, **values: Any) -> Batch | None:
    """Set columns of a batch that has not ended; None where it has."""
    statement = (
        sa.update(batches).where(_its(batch_id), batches.c.status.not_in(DONE)).values(**values).returning(*_COLUMNS)
    )
    return _batch(connection.execute(statement).one_or_none())


def touch(connection: Connection, batch_id: str, *, added: int) -> Batch | None:
    """Count items that were uploaded; None where the batch is not being uploaded any more."""
    statement = (
        sa.update(batches)
        .where(_its(batch_id), batches.c.status == BatchStatus.UPLOADING, batches.c.stopped_at.is_(None))
        .values(touched_at=_now, total=batches.c.total + added)
        .returning(*_COLUMNS)
    )
    return _batch(connection.execute(statement).one_or_none())


def extend(
    connection: Connection, batch_id: str, *, added: int, cursor: dict[str, Any], complete: bool
) -> Batch | None:
    """Count items that were listed and note how far; None where nothing more is to be listed."""
    statement = (
        sa.update(batches)
        .where(_its(batch_id), batches.c.status == BatchStatus.EXPANDING)
        .values(
            total=batches.c.total + added,
            cursor=cursor,
            status=BatchStatus.IN_PROGRESS if complete else BatchStatus.EXPANDING,
        )
        .returning(*_COLUMNS)
    )
    return _batch(connection.execute(statement).one_or_none())


def postpone(connection: Connection, batch_id: str, *, cursor: dict[str, Any], pause: timedelta) -> None:
    """Note that the source of a batch could not be read, and is not to be for a while."""
    change(connection, batch_id, cursor=cursor, listable_at=_now + pause)


def activate(
    connection: Connection, batch_id: str, *, idempotency_key: str | None, request_hash: bytes
) -> Batch | None:
    """Begin the work on a batch that was uploaded whole; None where the account used the key before."""
    statement = (
        sa.update(batches)
        .where(_its(batch_id), batches.c.status == BatchStatus.UPLOADING, batches.c.stopped_at.is_(None))
        .values(status=BatchStatus.IN_PROGRESS, idempotency_key=idempotency_key, request_hash=request_hash)
        .returning(*_COLUMNS)
    )
    try:
        with connection.begin_nested():
            return _batch(connection.execute(statement).one_or_none())
    except sa.exc.IntegrityError:
        return None


def pause(connection: Connection, batch_id: str) -> Batch | None:
    """Let no further item be started until the batch is resumed; None where it has ended."""
    return change(connection, batch_id, paused_at=sa.func.coalesce(batches.c.paused_at, _now))


def resume(connection: Connection, batch_id: str) -> Batch | None:
    """Let items be started again, and measure the rate anew; None where the batch has ended."""
    return change(connection, batch_id, paused_at=None, rate=None, measured_at=_now, measured_ended=_ENDED)


def stop(connection: Connection, batch_id: str, *, error: dict[str, Any] | None = None) -> Batch | None:
    """Let no further item be started or listed, for good; the first time counts. None where the batch has ended."""
    return change(
        connection,
        batch_id,
        status=BatchStatus.IN_PROGRESS,  # nothing more is listed
        stopped_at=sa.func.coalesce(batches.c.stopped_at, _now),
        cut_short=sa.or_(batches.c.cut_short, batches.c.status == BatchStatus.EXPANDING),
        error=sa.case(
            (batches.c.stopped_at.is_(None), sa.bindparam("new_error", error, type_=batches.c.error.type)),
            else_=batches.c.error,
        ),
    )


def count(
    connection: Connection, batch_id: str, *, running: int = 0, succeeded: int = 0, failed: int = 0, canceled: int = 0
) -> Batch:
    """Move the counts of a batch and keep its row locked; `running` is negative where items ended or went back."""
    now_ended = _ENDED + succeeded + failed + canceled
    age = _now - batches.c.measured_at
    is_over = sa.or_(age >= _STRETCH, sa.and_(batches.c.rate.is_(None), age >= _FIRST_STRETCH))
    measured = (now_ended - batches.c.measured_ended) / sa.func.greatest(sa.extract("epoch", age), 0.001)
    statement = (
        sa.update(batches)
        .where(_its(batch_id))
        .values(
            running=batches.c.running + running,
            succeeded=batches.c.succeeded + succeeded,
            failed=batches.c.failed + failed,
            canceled=batches.c.canceled + canceled,
            rate=sa.case((is_over, measured), else_=batches.c.rate),
            measured_at=sa.case((is_over, _now), else_=batches.c.measured_at),
            measured_ended=sa.case((is_over, now_ended), else_=batches.c.measured_ended),
        )
        .returning(*_COLUMNS)
    )
    batch = _batch(connection.execute(statement).one())
    assert batch is not None  # noqa: S101 - one() gave a row
    return batch


def close(connection: Connection, batch_id: str, status: BatchStatus, *, keep: timedelta) -> Batch | None:
    """End a batch of which nothing is left to do; None where something is, or where it has ended."""
    statement = (
        sa.update(batches)
        .where(_its(batch_id), batches.c.status == BatchStatus.IN_PROGRESS, batches.c.total == _ENDED)
        .values(status=status, finished_at=_now, expires_at=_now + keep)
        .returning(*_COLUMNS)
    )
    return _batch(connection.execute(statement).one_or_none())
