"""Queries on the approximate indexes of collections: wanted, built, measured, looked at again.

Whoever works on them has the turn (`app.db.hnsw`), so nobody else does; times are Postgres's now().
"""

from collections.abc import Sequence
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Connection

from app.db.schema import collections, search_indexes
from app.db.session import Row
from app.domain.search_modes import MEASURE_EVERY, Recall, SearchMode

_now = sa.func.now()


def ask(connection: Connection, collection_id: int, mode: SearchMode) -> None:
    """Say how a collection is to be searched; what that needs is done soon."""
    values: dict[str, object] = {"search_mode": mode}
    if mode is SearchMode.EXACT:
        values["indexed_model"] = None
    mine = collections.c.collection_id == collection_id
    connection.execute(sa.update(collections).where(mine).values(**values))
    statement = postgresql.insert(search_indexes).values(collection_id=collection_id)
    anew = {"due_at": _now, "problem": None}
    connection.execute(statement.on_conflict_do_update(index_elements=["collection_id"], set_=anew))


def find(connection: Connection, collection_id: int) -> Row | None:
    """Find what there is of a collection's indexes; None where it never asked for any."""
    return connection.execute(sa.select(search_indexes).where(_of(collection_id))).one_or_none()


def any_due(connection: Connection) -> bool:
    """Tell whether there is something to look at."""
    return bool(connection.execute(sa.select(sa.exists().where(search_indexes.c.due_at <= _now))).scalar_one())


def next_due(connection: Connection) -> Row | None:
    """Give what has waited the longest to be looked at, and whether its recall `is_to_be_measured`."""
    measured_at = search_indexes.c.measured_at
    is_old = sa.or_(measured_at.is_(None), measured_at < _now - MEASURE_EVERY).label("is_to_be_measured")
    statement = sa.select(search_indexes, is_old).where(search_indexes.c.due_at <= _now)
    return connection.execute(statement.order_by(search_indexes.c.due_at).limit(1)).one_or_none()


def owner(connection: Connection, collection_id: int) -> Row | None:
    """Give the collection that indexes belong to; None where it was deleted."""
    statement = sa.select(collections).where(collections.c.collection_id == collection_id)
    return connection.execute(statement).one_or_none()


def begin(connection: Connection, collection: Row, *, built: Sequence[int]) -> None:
    """Note which buckets have an index, and what the collection held before the first of those that come."""
    counters = {"faces": collection.live_faces, "users": collection.live_users, "next_no": collection.next_no}
    _set(connection, collection.collection_id, buckets=list(built), measured_at=None, **counters)


def note_built(connection: Connection, collection: Row, built: Sequence[int]) -> None:
    """Note which buckets have an index of the version that is searched; one more has to be measured."""
    _set(connection, collection.collection_id, buckets=list(built), measured_at=None, problem=None)


def serve(connection: Connection, collection_id: int, model: str | None) -> None:
    """Say in which version a collection's own buckets are indexed, or that none is."""
    mine = collections.c.collection_id == collection_id
    connection.execute(sa.update(collections).where(mine).values(indexed_model=model))


def note_recall(connection: Connection, collection_id: int, measured: Recall) -> None:
    """Keep what was measured."""
    values = {"recall": measured.recall, "sample": measured.sample, "matches": measured.matches}
    _set(connection, collection_id, measured_at=_now, **values)


def put_off(connection: Connection, collection_id: int, *, pause: timedelta) -> None:
    """Have a collection's indexes looked at again after a pause."""
    _set(connection, collection_id, due_at=_now + pause)


def note_problem(connection: Connection, collection_id: int, problem: str) -> None:
    """Keep what went wrong, for whoever asks."""
    _set(connection, collection_id, problem=problem)


def forget(connection: Connection, collection_id: int) -> None:
    """Forget a collection that has no indexes and wants none."""
    connection.execute(sa.delete(search_indexes).where(_of(collection_id)))


def _set(connection: Connection, collection_id: int, **values: object) -> None:
    connection.execute(sa.update(search_indexes).where(_of(collection_id)).values(**values))


def _of(collection_id: int) -> sa.ColumnElement[bool]:
    return search_indexes.c.collection_id == collection_id
