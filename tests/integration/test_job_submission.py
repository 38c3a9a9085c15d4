"""Submitting jobs: what is there after the commit and not before, and what an idempotency key promises."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import redis
from celery import Celery

from app.broker import Doorbell
from app.db import jobs as rows
from app.db import schema
from app.db.session import Database
from app.domain.jobs import Lane, Priority, Status
from app.errors import IdempotentParameterMismatch, InternalServerError, InvalidParameter, JobNotFound, ServiceError
from app.services import jobs
from tests.desk import Desk
from tests.factories import IMAGE, make_account, make_submission


def test_a_submitted_job_waits_to_be_claimed(desk: Desk) -> None:
    job = desk.submit(caller_metadata={"order": "7"}, webhook_url="https://example.com/hook")
    assert desk.get(job.job_id) == job
    assert (job.status, job.done, job.attempt) == (Status.QUEUED, False, 0)
    assert (job.caller_metadata, job.webhook_url) == ({"order": "7"}, "https://example.com/hook")
    assert (job.started_at, job.finished_at, job.expires_at) == (None, None, None)


@pytest.mark.parametrize("committed", [True, False])
def test_a_job_exists_from_its_commit_on_and_not_before(desk: Desk, committed: bool) -> None:
    values = {"operation": "IndexFaces", "input": {}, "lane": Lane.INTERACTIVE, "request_hash": b""}
    with desk.database.engine.connect() as connection, connection.begin() as transaction:
        job = rows.insert(connection, values | {"account_id": desk.account.account_id}, start_by=timedelta(minutes=1))
        assert job is not None
        with pytest.raises(JobNotFound):
            desk.get(job.job_id)
        assert desk.find_work() is None
        (transaction.commit if committed else transaction.rollback)()
    assert (desk.find_work() is not None) is committed


def test_the_bell_is_rung_after_the_commit(desk: Desk, celery: Celery, bells: redis.Redis) -> None:
    queued_when_rung = []

    class Attentive(Doorbell):
        def ring(self, lane: str, times: int = 1) -> bool:
            queued_when_rung.append(len(desk.rows(schema.jobs)))
            return super().ring(lane, times)

    jobs.submit(desk.database, Attentive(celery), make_submission(desk.account.account_id, priority=Priority.LOW))
    assert queued_when_rung == [1]
    assert (bells.llen("bulk"), bells.llen("interactive")) == (1, 0)


def test_inline_images_wait_beside_the_job_and_not_in_it(desk: Desk) -> None:
    desk.submit(input={"SourceImage": {"Bytes": b"one"}, "TargetImage": {"S3Object": {"Bucket": "b", "Name": "n"}}})
    claim = desk.claim()
    assert claim.input["SourceImage"]["Blob"]["Name"] == "SourceImage"
    assert claim.input["TargetImage"] == {"S3Object": {"Bucket": "b", "Name": "n"}}
    assert [(row["name"], row["content"]) for row in desk.rows(schema.blobs)] == [("SourceImage", b"one")]
    with desk.database.transaction() as connection:
        assert rows.get_blob(connection, claim.job_id, "SourceImage") == b"one"


def test_absent_members_are_null_in_the_row(desk: Desk) -> None:
    desk.submit()
    with desk.database.transaction() as connection:
        counted = connection.exec_driver_sql(
            "SELECT count(*) FROM jobs WHERE metadata IS NULL AND result IS NULL AND error IS NULL"
        ).scalar_one()
    assert counted == 1


def test_fifty_submissions_with_one_key_make_one_job(desk: Desk) -> None:
    submission = make_submission(desk.account.account_id, idempotency_key="key")

    def submit(_: int) -> tuple[str, bool]:
        job, replayed = jobs.submit(desk.database, desk.doorbell, submission)
        return job.job_id, replayed

    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(submit, range(50)))
    assert len({job_id for job_id, _ in answers}) == 1
    assert sorted(replayed for _, replayed in answers) == [False] + [True] * 49
    assert len(desk.rows(schema.jobs)) == len(desk.rows(schema.blobs)) == 1


def test_a_replay_gives_the_job_as_it_stands(desk: Desk) -> None:
    first = desk.submit(idempotency_key="key")
    assert desk.outcomes.succeed(desk.claim(), lambda connection: {"FaceRecords": []})
    again = desk.submit(idempotency_key="key")
    assert (again.job_id, again.result) == (first.job_id, {"FaceRecords": []})
    assert desk.find_work() is None


@pytest.mark.parametrize(
    "change",
    [
        {"operation": "SearchFacesByImage"},
        {"input": {"CollectionId": "people", "Image": {"Bytes": IMAGE + b"!"}}},
        {"input": {"CollectionId": "others", "Image": {"Bytes": IMAGE}}},
        {"webhook_url": "https://example.com/"},
        {"caller_metadata": {"order": "8"}},
    ],
    ids=["operation", "image", "collection", "webhook", "metadata"],
)
def test_a_key_is_not_for_another_request(desk: Desk, change: dict[str, Any]) -> None:
    desk.submit(idempotency_key="key")
    with pytest.raises(IdempotentParameterMismatch):
        desk.submit(idempotency_key="key", **change)
    assert len(desk.rows(schema.jobs)) == 1


def test_accounts_do_not_share_keys_or_jobs(desk: Desk, database: Database) -> None:
    mine = desk.submit(idempotency_key="key")
    other = make_account(database)
    theirs, replayed = jobs.submit(
        database, desk.doorbell, make_submission(other.account_id, idempotency_key="key", operation="DetectFaces")
    )
    assert (replayed, theirs.job_id != mine.job_id) == (False, True)
    with pytest.raises(JobNotFound):
        jobs.get(database, other.account_id, mine.job_id)


@pytest.mark.parametrize("job_id", ["01990000-0000-7000-8000-000000000000", "", "1", "x" * 400, "٣" * 32])
def test_an_unknown_job_is_not_found(desk: Desk, job_id: str) -> None:
    with pytest.raises(JobNotFound):
        desk.get(job_id)


def _fail(desk: Desk, error: ServiceError) -> None:
    assert desk.outcomes.fail(desk.claim(), error)


@pytest.mark.parametrize(
    ("end", "forgotten"),
    [
        (lambda desk: _fail(desk, InternalServerError()), True),
        (lambda desk: (desk.elapse(601), desk.outcomes.expire()), True),
        (lambda desk: _fail(desk, InvalidParameter()), False),
        (lambda desk: desk.outcomes.succeed(desk.claim(), lambda connection: {}), False),
    ],
    ids=["our error", "expired", "error of the caller", "succeeded"],
)
def test_a_key_is_forgotten_when_trying_again_can_help(
    desk: Desk, end: Callable[[Desk], object], forgotten: bool
) -> None:
    first = desk.submit(idempotency_key="key")
    end(desk)
    assert desk.get(first.job_id).done
    again = desk.submit(idempotency_key="key")
    assert (again.job_id != first.job_id) is forgotten
