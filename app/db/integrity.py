"""Queries that look for rows which do not fit together. Nothing is changed.

What is compared is read by one statement, so that nothing that changes meanwhile looks like a fault. A range of numbers bounds
each; `limit_time` bounds them all.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.db import second_versions
from app.db.schema import blobs, collections, face_embeddings, faces, jobs, user_embeddings, users
from app.db.session import Row

#: What SQLSTATE says of a statement that ran out of its time.
_QUERY_CANCELED = "57014"

_LAST_NUMBER = 2**63 - 1


def limit_time(connection: Connection, limit: timedelta) -> None:
    """End every statement of this transaction that takes longer."""
    milliseconds = int(limit.total_seconds() * 1000)
    connection.execute(sa.select(sa.func.set_config("statement_timeout", str(milliseconds), True)))


def ran_out_of_time(error: BaseException) -> bool:
    """Tell whether a statement was ended by `limit_time`."""
    cause = getattr(error.__cause__, "orig", None)
    return getattr(cause, "sqlstate", None) == _QUERY_CANCELED


def next_collection(connection: Connection, account_id: int | None, *, after: int) -> Row | None:
    """Find the next collection, of one account or of all."""
    statement = sa.select(collections).where(collections.c.collection_id > after)
    if account_id is not None:
        statement = statement.where(collections.c.account_id == account_id)
    return connection.execute(statement.order_by(collections.c.collection_id).limit(1)).one_or_none()


def counters(connection: Connection, collection_id: int) -> Row | None:
    """Give the counters of a collection beside what they count: live_faces, live_users, faces, users."""
    statement = sa.select(
        collections.c.live_faces,
        collections.c.live_users,
        _count(faces, collection_id).label("faces"),
        _count(users, collection_id).label("users"),
    ).where(collections.c.collection_id == collection_id)
    return connection.execute(statement).one_or_none()


def _count(table: sa.Table, collection_id: int) -> sa.ScalarSelect[int]:
    mine = sa.select(sa.func.count()).select_from(table).where(table.c.collection_id == collection_id)
    return mine.scalar_subquery()


def end_of_page(connection: Connection, table: sa.Table, collection_id: int, *, after: int, size: int) -> int:
    """Give the last number of the next page of faces or users; the last page has no end."""
    number = _number(table)
    statement = sa.select(number).where(table.c.collection_id == collection_id, number > after).order_by(number)
    return connection.execute(statement.offset(size - 1).limit(1)).scalar_one_or_none() or _LAST_NUMBER


def is_last(number: int) -> bool:
    """Tell whether a page has no end."""
    return number == _LAST_NUMBER


def unpaired(
    connection: Connection, table: sa.Table, vectors: sa.Table, collection: Row, *, after: int, until: int
) -> tuple[list[int], list[int]]:
    """List the faces or users of a page that have a vector and cannot be found by it, and the vectors that belong to nobody."""
    number = _number(table)
    source, truth = _truth(table, collection)
    mine = (
        sa.select(number.label("number"))
        .select_from(source)
        .where(table.c.collection_id == collection.collection_id, number > after, number <= until, truth.is_not(None))
    )
    theirs = sa.select(vectors.c.number.label("number")).where(
        vectors.c.bucket.in_(collection.buckets),
        vectors.c.collection_id == collection.collection_id,
        vectors.c.number > after,
        vectors.c.number <= until,
    )
    here, there = mine.cte("here"), theirs.cte("there")
    joined = here.join(there, here.c.number == there.c.number, full=True)
    odd = sa.or_(here.c.number.is_(None), there.c.number.is_(None))
    found = list(connection.execute(sa.select(here.c.number, there.c.number).select_from(joined).where(odd)))
    return sorted(row[0] for row in found if row[0] is not None), sorted(row[1] for row in found if row[0] is None)


def is_where_it_was(connection: Connection, collection: Row) -> bool:
    """Tell whether a collection's vectors still lie in the buckets that its row named when it was read."""
    statement = sa.select(collections.c.buckets).where(collections.c.collection_id == collection.collection_id)
    return bool(connection.execute(statement).scalar_one_or_none() == collection.buckets)


