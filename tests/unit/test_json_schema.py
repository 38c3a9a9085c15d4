"""From shapes to JSON Schema: the same limits as the checks of an input have, for every operation."""

import base64
from typing import Any

import jsonschema
import pytest
from botocore.model import Shape

from app.errors import SerializationError, ValidationError
from app.service_model import check_input, json_schema, service_model
from app.services import operations

MODEL = service_model(extensions=True)


def definitions() -> dict[str, Any]:
    models = [MODEL.operation_model(name) for name in sorted(operations.ALL)]
    return json_schema.definitions(shape for one in models for shape in (one.input_shape, one.output_shape))


def validator(name: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator({**json_schema.reference(name), "components": {"schemas": definitions()}})


def accepted(operation: str, input_: dict[str, Any]) -> bool:
    try:
        check_input(operation, input_, extensions=True)
    except (SerializationError, ValidationError):
        return False
    return True


SEARCH = {"CollectionId": "people", "Image": {"Url": "https://example.com/a.jpg"}}
BYTES = base64.b64encode(b"\xff" * 5_242_880).decode()


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"MaxFaces": 1},
        {"MaxFaces": 0},
        {"MaxFaces": 4097},
        {"MaxFaces": "1"},
        {"FaceMatchThreshold": 100},
        {"FaceMatchThreshold": 100.5},
        {"FaceMatchThreshold": -1},
        {"QualityFilter": "AUTO"},
        {"QualityFilter": "auto"},
        {"CollectionId": ""},
        {"CollectionId": "two words"},
        {"CollectionId": "a" * 256},
        {"CollectionId": 7},
        {"Image": {"Bytes": "AAAA"}},
        {"Image": {"Bytes": ""}},
        {"Image": {"Bytes": BYTES}},
        {"Image": {"Bytes": BYTES[:-4] + "AAAAAAAA"}},
        {"Image": {"Url": ""}},
        {"Image": {"Url": "a" * 2049}},
        {"Image": {"S3Object": {"Bucket": "ab", "Name": "n"}}},
        {"Image": {"S3Object": {"Bucket": "abc", "Name": "n"}}},
        {"Image": []},
    ],
    ids=lambda change: str(change)[:50],
)
def test_a_schema_and_the_checks_of_an_input_agree(change: dict[str, Any]) -> None:
    input_ = SEARCH | change
    assert validator("SearchFacesByImageRequest").is_valid(input_) == accepted("SearchFacesByImage", input_)


@pytest.mark.parametrize("number", [2**31 - 1, 2**31, -(2**31) + 1, -(2**31), 1])
def test_a_whole_number_has_the_width_of_its_type(number: int) -> None:
    input_ = {"CollectionId": "a", "Image": {"Bytes": "AAAA"}, "MaxFaces": number}
    assert validator("IndexFacesRequest").is_valid(input_) == accepted("IndexFaces", input_)


@pytest.mark.parametrize("operation", sorted(operations.ALL))
def test_what_is_required_is_required(operation: str) -> None:
    shape = MODEL.operation_model(operation).input_shape
    assert validator(shape.name).is_valid({}) == accepted(operation, {})


def test_every_structure_is_defined_once_and_described() -> None:
    found = definitions()
    assert {"Image", "S3Object", "FaceRecord", "BoundingBox", "SearchFacesByImageResponse"} <= found.keys()
    described = found["SearchFacesByImageRequest"]["properties"]["FaceMatchThreshold"]["description"]
    assert described == "Specifies the minimum confidence in the face match to return."
    assert found["Image"]["properties"].keys() == {"Bytes", "S3Object", "Url"}


def test_types_are_told() -> None:
    def of(name: str) -> dict[str, Any]:
        shape: Shape = MODEL.shape_for(name)
        return json_schema.schema(shape)

    assert of("ImageBlob")["contentEncoding"] == "base64"
    assert of("Boolean") == {"type": "boolean"}
    assert of("DateTime") == {"type": "number"}
    assert of("FaceIdList") == {"type": "array", "minItems": 1, "maxItems": 4096, "items": of("FaceId")}
    assert of("TagMap")["additionalProperties"] == {"type": "string", "minLength": 0, "maxLength": 256}
    assert of("CollectionId")["pattern"] == r"^(?:[a-zA-Z0-9_.\-]+)$"
