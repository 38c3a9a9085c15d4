"""A job's life over plain HTTP: any operation, priorities and deadlines, polled cheaply, listed, canceled, retried, gone."""

import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from app.domain.scopes import Scope
from app.services.access_keys import NewKey
from tests.contract.conftest import MakeKey
from tests.contract.test_webhooks import Receiver
from tests.contract.wire import problem
from tests.live import Answer, LiveStack
from tests.patience import wait_until
from tests.scripted import ScriptedServer, answer, hang


def job_of(answer: Answer, status: int) -> Any:
    assert answer.status == status, answer.body
    return answer.json


def made_at(moment: datetime) -> str:
    """Make the id of a job of a moment."""
    return str(uuid.UUID(int=(int(moment.timestamp() * 1000) << 80) | (7 << 76) | (0b10 << 62) | 1))


@pytest.fixture
def hanging(live: LiveStack) -> Iterator[str]:
    """The address of a picture that does not come."""
    with ScriptedServer(hang) as server:
        yield f"{server.url}/face.jpg"


def test_a_quick_operation_runs_as_a_job_too(live: LiveStack) -> None:
    name = f"by-job-{uuid.uuid4().hex}"
    created = live.finished(live.submit("CreateCollection", {"CollectionId": name}).json["JobId"])
    assert created["Status"] == "SUCCEEDED"
    assert created["Result"]["StatusCode"] == 200
    assert created["Result"]["CollectionArn"].endswith(f":collection/{name}")
    again = live.finished(live.submit("CreateCollection", {"CollectionId": name}).json["JobId"])
    assert (again["Status"], again["Error"]["Code"]) == ("FAILED", "ResourceAlreadyExistsException")
    described = live.finished(live.submit("DescribeCollection", {"CollectionId": name}).json["JobId"])
    assert described["Result"]["FaceCount"] == 0
    assert (
        described["Result"]["CollectionARN"]
        == live.rekognition().describe_collection(CollectionId=name)["CollectionARN"]
    )
    assert isinstance(described["Result"]["CreationTimestamp"], float)


def test_a_job_that_nobody_waits_for_says_so(live: LiveStack, gallery: str) -> None:
    job = job_of(live.submit("DescribeCollection", {"CollectionId": gallery}, Priority="LOW"), 202)
    assert job["Priority"] == "LOW"
    assert live.query("SELECT lane FROM jobs WHERE job_id = %s", job["JobId"]) == [("bulk",)]
    assert live.finished(job["JobId"])["Status"] == "SUCCEEDED"


@pytest.mark.parametrize("deadline", [60, "in a minute"])
def test_a_deadline_is_kept_and_shown(live: LiveStack, gallery: str, deadline: int | str) -> None:
    if isinstance(deadline, str):
        deadline = (datetime.now(UTC) + timedelta(minutes=1)).isoformat()
    job = job_of(live.submit("DescribeCollection", {"CollectionId": gallery}, Deadline=deadline), 202)
    left = datetime.fromisoformat(job["DeadlineAt"]) - datetime.fromisoformat(job["CreatedAt"])
    assert abs(left - timedelta(minutes=1)) < timedelta(seconds=5)


@pytest.mark.parametrize(
    "deadline", [0, -1, 86_401, 1.5, True, "soon", "2001-01-01T00:00:00Z", "2031-01-01T00:00:00", []]
)
def test_a_deadline_of_another_form_is_refused(live: LiveStack, gallery: str, deadline: object) -> None:
    refused = live.submit("DescribeCollection", {"CollectionId": gallery}, Deadline=deadline)
    assert "Deadline must be" in problem(refused, 400, "ValidationException")


@pytest.mark.parametrize("priority", ["low", "URGENT", 1, [], {}])
def test_an_unknown_priority_is_refused(live: LiveStack, gallery: str, priority: object) -> None:
    refused = live.submit("DescribeCollection", {"CollectionId": gallery}, Priority=priority)
    assert problem(refused, 400, "ValidationException") == "Priority must be one of HIGH, NORMAL, LOW."


