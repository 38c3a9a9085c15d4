"""Webhook events: written once, by the transaction that ends the job, with exactly the bytes that every attempt sends."""

import json
from typing import Any

import pytest
import redis

from app.db import schema
from app.domain.jobs import LEASE, Status, document
from app.domain.webhooks import MAX_BODY_BYTES
from app.errors import EndpointNotFound, InvalidParameter
from app.services import events
from app.services.endpoints import Endpoints
from tests.desk import WEBHOOK_URL, Desk
from tests.factories import CIPHER, make_account, make_endpoint


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
    assert body == json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode()
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
    assert message["data"]["Links"]["Self"] == f"/v1/jobs/{shown['JobId']}"


def test_metadata_that_is_too_large_is_left_out_too(desk: Desk) -> None:
    metadata = {str(number): "\N{GRINNING FACE}" * 512 for number in range(16)}
    shown, body = succeed(desk, {}, caller_metadata=metadata)
    assert len(body) <= MAX_BODY_BYTES
    data = json.loads(body)["data"]
    assert data == {name: value for name, value in shown.items() if name not in ("Result", "Metadata")}


def test_text_takes_the_bytes_of_its_utf_8(desk: Desk) -> None:
    metadata = {str(number): "\N{GRINNING FACE}" * 512 for number in range(8)}
    shown, body = succeed(desk, {}, caller_metadata=metadata)
    assert json.loads(body)["data"] == shown


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
    desk.retry(desk.claim())
    desk.elapse(1)
    desk.claim()
    desk.elapse(LEASE.total_seconds() + 1)
    desk.outcomes.rescue()
    assert desk.get(job.job_id).status is Status.QUEUED
    assert desk.rows(schema.events) == []


def told(desk: Desk) -> set[Any]:
    """Give the endpoints that the only event is sent to."""
    (event,) = desk.rows(schema.events)
    rows = desk.rows(schema.deliveries)
    for row in rows:
        assert row["event_id"] == event["event_id"]
        assert row["receiver"] == str(row["endpoint_id"])
        assert row["account_id"] == desk.account.account_id
        assert (row["status"], row["trigger"]) == ("PENDING", "SCHEDULE")
    return {row["endpoint_id"] for row in rows}


def test_one_event_goes_to_every_endpoint_that_wants_it_and_to_no_other(desk: Desk) -> None:
    everything, _ = make_endpoint(desk.database, desk.account, url="https://example.com/all")
    wanting, _ = make_endpoint(desk.database, desk.account, event_types=["job.failed", "job.succeeded"])
    make_endpoint(desk.database, desk.account, event_types=["job.failed"])
    disabled, _ = make_endpoint(desk.database, desk.account)
    Endpoints(desk.database, CIPHER).disable(desk.account.account_id, str(disabled))
    make_endpoint(desk.database, make_account(desk.database))
    job = desk.submit(tells_endpoints=True)
    desk.outcomes.succeed(desk.claim(), lambda connection: {})
    assert told(desk) == {everything, wanting}
    (event,) = desk.rows(schema.events)
    assert json.loads(bytes(event["body"]))["data"] == document(desk.get(job.job_id))
    urls = {row["endpoint_id"]: row["url"] for row in desk.rows(schema.deliveries)}
    assert urls[everything] == "https://example.com/all"


def test_an_event_that_no_endpoint_wants_is_not_written_and_rings_for_nobody(desk: Desk, bells: redis.Redis) -> None:
    make_endpoint(desk.database, desk.account, event_types=["job.failed"])
    make_endpoint(desk.database, make_account(desk.database))
    desk.submit(tells_endpoints=True)
    desk.outcomes.succeed(desk.claim(), lambda connection: {})
    assert desk.rows(schema.events) == []
    assert bells.llen("webhooks") == 0


def test_a_job_of_the_aws_wire_tells_no_endpoint(desk: Desk) -> None:
    make_endpoint(desk.database, desk.account)
    desk.submit()
    desk.outcomes.succeed(desk.claim(), lambda connection: {})
    assert desk.rows(schema.events) == []


