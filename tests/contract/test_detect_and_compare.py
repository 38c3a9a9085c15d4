"""DetectFaces and CompareFaces: nothing is stored, both ways in, on real portraits."""

import json
from typing import Any

import cv2
import numpy as np
import pytest
from botocore.exceptions import ClientError

from tests.contract.ways import Refusal, Way, both_ways, by_job
from tests.live import LiveStack
from tests.vision.pictures import jpeg, padded, with_exif

LARGEST_INLINE = 5_242_880
GREY = jpeg(np.full((200, 200, 3), 127, np.uint8))
BAD_PARAMETERS = Refusal("InvalidParameterException", "Request has invalid parameters")
DEFAULTS = {"BoundingBox", "Confidence", "Landmarks", "Pose", "Quality"}


def detect(live: LiveStack, way: Way, image: bytes, **rest: Any) -> list[dict[str, Any]]:
    answer = way(live, "DetectFaces", {"Image": {"Bytes": image}, **rest})
    assert isinstance(answer, dict), answer
    assert answer.keys() == {"FaceDetails"}
    faces: list[dict[str, Any]] = answer["FaceDetails"]
    assert all(face.keys() == DEFAULTS for face in faces)
    return faces


def compare(live: LiveStack, way: Way, source: bytes, target: bytes, **rest: Any) -> dict[str, Any] | Refusal:
    answer = way(live, "CompareFaces", {"SourceImage": {"Bytes": source}, "TargetImage": {"Bytes": target}, **rest})
    if isinstance(answer, dict):
        assert answer.keys() == {"SourceImageFace", "FaceMatches", "UnmatchedFaces"}
        assert answer["SourceImageFace"].keys() == {"BoundingBox", "Confidence"}
        compared = [match["Face"] for match in answer["FaceMatches"]] + answer["UnmatchedFaces"]
        assert all(face.keys() == DEFAULTS for face in compared)
        similarities = [match["Similarity"] for match in answer["FaceMatches"]]
        assert similarities == sorted(similarities, reverse=True)
    return answer


def counts(answer: dict[str, Any] | Refusal) -> tuple[int, int]:
    assert isinstance(answer, dict), answer
    return len(answer["FaceMatches"]), len(answer["UnmatchedFaces"])


def area(face: dict[str, Any]) -> float:
    return float(face["BoundingBox"]["Width"] * face["BoundingBox"]["Height"])


def corners(face: dict[str, Any]) -> list[float]:
    box = face["BoundingBox"]
    return [box["Left"], box["Top"], box["Left"] + box["Width"], box["Top"] + box["Height"]]


@both_ways
def test_faces_are_detected_largest_first(live: LiveStack, way: Way, group: bytes) -> None:
    faces = detect(live, way, group)
    assert len(faces) == 3
    assert [area(face) for face in faces] == sorted(map(area, faces), reverse=True)
    assert [face["BoundingBox"]["Left"] > 0.3 for face in faces] == [True, True, False]
    for face in faces:
        assert {point["Type"] for point in face["Landmarks"]} == {
            "eyeLeft", "eyeRight", "mouthLeft", "mouthRight", "nose",
        }  # fmt: skip
        assert face["Pose"].keys() == {"Roll", "Yaw", "Pitch"}
        assert face["Quality"].keys() == {"Brightness", "Sharpness"}
        assert face["Confidence"] > 80


@both_ways
@pytest.mark.parametrize("attributes", [[], ["DEFAULT"], ["ALL"], ["ALL", "DEFAULT"], ["FACE_OCCLUDED", "SMILE"]])
def test_the_five_default_members_are_what_we_know_whatever_is_asked(
    live: LiveStack, way: Way, portraits: dict[str, bytes], attributes: list[str]
) -> None:
    assert len(detect(live, way, portraits["obama"], Attributes=attributes)) == 1


def test_an_attribute_that_does_not_exist_is_refused(rekognition: Any) -> None:
    with pytest.raises(ClientError, match="ValidationException"):
        rekognition.detect_faces(Image={"Bytes": GREY}, Attributes=["HAT"])


@both_ways
def test_detecting_no_face_is_no_error(live: LiveStack, way: Way) -> None:
    assert detect(live, way, GREY) == []


