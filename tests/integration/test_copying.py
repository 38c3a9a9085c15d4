"""Many rows at once are stored as single ones are, whatever is in them, and fail as they do."""

import uuid
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from app.db import collections, copying, schema, search_tables, vectors
from app.db.session import Database, Row
from app.domain.face_models import NEWEST
from app.errors import ServiceUnavailable
from tests.factories import Account, make_collection, random_embeddings

RNG = np.random.default_rng(31)

ODD = (
    {},
    {"external_image_id": None, "source": None},
    {"external_image_id": "", "details": {}, "bbox": [0.0, -0.0, 1e-30, 0.99999994]},
    {"external_image_id": "Zoë 👩‍👩‍👧 \\N\t\n", "details": {"a": [1, 2.5, None, True, "é\\"]}},
    {"source": {"Url": "https://example.com/?a=1&b=%00"}, "confidence": 0.1, "quality": 1e-7},
    {"user_id": "x" * 1000},
)


def face(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "face_no": number,
        "face_id": uuid.uuid4(),
        "image_id": uuid.uuid4(),
        "external_image_id": f"photos/{number}.jpg",
        "user_id": None,
        "bbox": [0.1, 0.2, 0.3, 0.4],
        "confidence": 99.5,
        "quality": 12.5,
        "details": {"pose": {"roll": 1.25}},
        "source": {"S3Object": {"Bucket": "photos", "Name": f"{number}.jpg"}},
        "emb32": random_embeddings(RNG, 1)[0].tobytes(),
        **changes,
    }


@pytest.fixture
def collection(database: Database, account: Account) -> Row:
    return make_collection(database, account)


def stored(database: Database, collection: Row, table: sa.Table, but: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    mine = sa.select(table).where(table.c.collection_id == collection.collection_id)
    with database.transaction() as connection:
        found = connection.execute(mine.order_by(*list(table.primary_key))).mappings()
        return [{name: value for name, value in row.items() if name not in but} for row in found]


def test_rows_that_are_copied_are_what_inserted_rows_would_be(database: Database, collection: Row) -> None:
    rows = [face(number, **ODD[number % len(ODD)]) for number in range(4 * len(ODD))]
    same = {"collection_id": collection.collection_id, "model": "1.0", "change_seq": 2**40}
    with database.transaction() as connection:
        connection.execute(sa.insert(schema.faces), [{**row, **same} for row in rows])
    inserted = stored(database, collection, schema.faces, ("created_at",))
    with database.transaction() as connection:
        connection.execute(sa.delete(schema.faces).where(schema.faces.c.collection_id == collection.collection_id))
        copying.insert(connection, schema.faces, rows, **same)
    assert stored(database, collection, schema.faces, ("created_at",)) == inserted
    moments = {row["created_at"] for row in stored(database, collection, schema.faces)}
    assert len(moments) == 1


@pytest.mark.parametrize("count", [1, copying.FEW - 1, copying.FEW, 200])
def test_vectors_are_stored_alike_however_many_come(database: Database, collection: Row, count: int) -> None:
    table, embeddings = search_tables.of_faces(NEWEST), random_embeddings(RNG, 200)[:count]
    with database.transaction() as connection:
        vectors.insert(connection, table, collection, [(n, one.tobytes()) for n, one in enumerate(embeddings)])
        mine = sa.select(table.c.number, table.c.embedding).where(table.c.collection_id == collection.collection_id)
        found = {row.number: np.array(row.embedding) for row in connection.execute(mine)}
    assert set(found) == set(range(count))
    for number, embedding in enumerate(embeddings):
        assert np.allclose(found[number], embedding.astype(np.float16).astype(float), rtol=1e-5)


def test_a_number_that_is_taken_is_refused_and_nothing_is_stored(database: Database, collection: Row) -> None:
    rows = [face(number // 2) for number in range(20)]
    with pytest.raises(sa.exc.IntegrityError), database.transaction() as connection:
        copying.insert(
            connection, schema.faces, rows, collection_id=collection.collection_id, model="1.0", change_seq=1
        )
    assert stored(database, collection, schema.faces) == []


def test_what_must_not_be_told_is_not_in_the_error(database: Database, collection: Row) -> None:
    rows = [face(1, external_image_id="secret") for _ in range(20)]
    with pytest.raises(sa.exc.IntegrityError) as error, database.transaction() as connection:
        copying.insert(
            connection, schema.faces, rows, collection_id=collection.collection_id, model="1.0", change_seq=1
        )
    assert "secret" not in str(error.value)


def test_a_postgres_that_goes_away_meanwhile_is_named(database: Database, account: Account, collection: Row) -> None:
    def lose() -> None:
        with database.transaction() as connection:
            victim = connection.execute(sa.select(sa.func.pg_backend_pid())).scalar_one()
            with database.transaction() as other:
                other.execute(sa.select(sa.func.pg_terminate_backend(victim)))
            numbers = [{"face_no": number} for number in range(20)]
            copying.insert(connection, schema.face_tombstones, numbers, collection_id=0, change_seq=1)

    with pytest.raises(ServiceUnavailable):
        lose()
    with database.transaction() as connection:
        assert collections.find(connection, account.account_id, "people") is not None
