"""Reading an operation's input: the types of the model, our extensions, and what holds for any input at all."""

import base64
import math
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app import service_model
from app.domain.images import MAX_URL_LENGTH
from app.errors import FrontEndError, SerializationError, UnknownOperation, ValidationError
from app.service_model.constraints import compiled
from app.service_model.reading import _READERS

FACE_ID = "11111111-2222-3333-4444-555555555555"
PIXEL = base64.b64encode(b"\xff\xd8pixels").decode()

INPUT_SHAPES = {
    name: service_model.service_model().operation_model(name).input_shape for name in service_model.operation_names()
}


def unreadable(operation, document):
    with pytest.raises(SerializationError) as caught:
        service_model.check_input(operation, document)
    return caught.value.message


def shapes_below(shape):
    yield shape
    children = {
        "structure": lambda: shape.members.values(),
        "list": lambda: [shape.member],
        "map": lambda: [shape.key, shape.value],
    }
    for child in children.get(shape.type_name, list)():
        yield from shapes_below(child)


def test_the_model_names_the_operations_and_the_target_prefix():
    assert {"IndexFaces", "SearchFacesByImage", "ListTagsForResource"} <= service_model.operation_names()
    assert service_model.service_model().metadata["targetPrefix"] + "." == service_model.TARGET_PREFIX


def test_an_operation_outside_the_model_is_unknown():
    with pytest.raises(UnknownOperation):
        service_model.check_input("SearchCats", {})


def test_every_type_and_pattern_of_any_input_is_understood():
    for shape in INPUT_SHAPES.values():
        for below in shapes_below(shape):
            assert below.type_name in _READERS
            if "pattern" in below.metadata:
                compiled(below.metadata["pattern"])


def test_known_members_are_returned_with_blobs_as_bytes_and_unknown_ones_dropped():
    document = {"CollectionId": "c", "Image": {"Bytes": PIXEL, "Color": 1}, "MaxFaces": 3, "Brand": "new"}
    assert service_model.check_input("IndexFaces", document) == {
        "CollectionId": "c",
        "Image": {"Bytes": b"\xff\xd8pixels"},
        "MaxFaces": 3,
    }


def test_bytes_are_taken_as_they_are_for_a_blob():
    assert service_model.check_input("DetectFaces", {"Image": {"Bytes": b"raw"}}) == {"Image": {"Bytes": b"raw"}}


def test_null_counts_as_absent():
    document = {"NextToken": None, "MaxResults": None}
    assert service_model.check_input("ListCollections", document) == {}


@pytest.mark.parametrize(
    ("operation", "document", "text"),
    [
        ("ListCollections", [], "Start of list found where not expected"),
        ("ListCollections", "x", "Expected null"),
        ("ListCollections", None, "Unexpected null"),
        ("DeleteCollection", {"CollectionId": 7}, "class java.math.BigDecimal can not be converted to an String"),
        ("DeleteCollection", {"CollectionId": True}, "class java.lang.Boolean can not be converted to an String"),
        ("DeleteCollection", {"CollectionId": b"c"}, "class java.nio.HeapByteBuffer can not be converted to an String"),
        ("DeleteCollection", {"CollectionId": ["c"]}, "Start of list found where not expected"),
        ("DeleteCollection", {"CollectionId": {}}, "Start of structure or map found where not expected."),
        ("ListFaces", {"MaxResults": 1.0}, "class java.math.BigDecimal can not be converted to an Integer"),
        ("ListFaces", {"MaxResults": True}, "class java.lang.Boolean can not be converted to an Integer"),
        ("ListFaces", {"MaxResults": "1"}, "class java.lang.String can not be converted to an Integer"),
        ("ListFaces", {"MaxResults": 2**31}, "class java.math.BigInteger can not be converted to an Integer"),
        ("SearchFaces", {"FaceMatchThreshold": "80"}, "class java.lang.String can not be converted to an Float"),
        ("SearchFaces", {"FaceMatchThreshold": False}, "class java.lang.Boolean can not be converted to an Float"),
        ("DeleteFaces", {"FaceIds": FACE_ID}, "Expected list or null"),
        ("DeleteFaces", {"FaceIds": {}}, "Start of structure or map found where not expected."),
        ("TagResource", {"Tags": []}, "Start of list found where not expected"),
        ("TagResource", {"Tags": "a=b"}, "Expected map or null"),
        ("TagResource", {"Tags": {"a": 1}}, "class java.math.BigDecimal can not be converted to an String"),
        ("DetectFaces", {"Image": PIXEL}, "Expected null"),
        ("DetectFaces", {"Image": {"Bytes": 1}}, "class java.math.BigDecimal can not be converted to a Blob"),
        ("ListDatasetEntries", {"Labeled": 1}, "class java.math.BigDecimal can not be converted to an Boolean"),
        ("ListDatasetEntries", {"Labeled": "yes"}, "'YES' can not be converted to an Boolean"),
    ],
)
def test_a_wrong_type_is_told_in_the_words_of_the_front_end(operation, document, text):
    assert unreadable(operation, document) == text


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, 1e39, 10**400])
def test_a_number_that_is_not_finite_is_refused(number):
    assert "not finite" in unreadable("SearchFaces", {"FaceMatchThreshold": number})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("QUJ", "Base64 encoded length is expected a multiple of 4 bytes but found: 3"),
        ("QU!D", "Invalid Base64 character"),
        ("QÜJD", "Invalid Base64 character"),
        ("data:image/png;base64,QUJD", "Base64 encoded length is expected"),
        ("=QUJ", "Invalid Base64 character"),
        ("QR==", "Invalid last non-pad Base64 character dectected"),
    ],
)
def test_bad_base64_is_refused(text, reason):
    assert reason in unreadable("DetectFaces", {"Image": {"Bytes": text}})


