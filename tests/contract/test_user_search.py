"""Searching users: by a face, by a user, and by an image either way in. The faces are real portraits."""

import uuid
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import pytest
from botocore.exceptions import ClientError

from tests.contract.ways import Way, both_ways, refused
from tests.live import LiveStack
from tests.vision.pictures import jpeg, side_by_side

GREY = jpeg(np.full((200, 200, 3), 127, np.uint8))


@dataclass(frozen=True)
class Known:
    """A collection with users: `barack` of two pictures, `joe` of one, `newcomer` of none; face ids by portrait."""

    collection: str
    faces: dict[str, str]


@pytest.fixture(scope="module")
def known(rekognition: Any, portraits: dict[str, bytes]) -> Known:
    name = "contract-users"
    rekognition.create_collection(CollectionId=name)
    faces = {}
    for portrait in ("obama", "obama2", "obama3", "biden"):
        answer = rekognition.index_faces(
            CollectionId=name, Image={"Bytes": portraits[portrait]}, ExternalImageId=portrait
        )
        faces[portrait] = answer["FaceRecords"][0]["Face"]["FaceId"]
    for user, owned in {"joe": ["biden"], "barack": ["obama", "obama2"], "newcomer": []}.items():
        rekognition.create_user(CollectionId=name, UserId=user)
        if owned:
            rekognition.associate_faces(CollectionId=name, UserId=user, FaceIds=[faces[one] for one in owned])
    return Known(name, faces)


def found(answer: dict[str, Any]) -> list[str]:
    """Check the matches' form and order, give the users' ids."""
    matches = answer["UserMatches"]
    assert all(match.keys() == {"Similarity", "User"} for match in matches)
    assert all(match["User"].keys() == {"UserId", "UserStatus"} for match in matches)
    assert all(match["User"]["UserStatus"] == "ACTIVE" for match in matches), "only users with faces are found"
    similarities = [match["Similarity"] for match in matches]
    assert similarities == sorted(similarities, reverse=True)
    return [match["User"]["UserId"] for match in matches]


def test_a_face_finds_the_user_it_looks_like(rekognition: Any, known: Known) -> None:
    searched = known.faces["obama3"]
    answer = rekognition.search_users(CollectionId=known.collection, FaceId=searched)
    assert answer["SearchedFace"] == {"FaceId": searched}
    assert "SearchedUser" not in answer
    assert answer["FaceModelVersion"] == "1.0"
    assert found(answer) == ["barack"]
    assert answer["UserMatches"][0]["Similarity"] >= 80


def test_a_threshold_and_a_number_of_users_bound_the_answer(rekognition: Any, known: Known) -> None:
    search = {"CollectionId": known.collection, "FaceId": known.faces["obama3"]}
    assert found(rekognition.search_users(**search, UserMatchThreshold=0)) == ["barack", "joe"]
    assert found(rekognition.search_users(**search, UserMatchThreshold=0, MaxUsers=1)) == ["barack"]
    assert found(rekognition.search_users(**search, UserMatchThreshold=100)) == []
    with pytest.raises(ClientError, match=r"ValidationException.*less than or equal to 500"):
        rekognition.search_users(**search, MaxUsers=501)


def test_a_user_finds_others_but_not_itself(rekognition: Any, known: Known) -> None:
    search = {"CollectionId": known.collection, "UserId": "barack"}
    answer = rekognition.search_users(**search, UserMatchThreshold=0)
    assert answer["SearchedUser"] == {"UserId": "barack"}
    assert "SearchedFace" not in answer
    assert found(answer) == ["joe"]
    assert found(rekognition.search_users(**search)) == []
    rekognition.create_user(CollectionId=known.collection, UserId="double")
    rekognition.associate_faces(CollectionId=known.collection, UserId="double", FaceIds=[known.faces["obama3"]])
    assert found(rekognition.search_users(**search)) == ["double"]
    assert found(rekognition.search_users(**search, UserMatchThreshold=0, MaxUsers=1)) == ["double"]
    rekognition.delete_user(CollectionId=known.collection, UserId="double")
    assert found(rekognition.search_users(**search)) == []


def test_a_user_without_faces_finds_nobody(rekognition: Any, known: Known) -> None:
    answer = rekognition.search_users(CollectionId=known.collection, UserId="newcomer", UserMatchThreshold=0)
    assert answer["UserMatches"] == []
    assert answer["SearchedUser"] == {"UserId": "newcomer"}


def test_a_search_names_one_face_or_one_user(rekognition: Any, known: Known) -> None:
    error = rekognition.exceptions.InvalidParameterException
    for neither_or_both in ({}, {"UserId": "joe", "FaceId": known.faces["biden"]}):
        message = refused(error, rekognition.search_users, CollectionId=known.collection, **neither_or_both)
        assert message == "Request has invalid parameters"
    message = refused(error, rekognition.search_users, CollectionId=known.collection, FaceId=str(uuid.uuid4()))
    assert message == "faceId was not found in the collection."


