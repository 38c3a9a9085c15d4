"""Waiting for a job: woken by its end, given up in time, and not for more callers than there are seats."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from app.db.notifications import JobListener
from app.domain.jobs import Status
from app.errors import InvalidParameter
from app.services.waiting import TooManyWaiters, Waiting
from tests.desk import Desk


@pytest.fixture
def listener(desk: Desk) -> Iterator[JobListener]:
    listener = JobListener(desk.database.url)
    yield listener
    listener.close()


@pytest.fixture
def waiting(desk: Desk, listener: JobListener) -> Waiting:
    return Waiting(desk.database, listener, max_waiters=4)


def test_a_waiter_is_woken_by_the_end_of_its_job(desk: Desk, waiting: Waiting) -> None:
    mine, other = desk.submit(), desk.submit()
    with ThreadPoolExecutor(2) as threads:
        for_mine = threads.submit(waiting.wait, mine, 20)
        for_other = threads.submit(waiting.wait, other, 20)
        time.sleep(0.2)
        ended = time.monotonic()
        assert desk.outcomes.succeed(desk.claim(), lambda connection: {"FaceRecords": []})
        assert for_mine.result(timeout=5).result == {"FaceRecords": []}
        assert time.monotonic() - ended < 2
        assert not for_other.done()
        assert desk.outcomes.fail(desk.claim(), InvalidParameter())
        assert for_other.result(timeout=5).status is Status.FAILED


def test_a_job_that_is_done_needs_no_seat(desk: Desk, listener: JobListener) -> None:
    job = desk.submit()
    desk.outcomes.succeed(desk.claim(), lambda connection: {})
    closed = Waiting(desk.database, listener, max_waiters=1)
    done = desk.get(job.job_id)
    assert closed.wait(done, 10) == done


def test_after_its_time_a_waiter_gets_the_job_as_it_stands(desk: Desk, waiting: Waiting) -> None:
    began = time.monotonic()
    assert waiting.wait(desk.submit(), 0.3).status is Status.QUEUED
    assert 0.3 <= time.monotonic() - began < 2
    assert waiting.wait(desk.submit(), 0).status is Status.QUEUED


def test_whoever_hung_up_keeps_no_seat(desk: Desk, waiting: Waiting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.services.waiting._LOOK_SECONDS", 0.1)
    began = time.monotonic()
    assert waiting.wait(desk.submit(), 20, hung_up=lambda: time.monotonic() - began > 0.5).status is Status.QUEUED
    assert time.monotonic() - began < 5


def test_above_the_cap_nobody_waits_and_a_free_seat_is_given_again(desk: Desk, waiting: Waiting) -> None:
    job = desk.submit()
    with ThreadPoolExecutor(4) as threads:
        seated = [threads.submit(waiting.wait, job, 20) for _ in range(4)]
        time.sleep(0.2)
        with pytest.raises(TooManyWaiters):
            waiting.wait(job, 20)
        desk.outcomes.succeed(desk.claim(), lambda connection: {})
        assert all(one.result(timeout=5).done for one in seated)
    assert waiting.wait(desk.submit(), 0.05).status is Status.QUEUED


def test_a_listener_whose_connection_is_cut_listens_again(
    desk: Desk, waiting: Waiting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.db.notifications._RECONNECT_SECONDS", 0.05)
    job = desk.submit()
    with ThreadPoolExecutor(1) as threads:
        waiter = threads.submit(waiting.wait, job, 20)
        time.sleep(0.2)
        desk.change(sa.text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"))
        threading.Event().wait(0.3)
        desk.outcomes.succeed(desk.claim(), lambda connection: {})
        began = time.monotonic()
        assert waiter.result(timeout=10).done
        assert time.monotonic() - began < 2
