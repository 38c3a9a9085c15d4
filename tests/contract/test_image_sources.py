"""Images that are taken: from every source, in both formats, with one face, several or the same again."""

import json
import uuid
from typing import Any

import cv2
import numpy as np
import pytest

from tests.contract.ways import Way, both_ways, by_boto3, by_job
from tests.live import LiveStack
from tests.s3 import S3Server
from tests.scripted import ScriptedServer, answer
from tests.vision.pictures import jpeg, png, side_by_side


@pytest.fixture(scope="module")
def bucket(s3_server: S3Server, portraits: dict[str, bytes]) -> str:
    """A bucket with a portrait."""
    client = s3_server.client()
    client.create_bucket(Bucket="portraits")
    client.put_object(Bucket="portraits", Key="people/obama ä.jpg", Body=portraits["obama"])
    return "portraits"


@pytest.fixture(scope="module")
def group(portraits: dict[str, bytes]) -> bytes:
    """One picture of three people side by side; the one in the middle is the largest by far."""
    heights = {"obama": 300, "biden": 900, "obama2": 250}
    pictures = [_scaled(portraits[name], height) for name, height in heights.items()]
    canvas = np.full((900, sum(picture.shape[1] for picture in pictures), 3), 127, np.uint8)
    left = 0
    for picture in pictures:
        canvas[: picture.shape[0], left : left + picture.shape[1]] = picture
        left += picture.shape[1]
    return jpeg(canvas)


def _scaled(image: bytes, height: int) -> Any:
    pixels = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    return cv2.resize(pixels, (round(pixels.shape[1] * height / pixels.shape[0]), height), interpolation=cv2.INTER_AREA)


def people(answer: Any) -> list[str]:
    return sorted(match["Face"]["ExternalImageId"] for match in answer["FaceMatches"])


@both_ways
def test_an_s3_object_is_fetched_by_the_worker(live: LiveStack, gallery: str, bucket: str, way: Way) -> None:
    image = {"S3Object": {"Bucket": bucket, "Name": "people/obama ä.jpg"}}
    found = way(live, "SearchFacesByImage", {"CollectionId": gallery, "Image": image})
    assert people(found) == ["obama", "obama2", "obama3"]


def test_a_version_of_an_s3_object_is_fetched_when_it_is_named(
    rekognition: Any, gallery: str, s3_server: S3Server, portraits: dict[str, bytes]
) -> None:
    client = s3_server.client()
    client.create_bucket(Bucket="versions")
    client.put_bucket_versioning(Bucket="versions", VersioningConfiguration={"Status": "Enabled"})
    first, _ = (
        client.put_object(Bucket="versions", Key="a.jpg", Body=portraits[name])["VersionId"]
        for name in ("biden", "obama")
    )
    newest = {"Bucket": "versions", "Name": "a.jpg"}
    for s3_object, person in ((newest, "obama"), (newest | {"Version": first}, "biden")):
        found = rekognition.search_faces_by_image(CollectionId=gallery, Image={"S3Object": s3_object})
        assert person in people(found)
    client.close()


@both_ways
def test_a_png_is_as_good_as_a_jpeg(live: LiveStack, gallery: str, portraits: dict[str, bytes], way: Way) -> None:
    image = {"Bytes": png(_scaled(portraits["biden"], 500))}
    assert people(way(live, "SearchFacesByImage", {"CollectionId": gallery, "Image": image})) == ["biden"]


def test_a_url_is_fetched_by_the_worker(live: LiveStack, gallery: str, portraits: dict[str, bytes]) -> None:
    with ScriptedServer(answer(200, portraits["biden"], Content_Type="text/plain")) as server:
        url = f"{server.url}/biden.jpg?size=large"
        found = by_job(live, "SearchFacesByImage", {"CollectionId": gallery, "Image": {"Url": url}})
    assert people(found) == ["biden"]
    assert server.requests[0].startswith(b"GET /biden.jpg?size=large HTTP/1.1\r\n")


