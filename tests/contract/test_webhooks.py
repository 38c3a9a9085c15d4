"""Webhooks of single jobs, judged by the published verifier: what arrives, how often, and where they may not go."""

import itertools
import json
from typing import Any

import cv2
import numpy as np
import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from app.domain.webhooks import MAX_BODY_BYTES
from tests.contract.wire import problem
from tests.live import LiveStack
from tests.patience import wait_until
from tests.scripted import Script, ScriptedServer, answer
from tests.vision.pictures import jpeg


class Receiver(ScriptedServer):
    """A caller's server, which takes webhooks one after the other."""

    def messages(self, count: int, seconds: float = 20) -> list[tuple[dict[str, str], bytes]]:
        """Wait for so many messages, give headers and body of each."""
        wait_until(lambda: len(self.requests) >= count, seconds)
        return [_parts(request) for request in self.requests]


def _parts(request: bytes) -> tuple[dict[str, str], bytes]:
    head, _, body = request.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")[1:]
    return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}, body


def in_turn(*scripts: Script) -> Script:
    """Make a script that answers as the first script, then as the second, and so on; the last one repeats."""
    left = itertools.chain(scripts, itertools.repeat(scripts[-1]))
    return lambda sock: next(left)(sock)


def deliveries_of(live: LiveStack, job_id: str) -> list[tuple[Any, ...]]:
    return live.query(
        "SELECT d.status, d.attempts FROM deliveries d JOIN events USING (event_id) WHERE job_id = %s", job_id
    )


def attempts_of(live: LiveStack, job_id: str) -> list[tuple[Any, ...]]:
    return live.query(
        "SELECT a.attempt, a.status_code, a.error FROM delivery_attempts a JOIN deliveries USING (delivery_id)"
        " JOIN events USING (event_id) WHERE job_id = %s ORDER BY a.attempt",
        job_id,
    )


def submit_search(live: LiveStack, collection: str, image: bytes, url: str, **members: Any) -> str:
    input_ = {"CollectionId": collection, "Image": {"Bytes": image}}
    accepted = live.submit("SearchFacesByImage", input_, Webhook={"Url": url}, **members)
    assert accepted.status == 202
    return str(accepted.json["JobId"])


def test_a_finished_job_is_told_once_with_what_get_shows(
    live: LiveStack, gallery: str, portraits: dict[str, bytes]
) -> None:
    with Receiver(answer(204)) as receiver:
        job_id = submit_search(live, gallery, portraits["obama"], f"{receiver.url}/hook?a=1", Metadata={"order": "7"})
        ((headers, body),) = receiver.messages(1)
        wait_until(lambda: deliveries_of(live, job_id) == [("SUCCEEDED", 1)])
    assert receiver.requests[0].startswith(b"POST /hook?a=1 HTTP/1.1\r\n")
    message = Webhook(live.key.webhook_secret).verify(body, headers)
    assert message == json.loads(body)
    assert message.keys() == {"type", "timestamp", "data"}
    assert message["type"] == "job.succeeded"
    job = live.call("GET", f"/v1/jobs/{job_id}").json
    assert message["data"] == job
    assert message["timestamp"] == job["FinishedAt"]
    assert job["Metadata"] == {"order": "7"}
    assert len(receiver.requests) == 1
    assert attempts_of(live, job_id) == [(1, 204, None)]


def test_a_message_does_not_verify_with_another_secret_or_body(
    live: LiveStack, gallery: str, portraits: dict[str, bytes]
) -> None:
    with Receiver(answer(200)) as receiver:
        submit_search(live, gallery, portraits["biden"], receiver.url)
        ((headers, body),) = receiver.messages(1)
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_" + "A" * 44).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(live.key.webhook_secret).verify(body.replace(b"SUCCEEDED", b"CANCELED!"), headers)


def test_a_failed_job_is_told_too(live: LiveStack, gallery: str) -> None:
    with Receiver(answer(200)) as receiver:
        job_id = submit_search(live, gallery, b"no image", receiver.url)
        ((headers, body),) = receiver.messages(1)
    message = Webhook(live.key.webhook_secret).verify(body, headers)
    assert message["type"] == "job.failed"
    assert message["data"]["Status"] == "FAILED"
    assert message["data"]["Error"]["Code"] == "InvalidImageFormatException"
    assert message["data"] == live.call("GET", f"/v1/jobs/{job_id}").json


def test_a_receiver_that_failed_gets_the_same_message_again(
    live: LiveStack, gallery: str, portraits: dict[str, bytes]
) -> None:
    with Receiver(in_turn(answer(500, b"not now"), answer(200))) as receiver:
        job_id = submit_search(live, gallery, portraits["obama"], receiver.url)
        wait_until(lambda: [row[1] for row in attempts_of(live, job_id)] == [500])
        assert deliveries_of(live, job_id) == [("PENDING", 1)]
        _make_due(live, job_id)
        first, second = receiver.messages(2)
        wait_until(lambda: deliveries_of(live, job_id) == [("SUCCEEDED", 2)])
    assert first[0]["webhook-id"] == second[0]["webhook-id"]
    assert first[1] == second[1]
    for headers, body in (first, second):
        Webhook(live.key.webhook_secret).verify(body, headers)
    assert attempts_of(live, job_id) == [(1, 500, "the server answered 500"), (2, 200, None)]


