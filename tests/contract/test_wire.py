"""The AWS wire itself, byte by byte: headers, the two forms of errors, what the service model refuses, sizes, paths."""

import json
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.contract.wire import AWS_JSON, call, front_end_error, rekognition_error, says_too_much, send, signed
from tests.live import LiveStack

BLOB = "java.nio.HeapByteBuffer"
IMAGE = {"Bytes": "QUJD"}


def test_an_answer_has_the_type_of_the_protocol_and_a_request_id(live: LiveStack, gallery: str) -> None:
    answers = [call(live, "DescribeCollection", {"CollectionId": gallery}) for _ in range(2)]
    assert [answer.status for answer in answers] == [200, 200]
    assert all(answer.headers["content-type"] == AWS_JSON for answer in answers)
    ids = {uuid.UUID(answer.headers["x-amzn-requestid"]) for answer in answers}
    assert len(ids) == 2


def test_a_timestamp_is_a_number_of_seconds(live: LiveStack, gallery: str) -> None:
    created = call(live, "DescribeCollection", {"CollectionId": gallery}).json["CreationTimestamp"]
    assert isinstance(created, float)
    assert abs(datetime.now(UTC).timestamp() - created) < 600


def test_no_answer_carries_a_null(live: LiveStack, gallery: str) -> None:
    answers = [
        call(live, "ListFaces", {"CollectionId": gallery}),
        call(live, "ListCollections", {}),
        call(live, "SearchFaces", {"CollectionId": gallery, "FaceId": _first_face(live, gallery)}),
    ]
    assert [answer.status for answer in answers] == [200, 200, 200]
    assert all(b"null" not in answer.body for answer in answers)


def _first_face(live: LiveStack, collection: str) -> str:
    return str(call(live, "ListFaces", {"CollectionId": collection, "MaxResults": 1}).json["Faces"][0]["FaceId"])


def test_unknown_members_and_nulls_are_ignored(live: LiveStack, gallery: str) -> None:
    answer = call(live, "ListFaces", {"CollectionId": gallery, "MaxResults": None, "UserId": None, "Colour": [1, {}]})
    assert len(answer.json["Faces"]) == 4


@pytest.mark.parametrize(
    "target",
    [
        "RekognitionService.NoSuchOperation",
        "RekognitionService.",
        "RekognitionService.listCollections",
        "DynamoDB_20120810.ListTables",
        "ListCollections",
        "",
    ],
)
def test_a_target_that_names_no_operation_is_refused_before_the_signature(live: LiveStack, target: str) -> None:
    headers = {"X-Amz-Target": target, "Content-Type": AWS_JSON}
    front_end_error(send(live, "POST", "/", b"{}", headers), "UnknownOperationException")


@pytest.mark.parametrize("body", [b"", b"{", b"{'a': 1}", b"\xff\xfe", b"CollectionId=a", b"[" * 60_000])
def test_broken_json_is_refused_before_everything_else(live: LiveStack, body: bytes) -> None:
    front_end_error(call(live, "NoSuchOperation", body), "SerializationException")


def test_a_large_body_of_a_stranger_is_not_parsed(live: LiveStack) -> None:
    headers = {"X-Amz-Target": "RekognitionService.ListCollections", "Content-Type": AWS_JSON}
    answer = send(live, "POST", "/", b"[" * 100_000, headers)
    front_end_error(answer, "MissingAuthenticationTokenException")
    front_end_error(call(live, "ListCollections", b"[" * 100_000), "SerializationException")


@pytest.mark.parametrize(
    ("operation", "document", "message"),
    [
        ("ListCollections", [], "Start of list found where not expected"),
        ("ListCollections", None, "Unexpected null"),
        ("CreateCollection", {"CollectionId": 5}, "class java.math.BigDecimal can not be converted to an String"),
        ("CreateCollection", {"CollectionId": {}}, "Start of structure or map found where not expected."),
        ("CreateCollection", {"CollectionId": ["a"]}, "Start of list found where not expected"),
        ("CreateCollection", {"CollectionId": "a", "Tags": "b"}, "Expected map or null"),
        (
            "ListFaces",
            {"CollectionId": "a", "MaxResults": "9"},
            "class java.lang.String can not be converted to an Integer",
        ),
        ("DeleteFaces", {"CollectionId": "a", "FaceIds": "b"}, "Expected list or null"),
    ],
)
def test_a_wrong_type_is_a_serialization_error(live: LiveStack, operation: str, document: object, message: str) -> None:
    answer = call(live, operation, document)
    assert front_end_error(answer, "SerializationException") == message


@pytest.mark.parametrize("encoded", ["not base64!!", "QUJ", "data:image/jpeg;base64,/9j/"])
def test_bytes_that_are_not_base64_are_a_serialization_error(live: LiveStack, encoded: str) -> None:
    answer = call(live, "IndexFaces", {"CollectionId": "a", "Image": {"Bytes": encoded}})
    assert "can not be converted to a Blob" in front_end_error(answer, "SerializationException")


def _violation(value: str, path: str, constraint: str) -> str:
    return f"Value {value} at '{path}' failed to satisfy constraint: Member must {constraint}"


NULL_ID = _violation("null", "collectionId", "not be null")
PATTERN = _violation("'a b/é'", "collectionId", r"satisfy regular expression pattern: [a-zA-Z0-9_.\-]+")
LONG = _violation(f"'{'a' * 256}'", "collectionId", "have length less than or equal to 255")


