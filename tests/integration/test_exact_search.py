"""Searches find every vector above the threshold and no other, as a comparison with all of them says."""

import numpy as np
import pytest

from app.db import collections, faces, second_versions, users
from app.db.session import Database, Row
from app.domain.face_models import NEWEST
from app.services import collections as collection_service
from tests.factories import (
    Account,
    Embeddings,
    lookalikes,
    make_collection,
    move_collection,
    random_embeddings,
    store_embeddings,
    unit,
)

RNG = np.random.default_rng(30)
WANTED = random_embeddings(RNG, 1)[0]


def around(embedding: Embeddings, count: int) -> Embeddings:
    """Make embeddings at every distance from one, from the same to the opposite."""
    others = random_embeddings(RNG, count)
    across = unit(others - (others @ embedding)[:, None] * embedding)
    cosines = np.linspace(-1, 1, count)[:, None]
    return unit(cosines * embedding + np.sqrt(1 - cosines**2) * across)


def expected(ids: list[str], embeddings: Embeddings, min_cosine: float, limit: int) -> list[str]:
    cosines = embeddings @ WANTED
    order = [i for i in np.argsort(-cosines, kind="stable") if cosines[i] >= min_cosine]
    return [ids[i] for i in order[:limit]]


def found_faces(database: Database, collection: Row, min_cosine: float, limit: int) -> list[str]:
    with database.transaction() as connection:
        hits = faces.nearest(connection, collection, WANTED.tobytes(), min_cosine=min_cosine, limit=limit)
    assert [hit.cosine for hit in hits] == sorted((hit.cosine for hit in hits), reverse=True)
    return [str(hit.row.face_id) for hit in hits]


@pytest.mark.parametrize("limit", [1, 10, 4096])
@pytest.mark.parametrize("min_cosine", [-1.0, 0.0, 0.379, 0.418, 0.507, 0.9, 0.99999])
def test_a_face_search_agrees_with_comparing_them_all(
    database: Database, account: Account, min_cosine: float, limit: int
) -> None:
    collection = make_collection(database, account, bucket=3)
    neighbour = make_collection(database, account, "neighbours", bucket=3)
    embeddings = np.concatenate([around(WANTED, 400), random_embeddings(RNG, 100), lookalikes(RNG, WANTED, 100)])
    ids = store_embeddings(database, account, "people", embeddings)
    store_embeddings(database, account, "neighbours", lookalikes(RNG, WANTED, 20))
    wanted = expected(ids, embeddings, min_cosine, limit)
    found = found_faces(database, collection, min_cosine, limit)
    assert found == wanted or sorted(found) == sorted(wanted), "ties in float32 may stand in either order"
    assert not set(found) & set(found_faces(database, neighbour, -1.0, 100))


def test_what_was_deleted_is_found_no_more(database: Database, account: Account) -> None:
    collection = make_collection(database, account)
    ids = store_embeddings(database, account, "people", lookalikes(RNG, WANTED, 10))
    assert sorted(found_faces(database, collection, 0.5, 100)) == sorted(ids)
    with database.transaction() as connection:
        locked = collections.lock_for_writing(connection, account.account_id, "people")
        assert locked is not None
        faces.delete(connection, locked, ids[:4])
    assert sorted(found_faces(database, collection, 0.5, 100)) == sorted(ids[4:])
    with database.transaction() as connection:
        collection_service.delete_collection(connection, account.caller, {"CollectionId": "people"})
    assert found_faces(database, collection, -1.0, 100) == []


def test_a_search_that_knew_another_bucket_finds_what_has_moved(database: Database, account: Account) -> None:
    before = make_collection(database, account, bucket=3)
    ids = store_embeddings(database, account, "people", lookalikes(RNG, WANTED, 10))
    move_collection(database, before, 5)
    assert before.buckets == [3]
    assert sorted(found_faces(database, before, 0.5, 100)) == sorted(ids)


def test_a_user_search_agrees_with_comparing_them_all(database: Database, account: Account) -> None:
    make_collection(database, account)
    embeddings = around(WANTED, 200)
    names = [f"user-{number}" for number in range(len(embeddings))]
    with database.transaction() as connection:
        for name, embedding in zip(names, embeddings, strict=True):
            collection = collections.lock_for_writing(connection, account.account_id, "people")
            assert collection is not None
            assert users.insert(connection, collection, name)
            collections.add_users(connection, collection.collection_id, 1)
            second_versions.set_user_vector(connection, collection, collection.next_no, NEWEST, embedding.tobytes())
        for min_cosine, limit in ((-1.0, 500), (0.38, 500), (0.9, 500), (0.0, 7)):
            hits = users.nearest(connection, collection, WANTED.tobytes(), min_cosine=min_cosine, limit=limit)
            assert [hit.row.user_id for hit in hits] == expected(names, embeddings, min_cosine, limit)
        second_versions.set_user_vector(connection, collection, 200, NEWEST, None)
        users.delete(connection, collection, 199)
        nearest = users.nearest(connection, collection, WANTED.tobytes(), min_cosine=0.0, limit=1)
        assert [hit.row.user_id for hit in nearest] == ["user-197"]
