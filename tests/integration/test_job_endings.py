"""How jobs end: in one transaction, once, and for good; errors that may pass are tried again, errors of the caller never."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.db import collections, schema
from app.domain.jobs import FETCH_PAUSES, LEASE, RETRY_PAUSES, Claim, Priority, Status
from app.errors import InternalServerError, InvalidParameter, S3Away
from app.services import jobs
from tests.desk import WEBHOOK_URL, Desk

RESULT = {"FaceRecords": [], "FaceModelVersion": "1.0"}
MAY_PASS = {"Code": "InvalidS3ObjectException", "Message": S3Away.default_message, "Retryable": True}


def test_success_stores_the_result_and_drops_the_image(desk: Desk) -> None:
    job = desk.submit()
    claim = desk.claim()
    assert desk.outcomes.succeed(claim, lambda connection: RESULT)
    ended = desk.get(job.job_id)
    assert (ended.status, ended.done, ended.result, ended.error) == (Status.SUCCEEDED, True, RESULT, None)
    assert ended.finished_at is not None
    assert ended.expires_at is not None
    assert (ended.expires_at - ended.finished_at).days == 30
    assert desk.rows(schema.blobs) == []
    assert desk.attempts() == ["succeeded"]


def test_what_the_operation_writes_is_part_of_the_ending(desk: Desk) -> None:
    job = desk.submit()
    claim = desk.claim()

    def complete(connection: Connection) -> dict[str, Any]:
        assert collections.insert(connection, desk.account.account_id, "made by the job", "1.0", {})
        assert desk.get(job.job_id).status is Status.IN_PROGRESS
        return RESULT

    assert desk.outcomes.succeed(claim, complete)
    assert _collection_names(desk) == ["made by the job"]


def test_an_ending_that_breaks_leaves_nothing(desk: Desk) -> None:
    job = desk.submit(webhook_url=WEBHOOK_URL)
    claim = desk.claim()
    before = desk.everything()

    def complete(connection: Connection) -> dict[str, Any]:
        collections.insert(connection, desk.account.account_id, "half done", "1.0", {})
        raise RuntimeError("half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        desk.outcomes.succeed(claim, complete)
    assert desk.everything() == before
    assert _collection_names(desk) == []
    assert desk.get(job.job_id).status is Status.IN_PROGRESS
    assert desk.outcomes.succeed(claim, lambda connection: RESULT)


@pytest.mark.parametrize("result", [{"text": "a\0b"}, {"text": "\ud800"}], ids=["NUL", "half a character"])
def test_a_result_that_postgres_refuses_leaves_nothing(desk: Desk, result: dict[str, Any]) -> None:
    desk.submit(webhook_url=WEBHOOK_URL)
    claim = desk.claim()
    before = desk.everything()
    with pytest.raises(Exception, match="Unicode"):
        desk.outcomes.succeed(claim, lambda connection: result)
    assert desk.everything() == before


def _collection_names(desk: Desk) -> list[str]:
    with desk.database.transaction() as connection:
        page = collections.list_page(connection, desk.account.account_id, after=0, limit=10)
    return [row.name for row in page]


def test_an_error_of_the_caller_ends_the_job_at_once(desk: Desk) -> None:
    job = desk.submit()
    assert desk.outcomes.fail(desk.claim(), InvalidParameter("no face"))
    ended = desk.get(job.job_id)
    assert (ended.status, ended.result, ended.attempt) == (Status.FAILED, None, 1)
    assert ended.error == {"Code": "InvalidParameterException", "Message": "no face", "Retryable": False}
    assert desk.attempts() == ["failed"]
    assert desk.rows(schema.job_attempts)[0]["error"] == ended.error
    assert desk.rows(schema.blobs) == []
    desk.elapse(500)
    assert desk.find_work() is None


def test_an_error_that_may_pass_is_tried_again_after_a_pause_and_then_fails(desk: Desk) -> None:
    job = desk.submit()
    for pause in RETRY_PAUSES:
        assert desk.retry(desk.claim())
        waiting = desk.get(job.job_id)
        assert (waiting.status, waiting.error) == (Status.QUEUED, None)
        desk.elapse(pause.total_seconds() - 0.5)
        assert desk.find_work() is None
        desk.elapse(0.5)
    assert desk.retry(desk.claim())
    ended = desk.get(job.job_id)
    assert (ended.status, ended.attempt) == (Status.FAILED, len(RETRY_PAUSES) + 1)
    assert ended.error == {"Code": "InternalServerError", "Message": "Internal server error", "Retryable": True}
    assert desk.attempts() == ["retried", "retried", "failed"]


def test_a_picture_that_may_come_back_is_waited_for_where_nobody_waits(desk: Desk) -> None:
    job = desk.submit(priority=Priority.LOW, idempotency_key="v1:key", start_by=timedelta(minutes=1))
    for pause in FETCH_PAUSES:
        assert desk.retry(desk.claim("bulk"), S3Away())
        desk.elapse(pause.total_seconds() - 0.5)
        assert desk.find_work("bulk") is None
        desk.elapse(0.5)
        assert desk.outcomes.expire() == 0
    assert desk.retry(desk.claim("bulk"), S3Away())
    assert desk.get(job.job_id).error == MAY_PASS
    assert desk.submit(priority=Priority.LOW, idempotency_key="v1:key").job_id != job.job_id


def test_who_waits_for_a_picture_that_may_come_back_is_told_so_at_once(desk: Desk) -> None:
    job = desk.submit(idempotency_key="v1:key")
    assert desk.retry(desk.claim(), S3Away())
    assert desk.get(job.job_id).error == MAY_PASS
    assert desk.submit(idempotency_key="v1:key").job_id != job.job_id


def test_a_job_between_two_tries_keeps_its_image(desk: Desk) -> None:
    desk.submit()
    desk.retry(desk.claim())
    assert len(desk.rows(schema.blobs)) == 1


def test_crashes_and_retries_are_counted_apart(desk: Desk) -> None:
    job = desk.submit()
    for _ in range(2):
        desk.claim()
        desk.elapse(LEASE.total_seconds() + 1)
        assert desk.outcomes.rescue() == 1
    for pause in RETRY_PAUSES:
        assert desk.retry(desk.claim())
        assert desk.get(job.job_id).status is Status.QUEUED
        desk.elapse(pause.total_seconds())
    assert desk.outcomes.succeed(desk.claim(), lambda connection: RESULT)


def test_a_job_that_nobody_started_expires(desk: Desk) -> None:
    job = desk.submit(webhook_url=WEBHOOK_URL)
    desk.elapse(599)
    assert desk.outcomes.expire() == 0
    desk.elapse(2)
    assert desk.outcomes.expire() == 1
    ended = desk.get(job.job_id)
    assert (ended.status, ended.attempt, ended.started_at) == (Status.EXPIRED, 0, None)
    assert ended.error is not None
    assert (ended.error["Code"], ended.error["Retryable"]) == ("ThrottlingException", True)
    assert [row["type"] for row in desk.rows(schema.events)] == ["job.expired"]
    assert desk.rows(schema.blobs) == []


ENDED: dict[str, Callable[[Desk], object]] = {
    "succeeded": lambda desk: desk.outcomes.succeed(desk.claim(), lambda connection: RESULT),
    "failed": lambda desk: desk.outcomes.fail(desk.claim(), InvalidParameter()),
    "expired": lambda desk: (desk.retry(desk.claim()), desk.elapse(700), desk.outcomes.expire()),
}


@pytest.mark.parametrize("end", ENDED.values(), ids=ENDED)
def test_an_ended_job_never_changes_again(desk: Desk, end: Callable[[Desk], object]) -> None:
    desk.submit(webhook_url=WEBHOOK_URL)
    end(desk)
    last = desk.rows(schema.jobs)[0]
    whose = (str(last["job_id"]), last["lease"], last["attempt"], 0, last["account_id"])
    claim = Claim(*whose, "IndexFaces", {}, None, last["lane"])
    desk.elapse(700)
    before = desk.everything()
    assert desk.find_work() is None
    desk.renew(claim)
    assert not desk.outcomes.succeed(claim, lambda connection: {"other": 1})
    assert not desk.outcomes.fail(claim, InternalServerError())
    assert not desk.retry(claim)
    assert (desk.outcomes.rescue(), desk.outcomes.expire(), jobs.purge(desk.database)) == (0, 0, 0)
    assert desk.everything() == before


@pytest.mark.parametrize("change", [{"status": "QUEUED", "finished_at": None}, {"result": {}}, {"attempt": 7}])
def test_postgres_itself_refuses_to_change_a_job_that_has_ended(desk: Desk, change: dict[str, Any]) -> None:
    desk.submit()
    desk.outcomes.fail(desk.claim(), InvalidParameter())
    before = desk.everything()
    with pytest.raises(sa.exc.ProgrammingError, match="has ended and never changes"):
        desk.change(sa.update(schema.jobs).values(change))
    assert desk.everything() == before
