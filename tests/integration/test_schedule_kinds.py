"""What schedules do: retention deletes, the integrity check finds every planted fault and nothing else."""

import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from app.db import integrity, schema
from app.db.session import Database
from app.errors import InvalidImageFormat
from app.services import schedules, users
from app.services.collections import describe_collection
from app.services.faces import list_faces
from app.services.integrity import FINDINGS, MAX_EXAMPLES
from tests.clockwork import Clockwork
from tests.desk import Desk
from tests.factories import (
    IMAGE,
    Account,
    make_account,
    make_collection,
    move_collection,
    random_embeddings,
    store_embeddings,
)
from workers.runtime import Runtime
from workers.schedules.run import run_some

RNG = np.random.default_rng(5)
PEOPLE = {"CollectionId": "people"}


def run(clockwork: Clockwork, runtime: Runtime, schedule_id: str) -> Any:
    """Run a schedule now, slice after slice, and give its tick."""
    schedules.run_now(clockwork.database, runtime.doorbell, clockwork.account.account_id, schedule_id)
    while run_some(runtime):
        pass
    return clockwork.show(schedule_id)["LastRun"]


def make_old(database: Database, face_ids: list[str], days: float) -> None:
    mine = schema.faces.c.face_id.in_([uuid.UUID(face_id) for face_id in face_ids])
    with database.transaction() as connection:
        connection.execute(sa.update(schema.faces).where(mine).values(created_at=sa.func.now() - timedelta(days=days)))


def shown_faces(database: Database, account: Account) -> list[str]:
    with database.transaction() as connection:
        answer = list_faces(connection, account.caller, PEOPLE)
    return sorted(face["FaceId"] for face in answer["Faces"])


def described(database: Database, account: Account) -> tuple[int, int]:
    with database.transaction() as connection:
        answer = describe_collection(connection, account.caller, PEOPLE)
    return answer["FaceCount"], answer["UserCount"]


def test_retention_deletes_old_faces_and_no_other(clockwork: Clockwork, runtime: Runtime, account: Account) -> None:
    database = clockwork.database
    make_collection(database, account)
    face_ids = store_embeddings(database, account, "people", random_embeddings(RNG, 1203))
    old, young = face_ids[:1201], face_ids[1201:]
    make_old(database, old, 30.01)
    make_old(database, young, 29.99)
    stranger = make_account(database)
    make_collection(database, stranger)
    make_old(database, store_embeddings(database, stranger, "people", random_embeddings(RNG, 1)), 99)
    schedule = clockwork.make(kind="RETENTION", settings={**PEOPLE, "Days": 30})
    tick = run(clockwork, runtime, schedule)
    assert (tick["Status"], tick["Result"]) == ("SUCCEEDED", {"FacesDeleted": 1201, "FacesTakenFromUsers": 0})
    assert shown_faces(database, account) == sorted(young)
    assert described(database, account) == (2, 0)
    assert len(shown_faces(database, stranger)) == 1
    assert run(clockwork, runtime, schedule)["Result"]["FacesDeleted"] == 0


def test_retention_takes_old_faces_from_their_users(clockwork: Clockwork, runtime: Runtime, account: Account) -> None:
    database = clockwork.database
    number = make_collection(database, account).collection_id
    both = random_embeddings(RNG, 1).repeat(3, axis=0)
    face_ids = store_embeddings(database, account, "people", both)
    with database.transaction() as connection:
        for user, whose in (("ada", face_ids[:2]), ("bob", face_ids[2:])):
            users.create_user(connection, account.caller, {**PEOPLE, "UserId": user})
            users.associate_faces(connection, account.caller, {**PEOPLE, "UserId": user, "FaceIds": whose})
    make_old(database, [face_ids[0], face_ids[2]], 8)
    tick = run(clockwork, runtime, clockwork.make(kind="RETENTION", settings={**PEOPLE, "Days": 7}))
    assert tick["Result"] == {"FacesDeleted": 2, "FacesTakenFromUsers": 2}
    assert shown_faces(database, account) == [face_ids[1]]
    with database.transaction() as connection:
        listed = users.list_users(connection, account.caller, PEOPLE)["Users"]
        vectors = connection.execute(
            sa.select(sa.func.count()).where(schema.user_vectors["1.0"].c.collection_id == number)
        ).scalar_one()
    assert {user["UserId"]: user["UserStatus"] for user in listed} == {"ada": "ACTIVE", "bob": "CREATED"}
    assert vectors == 1


