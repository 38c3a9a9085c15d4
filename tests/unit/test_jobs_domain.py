"""A job's rules without a database: what is final, what is shown."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from app.domain.jobs import RETRIABLE, TERMINAL, TRANSITIONS, Job, Priority, Status, document, event_type, priority

NOON = datetime(2026, 7, 1, 12, 0, 0, 123456, tzinfo=UTC)


def make_job(status: Status = Status.QUEUED, **changes: Any) -> Job:
    values: dict[str, Any] = {
        "job_id": "01890a5d-ac96-774b-bcce-b302099a8057",
        "account_id": 1,
        "operation": "IndexFaces",
        "subject": {"CollectionId": "people"},
        "lane": "interactive",
        "priority": 0,
        "status": status,
        "attempt": 0,
        "result": None,
        "error": None,
        "caller_metadata": None,
        "actor": None,
        "webhook_url": "https://example.com/hook",
        "webhook_endpoint_id": None,
        "tells_endpoints": False,
        "retry_of": None,
        "request_hash": b"hash",
        "created_at": NOON,
        "available_at": NOON,
        "start_deadline_at": NOON + timedelta(minutes=10),
        "started_at": None,
        "cancel_requested_at": None,
        "finished_at": None,
        "expires_at": None,
    }
    return Job(**(values | changes))


def test_what_is_absent_is_left_out() -> None:
    assert document(make_job()) == {
        "JobId": "01890a5d-ac96-774b-bcce-b302099a8057",
        "Operation": "IndexFaces",
        "Status": "QUEUED",
        "Done": False,
        "Attempt": 0,
        "Priority": "NORMAL",
        "Progress": {"Done": 0, "Total": 1},
        "CreatedAt": "2026-07-01T12:00:00.123Z",
        "DeadlineAt": "2026-07-01T12:10:00.123Z",
        "Links": {
            "Self": "/v1/jobs/01890a5d-ac96-774b-bcce-b302099a8057",
            "Deliveries": "/v1/webhooks/deliveries?JobId=01890a5d-ac96-774b-bcce-b302099a8057",
            "Cancel": "/v1/jobs/01890a5d-ac96-774b-bcce-b302099a8057/cancel",
        },
    }


def test_everything_else_is_shown() -> None:
    finished = NOON.astimezone(timezone(timedelta(hours=2)))
    shown = document(
        make_job(
            Status.SUCCEEDED,
            attempt=2,
            result={},
            caller_metadata={"order": "7"},
            started_at=NOON,
            finished_at=finished,
            expires_at=NOON + timedelta(days=30),
        )
    )
    assert (shown["Done"], shown["Result"], shown["Metadata"]) == (True, {}, {"order": "7"})
    assert shown["FinishedAt"] == shown["StartedAt"] == "2026-07-01T12:00:00.123Z"
    assert shown["ExpiresAt"] == "2026-07-31T12:00:00.123Z"
    assert shown["Progress"] == {"Done": 1, "Total": 1}
    assert "Error" not in shown
    assert set(shown["Links"]) == {"Self", "Deliveries"}


@pytest.mark.parametrize("status", sorted(RETRIABLE))
def test_what_ended_without_success_can_be_retried_and_no_longer_be_canceled(status: Status) -> None:
    assert set(document(make_job(status, finished_at=NOON))["Links"]) == {"Self", "Deliveries", "Retry"}


def test_a_list_shows_no_results() -> None:
    assert "Result" not in document(make_job(Status.SUCCEEDED, result={}), with_result=False)


@pytest.mark.parametrize("wanted", Priority)
def test_a_priority_is_shown_as_it_was_asked_for(wanted: Priority) -> None:
    job = make_job(lane=wanted.lane.value, priority=wanted.rank)
    assert priority(job) is wanted
    assert document(job, position=3)["Priority"] == wanted.value
    assert document(job, position=3)["QueuePosition"] == 3


def test_neither_the_account_nor_the_webhook_is_shown() -> None:
    assert "example.com" not in str(document(make_job()))
    assert not {"AccountId", "RequestHash"} & document(make_job()).keys()


def test_terminal_statuses_are_those_that_lead_nowhere() -> None:
    assert set(TRANSITIONS) == set(Status)
    assert {status for status, following in TRANSITIONS.items() if not following} == TERMINAL
    assert {status for status in Status if make_job(status).done} == TERMINAL


def test_every_status_can_be_reached() -> None:
    reached = {Status.QUEUED}
    for _ in Status:
        reached |= {following for status in reached for following in TRANSITIONS[status]}
    assert reached == set(Status)


@pytest.mark.parametrize("status", sorted(TERMINAL))
def test_events_are_named_after_how_the_job_ended(status: Status) -> None:
    assert event_type(status) == f"job.{status.lower()}"
