"""Queries on faces, with their search, in the face model version that their collection is searched with."""

import uuid
from collections.abc import Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.db import approximate, copying, face_crops, face_models, reprocesses, search_tables, second_versions, vectors
from app.db.schema import face_tombstones, faces
from app.db.session import Row
from app.db.vectors import Hit, Scan

_FACE_COLUMNS = [column for column in faces.c if column.name not in ("emb32", "details", "source", "model")]


def _select(collection: Row, *, embeddings: bool = False, version: str | None = None) -> sa.Select[*tuple[Any, ...]]:
    """Select faces with their embeddings in the version that is searched, or in another one.

    `model` is that version wherever a face has an embedding in it.
    """
    wanted = version or collection.model
    selected = _selected(*second_versions.truth_of_faces(collection, wanted), wanted, embeddings=embeddings)
    return selected.where(faces.c.collection_id == collection.collection_id)


@cache
def _selected(
    source: sa.FromClause, truth: sa.ColumnElement[bytes | None], version: str, *, embeddings: bool
) -> sa.Select[*tuple[Any, ...]]:
    """Select them of all collections; made once for each kind, because to make it costs as much as to run it."""
    model = sa.case((truth.is_not(None), sa.literal(version)), else_=faces.c.model).label("model")
    columns = [*_FACE_COLUMNS, model, *([truth.label("emb32")] if embeddings else [])]
    return sa.select(*columns).select_from(source)


def nearest(
    connection: Connection,
    collection: Row,
    embedding: bytes,
    *,
    min_cosine: float,
    limit: int,
    scan: Scan = approximate.scan_as_asked,
) -> list[Hit]:
    """List the closest faces, best first; an empty list is a normal answer."""
    table = search_tables.of_faces(face_models.get(connection, collection.model))
    numbers = scan(connection, table, collection, embedding, min_cosine=min_cosine, limit=limit)
    rows = _by_numbers(connection, collection, numbers)
    return vectors.decide(rows, [row.emb32 for row in rows], embedding, min_cosine=min_cosine, limit=limit)


def _by_numbers(connection: Connection, collection: Row, numbers: Sequence[int]) -> list[Row]:
    if not numbers:
        return []
    statement = _numbered(*second_versions.truth_of_faces(collection, collection.model), collection.model)
    return list(connection.execute(statement, {"collection": collection.collection_id, "numbers": list(numbers)}))


@cache
def _numbered(
    source: sa.FromClause, truth: sa.ColumnElement[bytes | None], version: str
) -> sa.Select[*tuple[Any, ...]]:
    wanted = faces.c.face_no == sa.any_(sa.bindparam("numbers", type_=sa.ARRAY(sa.BigInteger)))
    mine = faces.c.collection_id == sa.bindparam("collection")
    return _selected(source, truth, version, embeddings=True).where(mine, wanted)


def insert(connection: Connection, collection: Row, rows: list[dict[str, Any]]) -> list[int]:
    """Store faces of a collection whose row is locked, and put their embeddings into its search table; give their numbers."""
    numbered = [{**row, "face_no": collection.next_no + index} for index, row in enumerate(rows)]
    same = {
        "collection_id": collection.collection_id,
        "model": collection.model,
        "change_seq": collection.change_seq,
    }
    copying.insert(connection, faces, numbered, **same)
    table = search_tables.of_faces(face_models.get(connection, collection.model))
    vectors.insert(connection, table, collection, [(row["face_no"], row["emb32"]) for row in numbered])
    return [row["face_no"] for row in numbered]


def find(connection: Connection, collection: Row, face_id: str) -> Row | None:
    """Find one face with its embedding."""
    statement = _select(collection, embeddings=True).where(faces.c.face_id == uuid.UUID(face_id))
    return connection.execute(statement).one_or_none()


def sample(connection: Connection, collection: Row, count: int) -> list[Row]:
    """Choose some faces that have an embedding, with it; fewer than wanted where most numbers are not faces any more."""
    drawn = sa.func.generate_series(1, 4 * count).table_valued("one").render_derived("drawn")
    number = 1 + sa.cast(sa.func.floor(sa.func.random() * (collection.next_no - 1)), sa.BigInteger)
    wanted = sa.select(number).select_from(drawn).scalar_subquery()
    statement = _select(collection, embeddings=True).where(faces.c.face_no.in_(wanted)).order_by(sa.func.random())
    return [row for row in connection.execute(statement.limit(2 * count)) if row.emb32 is not None][:count]


def find_many(connection: Connection, collection: Row, face_ids: list[str]) -> dict[str, Row]:
    """Find faces with their embeddings, by FaceId."""
    wanted = faces.c.face_id.in_([uuid.UUID(face_id) for face_id in face_ids])
    statement = _select(collection, embeddings=True).where(wanted)
    return {str(row.face_id): row for row in connection.execute(statement)}


