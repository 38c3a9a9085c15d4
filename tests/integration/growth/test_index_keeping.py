"""Indexes of collections that ask for approximate search: built, made anew, given up, whatever happens meanwhile."""

import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from celery import Celery

from app.config import Settings
from app.db import faces, hnsw, schema
from app.services import collections as collection_service
from tests.approximating import Approximating
from tests.factories import SECRET_KEY, random_embeddings
from tests.growing import RNG, WANTED, rows
from tests.patience import wait_until
from workers.runtime import Runtime


def test_a_small_collection_is_remembered_and_indexed_once_it_has_grown(fresh: Approximating) -> None:
    fresh.ask("approximate")
    waiting = fresh.keep()["Index"]
    assert (waiting["Status"], waiting["Buckets"]) == ("WAITING", 0)
    assert "more than 50 faces" in waiting["Message"]
    assert fresh.indexes() == {}
    fresh.growing.check_all()
    fresh.grow()
    assert fresh.show()["Index"]["Status"] == "BUILDING"
    fresh.growing.check_all()
    assert fresh.keep()["Index"]["Status"] == "READY"


def test_switching_back_drops_the_index_and_is_exact_at_once(asked: Approximating) -> None:
    shown = asked.ask("exact")
    assert "Index" not in shown
    asked.growing.check_all()
    asked.keep()
    assert asked.indexes() == {}
    assert rows(asked.database, schema.search_indexes) == []
    options = sa.text("SELECT reloptions::text FROM pg_class WHERE relname = :name")
    with asked.database.transaction() as connection:
        assert "index_cleanup" not in connection.execute(options, {"name": asked.tables()[0]}).scalar_one()
    asked.growing.check_all()


def test_an_index_with_many_dead_faces_is_made_anew(asked: Approximating) -> None:
    growing = asked.growing
    asked.growing.delete(growing.store(random_embeddings(RNG, 5)))
    before = _nodes(asked)
    asked.keep()
    assert _nodes(asked) == before, "five of sixty-five are few"
    growing.delete(growing.store(random_embeddings(RNG, 10)))
    shown = asked.keep()
    assert _nodes(asked) != before
    assert shown["Index"]["Status"] == "READY"
    assert list(asked.indexes().values()) == [True]
    after = _nodes(asked)
    asked.keep()
    assert _nodes(asked) == after, "once is enough"
    growing.check(WANTED, 0.5)


def _nodes(asked: Approximating) -> list[int]:
    statement = sa.text("SELECT relfilenode FROM pg_class WHERE relname = ANY (:names)")
    with asked.database.transaction() as connection:
        return list(connection.execute(statement, {"names": list(asked.indexes())}).scalars())


def test_what_a_killed_build_left_is_dropped_and_built_anew(fresh: Approximating) -> None:
    fresh.grow()
    (table,) = fresh.tables()
    for name in (f"hnsw_{table}", f"hnsw_{table}_ccnew"):
        fresh.alter(f"CREATE INDEX {name} ON {table} USING hnsw (embedding halfvec_ip_ops)")
    fresh.alter("UPDATE pg_index SET indisvalid = false WHERE indexrelid::regclass::text LIKE 'hnsw_%%'")
    fresh.ask("approximate")
    assert fresh.show()["Index"]["Status"] == "BUILDING"
    assert fresh.keep()["Index"]["Status"] == "READY"
    assert fresh.indexes() == {f"hnsw_{table}": True}


def test_an_index_whose_worker_died_before_it_said_so_is_noted(asked: Approximating) -> None:
    with asked.database.transaction() as connection:
        connection.execute(sa.update(schema.search_indexes).values(buckets=[]))
        connection.execute(sa.update(schema.collections).values(indexed_model=None))
    assert asked.show()["Index"]["Status"] == "BUILDING"
    before = _nodes(asked)
    index = asked.keep()["Index"]
    assert (index["Status"], index["Built"]) == ("READY", 1)
    assert _nodes(asked) == before


def test_the_thread_of_a_worker_does_all_of_it(fresh: Approximating, celery: Celery) -> None:
    fresh.grow()
    settings = Settings(database_url=fresh.database.url, redis_url="redis+socket:///nowhere", secret_key=SECRET_KEY)
    worker = Runtime(settings, celery)
    fresh.ask("approximate")
    worker.indexer.wake()
    wait_until(lambda: "Measured" in fresh.show()["Index"])
    wait_until(lambda: "indexer" not in {thread.name for thread in threading.enumerate()})
    worker.indexer.wake()  # nothing is due
    assert "indexer" not in {thread.name for thread in threading.enumerate()}
    worker.database.close()


