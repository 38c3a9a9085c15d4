"""Whether there is room for one more job: caps of one account, and refusal under load, bulk first."""

import pytest

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


def submit(desk: Desk, limits: Limits, **changes: object) -> jobs.Job:
    submission = make_submission(desk.account.account_id, **changes)
    return jobs.submit(desk.database, desk.doorbell, submission, Admission(desk.database, limits))[0]


def test_an_account_may_have_so_many_jobs_queued_and_others_are_not_affected(desk: Desk) -> None:
    other = Desk(desk.database, desk.doorbell, make_account(desk.database))
    limits = Limits(queued=2, running=10, shed_after_seconds=30)
    for _ in range(2):
        submit(desk, limits)
    with pytest.raises(ProvisionedThroughputExceeded, match="2 jobs queued") as refused:
        submit(desk, limits)
    assert refused.value.retryable
    assert refused.value.retry_after_milliseconds == 1000
    submit(other, limits)
    desk.claim()
    submit(desk, limits)


def test_an_account_may_have_so_many_jobs_running(desk: Desk) -> None:
    limits = Limits(queued=10, running=1, shed_after_seconds=30)
    submit(desk, limits)
    submit(desk, limits)
    desk.claim()
    with pytest.raises(ProvisionedThroughputExceeded, match="1 jobs running"):
        submit(desk, limits)


def test_what_was_admitted_since_the_last_reading_counts(desk: Desk) -> None:
    gate = Admission(desk.database, Limits(queued=3, running=10, shed_after_seconds=30))
    refusals = [gate.refusal(desk.account.account_id, Lane.INTERACTIVE) for _ in range(5)]
    assert [refusal is None for refusal in refusals] == [True, True, True, False, False]


def test_bulk_is_refused_first_then_everything_until_the_queue_moves_again(desk: Desk, fresh: None) -> None:
    gate = Admission(desk.database, Limits(queued=100, running=100, shed_after_seconds=30))
    account_id = desk.account.account_id
    desk.submit()
    desk.elapse(16)
    assert isinstance(gate.refusal(account_id, Lane.BULK), ServiceUnavailable)
    assert gate.refusal(account_id, Lane.INTERACTIVE) is None
    desk.elapse(15)
    refusal = gate.refusal(account_id, Lane.INTERACTIVE)
    assert isinstance(refusal, ServiceUnavailable)
    assert refusal.retry_after_milliseconds is not None
    assert 31_000 <= refusal.retry_after_milliseconds <= 60_000
    assert 31 <= gate.wait_seconds(account_id, Lane.INTERACTIVE) <= 60
    desk.claim()
    assert gate.refusal(account_id, Lane.BULK) is None
    assert gate.wait_seconds(account_id, Lane.INTERACTIVE) == 1


def test_bulk_work_that_waits_long_is_no_reason_to_refuse_anything(desk: Desk, fresh: None) -> None:
    gate = Admission(desk.database, Limits(queued=100, running=100, shed_after_seconds=30))
    desk.submit(priority=Priority.LOW)
    desk.elapse(3600)
    assert gate.refusal(desk.account.account_id, Lane.BULK) is None
    assert gate.wait_seconds(desk.account.account_id, Lane.BULK) == 60


def test_a_repeated_submit_finds_its_job_also_where_there_is_no_room(desk: Desk) -> None:
    limits = Limits(queued=1, running=1, shed_after_seconds=30)
    first = submit(desk, limits, idempotency_key="v1:a")
    assert submit(desk, limits, idempotency_key="v1:a").job_id == first.job_id
    with pytest.raises(IdempotentParameterMismatch):
        submit(desk, limits, idempotency_key="v1:a", operation="DetectFaces")
    with pytest.raises(ProvisionedThroughputExceeded):
        submit(desk, limits, idempotency_key="v1:b")
