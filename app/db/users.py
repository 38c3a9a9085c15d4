"""Queries on users: several faces of one person under one id, and the vector that stands for them."""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Connection

from app.db import vectors
from app.db.schema import user_vectors, users
from app.db.session import Row
from app.db.vectors import Hit


def insert(connection: Connection, collection: Row, user_id: str) -> bool:
    """Insert a user without faces; False where the collection has one of that id."""
    statement = (
        postgresql.insert(users)
        .values(collection_id=collection.collection_id, user_no=collection.next_no, user_id=user_id, status="CREATED")
        .on_conflict_do_nothing(constraint="uq_users_collection_id_user_id")
        .returning(users.c.user_no)
    )
    return connection.execute(statement).one_or_none() is not None


def find(connection: Connection, collection_id: int, user_id: str) -> Row | None:
    """Find a user by its id."""
    statement = sa.select(users).where(users.c.collection_id == collection_id, users.c.user_id == user_id)
    return connection.execute(statement).one_or_none()


def list_page(connection: Connection, collection_id: int, *, after: int, limit: int) -> list[Row]:
    """List users in the order of their creation, beginning after a number."""
    statement = (
        sa.select(users.c.user_no, users.c.user_id, users.c.status)
        .where(users.c.collection_id == collection_id, users.c.user_no > after)
        .order_by(users.c.user_no)
        .limit(limit)
    )
    return list(connection.execute(statement))


def set_vector(connection: Connection, collection: Row, user_no: int, vector: bytes | None) -> None:
    """Replace the vector that stands for a user; without one no search finds it."""
    table = user_vectors[collection.model]
    vectors.delete(connection, table, collection, [user_no])
    if vector is not None:
        vectors.insert(connection, table, collection, [(user_no, vector)])
    connection.execute(
        sa.update(users)
        .where(users.c.collection_id == collection.collection_id, users.c.user_no == user_no)
        .values(vec32=vector, status="CREATED" if vector is None else "ACTIVE")
    )


def delete(connection: Connection, collection: Row, user_no: int) -> None:
    """Delete a user and its vector."""
    for table in user_vectors.values():
        vectors.delete(connection, table, collection, [user_no])
    connection.execute(
        sa.delete(users).where(users.c.collection_id == collection.collection_id, users.c.user_no == user_no)
    )


def nearest(connection: Connection, collection: Row, vector: bytes, *, min_cosine: float, limit: int) -> list[Hit]:
    """List the closest users, best first."""
    table = user_vectors[collection.model]
    numbers = vectors.scan(connection, table, collection, vector, min_cosine=min_cosine, limit=limit)
    rows = _by_numbers(connection, collection.collection_id, numbers)
    return vectors.decide(rows, [row.vec32 for row in rows], vector, min_cosine=min_cosine, limit=limit)


def _by_numbers(connection: Connection, collection_id: int, numbers: Sequence[int]) -> list[Row]:
    statement = sa.select(users).where(users.c.collection_id == collection_id, users.c.user_no.in_(numbers))
    return list(connection.execute(statement)) if numbers else []
