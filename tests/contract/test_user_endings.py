"""What is deleted and what stays when users and faces go, and how what is not there is named."""

import uuid
from typing import Any

import numpy as np
import pytest

from tests.contract.conftest import Store
from tests.contract.ways import refused
from tests.factories import lookalikes, random_embeddings
from tests.live import LiveStack

RNG = np.random.default_rng(21)
ADA = random_embeddings(RNG, 1)[0]


@pytest.fixture
def ada(rekognition: Any, collection: str, store: Store) -> list[str]:
    """Three faces of one person, whose user `ada` has the first two."""
    faces = store(collection, lookalikes(RNG, ADA, 3))
    rekognition.create_user(CollectionId=collection, UserId="ada")
    rekognition.associate_faces(CollectionId=collection, UserId="ada", FaceIds=faces[:2])
    return faces


def test_deleting_a_user_keeps_its_faces(live: LiveStack, rekognition: Any, collection: str, ada: list[str]) -> None:
    answer = rekognition.delete_user(CollectionId=collection, UserId="ada")
    assert answer.keys() == {"ResponseMetadata"}
    described = rekognition.describe_collection(CollectionId=collection)
    assert (described["UserCount"], described["FaceCount"]) == (0, 3)
    assert rekognition.list_users(CollectionId=collection)["Users"] == []
    faces = rekognition.list_faces(CollectionId=collection)["Faces"]
    assert {face["FaceId"] for face in faces} == set(ada)
    assert all("UserId" not in face for face in faces)
    assert rekognition.search_users(CollectionId=collection, FaceId=ada[0])["UserMatches"] == []
    left = live.query(
        "SELECT count(*) FROM uv_sface128 JOIN collections USING (collection_id) WHERE name = %s", collection
    )
    assert left == [(0,)]


def test_a_deleted_user_can_be_made_again_and_begins_without_faces(
    rekognition: Any, collection: str, ada: list[str]
) -> None:
    rekognition.delete_user(CollectionId=collection, UserId="ada")
    rekognition.create_user(CollectionId=collection, UserId="ada")
    assert rekognition.list_users(CollectionId=collection)["Users"] == [{"UserId": "ada", "UserStatus": "CREATED"}]
    assert rekognition.list_faces(CollectionId=collection, UserId="ada")["Faces"] == []


def test_every_operation_names_a_user_that_does_not_exist(rekognition: Any, collection: str, ada: list[str]) -> None:
    calls: dict[Any, dict[str, Any]] = {
        rekognition.delete_user: {},
        rekognition.associate_faces: {"FaceIds": ada},
        rekognition.disassociate_faces: {"FaceIds": ada},
        rekognition.search_users: {},
    }
    for call, parameters in calls.items():
        error = rekognition.exceptions.ResourceNotFoundException
        message = refused(error, call, CollectionId=collection, UserId="Ada", **parameters)
        assert message == "The user id: Ada does not exist"


def test_deleting_faces_has_three_outcomes_in_one_answer(rekognition: Any, collection: str, ada: list[str]) -> None:
    unknown = str(uuid.uuid4())
    answer = rekognition.delete_faces(CollectionId=collection, FaceIds=[ada[0], unknown, ada[2]])
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert answer["DeletedFaces"] == [ada[2]]
    assert answer["UnsuccessfulFaceDeletions"] == [
        {"FaceId": ada[0], "UserId": "ada", "Reasons": ["ASSOCIATED_TO_AN_EXISTING_USER"]},
        {"FaceId": unknown, "Reasons": ["FACE_NOT_FOUND"]},
    ]
    assert rekognition.describe_collection(CollectionId=collection)["FaceCount"] == 2


def test_a_face_can_be_deleted_once_it_has_left_its_user(rekognition: Any, collection: str, ada: list[str]) -> None:
    rekognition.disassociate_faces(CollectionId=collection, UserId="ada", FaceIds=ada[:1])
    assert rekognition.delete_faces(CollectionId=collection, FaceIds=ada[:1])["DeletedFaces"] == ada[:1]
    rekognition.delete_user(CollectionId=collection, UserId="ada")
    answer = rekognition.delete_faces(CollectionId=collection, FaceIds=ada[1:])
    assert answer["DeletedFaces"] == ada[1:]
    assert answer["UnsuccessfulFaceDeletions"] == []