@pytest.mark.parametrize(
    ("operation", "document", "violations"),
    [
        ("CreateCollection", {}, [NULL_ID]),
        ("CreateCollection", {"CollectionId": "a b/é"}, [PATTERN]),
        ("CreateCollection", {"CollectionId": "a" * 256}, [LONG]),
        (
            "ListFaces",
            {"CollectionId": "a", "MaxResults": 4097},
            [_violation("'4097'", "maxResults", "have value less than or equal to 4096")],
        ),
        (
            "IndexFaces",
            {"CollectionId": "a", "Image": IMAGE, "QualityFilter": "BOGUS"},
            [_violation("'BOGUS'", "qualityFilter", "satisfy enum value set: [NONE, AUTO, LOW, MEDIUM, HIGH]")],
        ),
        (
            "SearchFacesByImage",
            {"CollectionId": "a", "Image": IMAGE, "MaxFaces": 5000, "FaceMatchThreshold": 101},
            [
                _violation("'5000'", "maxFaces", "have value less than or equal to 4096"),
                _violation("'101.0'", "faceMatchThreshold", "have value less than or equal to 100"),
            ],
        ),
        (
            "IndexFaces",
            {"Image": {"Bytes": ""}},
            [
                NULL_ID,
                _violation(f"'{BLOB}[pos=0 lim=0 cap=0]'", "image.bytes", "have length greater than or equal to 1"),
            ],
        ),
    ],
)
def test_a_broken_constraint_is_told_in_the_words_of_aws(
    live: LiveStack, operation: str, document: object, violations: list[str]
) -> None:
    noun = "error" if len(violations) == 1 else "errors"
    message = front_end_error(call(live, operation, document), "ValidationException")
    assert message == f"{len(violations)} validation {noun} detected: " + "; ".join(violations)


def test_a_list_that_is_too_long_is_refused(live: LiveStack, gallery: str) -> None:
    face_ids = [str(uuid.UUID(int=number)) for number in range(4097)]
    message = front_end_error(
        call(live, "DeleteFaces", {"CollectionId": gallery, "FaceIds": face_ids}), "ValidationException"
    )
    assert message.startswith("1 validation error detected: Value '[00000000-")
    assert message.endswith(
        "at 'faceIds' failed to satisfy constraint: Member must have length less than or equal to 4096"
    )
    assert len(message) < 2000
    assert call(live, "DeleteFaces", {"CollectionId": gallery, "FaceIds": face_ids[1:]}).status == 200


def test_an_image_of_exactly_the_limit_is_looked_at(
    rekognition: Any, gallery: str, portraits: dict[str, bytes]
) -> None:
    padded = portraits["obama"].ljust(5_242_880, b"\0")
    answer = rekognition.search_faces_by_image(CollectionId=gallery, Image={"Bytes": padded})
    assert len(answer["FaceMatches"]) == 3


@pytest.mark.parametrize("size", [17, 30])
def test_a_body_beyond_all_limits_is_refused_without_a_word(live: LiveStack, size: int) -> None:
    answer = call(live, "IndexFaces", b" " * size * 1024 * 1024)
    assert (answer.status, answer.body) == (413, b"")


def test_boto3_shows_the_status_of_a_body_beyond_all_limits(rekognition: Any, gallery: str) -> None:
    with pytest.raises(ClientError) as caught:
        rekognition.index_faces(CollectionId=gallery, Image={"Bytes": bytes(13_000_000)})
    assert caught.value.response["Error"]["Code"] == "413"


def test_a_failure_of_the_operation_has_the_form_of_rekognition(live: LiveStack) -> None:
    answer = call(live, "DescribeCollection", {"CollectionId": "no-such-collection"})
    message = rekognition_error(answer, "ResourceNotFoundException")
    assert message == "The collection id: no-such-collection does not exist"
    assert not says_too_much(answer, live)


@pytest.mark.parametrize("path", ["/rek/v1/", "/rek", "/a/b/c/", "/with%20space/"])
def test_a_path_in_front_is_the_business_of_a_proxy(live: LiveStack, gallery: str, path: str) -> None:
    client = live.rekognition(endpoint_url=live.url + path)
    assert client.describe_collection(CollectionId=gallery)["FaceCount"] == 4


def test_the_path_is_part_of_the_signature(live: LiveStack) -> None:
    headers = {"X-Amz-Target": "RekognitionService.ListCollections", "Content-Type": AWS_JSON}
    signature = signed(live, "POST", "/rek/", b"{}", headers=headers)
    front_end_error(send(live, "POST", "/other/", b"{}", signature), "InvalidSignatureException")


@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_a_browser_is_told_that_it_names_no_operation(live: LiveStack, method: str) -> None:
    answer = send(live, method, "/")
    assert answer.status == 403
    assert answer.headers["content-type"].startswith("text/xml")
    assert b"<Message>Unable to determine service/operation name to be authorized</Message>" in answer.body


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [("GET", "/", b"", 403), ("PUT", "/", b"", 405), ("POST", "/any", b"", 404), ("POST", "/", bytes(17 << 20), 413)],
)
def test_every_refusal_has_a_request_id(live: LiveStack, method: str, path: str, body: bytes, status: int) -> None:
    answer = send(live, method, path, body)
    assert answer.status == status
    assert uuid.UUID(answer.headers["x-amzn-requestid"])


def test_other_methods_are_not_allowed(live: LiveStack) -> None:
    answer = send(live, "PUT", "/", json.dumps({}).encode())
    assert answer.status == 405
    assert "POST" in answer.headers["allow"]
