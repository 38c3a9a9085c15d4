"""Jobs over plain HTTP: submitted, waited for, looked up, submitted again."""

import base64
import json
import re
import uuid
from datetime import datetime
from typing import Any

import pytest

from app.services.access_keys import NewKey
from tests.contract.wire import problem, send, signed
from tests.live import Answer, LiveStack

SEARCH = "SearchFacesByImage"
DOCUMENT = {
    "JobId",
    "Operation",
    "Status",
    "Done",
    "Attempt",
    "Priority",
    "Progress",
    "CreatedAt",
    "DeadlineAt",
    "Links",
}
TIMES = ("CreatedAt", "StartedAt", "FinishedAt", "ExpiresAt")
NO_JOB = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
def search(gallery: str, portraits: dict[str, bytes]) -> dict[str, Any]:
    """The input of a search that finds somebody."""
    return {"CollectionId": gallery, "Image": {"Bytes": portraits["biden"]}}


@pytest.fixture
def key() -> dict[str, str]:
    """An idempotency key that nobody used before."""
    return {"Idempotency-Key": str(uuid.uuid4())}


def submission(input_: dict[str, Any], **members: Any) -> dict[str, Any]:
    image = {"Bytes": base64.b64encode(input_["Image"]["Bytes"]).decode()}
    return {"Operation": SEARCH, "Input": {**input_, "Image": image}, **members}


def submit(live: LiveStack, input_: dict[str, Any], headers: dict[str, str] | None = None, **members: Any) -> Answer:
    return live.call("POST", "/v1/jobs", submission(input_, **members), headers)


def test_a_submitted_job_is_accepted_with_the_address_to_ask(live: LiveStack, search: dict[str, Any]) -> None:
    answer = submit(live, search)
    assert answer.status == 202
    assert answer.headers["content-type"] == "application/json"
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.headers["x-amzn-requestid"]
    job = answer.json
    assert job.keys() - {"QueuePosition"} == DOCUMENT
    assert (job["Operation"], job["Status"], job["Done"], job["Attempt"]) == (SEARCH, "QUEUED", False, 0)
    assert answer.headers["location"] == job["Links"]["Self"] == f"/v1/jobs/{job['JobId']}"
    assert uuid.UUID(job["JobId"])
    assert "idempotency-replayed" not in answer.headers
    assert "preference-applied" not in answer.headers


def test_a_finished_job_shows_its_result_and_its_times(live: LiveStack, search: dict[str, Any]) -> None:
    job = live.finished(submit(live, search, Metadata={"order": "7"}).json["JobId"])
    assert job.keys() == DOCUMENT | set(TIMES) | {"Result", "Metadata"}
    assert (job["Status"], job["Done"], job["Attempt"]) == ("SUCCEEDED", True, 1)
    assert job["Metadata"] == {"order": "7"}
    assert [match["Face"]["ExternalImageId"] for match in job["Result"]["FaceMatches"]] == ["biden"]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", job[name]) for name in TIMES)
    times = [datetime.fromisoformat(job[name]) for name in TIMES]
    assert times == sorted(times)
    shown = live.call("GET", job["Links"]["Self"])
    assert shown.json == job
    assert "retry-after" not in shown.headers


def test_a_failed_job_shows_its_error(live: LiveStack, gallery: str) -> None:
    job = live.finished(submit(live, {"CollectionId": gallery, "Image": {"Bytes": b"no image"}}).json["JobId"])
    assert job.keys() == DOCUMENT | set(TIMES) | {"Error"}
    assert (job["Status"], job["Done"]) == ("FAILED", True)
    assert job["Error"] == {
        "Code": "InvalidImageFormatException",
        "Message": "Request has invalid image format",
        "Retryable": False,
    }


@pytest.mark.parametrize("prefer", ["wait=20", "respond-async, wait=20", "WAIT=20", "wait=999999999"])
def test_a_caller_may_prefer_to_wait(live: LiveStack, search: dict[str, Any], prefer: str) -> None:
    answer = submit(live, search, {"Prefer": prefer})
    assert (answer.status, answer.json["Status"]) == (200, "SUCCEEDED")
    assert re.fullmatch("wait=(20|30)", answer.headers["preference-applied"])
    assert answer.headers["location"] == answer.json["Links"]["Self"]
    assert "retry-after" not in answer.headers


