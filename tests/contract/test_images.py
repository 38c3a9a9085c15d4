"""Images that are refused, whichever way and from whichever source they come, and that nothing is left of them."""

import uuid
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest

from tests.contract.ways import Refusal, Way, both_ways, by_job
from tests.contract.wire import problem
from tests.live import LiveStack, free_port
from tests.s3 import S3Server
from tests.scripted import ScriptedServer, answer
from tests.vision.pictures import jpeg, png_header

IMAGE_OPERATIONS = pytest.mark.parametrize("operation", ["IndexFaces", "SearchFacesByImage", "SearchUsersByImage"])
BAD_FORMAT = Refusal("InvalidImageFormatException", "Request has invalid image format")
BAD_S3 = Refusal(
    "InvalidS3ObjectException",
    "Unable to get object metadata from S3. Check object key, region and/or access permissions.",
)
BAD_PARAMETERS = Refusal("InvalidParameterException", "Request has invalid parameters")
GREY = np.full((200, 200, 3), 127, np.uint8)
WEBP = bytes(cv2.imencode(".webp", GREY)[1])
GIF = bytes.fromhex("474946383961640064008000000000 00ffffff 2c00000000640064000002 024401003b")


@pytest.fixture
def untouched(live: LiveStack, rekognition: Any, collection: str) -> Iterator[str]:
    """A collection in which the test must leave nothing, nor bytes of an image anywhere else."""
    faces = live.query("SELECT count(*) FROM faces")
    yield collection
    assert rekognition.describe_collection(CollectionId=collection)["FaceCount"] == 0
    assert rekognition.list_faces(CollectionId=collection)["Faces"] == []
    assert live.query("SELECT count(*) FROM faces") == faces
    assert live.query("SELECT count(*) FROM blobs JOIN jobs USING (job_id) WHERE finished_at IS NOT NULL") == [(0,)]


@pytest.fixture(scope="module")
def bucket(s3_server: S3Server) -> str:
    """A bucket with one object that is no image, and one that is too large."""
    client = s3_server.client()
    client.create_bucket(Bucket="refused-images")
    client.put_object(Bucket="refused-images", Key="text.jpg", Body=b"no image")
    client.put_object(Bucket="refused-images", Key="large.jpg", Body=bytes(15_728_641))
    return "refused-images"


@both_ways
@IMAGE_OPERATIONS
@pytest.mark.parametrize("content", [b"no image at all", GIF, WEBP, jpeg(GREY)[:2], b"\x89PNG\r\n\x1a\n"])
def test_what_is_neither_jpeg_nor_png_is_refused(
    live: LiveStack, untouched: str, way: Way, operation: str, content: bytes
) -> None:
    assert way(live, operation, {"CollectionId": untouched, "Image": {"Bytes": content}}) == BAD_FORMAT