def test_retention_of_a_collection_that_is_gone_fails(clockwork: Clockwork, runtime: Runtime) -> None:
    tick = run(clockwork, runtime, clockwork.make(kind="RETENTION", settings={"CollectionId": "none", "Days": 7}))
    assert (tick["Status"], tick["Error"]["Code"]) == ("FAILED", "ResourceNotFoundException")


def found(tick: Any) -> dict[str, int]:
    """Give the findings that are not zero."""
    return {name: tick["Result"][name]["Count"] for name in FINDINGS if tick["Result"][name]["Count"]}


def test_where_all_is_well_nothing_is_found(clockwork: Clockwork, runtime: Runtime, account: Account) -> None:
    make_collection(clockwork.database, account)
    store_embeddings(clockwork.database, account, "people", random_embeddings(RNG, 50))
    make_collection(clockwork.database, account, "empty")
    tick = run(clockwork, runtime, clockwork.make())
    assert (tick["Status"], tick["Result"]["Collections"], found(tick)) == ("SUCCEEDED", 2, {})


def plant_beside(connection: sa.Connection, collection_id: int) -> None:
    """Leave rows behind in tables without foreign keys: of a face, of a user, of a collection, of a batch."""
    nobody = {"collection_id": collection_id, "model": "2.0"}
    connection.execute(sa.insert(schema.face_embeddings).values(**nobody, face_no=6000, emb32=b"x"))
    connection.execute(sa.insert(schema.user_embeddings).values(**nobody, user_no=6000, vec32=b"x"))
    for number in (collection_id, 2**31 - 1):
        connection.execute(sa.insert(schema.face_crops).values(collection_id=number, face_no=6000, crop=b"x"))
    for number in (1, 2):
        connection.execute(sa.insert(schema.batch_items).values(batch_id=uuid.UUID(int=1), item_no=number, input={}))


@pytest.fixture
def swept(database: Database) -> Iterator[None]:
    """Take away what belongs to no account, which every account is told of."""
    yield
    with database.transaction() as connection:
        connection.execute(sa.delete(schema.batch_items))
        connection.execute(sa.delete(schema.face_crops).where(schema.face_crops.c.collection_id == 2**31 - 1))