def test_who_has_the_newest_state_gets_none_again(live: LiveStack, gallery: str) -> None:
    job_id = live.submit("DescribeCollection", {"CollectionId": gallery}).json["JobId"]
    live.finished(job_id)
    shown = live.call("GET", f"/v1/jobs/{job_id}")
    unchanged = live.call("GET", f"/v1/jobs/{job_id}", headers={"If-None-Match": shown.headers["etag"]})
    assert (unchanged.status, unchanged.body) == (304, b"")
    assert unchanged.headers["etag"] == shown.headers["etag"]
    other = live.call("GET", f"/v1/jobs/{job_id}", headers={"If-None-Match": '"another"'})
    assert (other.status, other.json) == (200, shown.json)


def test_a_running_job_is_canceled_and_stores_nothing(live: LiveStack, collection: str, hanging: str) -> None:
    input_ = {"CollectionId": collection, "Image": {"Url": hanging}}
    job_id = live.submit("IndexFaces", input_).json["JobId"]
    wait_until(lambda: live.call("GET", f"/v1/jobs/{job_id}").json["Status"] != "QUEUED")
    asked = job_of(live.call("POST", f"/v1/jobs/{job_id}/cancel"), 202)
    assert (asked["Status"], asked["Done"]) == ("IN_PROGRESS", False)
    assert asked["CancelRequestedAt"]
    ended = live.finished(job_id)
    assert ended["Status"] == "CANCELED"
    assert "Error" not in ended
    assert job_of(live.call("POST", f"/v1/jobs/{job_id}/cancel"), 200) == ended


def test_a_failed_job_is_retried_as_a_new_one(live: LiveStack, collection: str) -> None:
    input_ = {"CollectionId": collection, "Image": {"Url": "https://nobody.invalid/face.jpg"}}
    failed = live.finished(live.submit("IndexFaces", input_).json["JobId"])
    assert failed["Status"] == "FAILED"
    key = {"Idempotency-Key": uuid.uuid4().hex}
    again = live.call("POST", failed["Links"]["Retry"], headers=key)
    job = job_of(again, 202)
    assert job["RetryOf"] == failed["JobId"] != job["JobId"]
    assert again.headers["location"] == job["Links"]["Self"]
    assert live.finished(job["JobId"])["Error"] == failed["Error"]
    assert live.call("POST", failed["Links"]["Retry"], headers=key).json["JobId"] == job["JobId"]


def test_what_cannot_be_retried_says_why(live: LiveStack, gallery: str) -> None:
    succeeded = live.finished(live.submit("DescribeCollection", {"CollectionId": gallery}).json["JobId"])
    detail = problem(live.call("POST", f"/v1/jobs/{succeeded['JobId']}/retry"), 409, "ConflictException")
    assert detail.startswith("The job is SUCCEEDED")
    image = {"CollectionId": gallery, "Image": {"Bytes": b"no image"}}
    failed = live.finished(live.submit("SearchFacesByImage", image).json["JobId"])
    detail = problem(live.call("POST", f"/v1/jobs/{failed['JobId']}/retry"), 409, "ConflictException")
    assert "deleted when the job ended" in detail


def test_jobs_are_listed_and_filtered(live: LiveStack, collection: str) -> None:
    made = [live.submit("DescribeCollection", {"CollectionId": collection}).json["JobId"] for _ in range(3)]
    for job_id in made:
        live.finished(job_id)
    path = f"/v1/jobs?CollectionId={collection}&Status=SUCCEEDED&Operation=DescribeCollection&MaxResults=2"
    first = job_of(live.call("GET", path), 200)
    second = job_of(live.call("GET", f"{path}&NextToken={first['NextToken']}"), 200)
    assert "NextToken" not in second
    assert [job["JobId"] for job in first["Jobs"] + second["Jobs"]] == made[::-1]
    assert not any("Result" in job for job in first["Jobs"])


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("Status=DONE", "ValidationException"),
        ("Operation=Nothing", "ValidationException"),
        ("CollectionId=a%20b", "ValidationException"),
        ("CollectionId=%00", "ValidationException"),
        ("MaxResults=0", "ValidationException"),
        ("MaxResults=1001", "ValidationException"),
        ("Colour=red", "ValidationException"),
        ("NextToken=abc", "InvalidPaginationTokenException"),
    ],
)
def test_a_list_is_refused_what_it_does_not_know(live: LiveStack, query: str, code: str) -> None:
    problem(live.call("GET", f"/v1/jobs?{query}"), 400, code)