def test_a_bad_image_is_not_sent_back():
    assert len(unreadable("DetectFaces", {"Image": {"Bytes": "?" * 400_000}})) < 200


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
def test_a_string_that_postgres_cannot_store_is_refused(text):
    assert "not allowed" in unreadable("ListCollections", {"NextToken": text})


def test_a_wrong_type_comes_before_a_broken_constraint():
    unreadable("IndexFaces", {"CollectionId": "", "Image": {"Bytes": ""}, "MaxFaces": "many"})


def test_an_image_may_be_a_url_only_with_extensions():
    document = {"Image": {"Url": "https://example.com/a.jpg"}}
    assert service_model.check_input("DetectFaces", document, extensions=True) == document
    assert service_model.check_input("DetectFaces", document) == {"Image": {}}


@pytest.mark.parametrize("member", ["SourceImage", "TargetImage"])
def test_every_image_of_an_operation_may_be_a_url(member):
    document = {"SourceImage": {"Bytes": b"a"}, "TargetImage": {"Bytes": b"b"}} | {member: {"Url": "https://a.example"}}
    assert service_model.check_input("CompareFaces", document, extensions=True) == document


def test_a_url_has_the_length_that_the_domain_allows():
    assert service_model.IMAGE_URL["max"] == MAX_URL_LENGTH
    for url in ("", "h" * (MAX_URL_LENGTH + 1)):
        with pytest.raises(
            ValidationError, match=r"at 'image\.url' failed to satisfy constraint: Member must have length"
        ):
            service_model.check_input("DetectFaces", {"Image": {"Url": url}}, extensions=True)


def texts(limits):
    smallest, largest = limits.get("min", 0), min(limits.get("max", 40), 60)
    if "enum" in limits:
        return st.sampled_from(limits["enum"])
    if "pattern" in limits:
        matching = st.from_regex(compiled(limits["pattern"]), fullmatch=True)
        return matching.filter(lambda text: smallest <= len(text) <= limits.get("max", 9999) and "\0" not in text)
    storable = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
    return st.text(storable, min_size=smallest, max_size=max(largest, smallest))


def numbers(limits, kind):
    if kind in ("integer", "long"):
        return st.integers(limits.get("min", -(2**31)), limits.get("max", 2**31 - 1))
    return st.floats(limits.get("min", -1e30), limits.get("max", 1e30))


def valid(shape):
    """Values that keep every constraint of a shape, small enough to make many."""
    limits, kind = shape.metadata, shape.type_name
    if kind == "structure":
        members = {name: valid(member) for name, member in shape.members.items()}
        required = {name: members.pop(name) for name in shape.required_members}
        return st.fixed_dictionaries(required, optional=members)
    fewest = limits.get("min", 0)
    sizes = {"min_size": fewest, "max_size": min(limits.get("max", 3), fewest + 2)}
    if kind == "list":
        return st.lists(valid(shape.member), **sizes)
    if kind == "map":
        return st.dictionaries(valid(shape.key), valid(shape.value), **sizes)
    if kind == "blob":
        return st.binary(**sizes).map(lambda raw: base64.b64encode(raw).decode())
    if kind == "boolean":
        return st.booleans()
    return texts(limits) if kind == "string" else numbers(limits, kind)


VALID = {name: valid(shape) for name, shape in INPUT_SHAPES.items()}

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(st.data(), st.sampled_from(sorted(VALID)))
@settings(max_examples=100, deadline=None)
def test_what_the_model_allows_passes(data, operation):
    document = data.draw(VALID[operation])
    assert service_model.check_input(operation, document).keys() == document.keys()


@given(st.data(), st.sampled_from(sorted(INPUT_SHAPES)), st.booleans())
@settings(max_examples=200, deadline=None)
def test_no_json_raises_anything_but_a_refusal(data, operation, extensions):
    members = st.sampled_from(sorted(INPUT_SHAPES[operation].members) or ["X"])
    images = st.fixed_dictionaries({}, optional={"Bytes": ANY_JSON, "S3Object": ANY_JSON, "Url": ANY_JSON})
    document = data.draw(ANY_JSON | st.dictionaries(members, ANY_JSON | images, max_size=5))
    with suppress(FrontEndError):
        assert isinstance(service_model.check_input(operation, document, extensions=extensions), dict)
