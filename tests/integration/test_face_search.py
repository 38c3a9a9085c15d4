"""Exact search against brute force: every face above the threshold, no other, best first, right after it was stored."""

import numpy as np
import pytest

from app.db import faces as rows
from app.db.session import Database
from app.domain.face_models import NEWEST
from app.errors import CollectionNotFound
from app.services import collections, faces
from tests.factories import (
    Account,
    Embeddings,
    lookalikes,
    make_account,
    make_collection,
    random_embeddings,
    store_embeddings,
    unit,
)

CURVE = NEWEST.curve
BUCKET = 3

#: Sums of float32 products depend on their order; nobody can tell faces this close to the threshold apart.
ROUNDING = 1e-6


def search(
    database: Database, account: Account, name: str, query: Embeddings, threshold: float, max_faces: int = 4096
) -> list[tuple[str, float]]:
    """Search as SearchFacesByImage does: (FaceId, similarity), in the order of the answer."""
    with database.transaction() as connection:
        collection = collections.get(connection, account.account_id, name)
        matches = faces.search(connection, collection, query.tobytes(), threshold=threshold, max_faces=max_faces)
    return [(match["Face"]["FaceId"], match["Similarity"]) for match in matches]


def check(
    found: list[tuple[str, float]],
    cosines: dict[str, float],
    *,
    threshold: float,
    max_faces: int,
) -> None:
    """Compare an answer with the cosines of all faces of the collection."""
    bar = CURVE.cosine(threshold)
    certain = {face_id for face_id, cosine in cosines.items() if cosine >= bar + ROUNDING}
    possible = {face_id for face_id, cosine in cosines.items() if cosine >= bar - ROUNDING}
    assert {face_id for face_id, _ in found} <= possible
    assert min(len(certain), max_faces) <= len(found) <= min(len(possible), max_faces)
    similarities = [similarity for _, similarity in found]
    assert similarities == sorted(similarities, reverse=True)
    for face_id, similarity in found:
        assert similarity == pytest.approx(CURVE.similarity(cosines[face_id]), abs=1e-3)
    left_out = certain - {face_id for face_id, _ in found}
    if left_out:
        worst = min(cosines[face_id] for face_id, _ in found)
        assert max(cosines[face_id] for face_id in left_out) <= worst + ROUNDING


