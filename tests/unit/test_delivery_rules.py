"""What may be asked of the log of deliveries, and how a delivery is shown."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.domain.deliveries import Attempt, Delivery, Filter, Replay, document, read_filter, read_replay
from app.errors import ValidationError

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
SOME_ID = uuid.UUID(int=7)


def test_a_filter_without_arguments_shows_all() -> None:
    assert read_filter({}) == Filter()


def test_a_filter_holds_what_was_asked() -> None:
    asked = {"EndpointId": str(SOME_ID), "Status": "FAILED", "EventType": "job.failed", "JobId": str(SOME_ID)}
    assert read_filter(asked) == Filter(SOME_ID, "FAILED", "job.failed", SOME_ID)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("EndpointId", "", "EndpointId must be an id"),
        ("JobId", "seven", "JobId must be an id"),
        ("Status", "failed", "Status must be one of PENDING, SUCCEEDED, FAILED."),
        ("EventType", "job", "EventType must be one of job.canceled, "),
    ],
)
def test_a_filter_out_of_its_values_is_refused(name: str, value: str, told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        read_filter({name: value})


def test_a_replay_goes_up_to_now_and_is_of_failures_unless_told_otherwise() -> None:
    assert read_replay({"Since": "2026-01-31T11:00:00Z"}, NOON) == Replay(NOON - timedelta(hours=1), NOON, None, True)
    members = {
        "Since": "2026-01-17T12:00:00+00:00",
        "Until": "2026-01-31T12:00:00Z",
        "EventTypes": ["job.failed"],
        "OnlyFailed": False,
    }
    assert read_replay(members, NOON + timedelta(days=300)) == Replay(
        NOON - timedelta(days=14), NOON, ["job.failed"], False
    )


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ({}, "Since must be a time"),
        ({"Since": None}, "Since must be a time"),
        ({"Since": "2026-01-31"}, "Since must be a time"),
        ({"Since": "2026-01-31T11:00:00Z", "Until": "noon"}, "Until must be a time"),
        ({"Since": "2026-01-31T12:00:00Z"}, "Since must be before Until"),
        ({"Since": "2026-01-31T11:00:00Z", "Until": "2026-01-31T10:00:00Z"}, "Since must be before Until"),
        ({"Since": "2026-01-17T11:59:59Z"}, "by at most 14 days"),
        ({"Since": "2026-01-31T11:00:00Z", "EventTypes": []}, "EventTypes must be a list"),
        ({"Since": "2026-01-31T11:00:00Z", "OnlyFailed": "true"}, "OnlyFailed must be true or false"),
        ({"Since": "2026-01-31T11:00:00Z", "OnlyFailed": None}, "OnlyFailed must be true or false"),
    ],
)
def test_a_replay_of_nothing_or_too_much_is_refused(members: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        read_replay(members, NOON)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-31T11:00:00Z", NOON - timedelta(hours=1)),
        ("2026-01-31t11:00:00.25z", NOON - timedelta(minutes=59, seconds=59.75)),
        ("2026-01-31T12:00:00+02:00", NOON - timedelta(hours=2)),
        ("2026-01-31T01:30:00.123456789-09:30", NOON - timedelta(hours=1) + timedelta(microseconds=123_456)),
    ],
)
def test_a_time_is_read_as_rfc_3339_writes_it(text: str, moment: datetime) -> None:
    assert read_replay({"Since": text}, NOON).since == moment


@pytest.mark.parametrize(
    "text",
    [
        1_700_000_000,
        "",
        "2026-01-31T12:00:00",
        "2026-01-31 11:00:00Z",
        "20260131T110000Z",
        "2026-W05-6T11:00:00Z",
        "2026-01-32T11:00:00Z",
        "2026-01-31T25:00:00Z",
        "2026-01-31T11:00:00+99:00",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
        "2026-01-31T11:00:00Z\n",
        "٢٠٢٦-01-31T11:00:00Z",
    ],
)
def test_what_is_no_time_with_an_offset_is_refused(text: object) -> None:
    with pytest.raises(ValidationError, match="Since must be a time"):
        read_replay({"Since": text}, NOON)


def make(**changes: Any) -> Delivery:
    values: dict[str, Any] = {
        "delivery_id": "d",
        "event_id": "evt_1",
        "event_type": "webhook.test",
        "job_id": None,
        "endpoint_id": "e",
        "url": "https://example.com/",
        "status": "PENDING",
        "attempts": 0,
        "next_attempt_at": NOON,
        "created_at": NOON,
        "finished_at": None,
    }
    return Delivery(**(values | changes))


def test_a_pending_delivery_tells_when_it_is_tried_next() -> None:
    assert document(make()) == {
        "DeliveryId": "d",
        "EventId": "evt_1",
        "EventType": "webhook.test",
        "EndpointId": "e",
        "Url": "https://example.com/",
        "Status": "PENDING",
        "Attempts": 0,
        "NextAttemptAt": "2026-01-31T12:00:00.000Z",
        "CreatedAt": "2026-01-31T12:00:00.000Z",
        "Links": {"Self": "/v1/webhooks/deliveries/d", "Redeliver": "/v1/webhooks/deliveries/d/redeliver"},
    }


def test_an_ended_delivery_shows_its_attempts() -> None:
    failed = Attempt(1, "SCHEDULE", NOON, 500, "status", "the server answered 500", 12, "203.0.113.9", b"caf\xe9")
    open_ = Attempt(2, "MANUAL", NOON, None, None, None, None, None, None)
    shown = document(make(status="FAILED", attempts=2, finished_at=NOON), [failed, open_])
    assert "NextAttemptAt" not in shown
    assert shown["FinishedAt"] == "2026-01-31T12:00:00.000Z"
    assert shown["AttemptLog"] == [
        {
            "Attempt": 1,
            "Trigger": "SCHEDULE",
            "StartedAt": "2026-01-31T12:00:00.000Z",
            "StatusCode": 500,
            "ErrorKind": "status",
            "Error": "the server answered 500",
            "Milliseconds": 12,
            "Address": "203.0.113.9",
            "Answer": "caf\N{REPLACEMENT CHARACTER}",
        },
        {"Attempt": 2, "Trigger": "MANUAL", "StartedAt": "2026-01-31T12:00:00.000Z"},
    ]