@pytest.mark.usefixtures("swept")
def test_every_planted_fault_is_found(
    clockwork: Clockwork, runtime: Runtime, account: Account, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.services.integrity._PAGE", 7)  # many pages
    database = clockwork.database
    collection = make_collection(database, account)
    face_ids = store_embeddings(database, account, "people", random_embeddings(RNG, 60))
    with database.transaction() as connection:
        users.create_user(connection, account.caller, {**PEOPLE, "UserId": "ada"})
        request = {**PEOPLE, "UserId": "ada", "FaceIds": face_ids[:1]}
        users.associate_faces(connection, account.caller, request)
    job = desk.submit(input={"Image": {"Bytes": IMAGE}})
    desk.outcomes.fail(desk.claim(), InvalidImageFormat())
    face_vectors, user_vectors = schema.face_vectors["1.0"], schema.user_vectors["1.0"]
    with database.transaction() as connection:
        mine = face_vectors.c.collection_id == collection.collection_id
        connection.execute(sa.delete(face_vectors).where(mine, face_vectors.c.number.in_(range(1, 31))))
        vector = {"bucket": collection.buckets[0], "collection_id": collection.collection_id}
        embedding = random_embeddings(RNG, 1)[0]
        connection.execute(
            sa.insert(face_vectors), [{**vector, "number": n, "embedding": embedding} for n in (5000, 2**40)]
        )
        connection.execute(sa.delete(user_vectors).where(user_vectors.c.collection_id == collection.collection_id))
        connection.execute(sa.insert(user_vectors), [{**vector, "number": 7000, "embedding": embedding}])
        connection.execute(
            sa.update(schema.collections)
            .where(schema.collections.c.collection_id == collection.collection_id)
            .values(live_faces=59, live_users=2)
        )
        connection.execute(sa.insert(schema.blobs).values(job_id=uuid.UUID(job.job_id), name="Image", content=b"x"))
        plant_beside(connection, collection.collection_id)
    tick = run(clockwork, runtime, clockwork.make())
    assert found(tick) == {
        "FacesWithoutEmbedding": 30,
        "EmbeddingsWithoutFace": 3,
        "UsersWithoutVector": 1,
        "VectorsWithoutUser": 2,
        "CropsWithoutFace": 1,
        "WrongCounters": 1,
        "BlobsOfEndedJobs": 1,
        "BatchesGoneWithItemsLeft": 1,
        "CollectionsGoneWithRowsLeft": 1,
    }
    result = tick["Result"]
    examples = result["FacesWithoutEmbedding"]["Examples"]
    assert len(examples) == MAX_EXAMPLES
    assert {example["FaceId"] for example in examples} <= set(face_ids[:30])
    orphans = [example["Number"] for example in result["EmbeddingsWithoutFace"]["Examples"]]
    assert sorted(orphans) == [5000, 6000, 2**40]
    assert result["UsersWithoutVector"]["Examples"] == [{**PEOPLE, "UserId": "ada"}]
    assert result["WrongCounters"]["Examples"] == [{**PEOPLE, "FaceCount": 59, "UserCount": 2, "Faces": 60, "Users": 1}]
    assert result["BlobsOfEndedJobs"]["Examples"] == [{"JobId": job.job_id}]


def test_a_page_that_moved_to_another_bucket_meanwhile_is_looked_at_again(
    clockwork: Clockwork, runtime: Runtime, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = make_collection(clockwork.database, account, bucket=3)
    store_embeddings(clockwork.database, account, "people", random_embeddings(RNG, 20))
    real, moves = integrity.end_of_page, [5]

    def move_first(*arguments: Any, **options: Any) -> int:
        if moves:
            move_collection(clockwork.database, collection, moves.pop())
        return real(*arguments, **options)

    monkeypatch.setattr(integrity, "end_of_page", move_first)
    tick = run(clockwork, runtime, clockwork.make())
    assert (tick["Status"], tick["Result"]["Collections"], found(tick)) == ("SUCCEEDED", 1, {})
    assert moves == []


def test_a_check_sees_its_own_account_alone(clockwork: Clockwork, runtime: Runtime, account: Account) -> None:
    stranger = make_account(clockwork.database)
    number = make_collection(clockwork.database, stranger).collection_id
    store_embeddings(clockwork.database, stranger, "people", random_embeddings(RNG, 1))
    with clockwork.database.transaction() as connection:
        vectors = schema.face_vectors["1.0"]
        connection.execute(sa.delete(vectors).where(vectors.c.collection_id == number))
    tick = run(clockwork, runtime, clockwork.make())
    assert (tick["Result"]["Collections"], found(tick)) == (0, {})


def test_what_takes_too_long_is_named_and_the_rest_checked(
    clockwork: Clockwork, runtime: Runtime, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("people", "slow"):
        make_collection(clockwork.database, account, name)
    whole = schema.collections.c.name

    def counters(connection: sa.Connection, collection_id: int) -> None:
        statement = sa.select(whole).where(schema.collections.c.collection_id == collection_id)
        if connection.execute(statement).scalar_one() == "slow":
            connection.execute(sa.select(sa.func.pg_sleep(5)))

    monkeypatch.setattr("app.db.integrity.counters", counters)
    monkeypatch.setattr("app.services.integrity._PATIENCE", timedelta(milliseconds=200))
    tick = run(clockwork, runtime, clockwork.make())
    assert (tick["Status"], found(tick)) == ("SUCCEEDED", {"NotChecked": 1})
    assert tick["Result"]["NotChecked"]["Examples"] == [{"CollectionId": "slow"}]
