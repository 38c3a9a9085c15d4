"""The worker's tasks as Celery calls them: real pictures, errors of the caller, errors of ours, and what the log tells."""

import json
import logging
from collections.abc import Iterator

import pytest
import redis
from celery import Celery

from app.config import Settings
from app.db import schema
from app.domain.addresses import parse_networks
from app.domain.jobs import LEASE, Status
from app.logs import JsonFormatter
from app.services import events, schedules
from tests.desk import Desk
from tests.factories import SECRET_KEY, make_collection, make_endpoint
from tests.scripted import ScriptedServer, answer
from workers import courier, runtime, tasks


@pytest.fixture
def worker(desk: Desk, celery: Celery, settings: Settings) -> Iterator[runtime.Runtime]:
    """The runtime of this process, as a worker opens it."""
    own = Settings(
        database_url=desk.database.url,
        secret_key=SECRET_KEY,
        dial_allow=parse_networks(["127.0.0.0/8"]),
        models_dir=settings.models_dir,
        cache_dir=settings.cache_dir,
    )
    runtime.open_runtime(own, celery)
    yield runtime.current()
    runtime.current().database.close()


def run(operation: str, desk: Desk, content: bytes = b"no picture", **members: object) -> str:
    """Submit a job and let the worker run it; give its id."""
    input_ = {"CollectionId": "people", "Image": {"Bytes": content}, **members}
    job = desk.submit(operation=operation, input=input_)
    tasks.run_next("interactive")
    return job.job_id


@pytest.mark.models
def test_a_picture_is_indexed_once_and_found_again(
    desk: Desk, worker: runtime.Runtime, portraits: dict[str, bytes]
) -> None:
    make_collection(desk.database, desk.account)
    results = [desk.get(run("IndexFaces", desk, portraits["obama"], ExternalImageId="obama")).result for _ in range(2)]
    first, second = ([record["Face"] for record in result["FaceRecords"]] for result in results if result)
    assert first == second
    assert len(desk.rows(schema.job_attempts)) == 2
    found = desk.get(run("SearchFacesByImage", desk, portraits["obama2"])).result
    assert found is not None
    (match,) = found["FaceMatches"]
    assert match["Face"]["FaceId"] == first[0]["FaceId"]
    assert match["Similarity"] > 99


@pytest.mark.models
def test_a_picture_that_is_none_is_the_callers_error(desk: Desk, worker: runtime.Runtime) -> None:
    make_collection(desk.database, desk.account)
    ended = desk.get(run("IndexFaces", desk))
    assert (ended.status, ended.attempt) == (Status.FAILED, 1)
    assert ended.error is not None
    assert ended.error["Code"] == "InvalidImageFormatException"


def test_a_missing_collection_is_the_callers_error_and_not_tried_again(desk: Desk, worker: runtime.Runtime) -> None:
    ended = desk.get(run("SearchFacesByImage", desk))
    assert ended.error == {
        "Code": "ResourceNotFoundException",
        "Message": "The collection id: people does not exist",
        "Retryable": False,
    }
    desk.elapse(60)
    tasks.run_next("interactive")
    assert desk.attempts() == ["failed"]


def test_an_error_of_ours_is_tried_again_and_then_told_without_details(desk: Desk, worker: runtime.Runtime) -> None:
    job_id = run("NoSuchOperation", desk)
    assert desk.get(job_id).status is Status.QUEUED
    for _ in range(2):
        desk.elapse(5)
        tasks.run_next("interactive")
    ended = desk.get(job_id)
    assert desk.attempts() == ["retried", "retried", "failed"]
    assert ended.error == {"Code": "InternalServerError", "Message": "Internal server error", "Retryable": True}


def test_a_bell_without_work_is_no_error(worker: runtime.Runtime) -> None:
    tasks.run_next("interactive")
    tasks.run_next("bulk")
    tasks.deliver_next()
    tasks.sweep()
    while tasks.run_ticks():
        pass


def test_a_sweep_rescues_expires_and_rings(desk: Desk, worker: runtime.Runtime, bells: redis.Redis) -> None:
    overdue = desk.submit()
    desk.elapse(601)
    rescued = desk.submit()
    assert desk.claim().job_id == rescued.job_id
    desk.elapse(LEASE.total_seconds() + 1)
    bells.flushall()
    tasks.sweep()
    assert desk.get(overdue.job_id).status is Status.EXPIRED
    assert desk.get(rescued.job_id).status is Status.QUEUED
    assert bells.llen("interactive") == 1


def test_a_purge_deletes_what_is_past_its_retention(desk: Desk, worker: runtime.Runtime) -> None:
    endpoint_id, _ = make_endpoint(desk.database, desk.account)
    desk.submit(tells_endpoints=True)
    desk.outcomes.succeed(desk.claim(), lambda connection: {})
    with desk.database.transaction() as connection:
        events.publish_test(connection, desk.account.account_id, endpoint_id)
    assert len(desk.rows(schema.deliveries)) == 2
    desk.elapse(31 * 86_400)
    (purge,) = [one["ScheduleId"] for _, account, one in schedules.list_all(desk.database) if account is None]
    schedules.run_now(desk.database, desk.doorbell, None, purge)
    while tasks.run_ticks():
        pass
    assert desk.rows(schema.jobs) == []
    assert desk.rows(schema.events) == []
    assert desk.rows(schema.deliveries) == []


def test_the_log_tells_what_happened_and_no_secret(
    desk: Desk, worker: runtime.Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with ScriptedServer(answer(500, b"an answer of the receiver")) as server:
        job = desk.submit(
            operation="SearchFacesByImage",
            input={"CollectionId": "people", "Image": {"Bytes": b"pixels"}},
            webhook_url=f"{server.url}/hook?token=hidden",
        )
        tasks.run_next("interactive")
        (claim,) = courier.take(worker, 1)
        courier.deliver(claim, worker, chance=0.5)
        run("NoSuchOperation", desk, b"pixels")
    lines = [JsonFormatter().format(record) for record in caplog.records]
    told = {json.loads(line)["event"]: json.loads(line) for line in lines}
    assert told["job_finished"].keys() >= {"job_id", "operation", "attempt", "outcome", "milliseconds"}
    assert told["delivery_attempted"]["status"] == "PENDING"
    assert "traceback" in told["job_crashed"]
    assert job.job_id in "".join(lines)
    secrets = (desk.account.key.webhook_secret, "token=hidden", "pixels", "cGl4ZWxz", "an answer of the receiver")
    assert [secret for secret in secrets if secret in "".join(lines)] == []