def test_a_job_with_a_url_of_its_own_tells_no_endpoint(desk: Desk) -> None:
    make_endpoint(desk.database, desk.account)
    desk.submit(webhook_url=WEBHOOK_URL)
    desk.outcomes.succeed(desk.claim(), lambda connection: {})
    assert [(row["endpoint_id"], row["url"]) for row in desk.rows(schema.deliveries)] == [(None, WEBHOOK_URL)]


@pytest.mark.parametrize("disabled", [False, True])
def test_a_job_that_names_an_endpoint_tells_that_one_alone(desk: Desk, disabled: bool) -> None:
    named, _ = make_endpoint(desk.database, desk.account, event_types=["job.failed"])
    make_endpoint(desk.database, desk.account)
    if disabled:  # what it is told waits until it is enabled
        Endpoints(desk.database, CIPHER).disable(desk.account.account_id, str(named))
    desk.submit(webhook_endpoint_id=named)
    desk.outcomes.succeed(desk.claim(), lambda connection: {})
    assert told(desk) == {named}


def test_a_job_whose_endpoint_was_deleted_meanwhile_tells_nobody(desk: Desk) -> None:
    deleted, _ = make_endpoint(desk.database, desk.account)
    desk.submit(webhook_endpoint_id=deleted)
    Endpoints(desk.database, CIPHER).delete(desk.account.account_id, str(deleted))
    assert desk.outcomes.succeed(desk.claim(), lambda connection: {})
    assert desk.rows(schema.events) == []


def test_an_endpoint_of_another_account_cannot_be_named(desk: Desk) -> None:
    foreign, _ = make_endpoint(desk.database, make_account(desk.database))
    with pytest.raises(EndpointNotFound):
        desk.submit(webhook_endpoint_id=foreign)
    assert desk.rows(schema.jobs) == []


def test_a_report_about_an_endpoint_goes_to_the_others_that_want_it(desk: Desk) -> None:
    failing, _ = make_endpoint(desk.database, desk.account)
    other, _ = make_endpoint(desk.database, desk.account, event_types=["webhook.failing"])
    make_endpoint(desk.database, desk.account, event_types=["job.failed"])
    account_id, data = desk.account.account_id, {"EndpointId": str(failing)}
    with desk.database.transaction() as connection:
        assert events.report(connection, account_id, "webhook.failing", data, about=failing) == 1
        assert events.report(connection, account_id, "webhook.disabled", data, about=other) == 1
        assert events.report(connection, account_id, "webhook.disabled", data, about=failing) == 0
    first, second = sorted(desk.rows(schema.events), key=lambda row: row["type"], reverse=True)
    assert (first["type"], first["job_id"], second["type"]) == ("webhook.failing", None, "webhook.disabled")
    message = json.loads(bytes(first["body"]))
    assert message.keys() == {"type", "timestamp", "data"}
    assert message["timestamp"].endswith("Z")
    assert message["data"] == data


def test_an_event_without_a_job_is_forgotten_after_a_month_and_one_with_a_job_goes_with_that(desk: Desk) -> None:
    endpoint_id, _ = make_endpoint(desk.database, desk.account)
    desk.submit(tells_endpoints=True)
    desk.outcomes.succeed(desk.claim(), lambda connection: {})
    for _ in range(2):
        with desk.database.transaction() as connection:
            events.publish_test(connection, desk.account.account_id, endpoint_id)
        desk.elapse(20 * 86_400)
    assert events.purge(desk.database) == 1
    assert events.purge(desk.database) == 0
    assert sorted(row["type"] for row in desk.rows(schema.events)) == ["job.succeeded", "webhook.test"]
    assert len(desk.rows(schema.deliveries)) == 2


def test_a_purge_of_events_is_short(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.services.events._PURGE_LIMIT", 2)
    endpoint_id, _ = make_endpoint(desk.database, desk.account)
    with desk.database.transaction() as connection:
        for _ in range(3):
            events.publish_test(connection, desk.account.account_id, endpoint_id)
    desk.elapse(31 * 86_400)
    assert [events.purge(desk.database) for _ in range(3)] == [2, 1, 0]
