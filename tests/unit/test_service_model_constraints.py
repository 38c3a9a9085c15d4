"""Every class of constraint in the model is enforced, and told in the words of AWS's front end."""

import pytest

from app import service_model
from app.errors import ValidationError

FACE_ID = "11111111-2222-3333-4444-555555555555"
UUID_PATTERN = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
TAG_KEY_PATTERN = r"^(?!aws:)[\p{L}\p{Z}\p{N}_.:/=+\-@]*$"


def refused(operation, document, **options):
    with pytest.raises(ValidationError) as caught:
        service_model.check_input(operation, document, **options)
    return caught.value.message


@pytest.mark.parametrize(
    ("operation", "document", "value", "path", "constraint"),
    [
        ("DeleteCollection", {}, "null", "collectionId", "Member must not be null"),
        ("DeleteCollection", {"CollectionId": None}, "null", "collectionId", "Member must not be null"),
        (
            "DeleteCollection",
            {"CollectionId": "a" * 256},
            f"'{'a' * 256}'",
            "collectionId",
            "Member must have length less than or equal to 255",
        ),
        (
            "DeleteCollection",
            {"CollectionId": "a b"},
            "'a b'",
            "collectionId",
            r"Member must satisfy regular expression pattern: [a-zA-Z0-9_.\-]+",
        ),
        (
            "DeleteCollection",
            {"CollectionId": "ab\n"},
            "'ab\n'",
            "collectionId",
            r"Member must satisfy regular expression pattern: [a-zA-Z0-9_.\-]+",
        ),
        (
            "DetectFaces",
            {"Image": {"Bytes": ""}},
            "'java.nio.HeapByteBuffer[pos=0 lim=0 cap=0]'",
            "image.bytes",
            "Member must have length greater than or equal to 1",
        ),
        (
            "DetectFaces",
            {"Image": {"Bytes": b"x" * 5_242_881}},
            "'java.nio.HeapByteBuffer[pos=0 lim=5242881 cap=5242881]'",
            "image.bytes",
            "Member must have length less than or equal to 5242880",
        ),
        (
            "DetectFaces",
            {"Image": {"S3Object": {"Bucket": "ab"}}},
            "'ab'",
            "image.s3Object.bucket",
            "Member must have length greater than or equal to 3",
        ),
        (
            "SearchFaces",
            {"CollectionId": "c", "FaceId": FACE_ID, "MaxFaces": 5000},
            "'5000'",
            "maxFaces",
            "Member must have value less than or equal to 4096",
        ),
        (
            "SearchFaces",
            {"CollectionId": "c", "FaceId": FACE_ID, "MaxFaces": 0},
            "'0'",
            "maxFaces",
            "Member must have value greater than or equal to 1",
        ),
        (
            "SearchFaces",
            {"CollectionId": "c", "FaceId": FACE_ID, "FaceMatchThreshold": 101},
            "'101.0'",
            "faceMatchThreshold",
            "Member must have value less than or equal to 100",
        ),
        (
            "SearchFacesByImage",
            {"CollectionId": "c", "Image": {}, "QualityFilter": "BOGUS"},
            "'BOGUS'",
            "qualityFilter",
            "Member must satisfy enum value set: [NONE, AUTO, LOW, MEDIUM, HIGH]",
        ),
        (
            "DeleteFaces",
            {"CollectionId": "c", "FaceIds": []},
            "'[]'",
            "faceIds",
            "Member must have length greater than or equal to 1",
        ),
        (
            "DeleteFaces",
            {"CollectionId": "c", "FaceIds": [FACE_ID, "x"]},
            "'x'",
            "faceIds.2.member",
            f"Member must satisfy regular expression pattern: {UUID_PATTERN}",
        ),
        (
            "DeleteFaces",
            {"CollectionId": "c", "FaceIds": [None]},
            "null",
            "faceIds.1.member",
            "Member must not be null",
        ),
        (
            "CreateCollection",
            {"CollectionId": "c", "Tags": {"aws:x": "1"}},
            "'{aws:x=1}'",
            "tags",
            "Map keys must satisfy constraint: [Member must have length less than or equal to 128, Member must have "
            f"length greater than or equal to 1, Member must satisfy regular expression pattern: {TAG_KEY_PATTERN}]",
        ),
        (
            "CreateCollection",
            {"CollectionId": "c", "Tags": {"x": None}},
            "'{x=null}'",
            "tags",
            "Map value must satisfy constraint: [Member must have length less than or equal to 256, Member must have "
            r"length greater than or equal to 0, Member must satisfy regular expression pattern: "
            r"^([\p{L}\p{Z}\p{N}_.:/=+\-@]*)$, Member must not be null]",
        ),
    ],
)
def test_a_broken_constraint_is_told_in_the_words_of_the_front_end(operation, document, value, path, constraint):
    expected = f"1 validation error detected: Value {value} at '{path}' failed to satisfy constraint: {constraint}"
    assert refused(operation, document) == expected