def test_a_stranger_sees_and_touches_no_job(live: LiveStack, gallery: str, stranger: NewKey) -> None:
    job_id = live.submit("DescribeCollection", {"CollectionId": gallery}).json["JobId"]
    for method, path in (("GET", ""), ("POST", "/cancel"), ("POST", "/retry")):
        answer = live.call(method, f"/v1/jobs/{job_id}{path}", key=stranger.api_key)
        problem(answer, 404, "ResourceNotFoundException")
    assert live.call("GET", "/v1/jobs", key=stranger.api_key).json == {"Jobs": []}


def test_a_key_lists_only_jobs_that_it_may_run(live: LiveStack, gallery: str, make_key: MakeKey) -> None:
    live.submit("DescribeCollection", {"CollectionId": gallery})
    key = make_key("default", scopes=(Scope(operations=("ListFaces",)),))
    assert live.call("GET", f"/v1/jobs?CollectionId={gallery}", key=key.api_key).json["Jobs"] == []


def test_a_scope_holds_for_what_others_submitted_as_well(live: LiveStack, gallery: str, make_key: MakeKey) -> None:
    arn = live.rekognition().describe_collection(CollectionId=gallery)["CollectionARN"]
    job_id = live.submit("ListTagsForResource", {"ResourceArn": arn}).json["JobId"]
    live.finished(job_id)
    tagging = live.submit("TagResource", {"ResourceArn": arn, "Tags": {"a": "b"}}, Deadline=1).json["JobId"]
    key = make_key("default", scopes=(Scope(operations=("*",), collections=("another",)),))
    for method, path in (("GET", f"/v1/jobs/{job_id}"), ("POST", f"/v1/jobs/{tagging}/retry")):
        problem(live.call(method, path, key=key.api_key), 403, "AccessDeniedException")
    shown = live.call("GET", "/v1/jobs?Operation=ListTagsForResource", key=key.api_key).json
    assert shown["Jobs"] == []
    live.finished(tagging)


@pytest.mark.parametrize("prefer", ["wait=abc", "wait=", "wait", "respond-async", "wait=-1"])
def test_a_preference_that_cannot_be_read_is_none(live: LiveStack, gallery: str, prefer: str) -> None:
    body = {"Operation": "DescribeCollection", "Input": {"CollectionId": gallery}}
    answer = live.call("POST", "/v1/jobs", body, {"Prefer": prefer})
    assert answer.status == 202
    assert "preference-applied" not in answer.headers


@pytest.mark.parametrize("prefer", ['wait="5"', "wait=5; foo=bar", "respond-async, WAIT = 5"])
def test_a_preference_is_read_as_the_standard_writes_it(live: LiveStack, gallery: str, prefer: str) -> None:
    body = {"Operation": "DescribeCollection", "Input": {"CollectionId": gallery}}
    answer = live.call("POST", "/v1/jobs", body, {"Prefer": prefer})
    assert (answer.status, answer.headers["preference-applied"]) == (200, "wait=5")