def embeddings_of_user(
    connection: Connection, collection: Row, user_id: str, *, version: str | None = None
) -> list[bytes | None]:
    """List the embedding of each of a user's faces, in another version if need be; None for one that has none in it."""
    statement = _select(collection, embeddings=True, version=version).where(faces.c.user_id == user_id)
    found = (row.emb32 for row in connection.execute(statement.order_by(faces.c.face_no)))
    return [None if embedding is None else bytes(embedding) for embedding in found]


def owners(connection: Connection, collection_id: int, face_ids: list[str]) -> dict[str, str]:
    """Name the user of each face that belongs to one."""
    statement = sa.select(faces.c.face_id, faces.c.user_id).where(
        faces.c.collection_id == collection_id,
        faces.c.face_id.in_([uuid.UUID(face_id) for face_id in face_ids]),
        faces.c.user_id.is_not(None),
    )
    return {str(row.face_id): row.user_id for row in connection.execute(statement)}


def set_user(connection: Connection, collection_id: int, face_ids: list[str], user_id: str | None) -> None:
    """Give faces to a user, or to none."""
    connection.execute(
        sa.update(faces)
        .where(
            faces.c.collection_id == collection_id, faces.c.face_id.in_([uuid.UUID(face_id) for face_id in face_ids])
        )
        .values(user_id=user_id)
    )


def leave_user(connection: Connection, collection_id: int, user_id: str) -> None:
    """Take all faces from a user; they stay in the collection."""
    connection.execute(
        sa.update(faces).where(faces.c.collection_id == collection_id, faces.c.user_id == user_id).values(user_id=None)
    )


def of_images(
    connection: Connection, collection: Row, keys: Sequence[tuple[uuid.UUID, str | None]]
) -> dict[tuple[uuid.UUID, str | None], list[Row]]:
    """Find the faces that a collection holds of images, each under one external id or under none."""
    # Not «is not distinct from», which no index serves: one picture may be there under thousands of ids.
    named = [key for key in keys if key[1] is not None]
    nameless = [image_id for image_id, external in keys if external is None]
    found: dict[tuple[uuid.UUID, str | None], list[Row]] = {}
    for row in (*_named(connection, collection, named), *_nameless(connection, collection, nameless)):
        found.setdefault((row.image_id, row.external_image_id), []).append(row)
    return found


def _named(connection: Connection, collection: Row, keys: Sequence[tuple[uuid.UUID, str | None]]) -> list[Row]:
    if not keys:
        return []
    images = sa.literal([image_id for image_id, _ in keys], sa.ARRAY(sa.Uuid))
    names = sa.literal([name for _, name in keys], sa.ARRAY(sa.Text))
    wanted = sa.func.unnest(images, names).table_valued("image_id", "name").render_derived("wanted")
    statement = _select(collection).where(
        faces.c.image_id == wanted.c.image_id, faces.c.external_image_id == wanted.c.name
    )
    return list(connection.execute(statement))


def _nameless(connection: Connection, collection: Row, image_ids: Sequence[uuid.UUID]) -> list[Row]:
    if not image_ids:
        return []
    its = faces.c.image_id == sa.any_(sa.literal(list(image_ids), sa.ARRAY(sa.Uuid)))
    return list(connection.execute(_select(collection).where(its, faces.c.external_image_id.is_(None))))


def list_page(
    connection: Connection,
    collection: Row,
    *,
    after: uuid.UUID,
    limit: int,
    face_ids: list[str] | None = None,
    user_id: str | None = None,
) -> list[Row]:
    """List faces by FaceId, beginning after one; of all, or only of some ids, or of one user."""
    statement = _select(collection).where(faces.c.face_id > after).order_by(faces.c.face_id).limit(limit)
    if face_ids is not None:
        statement = statement.where(faces.c.face_id.in_([uuid.UUID(face_id) for face_id in face_ids]))
    if user_id is not None:
        statement = statement.where(faces.c.user_id == user_id)
    return list(connection.execute(statement))


def delete(connection: Connection, collection: Row, face_ids: list[str]) -> list[str]:
    """Delete faces of a collection whose row is locked, embeddings included; give the ids that existed."""
    wanted = [uuid.UUID(face_id) for face_id in face_ids]
    statement = (
        sa.delete(faces)
        .where(faces.c.collection_id == collection.collection_id, faces.c.face_id.in_(wanted))
        .returning(faces.c.face_no, faces.c.face_id)
    )
    gone = list(connection.execute(statement))
    if not gone:
        return []
    numbers = [row.face_no for row in gone]
    for version in second_versions.versions(connection, collection):
        vectors.delete(connection, search_tables.of_faces(version), collection, numbers)
    second_versions.delete_faces(connection, collection, numbers)
    face_crops.delete(connection, collection.collection_id, numbers)
    reprocesses.forget_failures(connection, collection.collection_id, numbers)
    same = {"collection_id": collection.collection_id, "change_seq": collection.change_seq}
    copying.insert(connection, face_tombstones, [{"face_no": number} for number in numbers], **same)
    return [str(row.face_id) for row in gone]