def test_a_get_can_wait_for_the_end(live: LiveStack, search: dict[str, Any]) -> None:
    job_id = submit(live, search).json["JobId"]
    answer = live.call("GET", f"/v1/jobs/{job_id}?wait=20")
    assert (answer.status, answer.json["Done"]) == (200, True)


@pytest.mark.parametrize("wait", ["-1", "1.5", "soon", "", "٣", "9" * 3000])
def test_a_wait_that_is_no_number_of_seconds_is_refused(live: LiveStack, search: dict[str, Any], wait: str) -> None:
    job_id = submit(live, search).json["JobId"]
    problem(live.call("GET", f"/v1/jobs/{job_id}?wait={_escaped(wait)}"), 400, "ValidationException")


def _escaped(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode()) if not text.isascii() else text


@pytest.mark.parametrize("job_id", [NO_JOB, "1", "not-a-job", "%00", "%E2%82%AC", "a" * 300])
def test_a_job_that_does_not_exist_is_not_found(live: LiveStack, job_id: str) -> None:
    detail = problem(live.call("GET", f"/v1/jobs/{job_id}"), 404, "ResourceNotFoundException")
    assert detail.startswith("The job id: ")
    assert detail.endswith(" does not exist")


def test_a_job_of_another_account_is_not_found(live: LiveStack, stranger: NewKey, search: dict[str, Any]) -> None:
    job_id = submit(live, search).json["JobId"]
    refusal = live.call("GET", f"/v1/jobs/{job_id}", key=stranger.api_key)
    assert problem(refusal, 404, "ResourceNotFoundException") == f"The job id: {job_id} does not exist"


def test_an_idempotency_key_gives_the_job_of_the_first_time(
    live: LiveStack, search: dict[str, Any], key: dict[str, str]
) -> None:
    first, second = submit(live, search, key), submit(live, search, key)
    assert first.json["JobId"] == second.json["JobId"]
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"
    live.finished(first.json["JobId"])
    third = submit(live, search, key)
    assert (third.status, third.json["Status"], third.headers["idempotency-replayed"]) == (200, "SUCCEEDED", "true")


@pytest.mark.parametrize("change", [{"MaxFaces": 1}, {"Image": {"Bytes": b"another"}}, {"CollectionId": "another"}])
def test_an_idempotency_key_is_for_one_request(
    live: LiveStack, search: dict[str, Any], key: dict[str, str], change: dict[str, Any]
) -> None:
    assert submit(live, search, key).status in (200, 202)
    refusal = submit(live, search | change, key)
    detail = problem(refusal, 422, "IdempotentParameterMismatchException")
    assert detail == f"The ClientRequestToken: {key['Idempotency-Key']} you have supplied is already in use."


def test_an_idempotency_key_is_the_caller_s_own(
    live: LiveStack, stranger: NewKey, search: dict[str, Any], key: dict[str, str]
) -> None:
    ours = submit(live, search, key).json
    theirs = live.call("POST", "/v1/jobs", submission(search), key, key=stranger.api_key)
    assert theirs.status == 202
    assert theirs.json["JobId"] != ours["JobId"]


def test_a_client_request_token_is_the_same_key_in_the_body(live: LiveStack, search: dict[str, Any]) -> None:
    token = str(uuid.uuid4())
    first = submit(live, search, ClientRequestToken=token).json["JobId"]
    assert submit(live, search, ClientRequestToken=token).json["JobId"] == first
    assert submit(live, search, {"Idempotency-Key": f'"{token}"'}).json["JobId"] == first


def test_without_a_key_every_request_is_a_job_of_its_own(live: LiveStack, search: dict[str, Any]) -> None:
    assert submit(live, search).json["JobId"] != submit(live, search).json["JobId"]


def test_a_signature_is_as_good_as_a_bearer_token(live: LiveStack, search: dict[str, Any]) -> None:
    body = json.dumps(submission(search)).encode()
    headers = signed(live, "POST", "/v1/jobs", body, headers={"Content-Type": "application/json"})
    accepted = send(live, "POST", "/v1/jobs", body, headers)
    assert accepted.status == 202
    path = f"{accepted.json['Links']['Self']}?wait=20"
    assert send(live, "GET", path, headers=signed(live, "GET", path)).json["Done"]
    tampered = send(live, "GET", path.replace("wait=20", "wait=2"), headers=signed(live, "GET", path))
    problem(tampered, 403, "InvalidSignatureException")
