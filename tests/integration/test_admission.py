"""Whether there is room for one more job: caps of one account, and refusal while its own jobs wait, bulk first."""

import uuid
from datetime import timedelta

import pytest
import sqlalchemy as sa

from app.db import schema
from app.domain.jobs import Lane, Priority
from app.errors import IdempotentParameterMismatch, ProvisionedThroughputExceeded, ServiceUnavailable
from app.services import admission, jobs
from app.services.admission import Admission, Limits
from tests.desk import Desk
from tests.factories import make_account, make_submission


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is believed for any time."""
    monkeypatch.setattr(admission, "_BELIEVED_SECONDS", 0.0)


@pytest.fixture
def other(desk: Desk) -> Desk:
    """The desk of another account."""
    return Desk(desk.database, desk.doorbell, make_account(desk.database))


def submit(desk: Desk, limits: Limits, **changes: object) -> jobs.Job:
    submission = make_submission(desk.account.account_id, **changes)
    return jobs.submit(desk.database, desk.doorbell, submission, Admission(desk.database, limits))[0]


def test_an_account_may_have_so_many_jobs_queued_and_others_are_not_affected(desk: Desk, other: Desk) -> None:
    limits = Limits(queued=2, shed_after_seconds=30)
    for _ in range(2):
        submit(desk, limits)
    with pytest.raises(ProvisionedThroughputExceeded, match="2 jobs queued") as refused:
        submit(desk, limits)
    assert refused.value.retryable
    assert refused.value.retry_after_milliseconds is not None
    assert 1000 <= refused.value.retry_after_milliseconds <= 1250
    submit(other, limits)
    desk.claim()
    submit(desk, limits)


def test_a_lane_that_is_full_of_bulk_work_leaves_room_for_what_somebody_waits_for(desk: Desk) -> None:
    limits = Limits(queued=1, shed_after_seconds=30)
    submit(desk, limits, priority=Priority.LOW)
    with pytest.raises(ProvisionedThroughputExceeded):
        submit(desk, limits, priority=Priority.LOW)
    submit(desk, limits, priority=Priority.HIGH)


def test_what_was_admitted_since_the_last_reading_counts(desk: Desk) -> None:
    gate = Admission(desk.database, Limits(queued=3, shed_after_seconds=30))
    refusals = [gate.refusal(desk.account.account_id, Lane.INTERACTIVE) for _ in range(5)]
    assert [refusal is None for refusal in refusals] == [True, True, True, False, False]


def test_bulk_is_refused_first_then_everything_until_the_queue_moves_again(desk: Desk, fresh: None) -> None:
    gate = Admission(desk.database, Limits(queued=100, shed_after_seconds=30))
    account_id = desk.account.account_id
    desk.submit()
    desk.elapse(16)
    assert isinstance(gate.refusal(account_id, Lane.BULK), ServiceUnavailable)
    assert gate.refusal(account_id, Lane.INTERACTIVE) is None
    desk.elapse(15)
    refusal = gate.refusal(account_id, Lane.INTERACTIVE)
    assert isinstance(refusal, ServiceUnavailable)
    assert refusal.retry_after_milliseconds is not None
    assert 31_000 <= refusal.retry_after_milliseconds <= 75_000
    assert 31 <= gate.wait_seconds(account_id, Lane.INTERACTIVE) <= 60
    desk.claim()
    assert gate.refusal(account_id, Lane.BULK) is None
    assert gate.wait_seconds(account_id, Lane.INTERACTIVE) == 1


def test_what_another_account_waits_for_refuses_nobody(desk: Desk, other: Desk, fresh: None) -> None:
    gate = Admission(desk.database, Limits(queued=100, shed_after_seconds=30))
    desk.submit()
    desk.elapse(3600 / 6 - 1)
    assert gate.refusal(desk.account.account_id, Lane.INTERACTIVE) is not None
    assert gate.refusal(other.account.account_id, Lane.INTERACTIVE) is None


@pytest.mark.parametrize("column", ["available_at", "start_deadline_at"])
def test_a_job_that_cannot_be_claimed_now_refuses_nothing(desk: Desk, fresh: None, column: str) -> None:
    gate = Admission(desk.database, Limits(queued=100, shed_after_seconds=30))
    job = desk.submit()
    desk.elapse(60)
    later = timedelta(minutes=1) if column == "available_at" else -timedelta(seconds=1)
    mine = schema.jobs.c.job_id == uuid.UUID(job.job_id)
    desk.change(sa.update(schema.jobs).where(mine).values({column: sa.func.now() + later}))
    assert gate.refusal(desk.account.account_id, Lane.INTERACTIVE) is None


def test_a_stream_of_urgent_jobs_is_not_refused_for_what_it_leaves_behind(desk: Desk, fresh: None) -> None:
    gate = Admission(desk.database, Limits(queued=100, shed_after_seconds=30))
    desk.submit()
    desk.elapse(60)
    desk.submit(priority=Priority.HIGH)
    assert gate.refusal(desk.account.account_id, Lane.INTERACTIVE) is None


def test_bulk_work_that_waits_long_is_no_reason_to_refuse_anything(desk: Desk, fresh: None) -> None:
    gate = Admission(desk.database, Limits(queued=100, shed_after_seconds=30))
    desk.submit(priority=Priority.LOW)
    desk.elapse(3600)
    assert gate.refusal(desk.account.account_id, Lane.BULK) is None
    assert gate.wait_seconds(desk.account.account_id, Lane.BULK) == 60


def test_a_repeated_submit_finds_its_job_also_where_there_is_no_room(desk: Desk) -> None:
    limits = Limits(queued=1, shed_after_seconds=30)
    first = submit(desk, limits, idempotency_key="v1:a")
    assert submit(desk, limits, idempotency_key="v1:a").job_id == first.job_id
    with pytest.raises(IdempotentParameterMismatch):
        submit(desk, limits, idempotency_key="v1:a", operation="DetectFaces")
    with pytest.raises(ProvisionedThroughputExceeded):
        submit(desk, limits, idempotency_key="v1:b")
