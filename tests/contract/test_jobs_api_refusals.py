"""What /v1 refuses: every refusal is a problem document that names the fault and gives nothing else away."""

import base64
import json
from typing import Any

import pytest
from botocore.credentials import Credentials

from app.services.access_keys import NewKey
from tests.contract.conftest import MakeKey
from tests.contract.wire import problem, says_too_much, send, signed
from tests.live import Answer, LiveStack

IMAGE = {"Bytes": base64.b64encode(b"no image").decode()}
GOOD = {"Operation": "IndexFaces", "Input": {"CollectionId": "any", "Image": IMAGE}}
PATH = "/v1/jobs"


def post(live: LiveStack, body: object, **headers: str) -> Answer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {"Content-Type": "application/json", "Authorization": f"Bearer {live.key.api_key}"}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    return send(live, "POST", PATH, content, sent)


def refused(live: LiveStack, answer: Answer, status: int, code: str) -> str:
    detail = problem(answer, status, code)
    assert not says_too_much(answer, live)
    return detail


@pytest.fixture(autouse=True)
def no_new_job(live: LiveStack) -> Any:
    """No test here leaves a job."""
    before = live.query("SELECT count(*) FROM jobs")
    yield
    assert live.query("SELECT count(*) FROM jobs") == before


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"7", b"null", b"\xff\xfe", b"[" * 100_000, b'{"Operation": NaN'])
def test_what_is_no_json_object_is_refused(live: LiveStack, body: bytes) -> None:
    refused(live, post(live, body), 400, "SerializationException")


@pytest.mark.parametrize(
    "change",
    [
        {"Operation": "DetectLabels"},
        {"Operation": "indexfaces"},
        {"Operation": None},
        {"Operation": ["IndexFaces"]},
        {"Operation": {}},
        {"Colour": "red"},
        {"operation": "IndexFaces"},
        {"Input": {"Image": IMAGE}},
        {"Input": {"CollectionId": "a b", "Image": IMAGE}},
        {"Input": {"CollectionId": "any", "Image": {"Bytes": ""}}},
        {"Input": {"CollectionId": "any", "Image": IMAGE, "MaxFaces": 0}},
        {"Input": {"CollectionId": "any", "Image": {"Url": "https://example.com/" + "a" * 2048}}},
        {"ClientRequestToken": ""},
        {"ClientRequestToken": "two words"},
        {"ClientRequestToken": "a" * 256},
        {"ClientRequestToken": 5},
        {"ClientRequestToken": []},
        {"Metadata": []},
        {"Metadata": "order 7"},
        {"Metadata": {"order": 7}},
        {"Metadata": {"order": None}},
        {"Metadata": {"a" * 65: "b"}},
        {"Metadata": {"a": "b" * 513}},
        {"Metadata": {str(number): "a" for number in range(17)}},
        {"Metadata": {"a": "\0"}},
        {"Metadata": {"a": "\ud800"}},
        {"Metadata": {"\0": "a"}},
    ],
    ids=lambda change: json.dumps(change)[:60],
)
def test_a_member_that_is_unknown_or_out_of_its_limits_is_refused(live: LiveStack, change: dict[str, Any]) -> None:
    assert refused(live, post(live, GOOD | change), 400, "ValidationException")


@pytest.mark.parametrize(
    ("input_", "detail"),
    [
        (None, "Unexpected null"),
        ([], "Start of list found where not expected"),
        ({"CollectionId": 5}, "class java.math.BigDecimal can not be converted to an String"),
        ({"CollectionId": "a", "Image": "b"}, "Expected null"),
        ({"CollectionId": "a\0b", "Image": IMAGE}, None),
    ],
)
def test_a_wrong_type_in_the_input_is_a_serialization_error(
    live: LiveStack, input_: object, detail: str | None
) -> None:
    found = refused(live, post(live, GOOD | {"Input": input_}), 400, "SerializationException")
    assert detail in (None, found)


def test_an_image_that_is_too_large_is_told_in_the_words_of_aws(live: LiveStack) -> None:
    image = {"Bytes": base64.b64encode(bytes(5_242_881)).decode()}
    answer = post(live, GOOD | {"Input": {"CollectionId": "any", "Image": image}})
    detail = refused(live, answer, 400, "ValidationException")
    assert detail.endswith(
        "at 'image.bytes' failed to satisfy constraint: Member must have length less than or equal to 5242880"
    )