def test_a_repeated_submit_finds_its_job_after_its_deadline_and_its_endpoint_are_gone(
    live: LiveStack, gallery: str, make_key: MakeKey
) -> None:
    key = make_key("forgetful")
    endpoint = _endpoint(live, key, "https://example.com/hook")["EndpointId"]
    body = {
        "Operation": "ListCollections",
        "Deadline": (datetime.now(UTC) + timedelta(seconds=1.5)).isoformat(),
        "Webhook": {"EndpointId": endpoint},
    }
    sent = {"Idempotency-Key": uuid.uuid4().hex, "Prefer": "wait=5"}
    first = live.call("POST", "/v1/jobs", body, sent, key=key.api_key)
    assert (first.status, first.json["Status"]) == (200, "SUCCEEDED")
    assert live.call("DELETE", f"/v1/webhooks/endpoints/{endpoint}", key=key.api_key).status == 204
    time.sleep(1.5)
    again = live.call("POST", "/v1/jobs", body, sent, key=key.api_key)
    assert (again.status, again.json["JobId"]) == (200, first.json["JobId"])


def test_a_job_past_its_retention_is_gone(live: LiveStack) -> None:
    old, new = (made_at(datetime.now(UTC) - timedelta(days=days)) for days in (31, 1))
    assert "past its retention" in problem(live.call("GET", f"/v1/jobs/{old}"), 410, "GoneException")
    problem(live.call("GET", f"/v1/jobs/{new}"), 404, "ResourceNotFoundException")


def test_fifty_submits_at_once_with_one_key_make_one_job(live: LiveStack, gallery: str) -> None:
    key = {"Idempotency-Key": uuid.uuid4().hex}
    body = {"Operation": "DescribeCollection", "Input": {"CollectionId": gallery}}
    with ThreadPoolExecutor(50) as callers:
        answers = list(callers.map(lambda _: live.call("POST", "/v1/jobs", body, key), range(50)))
    (job_id,) = {answer.json["JobId"] for answer in answers}
    assert [answer.headers.get("idempotency-replayed") for answer in answers].count(None) == 1
    assert live.query("SELECT count(*) FROM jobs WHERE idempotency_key = %s", f"v1:{key['Idempotency-Key']}") == [(1,)]
    other = live.call("POST", "/v1/jobs", {**body, "Priority": "HIGH"}, key)
    problem(other, 422, "IdempotentParameterMismatchException")
    assert live.finished(job_id)["Status"] == "SUCCEEDED"


def test_a_job_tells_every_endpoint_that_wants_its_event_unless_it_names_one(
    live: LiveStack, gallery: str, make_key: MakeKey
) -> None:
    key = make_key("told")
    with Receiver(answer(204)) as wanting, Receiver(answer(204)) as other:
        wants = _endpoint(live, key, wanting.url, EventTypes=["job.failed"])
        named = _endpoint(live, key, other.url, EventTypes=["job.expired"])
        body = {"Operation": "DescribeCollection", "Input": {"CollectionId": "not-there"}}
        everybody = live.call("POST", "/v1/jobs", body, key=key.api_key).json["JobId"]
        ((headers, message),) = wanting.messages(1)
        assert Webhook(wants["Secret"]).verify(message, headers)["data"]["JobId"] == everybody
        body["Webhook"] = {"EndpointId": named["EndpointId"]}
        one = live.call("POST", "/v1/jobs", body, key=key.api_key).json["JobId"]
        ((headers, message),) = other.messages(1)
        assert Webhook(named["Secret"]).verify(message, headers)["data"]["JobId"] == one
        assert len(wanting.requests) == 1


def _endpoint(live: LiveStack, key: NewKey, url: str, **members: Any) -> Any:
    made = live.call("POST", "/v1/webhooks/endpoints", {"Url": url, **members}, key=key.api_key)
    return job_of(made, 201)


@pytest.mark.parametrize("endpoint", ["00000000-0000-0000-0000-000000000000", "of a stranger"])
def test_an_endpoint_that_is_not_there_is_refused(
    live: LiveStack, gallery: str, stranger: NewKey, endpoint: str
) -> None:
    if endpoint == "of a stranger":
        endpoint = _endpoint(live, stranger, "https://example.com/hook")["EndpointId"]
    refused = live.submit("DescribeCollection", {"CollectionId": gallery}, Webhook={"EndpointId": endpoint})
    problem(refused, 404, "ResourceNotFoundException")
