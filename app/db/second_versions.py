"""The second face model version of a collection: embeddings beside those that lie in the rows of faces and users.

While a collection moves to another version, and for as long as it may go back, every face has up to two embeddings and every
user up to two vectors. The row itself holds one of them and names its version; the other lies beside it. Which of the two is
searched is said by the collection alone, so a switch changes one row, however many faces there are.
"""

from collections.abc import Iterable, Sequence
from functools import cache

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Connection

from app.db import copying, face_models, search_tables, vectors
from app.db.schema import face_embeddings, faces, user_embeddings, users
from app.db.session import Row
from app.domain.face_models import FaceModelVersion


def versions(connection: Connection, collection: Row) -> list[FaceModelVersion]:
    """List the versions that a collection has embeddings of, the one that is searched first."""
    names = [collection.model, collection.other_model]
    return [face_models.get(connection, name) for name in names if name is not None]


def truth_of_faces(collection: Row, version: str) -> tuple[sa.FromClause, sa.ColumnElement[bytes | None]]:
    """Give what to select faces from, and their embedding in a version; null where a face has none."""
    return _truth_of_faces(version, has_other=collection.other_model is not None)


@cache
def _truth_of_faces(version: str, *, has_other: bool) -> tuple[sa.FromClause, sa.ColumnElement[bytes | None]]:
    at_home = (faces.c.model == version, faces.c.emb32)
    if not has_other:
        return faces, sa.case(at_home)
    beside = face_embeddings
    here = (beside.c.collection_id == faces.c.collection_id) & (beside.c.face_no == faces.c.face_no)
    return faces.outerjoin(beside, here & (beside.c.model == version)), sa.case(at_home, else_=beside.c.emb32)


def truth_of_users(collection: Row) -> tuple[sa.FromClause, sa.ColumnElement[bytes | None]]:
    """Give what to select users from, and their vector in the version that is searched; null where a user has none."""
    at_home = (users.c.model == collection.model, users.c.vec32)
    if collection.other_model is None:
        return users, sa.case(at_home)
    beside = user_embeddings
    here = (beside.c.collection_id == users.c.collection_id) & (beside.c.user_no == users.c.user_no)
    return users.outerjoin(beside, here & (beside.c.model == collection.model)), sa.case(at_home, else_=beside.c.vec32)


def insert_faces(
    connection: Connection, collection: Row, version: FaceModelVersion, embeddings: Iterable[tuple[int, bytes]]
) -> None:
    """Put embeddings of another version beside numbered faces, and into its search table."""
    numbered = list(embeddings)
    if not numbered:
        return
    same = {"collection_id": collection.collection_id, "model": version.version}
    rows = [{"face_no": number, "emb32": embedding} for number, embedding in numbered]
    copying.insert(connection, face_embeddings, rows, **same)
    vectors.insert(connection, search_tables.of_faces(version), collection, numbered)


def take_along(
    connection: Connection, collection: Row, version: FaceModelVersion, number: int, embedding: bytes
) -> None:
    """Give a face that stayed behind its embedding in the version that is searched."""
    mine = (faces.c.collection_id == collection.collection_id) & (faces.c.face_no == number)
    changed = sa.update(faces).where(mine).values(change_seq=collection.change_seq)
    if collection.other_model is not None:
        connection.execute(changed)
        insert_faces(connection, collection, version, [(number, embedding)])
        return
    connection.execute(changed.values(emb32=embedding, model=version.version))
    vectors.insert(connection, search_tables.of_faces(version), collection, [(number, embedding)])


def delete_faces(connection: Connection, collection: Row, numbers: Sequence[int]) -> None:
    """Take what lies beside faces away."""
    connection.execute(
        sa.delete(face_embeddings).where(
            face_embeddings.c.collection_id == collection.collection_id, face_embeddings.c.face_no.in_(numbers)
        )
    )


def set_user_vector(
    connection: Connection, collection: Row, user_no: int, version: FaceModelVersion, vector: bytes | None
) -> None:
    """Replace the vector that stands for a user in one version; without one no search in that version finds it."""
    table = search_tables.of_users(version)
    vectors.delete(connection, table, collection, [user_no])
    if vector is not None:
        vectors.insert(connection, table, collection, [(user_no, vector)])
    mine = sa.update(users).where(users.c.collection_id == collection.collection_id, users.c.user_no == user_no)
    if version.version == collection.model:
        connection.execute(mine.values(change_seq=collection.change_seq))
    at_home = mine.where(users.c.model == version.version).values(vec32=vector)
    if connection.execute(at_home).rowcount == 0:
        _set_vector_beside(connection, collection, user_no, version, vector)


def _set_vector_beside(
    connection: Connection, collection: Row, user_no: int, version: FaceModelVersion, vector: bytes | None
) -> None:
    key = {"collection_id": collection.collection_id, "user_no": user_no, "model": version.version}
    if vector is None:
        connection.execute(
            sa.delete(user_embeddings).where(*(user_embeddings.c[name] == value for name, value in key.items()))
        )
        return
    statement = postgresql.insert(user_embeddings).values(**key, vec32=vector)
    connection.execute(
        statement.on_conflict_do_update(constraint="pk_user_embeddings", set_={"vec32": statement.excluded.vec32})
    )


def settle_faces(connection: Connection, collection: Row, numbers: Sequence[int]) -> None:
    """Leave faces with the version that is searched alone, in their own rows; one that has none keeps what it has."""
    drop = face_models.get(connection, collection.other_model)
    mine = (faces.c.collection_id == collection.collection_id) & faces.c.face_no.in_(numbers)
    connection.execute(
        sa.update(faces)
        .where(
            mine,
            faces.c.model != collection.model,
            face_embeddings.c.collection_id == faces.c.collection_id,
            face_embeddings.c.face_no == faces.c.face_no,
            face_embeddings.c.model == collection.model,
        )
        .values(emb32=face_embeddings.c.emb32, model=collection.model)
    )
    delete_faces(connection, collection, numbers)
    vectors.delete(connection, search_tables.of_faces(drop), collection, numbers)


def settle_users(connection: Connection, collection: Row, numbers: Sequence[int]) -> None:
    """Leave users with the vector of the version that is searched alone, or with none."""
    drop = face_models.get(connection, collection.other_model)
    beside = (
        sa.select(user_embeddings.c.vec32)
        .where(
            user_embeddings.c.collection_id == users.c.collection_id,
            user_embeddings.c.user_no == users.c.user_no,
            user_embeddings.c.model == collection.model,
        )
        .scalar_subquery()
    )
    mine = (users.c.collection_id == collection.collection_id) & users.c.user_no.in_(numbers)
    moved = sa.update(users).where(mine, users.c.model != collection.model)
    connection.execute(moved.values(vec32=beside, model=collection.model))
    connection.execute(
        sa.delete(user_embeddings).where(
            user_embeddings.c.collection_id == collection.collection_id, user_embeddings.c.user_no.in_(numbers)
        )
    )
    vectors.delete(connection, search_tables.of_users(drop), collection, numbers)
