"""A large collection that is deleted is gone at once; workers remove its rows and buckets, and no search waits for that."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
import sqlalchemy as sa
from celery import Celery

from app.config import Settings
from app.db import faces, integrity, schema, search_tables
from app.db.schema import bucket_work, dedicated_buckets
from app.db.session import Database
from app.domain.face_models import NEWEST
from app.services import clearing, collections
from tests.factories import SECRET_KEY, make_collection, random_embeddings
from tests.growing import RNG, WANTED, Growing, rows
from tests.integration.test_purge import Census
from workers.runtime import Runtime

OWNERS = (schema.collections.c.collection_id, bucket_work.c.collection_id)


@pytest.fixture
def worker(database: Database, celery: Celery) -> Iterator[Runtime]:
    settings = Settings(database_url=database.url, redis_url="redis+socket:///nowhere", secret_key=SECRET_KEY)
    worker = Runtime(settings, celery)
    yield worker
    worker.database.close()


def delete(growing: Growing) -> int:
    """Delete the collection as a request does; give its number."""
    number: int = growing.row.collection_id
    with growing.database.transaction() as connection:
        request = {"CollectionId": growing.name}
        assert collections.delete_collection(connection, growing.account.caller, request) == {"StatusCode": 200}
    return number


def left(growing: Growing, number: int) -> dict[str, int]:
    """Count what is left of a collection anywhere."""
    return Census(growing.database).of_collection(number)


def test_it_is_gone_at_once_and_later_nothing_is_left(growing: Growing, worker: Runtime) -> None:
    for _ in growing.steps():
        pass
    before = growing.row
    number = delete(growing)
    with growing.database.transaction() as connection:
        assert integrity.orphaned(connection, schema.faces.c.collection_id, *OWNERS) == 0, "it is being seen to"
    assert growing.search(WANTED, -1.0, known=before) == []
    with pytest.raises(AssertionError):
        _ = growing.row
    make_collection(growing.database, growing.account)  # another one of its name
    growing.stored.clear()
    growing.store(random_embeddings(RNG, 3))
    growing.check_all()
    while worker.bucket_work.run():
        pass
    assert left(growing, number) == {}
    assert growing.own_partitions(number) == set()
    growing.check_all()


def test_one_that_is_deleted_while_it_moves_leaves_nothing_in_the_shared_bucket(
    growing: Growing, worker: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    claimed = growing.claim()
    assert growing.step(claimed)
    assert growing.step(claimed)
    assert set(growing.per_bucket()) == set(growing.row.buckets)
    number = delete(growing)
    assert not growing.step(claimed), "it belongs to whoever clears it away"
    monkeypatch.setattr(clearing, "BATCH", 11)
    assert worker.bucket_work.run()
    assert left(growing, number) == {}
    assert growing.own_partitions(number) == set()


def test_a_number_is_used_again_when_its_tables_are_gone(growing: Growing, worker: Runtime) -> None:
    for _ in growing.steps():
        pass
    own = growing.row.buckets
    former = delete(growing)
    assert worker.bucket_work.run()
    make_collection(growing.database, growing.account)
    growing.stored.clear()
    growing.store(random_embeddings(RNG, 60))
    for _ in growing.steps():
        pass
    assert growing.row.buckets == own, "the lowest numbers that are free"
    with growing.database.statement() as connection:  # a worker that slept since then
        search_tables.drop_bucket(connection, NEWEST, own[0], former)
    growing.check_all()


def test_a_bucket_whose_faces_are_all_gone_is_left_and_dropped(growing: Growing, worker: Runtime) -> None:
    growing.growth = replace(growing.growth, capacity=25)
    for _ in growing.steps():
        pass
    number, (first, second, third) = growing.row.collection_id, growing.row.buckets
    growing.delete(list(growing.stored)[:28])  # the oldest faces fill the first bucket
    growing.store(random_embeddings(RNG, 25))
    known = growing.row
    for _ in growing.steps():
        growing.check_all()
    assert growing.row.buckets == [second, third, third + 1]
    growing.check(WANTED, 0.0, known=known)
    with growing.database.transaction() as connection:
        assert growing.growth.find(connection) == 1, "there is one to be dropped"
    assert worker.bucket_work.run()
    assert growing.own_partitions(number) == {
        f"{table}_{bucket}_{number}" for table in ("fv_sface128", "uv_sface128") for bucket in growing.row.buckets
    }
    assert first not in {row["bucket"] for row in rows(growing.database, dedicated_buckets)}
    growing.check(WANTED, 0.0, known=known)


def test_searches_go_on_while_the_buckets_wait_for_one_that_is_slow(growing: Growing, worker: Runtime) -> None:
    for _ in growing.steps():
        pass
    other = Growing(growing.database, growing.account, "other")
    make_collection(growing.database, growing.account, "other", bucket=4)
    other.store(random_embeddings(RNG, 5))
    number = delete(growing)
    clears = threading.Thread(target=worker.bucket_work.run)
    with growing.database.transaction() as connection:
        faces.nearest(connection, other.row, WANTED.tobytes(), min_cosine=0.0, limit=10)  # its lock lasts to the end
        clears.start()
        time.sleep(0.5)
        began = time.monotonic()
        other.check_all()
        other.store(random_embeddings(RNG, 5))
        assert time.monotonic() - began < 1
        assert clears.is_alive()
        assert growing.own_partitions(number) != set()
    clears.join()
    assert left(growing, number) == {}
    assert growing.own_partitions(number) == set()


def test_a_bucket_that_was_left_half_detached_is_dropped(growing: Growing, worker: Runtime) -> None:
    for _ in growing.steps():
        pass
    own, number = growing.row.buckets[0], delete(growing)
    with growing.database.transaction() as slow:
        slow.exec_driver_sql("SELECT count(*) FROM fv_sface128")
        with growing.database.statement() as connection:
            connection.exec_driver_sql("SET lock_timeout = '200ms'")
            with pytest.raises(sa.exc.OperationalError):
                search_tables.drop_bucket(connection, NEWEST, own, number)
            connection.exec_driver_sql("RESET lock_timeout")
            pending = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhdetachpending"
            assert connection.exec_driver_sql(pending).scalar_one() == f"fv_sface128_{own}_{number}"
    assert any(row["collection_id"] == number for row in rows(growing.database, dedicated_buckets))
    assert worker.bucket_work.run()
    assert growing.own_partitions(number) == set()
    assert rows(growing.database, bucket_work) == []


def test_a_small_collection_goes_within_the_request(growing: Growing) -> None:
    growing.claim()
    assert left(growing, delete(growing)) == {}