@both_ways
@IMAGE_OPERATIONS
def test_half_a_jpeg_is_refused(
    live: LiveStack, untouched: str, way: Way, operation: str, portraits: dict[str, bytes]
) -> None:
    half = portraits["obama"][: len(portraits["obama"]) // 2]
    assert way(live, operation, {"CollectionId": untouched, "Image": {"Bytes": half}}) == BAD_FORMAT


@both_ways
@pytest.mark.parametrize(("width", "height"), [(79, 200), (200, 79)])
def test_an_image_under_80_pixels_is_refused(
    live: LiveStack, untouched: str, way: Way, width: int, height: int
) -> None:
    image = {"Bytes": jpeg(GREY[:height, :width])}
    assert way(live, "IndexFaces", {"CollectionId": untouched, "Image": image}) == BAD_PARAMETERS


@both_ways
def test_an_image_over_10000_pixels_is_refused(live: LiveStack, untouched: str, way: Way) -> None:
    image = {"Bytes": png_header(10_001, 90)}
    message = "Input image dimensions 10001 x 90 exceed maximum dimension size of 10000 pixels"
    refusal = Refusal("ImageTooLargeException", message)
    assert way(live, "IndexFaces", {"CollectionId": untouched, "Image": image}) == refusal


@both_ways
def test_a_search_needs_a_face(live: LiveStack, untouched: str, way: Way) -> None:
    refusal = Refusal("InvalidParameterException", "There are no faces in the image. Should be at least 1.")
    image = {"Bytes": jpeg(GREY)}
    assert way(live, "SearchFacesByImage", {"CollectionId": untouched, "Image": image}) == refusal


@both_ways
def test_indexing_an_image_without_a_face_is_no_error(live: LiveStack, untouched: str, way: Way) -> None:
    answer = way(live, "IndexFaces", {"CollectionId": untouched, "Image": {"Bytes": jpeg(GREY)}})
    assert answer == {"FaceRecords": [], "FaceModelVersion": "1.0", "UnindexedFaces": []}


@both_ways
@IMAGE_OPERATIONS
def test_a_collection_that_does_not_exist_is_named(
    live: LiveStack, untouched: str, way: Way, operation: str, portraits: dict[str, bytes]
) -> None:
    name = f"never-{uuid.uuid4()}"
    refusal = Refusal("ResourceNotFoundException", f"The collection id: {name} does not exist")
    assert way(live, operation, {"CollectionId": name, "Image": {"Bytes": portraits["obama"]}}) == refusal


@both_ways
@pytest.mark.parametrize(
    "image",
    [
        {},
        {"Bytes": b"\xff\xd8\xff", "S3Object": {"Bucket": "refused-images", "Name": "text.jpg"}},
        {"S3Object": {}},
        {"S3Object": {"Bucket": "refused-images"}},
        {"S3Object": {"Name": "text.jpg"}},
    ],
    ids=["none", "both", "empty object", "no name", "no bucket"],
)
def test_an_image_has_exactly_one_whole_source(
    live: LiveStack, untouched: str, way: Way, image: dict[str, Any]
) -> None:
    assert way(live, "IndexFaces", {"CollectionId": untouched, "Image": image}) == BAD_PARAMETERS


@both_ways
@IMAGE_OPERATIONS
@pytest.mark.parametrize(("where", "name"), [("refused-images", "missing.jpg"), ("no-such-bucket", "text.jpg")])
def test_an_s3_object_that_is_not_there_has_one_text_for_every_cause(
    live: LiveStack, untouched: str, bucket: str, way: Way, operation: str, where: str, name: str
) -> None:
    image = {"S3Object": {"Bucket": where, "Name": name}}
    assert way(live, operation, {"CollectionId": untouched, "Image": image}) == BAD_S3


@both_ways
def test_an_s3_object_is_looked_at_before_it_is_believed(
    live: LiveStack, untouched: str, bucket: str, way: Way
) -> None:
    input_ = {"CollectionId": untouched, "Image": {"S3Object": {"Bucket": bucket, "Name": "text.jpg"}}}
    assert way(live, "IndexFaces", input_) == BAD_FORMAT
    input_["Image"] = {"S3Object": {"Bucket": bucket, "Name": "large.jpg"}}
    assert way(live, "IndexFaces", input_) == Refusal("ImageTooLargeException", "Image size is too large.")


def test_a_url_is_a_source_of_v1_only(live: LiveStack, rekognition: Any, untouched: str) -> None:
    with pytest.raises(Exception, match="Unknown parameter in Image"):
        rekognition.index_faces(CollectionId=untouched, Image={"Url": "https://example.com/a.jpg"})
    both = {"Url": "https://example.com/a.jpg", "S3Object": {"Bucket": "refused-images", "Name": "text.jpg"}}
    assert by_job(live, "IndexFaces", {"CollectionId": untouched, "Image": both}) == BAD_PARAMETERS


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("https://10.0.0.1/a.jpg", "the URL's host has no public address"),
        ("https://169.254.169.254/latest/meta-data/", "the URL's host has no public address"),
        ("https://[::ffff:10.0.0.1]/a.jpg", "the URL's host has no public address"),
        ("http://example.com/a.jpg", "the URL must begin with https://"),
        ("file:///etc/passwd", "the URL must begin with https://"),
        ("https://me:secret@example.com/a.jpg", "the URL must not carry a user name or password"),
        ("https://example.com:22/a.jpg", "the URL's port must be 443, 80 or 1024 to 65535"),
    ],
)
def test_a_url_that_may_not_be_dialled_is_refused_at_once(
    live: LiveStack, untouched: str, url: str, message: str
) -> None:
    answer = live.submit("IndexFaces", {"CollectionId": untouched, "Image": {"Url": url}})
    assert problem(answer, 400, "InvalidParameterException") == message


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_loopback_is_no_public_address_unless_the_operator_says_so(hurried: LiveStack, host: str) -> None:
    input_ = {"CollectionId": "any", "Image": {"Url": f"https://{host}/a.jpg"}}
    assert problem(hurried.submit("IndexFaces", input_), 400, "InvalidParameterException") == (
        "the URL's host has no public address"
    )


def test_a_url_where_nobody_listens_fails_the_job(live: LiveStack, untouched: str) -> None:
    input_ = {"CollectionId": untouched, "Image": {"Url": f"http://localhost:{free_port()}/a.jpg"}}
    message = "Unable to get the image: the server could not be reached."
    assert by_job(live, "IndexFaces", input_, retryable=True) == Refusal("InvalidParameterException", message)


@pytest.mark.parametrize("status", [404, 302, 500])
def test_a_url_that_answers_otherwise_than_200_fails_the_job(live: LiveStack, untouched: str, status: int) -> None:
    with ScriptedServer(answer(status, b"no", Location="https://example.com/")) as server:
        input_ = {"CollectionId": untouched, "Image": {"Url": f"{server.url}/a.jpg"}}
        refusal = Refusal("InvalidParameterException", f"Unable to get the image: the server answered {status}.")
        assert by_job(live, "IndexFaces", input_, retryable=status == 500) == refusal
        assert len(server.requests) == 1


def test_a_url_that_gives_no_image_fails_the_job(live: LiveStack, untouched: str) -> None:
    with ScriptedServer(answer(200, b"<html>hello</html>", Content_Type="image/jpeg")) as server:
        input_ = {"CollectionId": untouched, "Image": {"Url": server.url}}
        assert by_job(live, "IndexFaces", input_) == BAD_FORMAT
