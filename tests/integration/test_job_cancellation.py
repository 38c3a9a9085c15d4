"""Canceling, retrying, deadlines: what a caller can do to a job that was accepted."""

import uuid
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from app.db import schema
from app.domain.jobs import LEASE, RETRIABLE, START_DEADLINE, TERMINAL, Lane, Priority, Status
from app.errors import Conflict, InternalServerError, InvalidParameter, JobGone, JobNotFound
from app.services import jobs
from tests.desk import WEBHOOK_URL, Desk
from tests.factories import make_account
from workers.heartbeat import CancelRequested, Heartbeat

BY_URL = {"input": {"CollectionId": "people", "Image": {"Url": "https://example.com/face.jpg"}}}


def cancel(desk: Desk, job_id: str) -> Status:
    job = desk.outcomes.cancel(desk.account.account_id, job_id)
    assert job is not None
    return job.status


def test_a_queued_job_is_canceled_at_once_and_told(desk: Desk) -> None:
    job = desk.submit(webhook_url=WEBHOOK_URL)
    assert cancel(desk, job.job_id) is Status.CANCELED
    assert desk.find_work() is None
    assert desk.rows(schema.blobs) == []
    assert [row["type"] for row in desk.rows(schema.events)] == ["job.canceled"]


def test_canceling_twice_changes_nothing(desk: Desk) -> None:
    job = desk.submit(webhook_url=WEBHOOK_URL)
    cancel(desk, job.job_id)
    before = desk.everything()
    assert cancel(desk, job.job_id) is Status.CANCELED
    assert desk.everything() == before


@pytest.mark.parametrize("ending", ["succeed", "retry", "drop"])
def test_a_running_job_ends_canceled_with_nothing_stored(desk: Desk, ending: str) -> None:
    job = desk.submit(webhook_url=WEBHOOK_URL)
    claim = desk.claim()
    assert cancel(desk, job.job_id) is Status.IN_PROGRESS
    assert desk.get(job.job_id).cancel_requested_at is not None
    arguments = {"succeed": [lambda connection: pytest.fail("it ran")], "retry": [InternalServerError()], "drop": []}
    assert getattr(desk.outcomes, ending)(claim, *arguments[ending])
    ended = desk.get(job.job_id)
    assert (ended.status, ended.result, ended.error) == (Status.CANCELED, None, None)
    assert desk.attempts() == ["canceled"]
    assert [row["type"] for row in desk.rows(schema.events)] == ["job.canceled"]


def test_a_canceled_job_whose_worker_died_is_not_run_again(desk: Desk) -> None:
    job = desk.submit()
    desk.claim()
    cancel(desk, job.job_id)
    desk.elapse(LEASE.total_seconds() + 1)
    assert desk.outcomes.rescue() == 1
    assert desk.get(job.job_id).status is Status.CANCELED


def test_a_cancel_that_comes_too_late_leaves_the_truth(desk: Desk) -> None:
    job = desk.submit()
    desk.outcomes.fail(desk.claim(), InvalidParameter())
    assert cancel(desk, job.job_id) is Status.FAILED


def test_another_accounts_job_cannot_be_canceled(desk: Desk) -> None:
    job = desk.submit()
    stranger = make_account(desk.database)
    assert desk.outcomes.cancel(stranger.account_id, job.job_id) is None
    assert desk.get(job.job_id).status is Status.QUEUED


def test_a_heartbeat_tells_the_worker_that_its_job_is_canceled(desk: Desk) -> None:
    job = desk.submit()
    claim = desk.claim()
    heart = Heartbeat(partial(jobs.renew, desk.database), run_timeout=timedelta(seconds=60))
    with heart.hold(claim):
        heart.check(claim)
        cancel(desk, job.job_id)
        assert desk.renew(claim) == {(claim.job_id, claim.lease)}
        heart._stopped = desk.renew(claim)
        with pytest.raises(CancelRequested):
            heart.check(claim)


def ended(desk: Desk, status: Status, **changes: Any) -> str:
    job = desk.submit(**(BY_URL | changes))
    if status is Status.CANCELED:
        cancel(desk, job.job_id)
    elif status is Status.EXPIRED:
        desk.elapse(START_DEADLINE[Lane.INTERACTIVE].total_seconds() + 1)
        desk.outcomes.expire()
    elif status is Status.SUCCEEDED:
        desk.outcomes.succeed(desk.claim(), lambda connection: {})
    else:
        desk.outcomes.fail(desk.claim(), InvalidParameter())
    assert desk.get(job.job_id).status is status
    return job.job_id


