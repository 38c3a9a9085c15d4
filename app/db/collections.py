"""Queries on collections.

`lock_for_writing` is the only way to new face numbers: its row lock serialises the writers of one collection, so the change
number is gap-free and its order is the commit order.
"""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Connection

from app.db import bucket_work, dedicated_buckets, leftovers, search_tables, second_versions, vectors
from app.db.schema import SHARED_BUCKETS, collections, reprocesses, search_indexes
from app.db.session import Row

#: Every operation begins with it; to make it takes as long as to run it.
_NAMED = sa.select(collections).where(
    collections.c.account_id == sa.bindparam("account"), collections.c.name == sa.bindparam("named")
)


def insert(connection: Connection, account_id: int, name: str, model: str, tags: dict[str, str]) -> bool:
    """Insert a collection into its shared bucket; False where the account has one of that name."""
    values = {"account_id": account_id, "name": name, "model": model, "tags": tags, "buckets": []}
    statement = (
        postgresql.insert(collections)
        .values(**values)
        .on_conflict_do_nothing(constraint="uq_collections_account_id_name")
        .returning(collections.c.collection_id)
    )
    number = connection.execute(statement).scalar_one_or_none()
    if number is None:
        return False
    buckets = {"buckets": [number % SHARED_BUCKETS]}
    connection.execute(sa.update(collections).where(collections.c.collection_id == number).values(**buckets))
    return True


def find(connection: Connection, account_id: int, name: str) -> Row | None:
    """Find a collection of an account by its name."""
    return connection.execute(_NAMED, {"account": account_id, "named": name}).one_or_none()


def list_page(connection: Connection, account_id: int, *, after: int, limit: int) -> list[Row]:
    """List collections in the order of their creation, beginning after one."""
    statement = (
        sa.select(collections.c.collection_id, collections.c.name, collections.c.model)
        .where(collections.c.account_id == account_id, collections.c.collection_id > after)
        .order_by(collections.c.collection_id)
        .limit(limit)
    )
    return list(connection.execute(statement))


def lock_for_writing(connection: Connection, account_id: int, name: str) -> Row | None:
    """Lock a collection's row and raise its change number; the row given has the new number."""
    statement = (
        sa.update(collections)
        .where(collections.c.account_id == account_id, collections.c.name == name)
        .values(change_seq=collections.c.change_seq + 1)
        .returning(collections)
    )
    return connection.execute(statement).one_or_none()


def lock(connection: Connection, collection_id: int) -> Row | None:
    """Lock a collection's row for work that changes nothing of what is searched."""
    statement = sa.select(collections).where(collections.c.collection_id == collection_id).with_for_update()
    return connection.execute(statement).one_or_none()


def set_versions(
    connection: Connection, collection_id: int, *, model: str, other: str | None, indexes_other: bool
) -> None:
    """Say which version is searched, which other one is kept, and whether new faces get both; a switch is a change."""
    versions = {"model": model, "other_model": other, "indexes_other": indexes_other}
    following = sa.case((collections.c.model != model, collections.c.change_seq + 1))
    numbers = {
        "change_seq": sa.func.coalesce(following, collections.c.change_seq),
        "model_seq": sa.func.coalesce(following, collections.c.model_seq),
    }
    mine = collections.c.collection_id == collection_id
    connection.execute(sa.update(collections).where(mine).values(**versions, **numbers))


def add_faces(connection: Connection, collection_id: int, added: int, *, numbers_used: int = 0) -> None:
    """Move the counters of a collection whose row is locked; `added` is negative after a deletion."""
    connection.execute(
        sa.update(collections)
        .where(collections.c.collection_id == collection_id)
        .values(live_faces=collections.c.live_faces + added, next_no=collections.c.next_no + numbers_used)
    )


def add_users(connection: Connection, collection_id: int, added: int) -> None:
    """Count a user more or less in a collection whose row is locked; a new user takes a number."""
    connection.execute(
        sa.update(collections)
        .where(collections.c.collection_id == collection_id)
        .values(live_users=collections.c.live_users + added, next_no=collections.c.next_no + max(added, 0))
    )


def set_tags(connection: Connection, collection_id: int, tags: dict[str, str]) -> None:
    """Replace the tags of a collection."""
    connection.execute(sa.update(collections).where(collections.c.collection_id == collection_id).values(tags=tags))


def delete(connection: Connection, account_id: int, name: str) -> bool:
    """Delete a collection and every row of its faces; False where there is none.

    Of one with buckets of its own, which may hold millions, the rows are left to the workers (`leftovers`): nothing finds them.
    """
    row = lock_for_writing(connection, account_id, name)
    if row is None:
        return False
    if all(dedicated_buckets.is_shared(bucket) for bucket in row.buckets):
        for version in second_versions.versions(connection, row):
            vectors.delete_all(connection, search_tables.of_faces(version), row)
            vectors.delete_all(connection, search_tables.of_users(version), row)
        for table in leftovers.TABLES:
            connection.execute(sa.delete(table).where(table.c.collection_id == row.collection_id))
        bucket_work.forget(connection, row.collection_id)
    else:
        bucket_work.clear(connection, row.collection_id)
    for table in (reprocesses, search_indexes, collections):
        connection.execute(sa.delete(table).where(table.c.collection_id == row.collection_id))
    return True
