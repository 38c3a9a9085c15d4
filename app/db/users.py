"""Queries on users: several faces of one person under one id, and the vector that stands for them."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Connection

from app.db import face_models, search_tables, second_versions, vectors
from app.db.schema import user_embeddings, user_tombstones, users
from app.db.session import Row
from app.db.vectors import Hit, Scan


def insert(connection: Connection, collection: Row, user_id: str) -> bool:
    """Insert a user without faces; False where the collection has one of that id."""
    values = {
        "collection_id": collection.collection_id,
        "user_no": collection.next_no,
        "user_id": user_id,
        "status": "CREATED",
        "model": collection.model,
    }
    statement = (
        postgresql.insert(users)
        .values(**values)
        .on_conflict_do_nothing(constraint="uq_users_collection_id_user_id")
        .returning(users.c.user_no)
    )
    return connection.execute(statement).one_or_none() is not None


def _select(collection: Row) -> sa.Select[*tuple[Any, ...]]:
    """Select users with their vectors in the version that is searched."""
    source, truth = second_versions.truth_of_users(collection)
    columns = (users.c.user_no, users.c.user_id, users.c.status, truth.label("vec32"))
    return sa.select(*columns).select_from(source).where(users.c.collection_id == collection.collection_id)


def find(connection: Connection, collection: Row, user_id: str) -> Row | None:
    """Find a user by its id, with its vector."""
    return connection.execute(_select(collection).where(users.c.user_id == user_id)).one_or_none()


def list_page(connection: Connection, collection_id: int, *, after: int, limit: int) -> list[Row]:
    """List users in the order of their creation, beginning after a number."""
    statement = (
        sa.select(users.c.user_no, users.c.user_id, users.c.status)
        .where(users.c.collection_id == collection_id, users.c.user_no > after)
        .order_by(users.c.user_no)
        .limit(limit)
    )
    return list(connection.execute(statement))


def set_status(connection: Connection, collection: Row, user_no: int, status: str) -> None:
    """Say whether a user has faces."""
    connection.execute(
        sa.update(users)
        .where(users.c.collection_id == collection.collection_id, users.c.user_no == user_no)
        .values(status=status)
    )


def delete(connection: Connection, collection: Row, user_no: int) -> None:
    """Delete a user and its vector."""
    for version in second_versions.versions(connection, collection):
        vectors.delete(connection, search_tables.of_users(version), collection, [user_no])
    for table in (user_embeddings, users):
        connection.execute(
            sa.delete(table).where(table.c.collection_id == collection.collection_id, table.c.user_no == user_no)
        )
    gone = {"collection_id": collection.collection_id, "change_seq": collection.change_seq, "user_no": user_no}
    connection.execute(sa.insert(user_tombstones).values(**gone))


def nearest(
    connection: Connection,
    collection: Row,
    vector: bytes,
    *,
    min_cosine: float,
    limit: int,
    scan: Scan = vectors.scan,
) -> list[Hit]:
    """List the closest users, best first."""
    table = search_tables.of_users(face_models.get(connection, collection.model))
    numbers = scan(connection, table, collection, vector, min_cosine=min_cosine, limit=limit)
    rows = _by_numbers(connection, collection, numbers)
    return vectors.decide(rows, [row.vec32 for row in rows], vector, min_cosine=min_cosine, limit=limit)


def _by_numbers(connection: Connection, collection: Row, numbers: Sequence[int]) -> list[Row]:
    return list(connection.execute(_select(collection).where(users.c.user_no.in_(numbers)))) if numbers else []