@pytest.mark.parametrize("status", sorted(RETRIABLE))
def test_what_ended_without_success_can_be_submitted_again(desk: Desk, status: Status) -> None:
    first = desk.get(ended(desk, status, webhook_url=WEBHOOK_URL, priority=Priority.HIGH, caller_metadata={"a": "b"}))
    again, replayed = jobs.submit(desk.database, desk.doorbell, jobs.again(desk.database, first, idempotency_key=None))
    assert not replayed
    assert again.job_id != first.job_id
    assert again.retry_of == uuid.UUID(first.job_id)
    same = ("operation", "subject", "priority", "lane", "webhook_url", "caller_metadata")
    assert [getattr(again, name) for name in same] == [getattr(first, name) for name in same]
    assert desk.claim().input == BY_URL["input"]
    assert desk.get(first.job_id) == first


def test_a_job_that_succeeded_or_runs_cannot_be_retried(desk: Desk) -> None:
    succeeded = desk.get(ended(desk, Status.SUCCEEDED))
    queued = desk.submit(**BY_URL)
    for job in (succeeded, queued):
        with pytest.raises(Conflict, match="only one that FAILED, EXPIRED or was CANCELED"):
            jobs.again(desk.database, job, idempotency_key=None)


def test_a_job_whose_picture_is_gone_cannot_be_retried(desk: Desk) -> None:
    job = desk.submit()
    cancel(desk, job.job_id)
    with pytest.raises(Conflict, match="was deleted when the job ended"):
        jobs.again(desk.database, desk.get(job.job_id), idempotency_key=None)


@pytest.mark.parametrize("as_moment", [True, False])
def test_a_deadline_of_the_callers_own_is_kept(desk: Desk, as_moment: bool) -> None:
    within = timedelta(seconds=90)
    job = desk.submit(start_by=datetime.now(UTC) + within if as_moment else within)
    assert abs(job.start_deadline_at - job.created_at - timedelta(seconds=90)) < timedelta(seconds=60)
    desk.elapse(180)
    assert desk.find_work() is None
    assert desk.outcomes.expire() == 1
    assert desk.get(job.job_id).status is Status.EXPIRED


@pytest.mark.parametrize("wanted", Priority)
def test_bulk_work_may_wait_a_day(desk: Desk, wanted: Priority) -> None:
    job = desk.submit(priority=wanted)
    assert job.start_deadline_at - job.created_at == START_DEADLINE[wanted.lane]


def test_a_job_past_its_retention_is_gone_before_and_after_the_purge(desk: Desk) -> None:
    job = desk.submit()
    desk.outcomes.fail(desk.claim(), InvalidParameter())
    desk.elapse(31 * 86400)
    old = _made_at(datetime.now(UTC) - timedelta(days=31))
    for job_id, error in ((job.job_id, JobNotFound), (str(old), JobGone)):
        with pytest.raises(error):
            jobs.get(desk.database, desk.account.account_id, job_id, keep=timedelta(days=30))
    jobs.purge(desk.database)
    assert desk.rows(schema.jobs) == []


def _made_at(moment: datetime) -> uuid.UUID:
    """Make a version 7 UUID of a moment."""
    return uuid.UUID(int=(int(moment.timestamp() * 1000) << 80) | (7 << 76) | (0b10 << 62) | 1)


def test_jobs_are_listed_newest_first_page_by_page_with_filters(desk: Desk) -> None:
    failed = ended(desk, Status.FAILED)
    job_ids = [desk.submit(**BY_URL).job_id for _ in range(5)]
    stranger = Desk(desk.database, desk.doorbell, make_account(desk.database))
    stranger.submit()
    listed: list[str] = []
    while page := _page(desk, before=uuid.UUID(listed[-1]) if listed else None, limit=2):
        listed += page
    assert listed == sorted([failed, *job_ids], reverse=True)
    for filters, count in (
        ({"status": "FAILED"}, 1),
        ({"status": "QUEUED", "collection": "people"}, 5),
        ({"operation": "DetectFaces"}, 0),
        ({"collection": "others"}, 0),
    ):
        assert len(_page(desk, filters=filters)) == count, filters


def _page(
    desk: Desk, *, before: uuid.UUID | None = None, limit: int = 100, filters: dict[str, str] | None = None
) -> list[str]:
    listed = jobs.list_page(desk.database, desk.account.account_id, before=before, limit=limit, filters=filters or {})
    return [job.job_id for job in listed]


def test_a_position_counts_those_that_wait_before(desk: Desk) -> None:
    waiting = [desk.submit() for _ in range(3)]
    desk.submit(priority=Priority.LOW)
    assert [jobs.position(desk.database, job) for job in waiting] == [1, 2, 3]
    claimed = desk.get(desk.claim().job_id)
    assert jobs.position(desk.database, claimed) is None
    assert jobs.position(desk.database, waiting[2]) == 2
    assert claimed.status not in TERMINAL


def test_a_position_does_not_tell_how_much_others_have_queued(desk: Desk) -> None:
    other = Desk(desk.database, desk.doorbell, make_account(desk.database))
    for _ in range(3):
        other.submit()
    assert jobs.position(desk.database, desk.submit()) == 1