def test_several_violations_are_joined_in_the_order_of_the_model():
    assert refused("SearchFaces", {"CollectionId": "", "MaxFaces": 0}) == (
        "4 validation errors detected: "
        r"Value '' at 'collectionId' failed to satisfy constraint: Member must satisfy regular expression pattern: "
        r"[a-zA-Z0-9_.\-]+; "
        "Value '' at 'collectionId' failed to satisfy constraint: Member must have length greater than or equal to 1; "
        "Value null at 'faceId' failed to satisfy constraint: Member must not be null; "
        "Value '0' at 'maxFaces' failed to satisfy constraint: Member must have value greater than or equal to 1"
    )


def test_no_more_than_ten_violations_are_counted_and_told():
    message = refused("DeleteFaces", {"CollectionId": "c", "FaceIds": ["x"] * 50})
    assert message.startswith("10 validation errors detected: ")
    assert message.count("; ") == 9
    assert "faceIds.10.member" in message


def test_a_list_beyond_its_maximum_is_one_violation_of_bounded_length():
    message = refused("DeleteFaces", {"CollectionId": "c", "FaceIds": ["x"] * 4097})
    assert message.startswith("1 validation error detected: Value '[x, x, ")
    assert message.endswith(
        "at 'faceIds' failed to satisfy constraint: Member must have length less than or equal to 4096"
    )
    assert len(message) < 1400


@pytest.mark.parametrize(
    ("operation", "document"),
    [
        ("ListFaces", {"CollectionId": "A-b_c.9", "MaxResults": 0}),
        ("DetectFaces", {"Image": {"Bytes": b"x" * 5_242_880}}),
        ("DetectFaces", {"Image": {}}),
        ("DetectFaces", {"Image": {"Bytes": b"x"}, "Attributes": []}),
        ("SearchFaces", {"CollectionId": "c", "FaceId": FACE_ID, "FaceMatchThreshold": 0, "MaxFaces": 4096}),
        ("DeleteFaces", {"CollectionId": "c", "FaceIds": [FACE_ID] * 4096}),
        ("CreateUser", {"CollectionId": "c", "UserId": "a:b", "ClientRequestToken": "a-1_B"}),
        ("CreateCollection", {"CollectionId": "c", "Tags": {"Größe 大 ①/x=+-@": "", "x": "é"}}),
        ("ListCollections", {"NextToken": ""}),
    ],
)
def test_the_limits_themselves_are_inside(operation, document):
    assert service_model.check_input(operation, document).keys() == document.keys()


@pytest.mark.parametrize("key", ["a#b", "a\tb", "x" * 129, "", "tag\U0001f600"])
def test_a_tag_key_holds_letters_spaces_numbers_and_some_signs(key):
    assert "'tags' failed to satisfy constraint: Map keys" in refused(
        "CreateCollection", {"CollectionId": "c", "Tags": {key: "v"}}
    )


def test_a_very_long_text_is_refused_quickly_and_not_sent_back():
    assert len(refused("DeleteCollection", {"CollectionId": " " * 5_000_000})) < 1400