@pytest.fixture(scope="module")
def crowd(database: Database) -> list[tuple[Account, str, Embeddings, list[str]]]:
    """Ten collections of two accounts in one bucket, from no face to four hundred, people and their lookalikes mixed."""
    rng = np.random.default_rng(7)
    accounts = [make_account(database), make_account(database)]
    collected = []
    for number, size in enumerate((0, 1, 2, 3, 7, 20, 60, 130, 250, 400)):
        account, name = accounts[number % 2], f"crowd {number}"
        make_collection(database, account, name, bucket=BUCKET)
        people = random_embeddings(rng, max(1, size // 8))
        mixed = [lookalikes(rng, person, 4, noise) for person in people for noise in (0.0, 0.05, 0.1)]
        embeddings = np.concatenate([people, *mixed])[rng.permutation(13 * len(people))][:size]
        ids = store_embeddings(database, account, name, embeddings) if size else []
        collected.append((account, name, embeddings, ids))
    return collected


@pytest.mark.parametrize("seed", range(10))
def test_a_search_finds_what_brute_force_finds(
    database: Database, crowd: list[tuple[Account, str, Embeddings, list[str]]], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    everyone = np.concatenate([embeddings for _, _, embeddings, _ in crowd])
    for _ in range(50):
        account, name, embeddings, ids = crowd[rng.integers(len(crowd))]
        person = everyone[rng.integers(len(everyone))]
        query = unit(person + rng.choice([0.0, 0.03, 0.1, 10.0]) * rng.standard_normal(person.shape))
        cosines = dict(zip(ids, (embeddings @ query).tolist(), strict=True))
        threshold = float(rng.choice([0, 100, 80, 99, rng.uniform(0, 100)]))
        if cosines and rng.random() < 0.3:  # the similarity of a face of the collection, which is then a match
            threshold = CURVE.similarity(float(rng.choice(list(cosines.values())))) - 1e-4
        threshold = max(threshold, 0.0)
        max_faces = int(rng.choice([1, 2, 10, 4096]))
        found = search(database, account, name, query, threshold, max_faces)
        check(found, cosines, threshold=threshold, max_faces=max_faces)


def test_a_threshold_of_zero_finds_every_face_even_the_opposite_one(database: Database, account: Account) -> None:
    make_collection(database, account)
    rng = np.random.default_rng(1)
    queries = random_embeddings(rng, 40)
    ids = store_embeddings(database, account, "people", -queries)
    for query in queries:
        assert {face_id for face_id, _ in search(database, account, "people", query, 0)} == set(ids)


def test_a_threshold_of_one_hundred_finds_the_same_picture_only(database: Database, account: Account) -> None:
    make_collection(database, account)
    people = random_embeddings(np.random.default_rng(2), 40)
    ids = store_embeddings(database, account, "people", people)
    for face_id, person in zip(ids, people, strict=True):
        ((found, similarity),) = search(database, account, "people", person, 100)
        assert found == face_id
        assert similarity == pytest.approx(100, abs=1e-4)


@pytest.mark.parametrize("equal_signs", [93, 100, 128])
def test_rounding_to_half_precision_never_hides_a_face(database: Database, account: Account, equal_signs: int) -> None:
    """Each number of these embeddings lies just below the middle of two halves, so that all are rounded down."""
    make_collection(database, account)
    middle = 1 + 2.0**-11 - 2.0**-20
    query = np.where(np.arange(128) < 42, 0.125, 0.0625) * middle
    query[127] = np.sqrt(1 - np.sum(query[:127] ** 2))
    face = query * np.where(np.arange(128) < equal_signs, 1, -1)
    query, face = query.astype("<f4"), face.astype("<f4")
    (face_id,) = store_embeddings(database, account, "people", face[None])
    with database.transaction() as connection:
        collection = collections.get(connection, account.account_id, "people")
        cosine = float(face @ query)
        found = rows.nearest(connection, collection, query.tobytes(), min_cosine=cosine - ROUNDING, limit=1)
        none = rows.nearest(connection, collection, query.tobytes(), min_cosine=cosine + ROUNDING, limit=1)
    assert [str(match.row.face_id) for match in found] == [face_id]
    assert none == []


def test_what_was_stored_is_found_by_the_next_search_and_what_was_deleted_by_none(
    database: Database, account: Account
) -> None:
    make_collection(database, account)
    rng = np.random.default_rng(3)
    person = random_embeddings(rng, 1)[0]
    kept: set[str] = set()
    for round_ in range(10):
        ids = store_embeddings(database, account, "people", lookalikes(rng, person, 3))
        kept |= set(ids)
        assert {face_id for face_id, _ in search(database, account, "people", person, 99)} == kept
        gone = ids[round_ % 3]
        with database.transaction() as connection:
            faces.delete_faces(connection, account.caller, {"CollectionId": "people", "FaceIds": [gone]})
        kept.remove(gone)
        assert {face_id for face_id, _ in search(database, account, "people", person, 99)} == kept


def test_collections_and_accounts_do_not_meet(database: Database, account: Account) -> None:
    other = make_account(database)
    person = random_embeddings(np.random.default_rng(4), 1)
    for owner, name in ((account, "people"), (account, "others"), (other, "people")):
        make_collection(database, owner, name, bucket=BUCKET)
    (mine,) = store_embeddings(database, account, "people", person)
    (theirs,) = store_embeddings(database, other, "people", person)
    assert search(database, account, "others", person[0], 0) == []
    assert [face_id for face_id, _ in search(database, account, "people", person[0], 0)] == [mine]
    assert [face_id for face_id, _ in search(database, other, "people", person[0], 0)] == [theirs]
    with pytest.raises(CollectionNotFound):
        search(database, other, "others", person[0], 0)
