"""What boto3 sends although the model forbids it: maxima, patterns and enums are checked by the service alone."""

import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError

IMAGE = {"Bytes": b"no picture"}
FACE_IDS = [str(uuid.UUID(int=number)) for number in range(4097)]
NAME = r"satisfy regular expression pattern: [a-zA-Z0-9_.\-:]+"
UUID = "satisfy regular expression pattern: [0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
LEVEL = "satisfy enum value set: [NONE, AUTO, LOW, MEDIUM, HIGH]"


def value(limit: int) -> str:
    return f"have value less than or equal to {limit}"


def length(limit: int) -> str:
    return f"have length less than or equal to {limit}"


def refusal(rekognition: Any, method: str, **parameters: Any) -> str:
    with pytest.raises(ClientError) as caught:
        getattr(rekognition, method)(**parameters)
    answer = caught.value.response
    assert type(caught.value) is ClientError, "the model, and so boto3, has no class for a ValidationException"
    assert (answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]) == ("ValidationException", 400)
    return str(answer["Error"]["Message"])


@pytest.mark.parametrize(
    ("method", "parameters", "where", "constraint"),
    [
        ("search_faces", {"FaceId": FACE_IDS[0], "MaxFaces": 5000}, "'5000' at 'maxFaces'", value(4096)),
        ("search_faces", {"FaceId": "A"}, "'A' at 'faceId'", UUID),
        ("search_faces_by_image", {"Image": IMAGE, "MaxFaces": 4097}, "'4097' at 'maxFaces'", value(4096)),
        (
            "search_faces_by_image",
            {"Image": IMAGE, "FaceMatchThreshold": 101},
            "'101.0' at 'faceMatchThreshold'",
            value(100),
        ),
        ("search_users", {"UserMatchThreshold": 100.5}, "'100.5' at 'userMatchThreshold'", value(100)),
        ("search_users", {"MaxUsers": 501}, "'501' at 'maxUsers'", value(500)),
        ("search_users_by_image", {"Image": IMAGE, "MaxUsers": 501}, "'501' at 'maxUsers'", value(500)),
        ("list_users", {"MaxResults": 501}, "'501' at 'maxResults'", value(500)),
        ("list_faces", {"MaxResults": 4097}, "'4097' at 'maxResults'", value(4096)),
        ("list_faces", {"NextToken": "a" * 256}, f"'{'a' * 256}' at 'nextToken'", length(255)),
        ("list_faces", {"FaceIds": [FACE_IDS[0], "A"]}, "'A' at 'faceIds.2.member'", UUID),
        ("index_faces", {"Image": IMAGE, "QualityFilter": "BOGUS"}, "'BOGUS' at 'qualityFilter'", LEVEL),
        ("index_faces", {"Image": IMAGE, "ExternalImageId": "a b"}, "'a b' at 'externalImageId'", NAME),
        (
            "index_faces",
            {"Image": IMAGE, "ExternalImageId": "a" * 256},
            f"'{'a' * 256}' at 'externalImageId'",
            length(255),
        ),
        (
            "index_faces",
            {"Image": {"Bytes": b""}},
            "'java.nio.HeapByteBuffer[pos=0 lim=0 cap=0]' at 'image.bytes'",
            "have length greater than or equal to 1",
        ),
        (
            "index_faces",
            {"Image": {"Bytes": bytes(5_242_881)}},
            "'java.nio.HeapByteBuffer[pos=0 lim=5242881 cap=5242881]' at 'image.bytes'",
            length(5_242_880),
        ),
        ("create_user", {"UserId": "a/b"}, "'a/b' at 'userId'", NAME),
        ("create_user", {"UserId": "a" * 129}, f"'{'a' * 129}' at 'userId'", length(128)),
        (
            "create_user",
            {"UserId": "a", "ClientRequestToken": "a" * 65},
            f"'{'a' * 65}' at 'clientRequestToken'",
            length(64),
        ),
    ],
)
def test_a_value_outside_the_model_is_refused(
    rekognition: Any, gallery: str, method: str, parameters: dict[str, Any], where: str, constraint: str
) -> None:
    message = refusal(rekognition, method, CollectionId=gallery, **parameters)
    assert (
        message == f"1 validation error detected: Value {where} failed to satisfy constraint: Member must {constraint}"
    )


@pytest.mark.parametrize(
    ("method", "parameters", "limit"),
    [
        ("list_faces", {}, 4096),
        ("delete_faces", {}, 4096),
        ("associate_faces", {"UserId": "a"}, 100),
        ("disassociate_faces", {"UserId": "a"}, 100),
    ],
)
def test_a_list_beyond_the_model_is_refused(
    rekognition: Any, gallery: str, method: str, parameters: dict[str, Any], limit: int
) -> None:
    message = refusal(rekognition, method, CollectionId=gallery, FaceIds=FACE_IDS[: limit + 1], **parameters)
    assert message.endswith(f"at 'faceIds' failed to satisfy constraint: Member must {length(limit)}")


def test_everything_that_is_wrong_is_told_at_once(rekognition: Any) -> None:
    message = refusal(
        rekognition, "search_faces_by_image", CollectionId="a b/é", Image=IMAGE, MaxFaces=5000, QualityFilter="BOGUS"
    )
    assert message.startswith("3 validation errors detected: Value 'a b/é' at 'collectionId' failed to satisfy")
    assert message.count("; ") == 2