def test_one_worker_builds_at_a_time(fresh: Approximating) -> None:
    fresh.grow()
    fresh.ask("approximate")
    with fresh.database.session() as other:
        assert hnsw.take_turn(other)
        assert fresh.keep()["Index"]["Status"] == "BUILDING"
    assert fresh.keep()["Index"]["Status"] == "READY", "the turn ends with the session"


def test_a_build_that_fails_says_why_and_is_tried_again_later(
    fresh: Approximating, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh.grow()
    fresh.ask("approximate")
    with monkeypatch.context() as patch:
        patch.setattr(hnsw, "CONNECTIONS", 1000)  # more than pgvector allows
        index = fresh.keep()["Index"]
    assert index["Status"] == "BUILDING"
    assert '"m"' in index["Message"]
    fresh.growing.check_all()
    fresh.keeper.run(threading.Event())
    assert fresh.show()["Index"]["Status"] == "BUILDING", "it is put off"
    index = fresh.keep()["Index"]
    assert index["Status"] == "READY"
    assert "Message" not in index


def test_a_build_without_enough_shared_memory_goes_on_in_one_process(
    fresh: Approximating, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh.grow()
    fresh.ask("approximate")
    with fresh.database.session() as session:
        refused = "SELECT 1 / (current_setting('max_parallel_maintenance_workers') = '0')::int"
        with monkeypatch.context() as patch:
            patch.setattr(hnsw, "_OUT_OF_SHARED_MEMORY", "22012")  # the error of a division by zero
            patch.setattr(hnsw, "_statement", lambda _: refused)
            hnsw.build(session, fresh.tables()[0], megabytes=64)


@pytest.fixture
def building(fresh: Approximating) -> Iterator[threading.Thread]:
    """A build that is under way: it waits for an older transaction, as it would for hours beside a backup."""
    fresh.grow()
    fresh.ask("approximate")
    building = threading.Thread(target=fresh.work)
    with fresh.database.transaction() as older:
        older.exec_driver_sql("LOCK TABLE fv_sface128 IN ROW EXCLUSIVE MODE")  # as whoever writes has it
        building.start()
        wait_until(lambda: fresh.indexes() != {})
        yield building
    building.join(10)


def test_a_build_that_is_not_wanted_any_more_ends(fresh: Approximating, building: threading.Thread) -> None:
    fresh.ask("exact")
    building.join(10)
    assert not building.is_alive()


def test_the_build_of_a_deleted_collection_ends(
    fresh: Approximating, building: threading.Thread, celery: Celery
) -> None:
    growing, table = fresh.growing, fresh.tables()[0]
    with growing.database.transaction() as connection:
        collection_service.delete_collection(connection, growing.account.caller, {"CollectionId": growing.name})
    settings = Settings(database_url=growing.database.url, redis_url="redis+socket:///nowhere", secret_key=SECRET_KEY)
    worker = Runtime(settings, celery)
    clears = threading.Thread(target=worker.bucket_work.run)
    clears.start()
    building.join(10)
    assert not building.is_alive()
    assert fresh.indexes() == {f"hnsw_{table}": False}, "it goes with its table"
    clears.join()
    worker.database.close()


KEEPER = """
import sys, threading
from app.db.session import Database
from app.services.index_keeping import IndexKeeper
IndexKeeper(Database(sys.argv[1]), megabytes=64).run(threading.Event())
"""


def test_the_build_of_a_killed_worker_ends_and_another_one_has_the_turn(fresh: Approximating) -> None:
    fresh.grow()
    fresh.ask("approximate")
    with fresh.database.transaction() as older:
        older.exec_driver_sql("LOCK TABLE fv_sface128 IN ROW EXCLUSIVE MODE")
        with subprocess.Popen([sys.executable, "-c", KEEPER, fresh.database.url]) as worker:
            wait_until(lambda: fresh.indexes() != {})
            worker.kill()
        with fresh.database.session() as other:
            assert not hnsw.take_turn(other), "Postgres does not know yet"
            wait_until(lambda: hnsw.take_turn(other))
    assert list(fresh.indexes().values()) == [False]
    assert fresh.keep()["Index"]["Status"] == "READY"
    assert list(fresh.indexes().values()) == [True]


def test_where_most_numbers_are_users_or_deleted_the_sample_is_smaller(asked: Approximating) -> None:
    with asked.database.transaction() as connection:
        sample = faces.sample(connection, asked.growing.row, 20)
        assert len(sample) == len({row.face_no for row in sample}) == 20
        mine = schema.collections.c.collection_id == asked.growing.row.collection_id
        later = connection.execute(
            sa.update(schema.collections).where(mine).values(next_no=10**6).returning(schema.collections)
        ).one()
        assert len(faces.sample(connection, later, 20)) < 20
        connection.rollback()