@pytest.mark.parametrize("key", ["two words", "a" * 256, "a\tb", "naïve"])
def test_an_idempotency_key_that_is_no_key_is_refused(live: LiveStack, key: str) -> None:
    refused(live, post(live, GOOD, Idempotency_Key=key), 400, "ValidationException")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"no part at all", "ValidationException"),
        (
            b'--x\r\nContent-Disposition: form-data; name="Operation"\r\n\r\nIndexFaces\r\n--x--\r\n',
            "ValidationException",
        ),
        (b'--x\r\nContent-Disposition: form-data; name="Input"\r\n\r\n{\r\n--x--\r\n', "SerializationException"),
        (b'--x\r\nContent-Disposition: form-data; name="Colour"\r\n\r\n{}\r\n--x--\r\n', "ValidationException"),
    ],
)
def test_a_broken_form_is_refused(live: LiveStack, body: bytes, code: str) -> None:
    refused(live, post(live, body, Content_Type="multipart/form-data; boundary=x"), 400, code)


def test_a_form_of_too_many_parts_is_refused(live: LiveStack) -> None:
    body = b"".join(b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n{}\r\n' for _ in range(100)) + b"--x--\r\n"
    refused(live, post(live, body, Content_Type="multipart/form-data; boundary=x"), 413, "RequestEntityTooLarge")


@pytest.mark.parametrize("size", [17, 30])
def test_a_body_beyond_all_limits_is_refused(live: LiveStack, size: int) -> None:
    refused(live, post(live, b" " * size * 1024 * 1024), 413, "RequestEntityTooLarge")


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_caller_without_credentials_is_told_how_to_show_some(live: LiveStack, method: str) -> None:
    path = PATH if method == "POST" else f"{PATH}/00000000-0000-0000-0000-000000000000"
    answer = send(live, method, path, json.dumps(GOOD).encode() if method == "POST" else b"")
    refused(live, answer, 401, "MissingAuthenticationTokenException")
    assert answer.headers["www-authenticate"] == 'Bearer realm="rekollect"'


@pytest.mark.parametrize(
    "authorization",
    ["Bearer", "Bearer wrong", "Bearer {id}", "Bearer {id}.", "Bearer {id}.wrong", "Bearer .{secret}", "bearer {id}.ä"],
)
def test_a_wrong_bearer_token_is_refused(live: LiveStack, authorization: str) -> None:
    secret = live.key.secret_access_key
    told = authorization.format(id=live.key.access_key_id, secret=secret)
    answer = post(live, GOOD, Authorization=told)
    refused(live, answer, 401, "UnrecognizedClientException")
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("authorization", ["Basic dXNlcjpwYXNz", "AWS4-HMAC-SHA256 Credential", "Negotiate"])
def test_another_kind_of_credentials_is_refused(live: LiveStack, authorization: str) -> None:
    answer = post(live, GOOD, Authorization=authorization)
    refused(live, answer, 401, "IncompleteSignatureException")
    assert "dXNlcjpwYXNz" not in answer.body.decode()


def test_a_revoked_key_is_no_bearer_token_any_more(live: LiveStack, make_key: MakeKey) -> None:
    key: NewKey = make_key("former")
    path = f"{PATH}/00000000-0000-0000-0000-000000000000"
    problem(live.call("GET", path, key=key.api_key), 404, "ResourceNotFoundException")
    live.query("UPDATE access_keys SET revoked_at = now() WHERE access_key_id = %s", key.access_key_id)
    refused(live, live.call("GET", path, key=key.api_key), 401, "UnrecognizedClientException")


def test_a_wrong_signature_is_forbidden(live: LiveStack) -> None:
    body = json.dumps(GOOD).encode()
    headers = signed(live, "POST", PATH, body, credentials=Credentials(live.key.access_key_id, "guessed"))
    refused(live, send(live, "POST", PATH, body, headers), 403, "InvalidSignatureException")
    headers = signed(live, "POST", PATH, b"another")
    refused(live, send(live, "POST", PATH, body, headers), 403, "InvalidSignatureException")


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/v1/nothing", "/v1/jobs/", "/v1/jobs/a/b", "/v1/collections"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_unknown_path_is_not_found(live: LiveStack, method: str, path: str) -> None:
    refused(live, live.call(method, path), 404, "NotFound")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("DELETE", PATH, "POST"), ("PUT", PATH, "POST"), ("POST", f"{PATH}/any", "GET"), ("PATCH", f"{PATH}/any", "GET")],
)
def test_a_wrong_method_is_not_allowed(live: LiveStack, method: str, path: str, allowed: str) -> None:
    answer = live.call(method, path, GOOD)
    refused(live, answer, 405, "MethodNotAllowed")
    assert allowed in answer.headers["allow"].split(", ")