@both_ways
def test_boxes_refer_to_the_upright_image(live: LiveStack, way: Way, portraits: dict[str, bytes]) -> None:
    upright = cv2.imdecode(np.frombuffer(portraits["obama"], np.uint8), cv2.IMREAD_COLOR)
    lying = jpeg(cv2.rotate(upright, cv2.ROTATE_90_COUNTERCLOCKWISE))
    (expected,) = detect(live, way, portraits["obama"])
    (turned,) = detect(live, way, with_exif(lying, 6))  # 6: to be turned by 90 degrees clockwise
    assert corners(turned) == pytest.approx(corners(expected), abs=0.02)


def test_indexing_an_exif_image_answers_upright_boxes_too(
    rekognition: Any, collection: str, portraits: dict[str, bytes]
) -> None:
    upright = cv2.imdecode(np.frombuffer(portraits["obama"], np.uint8), cv2.IMREAD_COLOR)
    lying = with_exif(jpeg(cv2.rotate(upright, cv2.ROTATE_90_COUNTERCLOCKWISE)), 6)
    (expected,) = rekognition.detect_faces(Image={"Bytes": portraits["obama"]})["FaceDetails"]
    answer = rekognition.index_faces(CollectionId=collection, Image={"Bytes": lying})
    assert "OrientationCorrection" not in answer
    assert corners(answer["FaceRecords"][0]["Face"]) == pytest.approx(corners(expected), abs=0.02)


@both_ways
def test_one_person_matches_and_others_do_not(
    live: LiveStack, way: Way, portraits: dict[str, bytes], group: bytes
) -> None:
    answer = compare(live, way, portraits["obama3"], group)
    assert counts(answer) == (2, 1)
    assert isinstance(answer, dict)
    assert all(match["Similarity"] > 99 for match in answer["FaceMatches"])
    (stranger,) = answer["UnmatchedFaces"]
    assert stranger["BoundingBox"]["Left"] < 0.3
    (source,) = detect(live, way, portraits["obama3"])
    assert answer["SourceImageFace"] == {name: source[name] for name in ("BoundingBox", "Confidence")}


@both_ways
def test_the_largest_source_face_is_compared(
    live: LiveStack, way: Way, portraits: dict[str, bytes], group: bytes
) -> None:
    assert counts(compare(live, way, group, portraits["obama2"])) == (1, 0)
    assert counts(compare(live, way, group, portraits["biden"])) == (0, 1)


@both_ways
def test_a_threshold_of_0_matches_every_face_and_100_the_same_picture(
    live: LiveStack, way: Way, portraits: dict[str, bytes], group: bytes
) -> None:
    assert counts(compare(live, way, portraits["biden"], group, SimilarityThreshold=0)) == (3, 0)
    same = compare(live, way, portraits["biden"], portraits["biden"], SimilarityThreshold=100)
    assert counts(same) == (1, 0)
    assert isinstance(same, dict)
    assert same["FaceMatches"][0]["Similarity"] == 100.0
    assert counts(compare(live, way, portraits["obama"], portraits["obama2"], SimilarityThreshold=100)) == (0, 1)


@both_ways
def test_comparing_needs_a_face_in_both_images(live: LiveStack, way: Way, portraits: dict[str, bytes]) -> None:
    assert compare(live, way, GREY, portraits["obama"]) == BAD_PARAMETERS
    assert compare(live, way, portraits["obama"], GREY) == BAD_PARAMETERS
    assert compare(live, way, GREY, GREY) == BAD_PARAMETERS


@both_ways
def test_faces_below_the_filter_are_not_compared(live: LiveStack, way: Way, portraits: dict[str, bytes]) -> None:
    pixels = cv2.imdecode(np.frombuffer(portraits["obama"], np.uint8), cv2.IMREAD_COLOR)
    blurred = jpeg(cv2.GaussianBlur(pixels, (41, 41), 0))
    assert counts(compare(live, way, blurred, blurred)) == (1, 0), "the filter is NONE where nothing else is said"
    assert compare(live, way, blurred, portraits["obama"], QualityFilter="HIGH") == BAD_PARAMETERS
    assert compare(live, way, portraits["obama"], blurred, QualityFilter="HIGH") == BAD_PARAMETERS