def _make_due(live: LiveStack, job_id: str) -> None:
    live.query(
        "UPDATE deliveries SET next_attempt_at = now() FROM events"
        " WHERE events.event_id = deliveries.event_id AND events.job_id = %s",
        job_id,
    )


def test_a_receiver_that_is_gone_for_good_is_left_alone(
    live: LiveStack, gallery: str, portraits: dict[str, bytes]
) -> None:
    with Receiver(answer(410)) as receiver:
        job_id = submit_search(live, gallery, portraits["obama"], receiver.url)
        wait_until(lambda: deliveries_of(live, job_id) == [("FAILED", 1)])
    assert live.call("GET", f"/v1/jobs/{job_id}").json["Status"] == "SUCCEEDED"


def test_a_redirect_is_a_failure_and_is_not_followed(
    live: LiveStack, gallery: str, portraits: dict[str, bytes]
) -> None:
    with Receiver(answer(200)) as other, Receiver(answer(307, Location=other.url)) as receiver:
        job_id = submit_search(live, gallery, portraits["obama"], receiver.url)
        wait_until(lambda: [row[1] for row in attempts_of(live, job_id)] == [307])
        assert deliveries_of(live, job_id) == [("PENDING", 1)]
        assert other.requests == []


def test_a_job_without_a_webhook_tells_nobody(live: LiveStack, gallery: str, portraits: dict[str, bytes]) -> None:
    input_ = {"CollectionId": gallery, "Image": {"Bytes": portraits["biden"]}}
    job_id = live.finished(live.submit("SearchFacesByImage", input_).json["JobId"])["JobId"]
    assert live.query("SELECT count(*) FROM events WHERE job_id = %s", job_id) == [(0,)]


def test_a_result_that_is_too_large_is_left_for_the_receiver_to_fetch(
    live: LiveStack, collection: str, portraits: dict[str, bytes]
) -> None:
    with Receiver(answer(200)) as receiver:
        input_ = {"CollectionId": collection, "Image": {"Bytes": _crowd(portraits["biden"])}}
        job_id = live.submit("IndexFaces", input_, Webhook={"Url": receiver.url}).json["JobId"]
        ((headers, body),) = receiver.messages(1)
    shown = live.call("GET", f"/v1/jobs/{job_id}")
    assert len(shown.body) > MAX_BODY_BYTES > len(body)
    message = Webhook(live.key.webhook_secret).verify(body, headers)
    assert message["type"] == "job.succeeded"
    assert message["data"] == {name: value for name, value in shown.json.items() if name != "Result"}


def _crowd(portrait: bytes) -> bytes:
    """Make a picture in which one person stands 36 times."""
    pixels = cv2.imdecode(np.frombuffer(portrait, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    return jpeg(np.tile(cv2.resize(pixels, (160, 200), interpolation=cv2.INTER_AREA), (6, 6, 1)))


@pytest.mark.parametrize(
    ("url", "detail"),
    [
        ("https://10.0.0.1/hook", "the URL's host has no public address"),
        ("https://169.254.169.254/", "the URL's host has no public address"),
        ("https://[fd00::1]/hook", "the URL's host has no public address"),
        ("https://2130706433/", "the URL's host must be a name or an address of four decimal numbers"),
        ("http://example.com/hook", "the URL must begin with https://"),
        ("ftp://example.com/hook", "the URL must begin with https://"),
        ("example.com/hook", "the URL must begin with https://"),
        ("", "the URL must begin with https://"),
        ("https://me:secret@example.com/", "the URL must not carry a user name or password"),
        ("https://example.com:25/", "the URL's port must be 443, 80 or 1024 to 65535"),
    ],
)
def test_a_webhook_that_may_not_be_dialled_is_refused_at_once(
    live: LiveStack, gallery: str, url: str, detail: str
) -> None:
    before = live.query("SELECT count(*) FROM jobs")
    input_ = {"CollectionId": gallery, "Image": {"Bytes": b"no image"}}
    refusal = live.submit("SearchFacesByImage", input_, Webhook={"Url": url})
    assert problem(refusal, 400, "InvalidParameterException") == f"Webhook.Url: {detail}"
    assert live.query("SELECT count(*) FROM jobs") == before


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/", "https://127.0.0.1/", "https://localhost:8080/"])
def test_a_webhook_to_loopback_is_refused_unless_the_operator_says_so(hurried: LiveStack, url: str) -> None:
    input_ = {"CollectionId": "any", "Image": {"Bytes": b"no image"}}
    problem(hurried.submit("SearchFacesByImage", input_, Webhook={"Url": url}), 400, "InvalidParameterException")


@pytest.mark.parametrize(
    "webhook", ["https://example.com/", [], {}, {"Url": 5}, {"Url": None}, {"Uri": "https://a.b/"}]
)
def test_a_webhook_of_another_form_is_refused(live: LiveStack, gallery: str, webhook: object) -> None:
    input_ = {"CollectionId": gallery, "Image": {"Bytes": b"no image"}}
    problem(live.submit("SearchFacesByImage", input_, Webhook=webhook), 400, "ValidationException")
