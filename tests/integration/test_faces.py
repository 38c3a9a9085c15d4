"""Faces in collections: stored once however often a picture comes, numbered without gaps, listed in pages, deleted."""

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from app.db import schema
from app.db.session import Database
from app.domain.faces import RejectedFace
from app.errors import CollectionNotFound, InvalidParameter
from app.services import faces, indexing
from app.services.collections import describe_collection
from app.services.faces import MAX_MATCHES
from app.services.indexing import IndexedImage
from tests.factories import (
    Account,
    lookalikes,
    make_account,
    make_collection,
    make_face,
    make_image,
    random_embeddings,
    store_embeddings,
)

PEOPLE = {"CollectionId": "people"}


@pytest.fixture
def people(database: Database, account: Account) -> int:
    """The number of an empty collection named people."""
    number: int = make_collection(database, account).collection_id
    return number


def index(database: Database, account: Account, image: IndexedImage) -> list[str]:
    with database.transaction() as connection:
        document = indexing.index(connection, account.account_id, "people", image)
    return [record["Face"]["FaceId"] for record in document["FaceRecords"]]


def counted(database: Database, account: Account) -> int:
    with database.transaction() as connection:
        count: int = describe_collection(connection, account.caller, PEOPLE)["FaceCount"]
    return count


def rows(database: Database, table: sa.Table, number: int) -> list[dict[str, Any]]:
    with database.transaction() as connection:
        found = connection.execute(sa.select(table).where(table.c.collection_id == number)).mappings()
        return [dict(row) for row in found]


def test_a_stored_face_is_shown_as_it_was_seen(database: Database, account: Account, people: int) -> None:
    seen, blurred = make_face(place=3), make_face(place=4)
    image = make_image(seen, external="alice", rejected=[RejectedFace(blurred, ("LOW_SHARPNESS",))])
    with database.transaction() as connection:
        document = indexing.index(connection, account.account_id, "people", image)
    (record,) = document["FaceRecords"]
    face = record["Face"]
    assert (face["ExternalImageId"], face["ImageId"]) == ("alice", str(image.image_id))
    assert face["BoundingBox"]["Left"] == pytest.approx(0.3)
    assert record["FaceDetail"]["Pose"] == {"Roll": 1.0, "Yaw": 2.0, "Pitch": 3.0}
    assert [unindexed["Reasons"] for unindexed in document["UnindexedFaces"]] == [["LOW_SHARPNESS"]]
    with database.transaction() as connection:
        listed = faces.list_faces(connection, account.caller, PEOPLE)
    assert listed["Faces"] == [face]
    (row,) = rows(database, schema.faces, people)
    assert (row["emb32"], row["source"]) == (seen.embedding, None)


def test_the_same_picture_is_stored_once(database: Database, account: Account, people: int) -> None:
    image = make_image(make_face(place=1), make_face(place=2), external="alice")
    first = index(database, account, image)
    assert index(database, account, image) == first
    assert len(set(first)) == counted(database, account) == len(rows(database, schema.faces, people)) == 2
    assert len(rows(database, schema.face_vectors["1.0"], people)) == 2


def test_the_same_picture_is_stored_once_by_workers_that_race(
    database: Database, account: Account, people: int
) -> None:
    image = make_image(make_face(place=1), make_face(place=2), external="alice")
    together = threading.Barrier(8)

    def work(_: int) -> tuple[str, ...]:
        together.wait()
        return tuple(index(database, account, image))

    with ThreadPoolExecutor(8) as workers:
        answers = set(workers.map(work, range(8)))
    assert len(answers) == 1
    assert counted(database, account) == 2


@pytest.mark.parametrize(
    "again",
    [
        make_image(make_face(place=1), external="bob"),
        make_image(make_face(place=1)),
        make_image(make_face(place=1), external="alice", image="another"),
    ],
    ids=["other external id", "no external id", "other picture"],
)
def test_under_another_name_a_picture_is_new(
    database: Database, account: Account, people: int, again: IndexedImage
) -> None:
    first = index(database, account, make_image(make_face(place=1), external="alice"))
    assert set(index(database, account, again)).isdisjoint(first)
    assert counted(database, account) == 2


def test_more_faces_of_a_known_picture_are_added(database: Database, account: Account, people: int) -> None:
    (largest,) = index(database, account, make_image(make_face(place=1)))
    both = index(database, account, make_image(make_face(place=1), make_face(place=2)))
    assert both[0] == largest
    assert counted(database, account) == 2


