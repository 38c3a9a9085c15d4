"""Webhook events: written once, by the transaction that ends the job, with exactly the bytes that every attempt sends."""

import json
from typing import Any

import pytest
import redis

from app.db import schema
from app.domain.jobs import LEASE, Status, document
from app.domain.webhooks import MAX_BODY_BYTES
from app.errors import InvalidParameter
from tests.desk import WEBHOOK_URL, Desk


def succeed(desk: Desk, result: dict[str, Any], **changes: Any) -> tuple[dict[str, Any], bytes]:
    """End a job and give the document that its GET shows and the body of its only event."""
    job = desk.submit(webhook_url=WEBHOOK_URL, **changes)
    assert desk.outcomes.succeed(desk.claim(), lambda connection: result)
    (event,) = desk.rows(schema.events)
    return document(desk.get(job.job_id)), bytes(event["body"])


def test_the_event_says_what_get_says(desk: Desk) -> None:
    shown, body = succeed(desk, {"FaceRecords": [], "Note": "é"}, caller_metadata={"order": "7"})
    message = json.loads(body)
    assert message == {"type": "job.succeeded", "timestamp": shown["FinishedAt"], "data": shown}
    assert body == json.dumps(message, separators=(",", ":")).encode()
    assert shown["Metadata"] == {"order": "7"}
    (event,) = desk.rows(schema.events)
    assert event["event_id"].startswith("evt_")
    (delivery,) = desk.rows(schema.deliveries)
    assert (delivery["event_id"], delivery["url"]) == (event["event_id"], WEBHOOK_URL)
    assert (delivery["status"], delivery["attempts"]) == ("PENDING", 0)


def test_the_courier_is_rung_once_the_event_is_there(desk: Desk, bells: redis.Redis) -> None:
    succeed(desk, {})
    assert bells.llen("webhooks") == 1


def test_nobody_is_told_of_a_job_without_a_webhook(desk: Desk, bells: redis.Redis) -> None:
    desk.submit()
    assert desk.outcomes.succeed(desk.claim(), lambda connection: {})
    assert desk.rows(schema.events) == []
    assert bells.llen("webhooks") == 0


def test_a_large_result_is_sent_by_reference(desk: Desk) -> None:
    shown, body = succeed(desk, {"FaceMatches": "x" * MAX_BODY_BYTES})
    message = json.loads(body)
    assert len(body) < 1000
    assert message["data"] == {name: value for name, value in shown.items() if name != "Result"}
    assert message["data"]["Links"] == {"Self": f"/v1/jobs/{shown['JobId']}"}


@pytest.mark.parametrize("surplus", [0, 1])
def test_the_limit_of_a_body_is_exact(desk: Desk, surplus: int) -> None:
    _, empty = succeed(desk, {"Text": ""})
    desk.change(schema.jobs.delete())
    _, body = succeed(desk, {"Text": "x" * (MAX_BODY_BYTES - len(empty) + surplus)})
    assert ("Result" in json.loads(body)["data"]) is (surplus == 0)
    assert surplus or len(body) == MAX_BODY_BYTES


def test_a_failure_is_told_with_its_error(desk: Desk) -> None:
    job = desk.submit(webhook_url=WEBHOOK_URL)
    desk.outcomes.fail(desk.claim(), InvalidParameter("no face"))
    (event,) = desk.rows(schema.events)
    message = json.loads(bytes(event["body"]))
    assert (event["type"], message["type"]) == ("job.failed", "job.failed")
    assert message["data"] == document(desk.get(job.job_id))
    assert message["data"]["Error"]["Message"] == "no face"


def test_a_job_that_is_tried_again_is_not_told(desk: Desk) -> None:
    job = desk.submit(webhook_url=WEBHOOK_URL)
    desk.outcomes.retry(desk.claim())
    desk.elapse(1)
    desk.claim()
    desk.elapse(LEASE.total_seconds() + 1)
    desk.outcomes.rescue()
    assert desk.get(job.job_id).status is Status.QUEUED
    assert desk.rows(schema.events) == []
