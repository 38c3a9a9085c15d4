"""What may be set on a webhook endpoint, and what its document shows."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.domain.endpoints import Endpoint, document, read_changes, read_event_types, read_new, read_overlap
from app.domain.webhook_events import TYPES
from app.errors import ValidationError

URL = "https://example.com/hook"
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def refusal(members: dict[str, Any]) -> str:
    with pytest.raises(ValidationError) as raised:
        read_changes(members, ())
    return raised.value.message


def test_every_event_type_is_known() -> None:
    assert TYPES == (
        "job.canceled",
        "job.expired",
        "job.failed",
        "job.succeeded",
        "batch.completed",
        "reprocess.completed",
        "webhook.disabled",
        "webhook.failing",
        "webhook.test",
    )


def test_an_endpoint_has_a_url() -> None:
    with pytest.raises(ValidationError, match="Url is missing"):
        read_new({"Payload": "FULL"}, ())
    assert read_new({"Url": URL}, ()) == {"url": URL}


def test_only_what_is_named_is_changed() -> None:
    assert read_changes({}, ()) == {}
    assert read_changes({"Description": "Ünser Büro"}, ()) == {"description": "Ünser Büro"}
    assert read_changes({"EventTypes": None, "Headers": None}, ()) == {"event_types": None, "headers": None}
    assert read_changes({"Headers": {}}, ()) == {"headers": None}
    everything = {
        "Url": URL,
        "EventTypes": ["job.failed", "job.failed", "webhook.failing"],
        "Description": "d" * 256,
        "Headers": {"Authorization": "Bearer a b", "X-Team_1": "~"},
        "Payload": "REFERENCE",
    }
    assert read_changes(everything, ()) == {
        "url": URL,
        "event_types": ["job.failed", "webhook.failing"],
        "description": "d" * 256,
        "headers": {"Authorization": "Bearer a b", "X-Team_1": "~"},
        "payload": "REFERENCE",
    }


@pytest.mark.parametrize(
    ("url", "told"),
    [
        (None, "Url must be a text"),
        (["https://example.com"], "Url must be a text"),
        ("http://example.com/", "Url: the URL must begin with https://."),
        ("https://10.0.0.1/", "Url: the URL's host has no public address."),
        ("https://127.0.0.1/", "Url: the URL's host has no public address."),
        ("https://[::ffff:10.0.0.1]/", "Url: the URL's host has no public address."),
        ("https://example.com:22/", "Url: the URL's port must be"),
        ("https://a:b@example.com/", "Url: the URL must not carry a user name"),
        ("https://example.com/\ud800", "Url: the URL must not contain"),
        ("https://example.com/" + "a" * 2048, "Url: the URL must be at most"),
    ],
)
def test_a_url_that_may_not_be_dialled_is_refused(url: object, told: str) -> None:
    assert refusal({"Url": url}).startswith(told)


@pytest.mark.parametrize("types", [[], "job.failed", ["job.done"], [5], [["job.failed"]], {"job.failed": True}, [None]])
def test_event_types_are_known_ones(types: object) -> None:
    with pytest.raises(ValidationError, match=r"a list of job\.canceled, "):
        read_event_types(types)


@pytest.mark.parametrize("description", [None, 5, "d" * 257, "a\nb", "\0", "\ud800"])
def test_a_description_is_one_line(description: object) -> None:
    assert refusal({"Description": description}).startswith("Description must be")


@pytest.mark.parametrize(
    "name",
    [
        "Host",
        "HOST",
        "Content-Type",
        "content-length",
        "Content-Anything",
        "Connection",
        "Keep-Alive",
        "Proxy-Authorization",
        "Proxy-Connection",
        "TE",
        "Trailer",
        "Transfer-Encoding",
        "Upgrade",
        "Expect",
        "Webhook-Id",
        "webhook-signature",
        "User-Agent",
        "Accept-Encoding",
    ],
)
def test_headers_of_the_message_and_the_connection_cannot_be_chosen(name: str) -> None:
    assert refusal({"Headers": {name: "x"}}) == f"Headers: {name} is set by the sender and cannot be chosen."


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a\r\nHost", "ä", "x" * 65, "(a)"])
def test_a_header_name_is_a_token(name: str) -> None:
    assert refusal({"Headers": {name: "x"}}).startswith("Headers: a name is")


@pytest.mark.parametrize("value", [None, 5, "", " a", "a ", "a\r\nX: y", "é", "a\tb", "\x7f", "secret" * 171])
def test_a_header_value_is_printable_and_never_repeated_to_the_caller(value: object) -> None:
    told = refusal({"Headers": {"X-Key": value}})
    assert told.startswith("Headers: the value of X-Key must be 1 to 1024 printable ASCII")
    assert "secret" not in told


def test_headers_are_few_and_named_once() -> None:
    assert refusal({"Headers": {f"X-{number}": "a" for number in range(11)}}).startswith("Headers must be")
    assert refusal({"Headers": [["X-A", "b"]]}).startswith("Headers must be")
    assert refusal({"Headers": {"X-A": "a", "x-a": "b"}}).startswith("Headers: names differ")
    assert len(read_changes({"Headers": {f"X-{number}": "a" * 1024 for number in range(10)}}, ())["headers"]) == 10


@pytest.mark.parametrize("payload", [None, "full", "", ["FULL"], {}])
def test_a_payload_is_full_or_by_reference(payload: object) -> None:
    assert refusal({"Payload": payload}) == "Payload must be FULL or REFERENCE."


@pytest.mark.parametrize("seconds", [-1, 604_801, 1.5, "60", None, True, []])
def test_an_overlap_is_at_most_a_week(seconds: object) -> None:
    with pytest.raises(ValidationError, match="0 to 604800"):
        read_overlap(seconds)
    assert read_overlap(604_800) == timedelta(days=7)
    assert read_overlap(0) == timedelta()


def make(**changes: Any) -> Endpoint:
    values: dict[str, Any] = {
        "endpoint_id": "an-id",
        "account_id": 7,
        "url": URL,
        "event_types": None,
        "description": "",
        "headers": b"sealed",
        "payload": "FULL",
        "status": "ENABLED",
        "disabled_reason": None,
        "disabled_at": None,
        "created_at": NOON,
        "updated_at": NOON,
        "circuit": "CLOSED",
        "failures": 0,
        "failing_since": None,
        "open_until": None,
    }
    return Endpoint(**(values | changes))


def test_a_healthy_endpoint_is_shown_without_what_it_lacks() -> None:
    assert document(make(), []) == {
        "EndpointId": "an-id",
        "Url": URL,
        "Description": "",
        "HeaderNames": [],
        "Payload": "FULL",
        "Status": "ENABLED",
        "CreatedAt": "2026-01-31T12:00:00.000Z",
        "UpdatedAt": "2026-01-31T12:00:00.000Z",
        "Health": {"State": "CLOSED", "ConsecutiveFailures": 0},
    }


def test_a_failing_endpoint_tells_since_when_and_until_when_it_is_left_alone() -> None:
    health = {"failures": 6, "failing_since": NOON, "open_until": NOON + timedelta(seconds=30)}
    shown = document(make(circuit="OPEN", status="DISABLED", disabled_reason="GONE", disabled_at=NOON, **health), ["A"])
    assert shown["Health"] == {
        "State": "OPEN",
        "ConsecutiveFailures": 6,
        "FailingSince": "2026-01-31T12:00:00.000Z",
        "OpenUntil": "2026-01-31T12:00:30.000Z",
    }
    assert shown["DisabledReason"] == "GONE"
    assert shown["HeaderNames"] == ["A"]
    assert "OpenUntil" not in document(make(circuit="HALF_OPEN", **health), [])["Health"]


def test_the_log_of_an_endpoint_holds_no_header() -> None:
    assert "sealed" not in repr(make())
