"""Plain HTTP: requests signed by botocore and altered afterwards, and what every refusal must look like."""

import http.client
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from app.services.access_keys import NewKey
from tests.live import Answer, LiveStack

AWS_JSON = "application/x-amz-json-1.1"
PROBLEM_MEMBERS = {"type", "title", "status", "detail", "code", "retryable", "request_id"}


def send(
    live: LiveStack, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> Answer:
    """Send exactly this."""
    connection = http.client.HTTPConnection("127.0.0.1", live.stack.port, timeout=60)
    try:
        connection.request(method, path, body, dict(headers or {}))
        answer = connection.getresponse()
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    finally:
        connection.close()


def signed(
    live: LiveStack,
    method: str,
    path: str,
    body: bytes = b"",
    *,
    headers: Mapping[str, str] | None = None,
    credentials: Credentials | None = None,
    region: str = "us-east-1",
    service: str = "rekognition",
    at: datetime | None = None,
) -> dict[str, str]:
    """Give the headers of a request that botocore signed, by default as the first key and now."""
    request = AWSRequest(method=method, url=live.url + path, data=body)
    request.headers["Host"] = urlsplit(live.url).netloc
    for name, value in (headers or {}).items():
        request.headers[name] = value
    credentials = credentials or Credentials(live.key.access_key_id, live.key.secret_access_key)
    with clock(at or datetime.now(UTC)):
        SigV4Auth(credentials, service, region).add_auth(request)
    return dict(request.headers.items())


#: Two threads that patch and restore the clock at once could leave a stopped one behind.
_CLOCK = threading.Lock()


@contextmanager
def clock(at: datetime) -> Iterator[None]:
    """Let botocore sign as if it were this time."""
    with _CLOCK, patch("botocore.auth.get_current_datetime", return_value=at):
        yield


def key_of(key: NewKey, **changes: str) -> Credentials:
    """Give what a client signs with when it has this key; the session token only where a test names it."""
    return Credentials(**{"access_key": key.access_key_id, "secret_key": key.secret_access_key, **changes})


def call(live: LiveStack, operation: str, document: object, path: str = "/", **changes: Any) -> Answer:
    """Call an operation on the AWS wire; `document` is JSON unless it is bytes, `changes` go to the signing."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    target = {"X-Amz-Target": f"RekognitionService.{operation}", "Content-Type": AWS_JSON}
    headers = signed(live, "POST", path, body, headers=target | changes.pop("headers", {}), **changes)
    return send(live, "POST", path, body, headers)


def front_end_error(answer: Answer, code: str) -> str:
    """Check an error of AWS's front end, give its message."""
    assert answer.json.keys() == {"__type", "message"}
    return _aws_error(answer, code)["message"]


def rekognition_error(answer: Answer, code: str) -> str:
    """Check an error of Rekognition itself, give its message."""
    body = _aws_error(answer, code)
    assert body.keys() == {"__type", "Code", "Logref", "Message"}
    assert body["Code"] == code
    assert body["Logref"] == answer.headers["x-amzn-requestid"]
    return body["Message"]


def _aws_error(answer: Answer, code: str) -> Any:
    assert (answer.status, answer.json["__type"]) == (400, code), answer.body
    assert answer.headers["content-type"] == AWS_JSON
    assert answer.headers["x-amzn-errortype"] == code
    assert answer.headers["x-amzn-requestid"]
    return answer.json


def problem(answer: Answer, status: int, code: str) -> str:
    """Check a refusal of /v1 (RFC 9457), give its detail."""
    assert (answer.status, answer.json.get("code")) == (status, code), answer.body
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json
    assert body.keys() == PROBLEM_MEMBERS
    assert body["status"] == status
    assert body["request_id"] == answer.headers["x-amzn-requestid"]
    assert isinstance(body["retryable"], bool)
    assert body["title"]
    assert body["type"].endswith(f"#{code}")
    return body["detail"]


def says_too_much(answer: Answer, live: LiveStack) -> bool:
    """Tell whether an answer carries a stack trace or one of the caller's secrets."""
    said = answer.body.decode(errors="replace") + json.dumps(answer.headers)
    secrets = (live.key.secret_access_key, live.key.webhook_secret, live.stack.variables["REKOLLECT_SECRET_KEY"])
    return any(word in said for word in ("Traceback", 'File "', ".py", "psycopg", *secrets))
