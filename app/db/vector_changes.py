"""Queries for who keeps a copy of the vectors that are searched: all of them at one moment, and what changed since.

Invariant: every change of a vector in the version that is searched raises the collection's change number under the lock of its
row, and is noted with that number, so a copy that has applied all changes up to a number is what the tables were then.
"""

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.db import search_tables, second_versions
from app.db.schema import collections, face_tombstones, faces, user_tombstones, users
from app.db.session import Row

#: Between two questions which history this is, on one connection.
_HISTORY_SECONDS = 5.0

_HISTORY = sa.text("""
    SELECT format('%s-%s-%s', system_identifier, pg_database.oid,
                  CASE WHEN pg_is_in_recovery() THEN 'replica' ELSE left(pg_walfile_name(pg_current_wal_lsn()), 8) END)
      FROM pg_control_system(), pg_database WHERE datname = current_database()""")

#: To read a block may take longer than another statement, where Postgres has much to do.
_READ_SECONDS = 120


class Change(NamedTuple):
    """What became of a vector: its float32 truth now, or nothing."""

    number: int
    truth: bytes | None


def dimension_of(table: sa.Table) -> int:
    """Give the dimension of a search table's vectors."""
    halfvec: Any = table.c.embedding.type
    return int(halfvec.dim)


def since(connection: Connection, table: sa.Table, collection: Row, change_seq: int, *, limit: int) -> list[Change]:
    """List the vectors of a search table that changed after a change number; one more than the limit means too many."""
    if search_tables.is_of_faces(table):
        source, truth = second_versions.truth_of_faces(collection, collection.model)
        owners, gone, number, gone_number = faces, face_tombstones, faces.c.face_no, face_tombstones.c.face_no
    else:
        source, truth = second_versions.truth_of_users(collection)
        owners, gone, number, gone_number = users, user_tombstones, users.c.user_no, user_tombstones.c.user_no
    mine = collection.collection_id
    changed = (
        sa.select(number.label("number"), truth.label("truth"))
        .select_from(source)
        .where(owners.c.collection_id == mine, owners.c.change_seq > change_seq)
    )
    lost = sa.select(gone_number, sa.null()).where(gone.c.collection_id == mine, gone.c.change_seq > change_seq)
    rows = connection.execute(changed.union_all(lost).limit(limit + 1))
    return [Change(row.number, None if row.truth is None else bytes(row.truth)) for row in rows]


def any_withdrawn(connection: Connection, collection_id: int, change_seq: int, *, of_faces: bool) -> bool:
    """Tell whether faces were deleted after a change number, or vectors of users were changed or deleted."""
    gone = face_tombstones if of_faces else user_tombstones
    looks = [sa.exists().where(gone.c.collection_id == collection_id, gone.c.change_seq > change_seq)]
    if not of_faces:
        looks.append(sa.exists().where(users.c.collection_id == collection_id, users.c.change_seq > change_seq))
    return bool(connection.execute(sa.select(sa.or_(*looks))).scalar_one())


def freeze(connection: Connection) -> None:
    """Have all statements of this transaction, which has only begun, see one moment."""
    connection.execute(sa.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))


def find(connection: Connection, collection_id: int) -> Row | None:
    """Find a collection by its number."""
    return connection.execute(sa.select(collections).where(collections.c.collection_id == collection_id)).one_or_none()


def history(connection: Connection) -> str | None:
    """Name the course of events that this database is in: another one after it was restored or failed over.

    Change numbers of two histories say nothing about each other. A connection is asked every few seconds: behind a pooler it
    may outlive the server. None where Postgres does not tell us.
    """
    known: str | None
    known, asked_at = connection.info.get("history", (None, None))
    if asked_at is None or time.monotonic() - asked_at > _HISTORY_SECONDS:
        try:
            with connection.begin_nested():  # a refusal must not end the search
                known = str(connection.execute(_HISTORY).scalar_one())
        except (sa.exc.ProgrammingError, sa.exc.NotSupportedError):
            known = None
        connection.info["history"] = known, time.monotonic()
    return known


def read_all(connection: Connection, table: sa.Table, collection: Row, *, numbers: int) -> Iterator[bytes]:
    """Give all vectors of a collection, which was read at the same moment, in blocks of so many numbers.

    A row is a number and a halfvec in binary: eight bytes, then four and two for each dimension, the highest byte first.
    One value for thousands of rows costs the reader nothing; COPY would cost it a message for each.
    """
    # A range of numbers is a stretch of an index wherever the vectors lie.
    connection.execute(sa.text(f"SET LOCAL enable_seqscan = off; SET LOCAL statement_timeout = '{_READ_SECONDS}s'"))
    row = sa.func.int8send(table.c.number).op("||")(sa.func.halfvec_send(table.c.embedding))
    block = sa.select(sa.func.string_agg(row, sa.literal(b""), type_=sa.LargeBinary)).where(
        table.c.bucket.in_(collection.buckets),
        table.c.collection_id == collection.collection_id,
        table.c.number > sa.bindparam("after"),
        table.c.number <= sa.bindparam("until"),
    )
    for after in range(0, collection.next_no, numbers):
        content = connection.execute(block, {"after": after, "until": after + numbers}).scalar_one()
        if content is not None:
            yield bytes(content)