@both_ways
def test_what_is_no_image_is_refused_in_either_place(live: LiveStack, way: Way, portraits: dict[str, bytes]) -> None:
    bad_format = Refusal("InvalidImageFormatException", "Request has invalid image format")
    assert way(live, "DetectFaces", {"Image": {"Bytes": b"no image"}}) == bad_format
    assert compare(live, way, b"no image", portraits["obama"]) == bad_format
    assert compare(live, way, portraits["obama"], b"no image") == bad_format
    assert way(live, "DetectFaces", {"Image": {}}) == BAD_PARAMETERS
    sources = {"SourceImage": {"Bytes": GREY}, "TargetImage": {}}
    assert way(live, "CompareFaces", sources) == BAD_PARAMETERS


@both_ways
def test_images_of_exactly_5_megabytes_are_accepted(live: LiveStack, way: Way, portraits: dict[str, bytes]) -> None:
    largest = padded(portraits["obama"], LARGEST_INLINE)
    other = padded(portraits["obama2"], LARGEST_INLINE)
    assert len(largest) == len(other) == LARGEST_INLINE
    assert detect(live, way, largest) == detect(live, way, portraits["obama"])
    assert counts(compare(live, way, largest, other)) == (1, 0)


def test_an_image_of_a_byte_more_is_refused(live: LiveStack, rekognition: Any, portraits: dict[str, bytes]) -> None:
    larger = padded(portraits["obama"], LARGEST_INLINE + 1)
    message = r"1 validation error detected: Value '.*' at 'image.bytes' failed .* length less than or equal to 5242880"
    with pytest.raises(ClientError, match=message):
        rekognition.detect_faces(Image={"Bytes": larger})
    refusal = by_job(live, "CompareFaces", {"SourceImage": {"Bytes": GREY}, "TargetImage": {"Bytes": larger}})
    assert isinstance(refusal, Refusal)
    assert (refusal.code, "'targetImage.bytes'" in refusal.message) == ("ValidationException", True)


@both_ways
def test_the_two_images_of_a_comparison_are_checked_before_a_job_is_made(live: LiveStack, way: Way) -> None:
    jobs = live.query("SELECT count(*) FROM jobs")
    sources = {"SourceImage": {"S3Object": {}}, "TargetImage": {"Bytes": GREY}}
    assert way(live, "CompareFaces", sources) == BAD_PARAMETERS
    assert live.query("SELECT count(*) FROM jobs") == jobs


def test_two_files_of_a_form_are_compared(live: LiveStack, portraits: dict[str, bytes]) -> None:
    boundary = b"--form"
    parts = [b'name="Operation"\r\n\r\nCompareFaces']
    parts.append(b'name="Input"\r\n\r\n' + json.dumps({"SimilarityThreshold": 90}).encode())
    for name, portrait in (("SourceImage", "obama"), ("TargetImage", "obama2")):
        parts.append(f'name="{name}"; filename="a.jpg"\r\n\r\n'.encode() + portraits[portrait])
    body = b"".join(boundary + b"\r\nContent-Disposition: form-data; " + part + b"\r\n" for part in parts)
    headers = {"Content-Type": "multipart/form-data; boundary=form"}
    answer = live.call("POST", "/v1/jobs", body + boundary + b"--\r\n", headers)
    assert answer.status == 202, answer.body
    assert len(live.finished(answer.json["JobId"])["Result"]["FaceMatches"]) == 1


def test_above_max_faces_the_others_are_named_largest_first(rekognition: Any, collection: str, group: bytes) -> None:
    answer = rekognition.index_faces(
        CollectionId=collection, Image={"Bytes": group}, MaxFaces=1, ExternalImageId="group"
    )
    (record,) = answer["FaceRecords"]
    left_out = answer["UnindexedFaces"]
    assert [face["Reasons"] for face in left_out] == [["EXCEEDS_MAX_FACES"]] * 2
    assert area(left_out[0]["FaceDetail"]) > area(left_out[1]["FaceDetail"])
    assert all(face["FaceDetail"].keys() == DEFAULTS for face in left_out)
    everyone = rekognition.index_faces(CollectionId=collection, Image={"Bytes": group}, ExternalImageId="group")
    faces = [one["Face"] for one in everyone["FaceRecords"]]
    assert [area(face) for face in faces] == sorted(map(area, faces), reverse=True)
    assert {face["ImageId"] for face in faces} == {record["Face"]["ImageId"]}
    assert record["Face"]["FaceId"] in {face["FaceId"] for face in faces}, "what was there keeps its id"
    assert rekognition.describe_collection(CollectionId=collection)["FaceCount"] == 3