def test_a_file_can_be_uploaded_as_multipart(live: LiveStack, gallery: str, portraits: dict[str, bytes]) -> None:
    fields = {"Operation": "SearchFacesByImage", "Input": json.dumps({"CollectionId": gallery, "MaxFaces": 1})}
    fields |= {"Metadata": '{"order": "7"}', "ClientRequestToken": str(uuid.uuid4())}
    body = b"".join(
        f'--frontier\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    )
    head = b'--frontier\r\nContent-Disposition: form-data; name="Image"; filename="x.bin"\r\n\r\n'
    body += head + portraits["biden"] + b"\r\n--frontier--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=frontier"}
    job = live.finished(live.call("POST", "/v1/jobs", body, headers).json["JobId"])
    assert people(job["Result"]) == ["biden"]
    assert job["Metadata"] == {"order": "7"}


def test_both_ways_give_the_same_answer(live: LiveStack, gallery: str, portraits: dict[str, bytes]) -> None:
    input_ = {"CollectionId": gallery, "Image": {"Bytes": portraits["obama3"]}, "FaceMatchThreshold": 0}
    assert by_boto3(live, "SearchFacesByImage", input_) == by_job(live, "SearchFacesByImage", input_)


def test_faces_come_largest_first_and_share_the_image_id(rekognition: Any, collection: str, group: bytes) -> None:
    answer = rekognition.index_faces(CollectionId=collection, Image={"Bytes": group})
    faces = [record["Face"] for record in answer["FaceRecords"]]
    areas = [face["BoundingBox"]["Width"] * face["BoundingBox"]["Height"] for face in faces]
    assert len(faces) == 3
    assert areas == sorted(areas, reverse=True)
    assert len({face["ImageId"] for face in faces}) == 1


def test_faces_beyond_max_faces_are_named_with_the_reason(rekognition: Any, collection: str, group: bytes) -> None:
    answer = rekognition.index_faces(CollectionId=collection, Image={"Bytes": group}, MaxFaces=1)
    (record,) = answer["FaceRecords"]
    left_out = [face["FaceDetail"] for face in answer["UnindexedFaces"]]
    sizes = [face["BoundingBox"]["Width"] for face in (record["FaceDetail"], *left_out)]
    assert sizes == sorted(sizes, reverse=True), "of equally good faces the largest is kept"
    assert [face["Reasons"] for face in answer["UnindexedFaces"]] == [["EXCEEDS_MAX_FACES"]] * 2
    assert all(len(face["FaceDetail"]["Landmarks"]) == 5 for face in answer["UnindexedFaces"])
    assert rekognition.describe_collection(CollectionId=collection)["FaceCount"] == 1


def test_above_max_faces_the_poorest_face_is_left_out_however_large(
    rekognition: Any, collection: str, portraits: dict[str, bytes]
) -> None:
    pixels = cv2.imdecode(np.frombuffer(portraits["obama"], np.uint8), cv2.IMREAD_COLOR)
    blurred = jpeg(cv2.GaussianBlur(pixels, (41, 41), 0))
    three = side_by_side(portraits["biden"], blurred, portraits["obama2"], heights=(500, 1100, 700))
    call = {"CollectionId": collection, "Image": {"Bytes": three}, "QualityFilter": "NONE"}
    (left_out,) = rekognition.index_faces(**call, MaxFaces=2)["UnindexedFaces"]
    everyone = [record["FaceDetail"] for record in rekognition.index_faces(**call)["FaceRecords"]]
    assert left_out == {"Reasons": ["EXCEEDS_MAX_FACES"], "FaceDetail": everyone[0]}


def test_a_search_looks_for_the_largest_face_only(rekognition: Any, gallery: str, group: bytes) -> None:
    assert people(rekognition.search_faces_by_image(CollectionId=gallery, Image={"Bytes": group})) == ["biden"]


def test_bytes_of_an_image_are_gone_when_its_job_is_done(
    live: LiveStack, gallery: str, portraits: dict[str, bytes]
) -> None:
    input_ = {"CollectionId": gallery, "Image": {"Bytes": portraits["obama"]}}
    job_id = live.submit("SearchFacesByImage", input_).json["JobId"]
    live.finished(job_id)
    assert live.query("SELECT count(*) FROM blobs WHERE job_id = %s", job_id) == [(0,)]
    ((stored,),) = live.query("SELECT input FROM jobs WHERE job_id = %s", job_id)
    assert stored["Image"].keys() == {"Blob"}
