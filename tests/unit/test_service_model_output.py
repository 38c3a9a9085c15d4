"""An operation's output: shaped by the model, and read back by botocore's own parser."""

import json
import math
from datetime import UTC, datetime

import pytest
from botocore.parsers import create_parser
from hypothesis import given
from hypothesis import strategies as st

from app import service_model
from app.service_model.output import float32

FACE_ID = "11111111-2222-3333-4444-555555555555"


def as_boto3_reads(operation, document):
    body = json.dumps(document, allow_nan=False).encode()
    shape = service_model.service_model().operation_model(operation).output_shape
    parsed = create_parser("json").parse({"status_code": 200, "headers": {}, "body": body}, shape)
    del parsed["ResponseMetadata"]
    return parsed


def test_an_output_comes_back_from_botocores_parser_as_it_was():
    box = {"Left": -0.25, "Top": 0.5, "Width": 1.5, "Height": 0.125}
    face = {"FaceId": FACE_ID, "BoundingBox": box, "Confidence": 99.5, "IndexFacesModelVersion": "1.0"}
    output = {
        "FaceRecords": [{"Face": face, "FaceDetail": {"Smile": {"Value": True, "Confidence": 75.0}}}],
        "UnindexedFaces": [],
        "FaceModelVersion": "1.0",
    }
    shaped = service_model.shape_output("IndexFaces", output)
    assert as_boto3_reads("IndexFaces", shaped) == output
    assert service_model.shape_output("IndexFaces", shaped) == shaped


def test_a_time_is_sent_as_seconds_and_read_as_the_same_moment():
    created = datetime(2026, 11, 22, 19, 5, 14, 274_000, tzinfo=UTC)
    shaped = service_model.shape_output("DescribeCollection", {"FaceCount": 3, "CreationTimestamp": created})
    assert shaped == {"FaceCount": 3, "CreationTimestamp": 1795374314.274}
    assert as_boto3_reads("DescribeCollection", shaped)["CreationTimestamp"] == created


def test_floats_are_single_precision_as_at_aws():
    assert service_model.shape_output("SearchFacesByImage", {"SearchedFaceConfidence": 99.9934}) == {
        "SearchedFaceConfidence": 99.99340057373047
    }
    assert service_model.shape_output("SearchFacesByImage", {"SearchedFaceConfidence": 100}) == {
        "SearchedFaceConfidence": 100.0
    }


@given(st.floats(-1e30, 1e30))
def test_rounding_to_single_precision_twice_changes_nothing(value):
    assert float32(float32(value)) == float32(value)


def test_absent_members_are_left_out_and_empty_lists_kept():
    output = {"Faces": [], "NextToken": None, "FaceModelVersion": "1.0"}
    assert service_model.shape_output("ListFaces", output) == {"Faces": [], "FaceModelVersion": "1.0"}


def test_maps_and_empty_outputs_are_shaped():
    assert service_model.shape_output("ListTagsForResource", {"Tags": {"a": "b"}}) == {"Tags": {"a": "b"}}
    assert service_model.shape_output("DeleteUser", {}) == {}


@pytest.mark.parametrize(
    ("operation", "output", "complaint"),
    [
        ("ListFaces", {"Face": []}, "ListFaces has no member Face in the service model"),
        ("ListFaces", {"Faces": [{"Embedding": []}]}, "ListFaces.Faces.1 has no member Embedding"),
        ("ListFaces", {"Faces": "none"}, "ListFaces.Faces must be a list"),
        ("ListFaces", {"Faces": [None]}, "ListFaces.Faces.1 must be a structure"),
        ("ListFaces", {"FaceModelVersion": 1.0}, "must be a string"),
        ("DescribeCollection", {"FaceCount": 1.0}, "must be a long"),
        ("DescribeCollection", {"FaceCount": True}, "must be a long"),
        ("DescribeCollection", {"CreationTimestamp": datetime(2026, 1, 1)}, "must be a timestamp"),
        ("SearchFacesByImage", {"SearchedFaceConfidence": math.nan}, "must be a float"),
        ("ListTagsForResource", {"Tags": []}, "must be a map"),
        ("DetectFaces", {"FaceDetails": [{"Smile": {"Value": 1}}]}, "must be a boolean"),
    ],
)
def test_an_output_outside_the_model_is_a_programming_error(operation, output, complaint):
    with pytest.raises(ValueError, match=complaint):
        service_model.shape_output(operation, output)
