"""Who is let in on the AWS wire: every wrong signature is refused with its own code, and what it asked for is not done."""

import json
import re
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from app.services.access_keys import NewKey
from tests.contract.conftest import MakeKey
from tests.contract.wire import AWS_JSON, call, clock, front_end_error, key_of, says_too_much, send, signed
from tests.live import Answer, LiveStack

MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and "
    "signing method. Consult the service documentation for details."
)
UNKNOWN = "The security token included in the request is invalid."
STAMP = r"\d{8}T\d{6}Z"
CREATE = {"X-Amz-Target": "RekognitionService.CreateCollection", "Content-Type": AWS_JSON}


@pytest.fixture
def name(rekognition: Any) -> Iterator[str]:
    """The name of a collection that nobody may create in the test."""
    name = f"refused-{uuid.uuid4()}"
    yield name
    assert name not in rekognition.list_collections()["CollectionIds"]


def refused(live: LiveStack, answer: Answer, code: str, message: str) -> None:
    assert front_end_error(answer, code) == message
    assert not says_too_much(answer, live)


def test_a_wrong_secret(live: LiveStack, name: str) -> None:
    answer = call(live, "CreateCollection", {"CollectionId": name}, credentials=key_of(live.key, secret_key="guessed"))
    refused(live, answer, "InvalidSignatureException", MISMATCH)


def test_an_unknown_key(live: LiveStack, name: str) -> None:
    answer = call(live, "CreateCollection", {"CollectionId": name}, credentials=Credentials("REKONOBODY", "guessed"))
    refused(live, answer, "UnrecognizedClientException", UNKNOWN)


def test_a_revoked_key(live: LiveStack, make_key: MakeKey, name: str) -> None:
    key = make_key("leaver")
    assert call(live, "ListCollections", {}, credentials=key_of(key)).status == 200
    live.query("UPDATE access_keys SET revoked_at = now() WHERE access_key_id = %s", key.access_key_id)
    answer = call(live, "CreateCollection", {"CollectionId": name}, credentials=key_of(key))
    refused(live, answer, "UnrecognizedClientException", UNKNOWN)


def test_a_session_token(live: LiveStack, name: str) -> None:
    answer = call(live, "CreateCollection", {"CollectionId": name}, credentials=key_of(live.key, token="session"))
    refused(live, answer, "UnrecognizedClientException", UNKNOWN)


def test_another_account_s_secret(live: LiveStack, stranger: NewKey, name: str) -> None:
    mixed = key_of(live.key, secret_key=stranger.secret_access_key)
    answer = call(live, "CreateCollection", {"CollectionId": name}, credentials=mixed)
    refused(live, answer, "InvalidSignatureException", MISMATCH)


@pytest.mark.parametrize(
    ("minutes", "pattern"),
    [
        (-20, rf"Signature expired: {STAMP} is now earlier than {STAMP} \({STAMP} - 5 min\.\)"),
        (+20, rf"Signature not yet current: {STAMP} is still later than {STAMP} \({STAMP} \+ 5 min\.\)"),
    ],
)
def test_a_clock_that_is_wrong(live: LiveStack, name: str, minutes: int, pattern: str) -> None:
    at = datetime.now(UTC) + timedelta(minutes=minutes)
    answer = call(live, "CreateCollection", {"CollectionId": name}, at=at)
    assert re.fullmatch(pattern, front_end_error(answer, "InvalidSignatureException"))


@pytest.mark.parametrize("minutes", [-4, 4])
def test_a_clock_that_is_a_little_wrong_is_forgiven(live: LiveStack, minutes: int) -> None:
    assert call(live, "ListCollections", {}, at=datetime.now(UTC) + timedelta(minutes=minutes)).status == 200


@pytest.mark.parametrize(
    ("scope", "message"),
    [
        ({"region": "ap-south-1"}, "Credential should be scoped to a valid region. "),
        ({"service": "s3"}, "Credential should be scoped to correct service: 'rekognition'. "),
    ],
)
def test_a_signature_for_something_else(live: LiveStack, name: str, scope: dict[str, str], message: str) -> None:
    answer = call(live, "CreateCollection", {"CollectionId": name}, **scope)
    refused(live, answer, "InvalidSignatureException", message)


def test_each_region_of_the_settings_is_served_and_named_in_arns(live: LiveStack, gallery: str) -> None:
    client = live.rekognition(region_name="eu-west-1")
    assert ":eu-west-1:" in client.describe_collection(CollectionId=gallery)["CollectionARN"]


def test_a_body_that_was_changed_on_the_way(live: LiveStack, name: str) -> None:
    headers = signed(live, "POST", "/", b'{"CollectionId": "another"}', headers=CREATE)
    answer = send(live, "POST", "/", json.dumps({"CollectionId": name}).encode(), headers)
    refused(live, answer, "InvalidSignatureException", MISMATCH)


def test_a_target_that_was_changed_on_the_way(live: LiveStack, collection: str) -> None:
    body = json.dumps({"CollectionId": collection}).encode()
    describe = {**CREATE, "X-Amz-Target": "RekognitionService.DescribeCollection"}
    headers = signed(live, "POST", "/", body, headers=describe)
    answer = send(live, "POST", "/", body, {**headers, "X-Amz-Target": "RekognitionService.DeleteCollection"})
    refused(live, answer, "InvalidSignatureException", MISMATCH)
    assert call(live, "DescribeCollection", {"CollectionId": collection}).status == 200