def test_faces_that_a_search_finds_name_their_user(rekognition: Any, known: Known, portraits: dict[str, bytes]) -> None:
    by_face = rekognition.search_faces(CollectionId=known.collection, FaceId=known.faces["obama"])
    by_image = rekognition.search_faces_by_image(CollectionId=known.collection, Image={"Bytes": portraits["obama"]})
    for answer, others in ((by_face, {"obama2", "obama3"}), (by_image, {"obama", "obama2", "obama3"})):
        users = {match["Face"]["ExternalImageId"]: match["Face"].get("UserId") for match in answer["FaceMatches"]}
        assert users == {name: None if name == "obama3" else "barack" for name in others}
    again = rekognition.index_faces(
        CollectionId=known.collection, Image={"Bytes": portraits["biden"]}, ExternalImageId="biden"
    )
    assert again["FaceRecords"][0]["Face"]["UserId"] == "joe"


@both_ways
def test_an_image_finds_the_user_of_its_largest_face(live: LiveStack, known: Known, way: Way, group: bytes) -> None:
    answer = way(live, "SearchUsersByImage", {"CollectionId": known.collection, "Image": {"Bytes": group}})
    assert isinstance(answer, dict)
    assert answer["FaceModelVersion"] == "1.0"
    assert found(answer) == ["barack"]
    searched = answer["SearchedFace"]["FaceDetail"]
    assert searched.keys() == {"BoundingBox", "Confidence", "Landmarks", "Pose", "Quality"}
    assert 0.3 < searched["BoundingBox"]["Left"] < 0.5, "the middle face is the largest"
    others = answer["UnsearchedFaces"]
    assert [face["Reasons"] for face in others] == [["FACE_NOT_LARGEST"], ["FACE_NOT_LARGEST"]]
    assert all(face.keys() == {"FaceDetails", "Reasons"} for face in others)
    assert [face["FaceDetails"]["BoundingBox"]["Left"] > 0.5 for face in others] == [True, False], "larger ones first"


@both_ways
def test_an_image_search_obeys_threshold_and_number(
    live: LiveStack, known: Known, way: Way, portraits: dict[str, bytes]
) -> None:
    input_ = {"CollectionId": known.collection, "Image": {"Bytes": portraits["biden"]}, "UserMatchThreshold": 0}
    everybody = way(live, "SearchUsersByImage", input_)
    nearest = way(live, "SearchUsersByImage", input_ | {"MaxUsers": 1})
    assert isinstance(everybody, dict)
    assert isinstance(nearest, dict)
    assert (found(everybody), found(nearest)) == (["joe", "barack"], ["joe"])
    assert everybody["UnsearchedFaces"] == []


@both_ways
def test_a_face_below_the_filter_is_not_searched_and_its_reason_is_told(
    live: LiveStack, known: Known, way: Way, portraits: dict[str, bytes]
) -> None:
    pixels = cv2.imdecode(np.frombuffer(portraits["obama"], np.uint8), cv2.IMREAD_COLOR)
    blurred = {"Bytes": jpeg(cv2.GaussianBlur(pixels, (41, 41), 0))}
    input_ = {"CollectionId": known.collection, "Image": blurred, "UserMatchThreshold": 0}
    refused_ = way(live, "SearchUsersByImage", input_ | {"QualityFilter": "HIGH"})
    assert isinstance(refused_, dict)
    assert refused_["UserMatches"] == []
    assert "SearchedFace" not in refused_
    assert [face["Reasons"] for face in refused_["UnsearchedFaces"]] == [["LOW_SHARPNESS"]]
    unfiltered = way(live, "SearchUsersByImage", input_)  # the filter is NONE where nothing else is said
    assert isinstance(unfiltered, dict)
    assert len(found(unfiltered)) == 2


@both_ways
def test_other_faces_below_the_filter_have_its_reason(
    live: LiveStack, known: Known, way: Way, portraits: dict[str, bytes]
) -> None:
    pixels = cv2.imdecode(np.frombuffer(portraits["biden"], np.uint8), cv2.IMREAD_COLOR)
    blurred = jpeg(cv2.GaussianBlur(pixels, (41, 41), 0))
    three = side_by_side(portraits["obama2"], portraits["obama"], blurred, heights=(500, 1100, 700))
    input_ = {"CollectionId": known.collection, "Image": {"Bytes": three}}
    answer = way(live, "SearchUsersByImage", input_ | {"QualityFilter": "HIGH"})
    assert isinstance(answer, dict)
    assert found(answer) == ["barack"]
    reasons = {face["FaceDetails"]["BoundingBox"]["Left"] > 0.5: face["Reasons"] for face in answer["UnsearchedFaces"]}
    assert reasons[False] == ["FACE_NOT_LARGEST"]
    assert reasons[True][0] == "LOW_SHARPNESS"


@both_ways
def test_an_image_without_a_face_is_no_error(live: LiveStack, known: Known, way: Way) -> None:
    answer = way(live, "SearchUsersByImage", {"CollectionId": known.collection, "Image": {"Bytes": GREY}})
    assert answer == {"UserMatches": [], "FaceModelVersion": "1.0", "UnsearchedFaces": []}