def strays(
    connection: Connection, table: sa.Table, vectors: sa.Table, collection: Row, version: str, *, after: int, until: int
) -> list[int]:
    """List the vectors of a page in a version that is not searched, for which nobody has an embedding in that version."""
    beside = face_embeddings if table is faces else user_embeddings
    number = collection.collection_id
    has_other = sa.exists().where(
        beside.c.collection_id == number, _number(beside) == vectors.c.number, beside.c.model == version
    )
    has_own = sa.exists().where(
        table.c.collection_id == number, _number(table) == vectors.c.number, (table.c.model == version) | has_other
    )
    statement = sa.select(vectors.c.number).where(
        vectors.c.bucket.in_(collection.buckets),
        vectors.c.collection_id == number,
        vectors.c.number > after,
        vectors.c.number <= until,
        ~has_own,
    )
    return sorted(connection.execute(statement).scalars())


def ownerless(
    connection: Connection, kept: sa.Table, owners: sa.Table, collection_id: int, *, after: int, until: int
) -> list[int]:
    """List the numbers of a page in a table beside faces or users that none of those has."""
    owned = sa.exists().where(owners.c.collection_id == collection_id, _number(owners) == _number(kept))
    statement = sa.select(_number(kept)).where(
        kept.c.collection_id == collection_id, _number(kept) > after, _number(kept) <= until, ~owned
    )
    return sorted(connection.execute(statement).scalars())


def orphaned(connection: Connection, column: sa.Column[Any], *owners: sa.Column[Any]) -> int:
    """Count the values of a column that no row of any owner has; as many looks into an index as there are values."""
    first = sa.select(column.label("value")).order_by(column).limit(1)
    values = sa.select(first.subquery().c.value).cte("values", recursive=True)
    following = sa.select(column).where(column > values.c.value).order_by(column).limit(1).scalar_subquery()
    values = values.union_all(sa.select(following).where(values.c.value.is_not(None)))
    alone = sa.and_(values.c.value.is_not(None), *(~sa.exists().where(owner == values.c.value) for owner in owners))
    return connection.execute(sa.select(sa.func.count()).select_from(values).where(alone)).scalar_one()


def _number(table: sa.Table) -> sa.Column[int]:
    column: sa.Column[int] = table.c.face_no if "face_no" in table.c else table.c.user_no
    return column


def _truth(table: sa.Table, collection: Row) -> tuple[sa.FromClause, sa.ColumnElement[bytes | None]]:
    """Give what to select rows from, and their embedding in the version that is searched: those without are not in a search."""
    if table is faces:
        return second_versions.truth_of_faces(collection, collection.model)
    return second_versions.truth_of_users(collection)


def name_faces(connection: Connection, collection_id: int, numbers: Sequence[int]) -> list[str]:
    """Give the ids of faces."""
    statement = sa.select(faces.c.face_id).where(faces.c.collection_id == collection_id, faces.c.face_no.in_(numbers))
    return [str(face_id) for face_id in connection.execute(statement.order_by(faces.c.face_no)).scalars()]


def name_users(connection: Connection, collection_id: int, numbers: Sequence[int]) -> list[str]:
    """Give the ids of users."""
    statement = sa.select(users.c.user_id).where(users.c.collection_id == collection_id, users.c.user_no.in_(numbers))
    return list(connection.execute(statement.order_by(users.c.user_no)).scalars())


def idle_blobs(connection: Connection, account_id: int | None, *, limit: int) -> list[str]:
    """List the jobs that have ended and still hold a picture, of one account or of all."""
    statement = (
        sa.select(jobs.c.job_id)
        .where(sa.exists().where(blobs.c.job_id == jobs.c.job_id), jobs.c.finished_at.is_not(None))
        .limit(limit)
    )
    if account_id is not None:
        statement = statement.where(jobs.c.account_id == account_id)
    return [str(job_id) for job_id in connection.execute(statement).scalars()]