def test_a_target_that_is_not_signed(live: LiveStack, name: str) -> None:
    body = json.dumps({"CollectionId": name}).encode()
    headers = signed(live, "POST", "/", body, headers={"Content-Type": AWS_JSON})
    answer = send(live, "POST", "/", body, {**headers, **CREATE})
    refused(
        live,
        answer,
        "InvalidSignatureException",
        "'X-Amz-Target' must be a 'SignedHeader' in the AWS Authorization.",
    )


def test_a_request_without_any_signature(live: LiveStack, name: str) -> None:
    answer = send(live, "POST", "/", json.dumps({"CollectionId": name}).encode(), CREATE)
    refused(live, answer, "MissingAuthenticationTokenException", "Missing Authentication Token")
    client = live.rekognition(config=Config(signature_version=UNSIGNED))
    with pytest.raises(ClientError, match="MissingAuthenticationTokenException"):
        client.create_collection(CollectionId=name)


def test_a_bearer_token_is_no_signature(live: LiveStack, name: str) -> None:
    headers = {**CREATE, "Authorization": f"Bearer {live.key.api_key}"}
    answer = send(live, "POST", "/", json.dumps({"CollectionId": name}).encode(), headers)
    front_end_error(answer, "IncompleteSignatureException")
    assert not says_too_much(answer, live)


def test_an_authorization_that_lacks_parts_names_them(live: LiveStack, name: str) -> None:
    headers = {**CREATE, "Authorization": "AWS4-HMAC-SHA256 SignedHeaders=host"}
    answer = send(live, "POST", "/", json.dumps({"CollectionId": name}).encode(), headers)
    assert front_end_error(answer, "IncompleteSignatureException") == (
        "Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' parameter. "
        "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. "
        "Authorization=AWS4-HMAC-SHA256 SignedHeaders=host"
    )


def sign_for_s3(request: Any, **_: Any) -> None:
    request.context.setdefault("signing", {})["signing_name"] = "s3"


def change_body(request: Any, **_: Any) -> None:
    request.body = request.body.replace(b"refused-", b"changed-")


def change_target(request: Any, **_: Any) -> None:
    request.headers["X-Amz-Target"] = "RekognitionService.DeleteCollection"


def drop_target(request: Any, **_: Any) -> None:
    del request.headers["X-Amz-Target"]


@pytest.mark.parametrize(
    ("event", "change", "code"),
    [
        ("before-sign", sign_for_s3, "InvalidSignatureException"),
        ("before-send", change_body, "InvalidSignatureException"),
        ("before-send", change_target, "InvalidSignatureException"),
        ("before-send", drop_target, "UnknownOperationException"),
    ],
)
def test_a_request_of_boto3_that_was_changed_on_the_way(
    live: LiveStack, name: str, event: str, change: Callable[..., None], code: str
) -> None:
    client = live.rekognition()
    client.meta.events.register(f"{event}.rekognition.CreateCollection", change)
    assert refused_by_boto3(client, name) == code


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"aws_access_key_id": "REKONOBODY"}, "UnrecognizedClientException"),
        ({"aws_secret_access_key": "guessed"}, "InvalidSignatureException"),
        ({"aws_session_token": "guessed"}, "UnrecognizedClientException"),
        ({"region_name": "ap-south-1"}, "InvalidSignatureException"),
        ({"config": Config(signature_version=UNSIGNED)}, "MissingAuthenticationTokenException"),
    ],
)
def test_a_client_of_boto3_with_wrong_settings(live: LiveStack, name: str, changes: dict[str, Any], code: str) -> None:
    assert refused_by_boto3(live.rekognition(**changes), name) == code


@pytest.mark.parametrize("minutes", [-20, 20])
def test_a_machine_of_boto3_with_a_wrong_clock(live: LiveStack, name: str, minutes: int) -> None:
    with clock(datetime.now(UTC) + timedelta(minutes=minutes)):
        assert refused_by_boto3(live.rekognition(), name) == "InvalidSignatureException"


def test_boto3_with_a_session_that_is_good_and_one_that_is_over(live: LiveStack, make_key: MakeKey, name: str) -> None:
    good, over = (make_key("default", with_session_token=True, lifetime=timedelta(hours=hours)) for hours in (1, 0))
    assert live.rekognition_of(good).list_collections()["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert refused_by_boto3(live.rekognition_of(over), name) == "ExpiredTokenException"


def refused_by_boto3(client: Any, name: str) -> str:
    with pytest.raises(ClientError) as caught:
        client.create_collection(CollectionId=name)
    answer = caught.value.response
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert answer["ResponseMetadata"]["RequestId"]
    return str(answer["Error"]["Code"])


def test_boto3_knows_a_wrong_secret_as_an_error_that_it_does_not_retry(live: LiveStack) -> None:
    client = live.rekognition(aws_secret_access_key="guessed", config=Config(retries={"mode": "standard"}))
    with pytest.raises(ClientError) as caught:
        client.list_collections()
    assert caught.value.response["Error"] == {"Code": "InvalidSignatureException", "Message": MISMATCH}
    assert caught.value.response["ResponseMetadata"]["RetryAttempts"] == 0