def test_a_deleted_face_is_new_when_its_picture_comes_again(database: Database, account: Account, people: int) -> None:
    image = make_image(make_face(place=1))
    first = index(database, account, image)
    unknown = str(uuid.uuid4())
    with database.transaction() as connection:
        answer = faces.delete_faces(connection, account.caller, {**PEOPLE, "FaceIds": [*first, unknown, *first]})
    assert answer["DeletedFaces"] == first
    assert answer["UnsuccessfulFaceDeletions"] == [{"FaceId": unknown, "Reasons": ["FACE_NOT_FOUND"]}]
    assert counted(database, account) == 0
    assert index(database, account, image) != first


def test_numbers_have_no_gaps_although_writers_race_and_fail(database: Database, account: Account, people: int) -> None:
    class Interrupted(Exception):
        pass

    def work(number: int) -> None:
        image = make_image(*(make_face(place=place) for place in range(1 + number % 3)), image=str(number))
        with database.transaction() as connection:
            indexing.index(connection, account.account_id, "people", image)
            if number % 4 == 0:
                raise Interrupted

    with ThreadPoolExecutor(8) as writers:
        endings = [writers.submit(work, number) for number in range(40)]
    assert sum(isinstance(ending.exception(), Interrupted) for ending in endings) == 10
    stored = rows(database, schema.faces, people)
    (collection,) = rows(database, schema.collections, people)
    assert sorted(row["face_no"] for row in stored) == list(range(1, len(stored) + 1))
    assert {row["change_seq"] for row in stored} == set(range(1, 31))
    assert (collection["change_seq"], collection["next_no"]) == (30, len(stored) + 1)
    assert collection["live_faces"] == len(stored)
    # The order of the numbers is the order of the commits: a later change has the later faces.
    by_number = [row["change_seq"] for row in sorted(stored, key=lambda row: row["face_no"])]
    assert by_number == sorted(by_number)


def test_a_collection_that_is_gone_takes_no_faces(database: Database, account: Account) -> None:
    with pytest.raises(CollectionNotFound):
        index(database, account, make_image(make_face()))


def test_a_page_ends_where_the_next_begins(database: Database, account: Account, people: int) -> None:
    ids = store_embeddings(database, account, "people", random_embeddings(np.random.default_rng(1), 25))
    shown: list[str] = []
    token = None
    for size in (10, 10, 5):
        with database.transaction() as connection:
            request = {**PEOPLE, "MaxResults": 10, "NextToken": token}
            page = faces.list_faces(connection, account.caller, request)
        assert len(page["Faces"]) == size
        shown += [face["FaceId"] for face in page["Faces"]]
        token = page["NextToken"]
    assert token is None
    assert shown == sorted(ids)


def test_a_searched_face_is_not_in_its_own_answer(database: Database, account: Account, people: int) -> None:
    rng = np.random.default_rng(2)
    person, *others = store_embeddings(
        database, account, "people", lookalikes(rng, random_embeddings(rng, 1)[0], 6, noise=0.02)
    )
    with database.transaction() as connection:
        everyone = faces.search_faces(connection, account.caller, {**PEOPLE, "FaceId": person})
        two = faces.search_faces(connection, account.caller, {**PEOPLE, "FaceId": person, "MaxFaces": 2})
    assert everyone["SearchedFaceId"] == person
    assert {match["Face"]["FaceId"] for match in everyone["FaceMatches"]} == set(others)
    assert two["FaceMatches"] == everyone["FaceMatches"][:2]


def test_a_searched_face_costs_no_place_in_the_longest_answer(
    database: Database, account: Account, people: int
) -> None:
    rng = np.random.default_rng(3)
    ids = store_embeddings(
        database, account, "people", lookalikes(rng, random_embeddings(rng, 1)[0], MAX_MATCHES + 2, noise=0.01)
    )
    with database.transaction() as connection:
        answer = faces.search_faces(connection, account.caller, {**PEOPLE, "FaceId": ids[0], "MaxFaces": MAX_MATCHES})
    assert len(answer["FaceMatches"]) == MAX_MATCHES


def test_the_face_of_another_account_cannot_be_searched(database: Database, account: Account, people: int) -> None:
    other = make_account(database)
    make_collection(database, other)
    (theirs,) = store_embeddings(database, other, "people", random_embeddings(np.random.default_rng(4), 1))
    with database.transaction() as connection:
        with pytest.raises(InvalidParameter):
            faces.search_faces(connection, account.caller, {**PEOPLE, "FaceId": theirs})
        answer = faces.delete_faces(connection, account.caller, {**PEOPLE, "FaceIds": [theirs]})
    assert answer["DeletedFaces"] == []
    assert counted(database, other) == 1
