"""Queries on reprocesses, and on the faces that stayed behind. Times are Postgres's now()."""

import uuid
from collections.abc import Collection, Sequence
from dataclasses import asdict, fields
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Connection

from app.db.schema import reprocess_failures, reprocess_pages, reprocesses
from app.db.session import Row
from app.domain.reprocesses import Failure, Reprocess, Status

NOW = sa.func.now()  #: for `change`
_now = NOW
_COLUMNS = [reprocesses.c[field.name] for field in fields(Reprocess) if field.name != "seen_at"]

#: What a worker may have to do something for: embed, switch, or remove the version that is not searched any more.
_OPEN = reprocesses.c.cleaned_at.is_(None) & (
    (reprocesses.c.status == Status.IN_PROGRESS) | (reprocesses.c.keep_until <= _now)
)


def _select() -> sa.Select[*tuple[Any, ...]]:
    return sa.select(*_COLUMNS, _now.label("seen_at"))


def _reprocess(row: Row | None) -> Reprocess | None:
    return None if row is None else Reprocess(**{**row._mapping, "status": Status(row.status)})


def insert(connection: Connection, values: dict[str, Any]) -> Reprocess | None:
    """Begin a reprocess, or give None where the collection has one that is not cleaned up."""
    statement = postgresql.insert(reprocesses).values(**values)
    statement = statement.on_conflict_do_nothing(
        index_elements=[reprocesses.c.collection_id], index_where=reprocesses.c.cleaned_at.is_(None)
    )
    return _reprocess(connection.execute(statement.returning(*_COLUMNS, _now.label("seen_at"))).one_or_none())


def newest(connection: Connection, collection_id: int, *, locked: bool = False) -> Reprocess | None:
    """Find the newest reprocess of a collection."""
    statement = (
        _select()
        .where(reprocesses.c.collection_id == collection_id)
        .order_by(reprocesses.c.reprocess_id.desc())
        .limit(1)
    )
    return _reprocess(connection.execute(statement.with_for_update() if locked else statement).one_or_none())


def lock(connection: Connection, reprocess_id: uuid.UUID) -> Reprocess | None:
    """Find a reprocess that a worker may have to do something for, and keep everybody else from changing it."""
    statement = _select().where(reprocesses.c.reprocess_id == reprocess_id, _OPEN).with_for_update()
    return _reprocess(connection.execute(statement).one_or_none())


def next_open(connection: Connection, *, but: Collection[uuid.UUID]) -> uuid.UUID | None:
    """Name the reprocess with something to do that was served the longest ago, but for some; its turn is over with that."""
    longest_ago = (
        sa.select(reprocesses.c.reprocess_id)
        .where(_OPEN, reprocesses.c.reprocess_id.not_in(but))
        .order_by(reprocesses.c.served_at.nulls_first())
        .limit(1)
    )
    statement = (
        sa.update(reprocesses)
        .where(reprocesses.c.reprocess_id == longest_ago.scalar_subquery())
        .values(served_at=sa.func.clock_timestamp())
        .returning(reprocesses.c.reprocess_id)
    )
    return connection.execute(statement).scalar_one_or_none()


def serve(connection: Connection, reprocess_id: uuid.UUID) -> None:
    """Note that a worker is busy for a reprocess."""
    statement = sa.update(reprocesses).where(reprocesses.c.reprocess_id == reprocess_id)
    connection.execute(statement.values(served_at=sa.func.clock_timestamp()))


def change(connection: Connection, reprocess_id: uuid.UUID, **values: Any) -> Reprocess:
    """Set columns of a locked reprocess; a timedelta under `keep` becomes `keep_until`."""
    keep = values.pop("keep", None)
    if isinstance(keep, timedelta):
        values["keep_until"] = _now + keep
    statement = sa.update(reprocesses).where(reprocesses.c.reprocess_id == reprocess_id).values(**values)
    changed = _reprocess(connection.execute(statement.returning(*_COLUMNS, _now.label("seen_at"))).one())
    if changed is None:
        raise LookupError(f"reprocess {reprocess_id} vanished in the transaction that holds its lock")
    return changed


def count(connection: Connection, reprocess_id: uuid.UUID, *, done: int, failed: int) -> None:
    """Move the counters of a locked reprocess."""
    connection.execute(
        sa.update(reprocesses)
        .where(reprocesses.c.reprocess_id == reprocess_id)
        .values(done=reprocesses.c.done + done, failed=reprocesses.c.failed + failed)
    )


def finished(connection: Connection, reprocess_id: uuid.UUID, status: Status, **values: Any) -> Reprocess:
    """End a locked reprocess: its pages go, and its cursors begin anew for the cleaning."""
    connection.execute(sa.delete(reprocess_pages).where(reprocess_pages.c.reprocess_id == reprocess_id))
    return change(connection, reprocess_id, status=status, finished_at=_now, face_cursor=0, user_cursor=0, **values)


def unserved(connection: Connection, *, silence: timedelta) -> bool:
    """Tell whether a reprocess with something to do was left alone for so long."""
    quiet = reprocesses.c.served_at.is_(None) | (reprocesses.c.served_at < _now - silence)
    return bool(connection.execute(sa.select(sa.exists().where(_OPEN, quiet))).scalar_one())


def insert_failures(connection: Connection, reprocess_id: uuid.UUID, failures: Sequence[Failure]) -> None:
    """Write down which faces stay behind and why."""
    if failures:
        connection.execute(
            sa.insert(reprocess_failures), [{"reprocess_id": reprocess_id, **asdict(failure)} for failure in failures]
        )


def forget_failures(
    connection: Connection, collection_id: int, numbers: Sequence[int], *, version: str | None = None
) -> None:
    """Forget that faces stayed behind: they were deleted, or have come along into a version."""
    into = [] if version is None else [reprocesses.c.to_model == version]
    connection.execute(
        sa.delete(reprocess_failures).where(
            reprocess_failures.c.reprocess_id == reprocesses.c.reprocess_id,
            reprocesses.c.collection_id == collection_id,
            reprocess_failures.c.face_no.in_(numbers),
            *into,
        )
    )


def list_failures(connection: Connection, reprocess_id: uuid.UUID, *, after: int, limit: int) -> list[Row]:
    """List the faces that stayed behind by number, beginning after one."""
    statement = (
        sa.select(reprocess_failures)
        .where(reprocess_failures.c.reprocess_id == reprocess_id, reprocess_failures.c.face_no > after)
        .order_by(reprocess_failures.c.face_no)
        .limit(limit)
    )
    return list(connection.execute(statement))
