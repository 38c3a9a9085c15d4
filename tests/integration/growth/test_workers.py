"""Workers that grow collections: wherever one dies nothing is lost, and nobody waits for what cannot be done now."""

import time
from collections.abc import Iterator

import pytest
from celery import Celery

from app.config import Settings
from app.db import bucket_work, faces, schema
from app.errors import ServiceUnavailable
from tests.factories import SECRET_KEY
from tests.growing import WANTED, Growing, rows
from workers import tasks
from workers.runtime import Runtime, current, open_runtime


def test_a_worker_that_lost_its_lease_moves_nothing(growing: Growing) -> None:
    claimed = growing.claim()
    assert growing.step(claimed)
    growing.let_time_pass()
    next_claim = growing.claim()
    before = growing.per_bucket()
    assert not growing.step(claimed)
    assert growing.per_bucket() == before
    while growing.step(next_claim):
        growing.check_all()
    assert growing.row.buckets[0] >= 100


def test_a_step_that_is_cut_off_has_done_nothing(growing: Growing) -> None:
    claimed = growing.claim()
    more = True
    while more:
        before = growing.row.buckets, growing.per_bucket(), growing.partitions()
        with growing.database.transaction() as connection:
            growing.growth.step(connection, claimed)
            connection.rollback()
        assert (growing.row.buckets, growing.per_bucket(), growing.partitions()) == before
        growing.check_all()
        more = growing.step(claimed)


def test_a_bucket_is_made_beside_searches_that_are_under_way(growing: Growing) -> None:
    claimed = growing.claim()
    with growing.database.transaction() as connection:
        faces.nearest(connection, growing.row, WANTED.tobytes(), min_cosine=0.0, limit=10)  # its lock lasts to the end
        began = time.monotonic()
        assert growing.step(claimed)
        assert time.monotonic() - began < 2
    assert len(growing.row.buckets) == 2


def test_a_bucket_that_cannot_be_made_now_holds_nobody_up(growing: Growing) -> None:
    claimed = growing.claim()
    with growing.database.transaction() as connection:
        connection.exec_driver_sql("LOCK TABLE fv_sface128 IN SHARE UPDATE EXCLUSIVE MODE")  # as VACUUM does
        began = time.monotonic()
        with pytest.raises(ServiceUnavailable):
            growing.step(claimed)
        assert 1 < time.monotonic() - began < 5
    assert growing.row.buckets == [3]
    assert growing.step(claimed)


@pytest.fixture
def worker(growing: Growing, celery: Celery) -> Iterator[Runtime]:
    """A worker process to which fifty faces are many."""
    reach = {"database_url": growing.database.url, "redis_url": "redis+socket:///nowhere", "secret_key": SECRET_KEY}
    open_runtime(Settings(**reach, own_bucket_faces=50), celery)
    yield current()
    current().database.close()


def test_a_worker_that_hears_beat_does_all_of_it(growing: Growing, worker: Runtime) -> None:
    tasks.find_growth()
    assert [row["kind"] for row in rows(growing.database, schema.bucket_work)] == ["GROW"]
    assert tasks.run_next("bulk")
    assert rows(growing.database, schema.bucket_work) == []
    assert growing.row.buckets[0] >= 100
    growing.check_all()


def test_work_that_fails_is_put_off_and_other_work_goes_on(
    growing: Growing, worker: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks.find_growth()
    with monkeypatch.context() as patch:
        patch.setattr(bucket_work, "save", lambda *_, **__: 1 / 0)
        assert worker.bucket_work.run()
    assert not worker.bucket_work.run(), "it waits for its next try"
    assert growing.row.buckets == [3]
    growing.let_time_pass()
    assert worker.bucket_work.run()
    assert growing.row.buckets[0] >= 100
