"""Users: who they are and which faces they have, as boto3 sees it. Embeddings are made up, so that likeness is exact."""

import uuid
from typing import Any

import numpy as np
import pytest
from botocore.exceptions import ClientError

from app.domain.face_models import NEWEST
from tests.contract.conftest import Store
from tests.contract.ways import refused
from tests.factories import Embeddings, lookalikes, random_embeddings, unit
from tests.live import LiveStack

RNG = np.random.default_rng(20)
ADA, BOB = random_embeddings(RNG, 2)


@pytest.fixture
def ada(rekognition: Any, collection: str, store: Store) -> list[str]:
    """Four faces of one person, whose user `ada` has the first two."""
    faces = store(collection, lookalikes(RNG, ADA, 4))
    rekognition.create_user(CollectionId=collection, UserId="ada")
    rekognition.associate_faces(CollectionId=collection, UserId="ada", FaceIds=faces[:2])
    return faces


@pytest.fixture
def bob(rekognition: Any, collection: str, store: Store) -> list[str]:
    """Two faces of another person, whose user `bob` has the first."""
    faces = store(collection, lookalikes(RNG, BOB, 2))
    rekognition.create_user(CollectionId=collection, UserId="bob")
    rekognition.associate_faces(CollectionId=collection, UserId="bob", FaceIds=faces[:1])
    return faces


def users(rekognition: Any, collection: str) -> dict[str, str]:
    answer = rekognition.list_users(CollectionId=collection)
    assert "NextToken" not in answer
    return {user["UserId"]: user["UserStatus"] for user in answer["Users"]}


def owners(rekognition: Any, collection: str, **filters: Any) -> dict[str, str | None]:
    listed = rekognition.list_faces(CollectionId=collection, **filters)["Faces"]
    return {face["FaceId"]: face.get("UserId") for face in listed}


def near(embedding: Embeddings, similarity: float) -> Embeddings:
    """Make the embedding of one face with exactly this similarity to another."""
    cosine = NEWEST.curve.cosine(similarity)
    other = random_embeddings(RNG, 1)[0]
    across = unit(other - (other @ embedding) * embedding)
    return unit(cosine * embedding + (1 - cosine**2) ** 0.5 * across)


def test_a_new_user_is_created_and_has_no_faces(rekognition: Any, collection: str) -> None:
    answer = rekognition.create_user(CollectionId=collection, UserId="a:b-c_d.e")
    assert answer.keys() == {"ResponseMetadata"}
    assert users(rekognition, collection) == {"a:b-c_d.e": "CREATED"}
    assert rekognition.describe_collection(CollectionId=collection)["UserCount"] == 1
    assert rekognition.list_faces(CollectionId=collection, UserId="a:b-c_d.e")["Faces"] == []


def test_a_second_user_of_the_same_id_is_a_conflict(rekognition: Any, collection: str, gallery: str) -> None:
    rekognition.create_user(CollectionId=collection, UserId="ada")
    error = rekognition.exceptions.ConflictException
    message = refused(error, rekognition.create_user, CollectionId=collection, UserId="ada")
    assert message == "The user id: ada already exists"
    rekognition.create_user(CollectionId=collection, UserId="Ada")
    assert rekognition.describe_collection(CollectionId=collection)["UserCount"] == 2
    assert rekognition.list_users(CollectionId=gallery)["Users"] == []


def test_users_are_listed_page_by_page_in_the_order_of_their_creation(rekognition: Any, collection: str) -> None:
    names = ["zoe", "ada", "bob"]
    for name in names:
        rekognition.create_user(CollectionId=collection, UserId=name)
    pages = list(
        rekognition.get_paginator("list_users").paginate(CollectionId=collection, PaginationConfig={"PageSize": 1})
    )
    assert [[user["UserId"] for user in page["Users"]] for page in pages] == [[name] for name in names]
    assert "NextToken" not in pages[-1]
    error = rekognition.exceptions.InvalidPaginationTokenException
    for token in ("nonsense", rekognition.list_collections(MaxResults=1).get("NextToken", "AAAA")):
        refused(error, rekognition.list_users, CollectionId=collection, NextToken=token)
    with pytest.raises(ClientError, match=r"ValidationException.*less than or equal to 500"):
        rekognition.list_users(CollectionId=collection, MaxResults=501)


def test_associating_faces_makes_a_user_active(rekognition: Any, collection: str, ada: list[str]) -> None:
    answer = rekognition.associate_faces(CollectionId=collection, UserId="ada", FaceIds=[ada[2]])
    assert answer["AssociatedFaces"] == [{"FaceId": ada[2]}]
    assert answer["UnsuccessfulFaceAssociations"] == []
    assert answer["UserStatus"] == "ACTIVE"
    assert users(rekognition, collection) == {"ada": "ACTIVE"}
    everybody = dict.fromkeys(ada[:3], "ada") | {ada[3]: None}
    assert owners(rekognition, collection) == everybody
    assert owners(rekognition, collection, UserId="ada").keys() == set(ada[:3])
    assert owners(rekognition, collection, UserId="ada", FaceIds=ada[2:]).keys() == {ada[2]}
    assert owners(rekognition, collection, UserId="nobody") == {}


def test_faces_that_a_user_has_already_are_in_neither_list(rekognition: Any, collection: str, ada: list[str]) -> None:
    again = [ada[0], ada[2], ada[1], ada[2]]
    answer = rekognition.associate_faces(CollectionId=collection, UserId="ada", FaceIds=again, UserMatchThreshold=90)
    assert answer["AssociatedFaces"] == [{"FaceId": ada[2]}]
    assert answer["UnsuccessfulFaceAssociations"] == []
    last = rekognition.associate_faces(CollectionId=collection, UserId="ada", FaceIds=again)
    assert (last["AssociatedFaces"], last["UnsuccessfulFaceAssociations"]) == ([], [])
    assert last["UserStatus"] == "ACTIVE"


def test_an_association_fails_for_three_reasons(
    rekognition: Any, collection: str, ada: list[str], bob: list[str]
) -> None:
    unknown = str(uuid.uuid4())
    answer = rekognition.associate_faces(
        CollectionId=collection, UserId="ada", FaceIds=[unknown, bob[0], bob[1], ada[2]]
    )
    missing, taken, unlike = answer["UnsuccessfulFaceAssociations"]
    assert missing == {"FaceId": unknown, "Reasons": ["FACE_NOT_FOUND"]}
    assert taken == {"FaceId": bob[0], "UserId": "bob", "Reasons": ["ASSOCIATED_TO_A_DIFFERENT_USER"]}
    assert unlike.pop("Confidence") < 1
    assert unlike == {"FaceId": bob[1], "Reasons": ["LOW_MATCH_CONFIDENCE"]}
    assert answer["AssociatedFaces"] == [{"FaceId": ada[2]}]
    assert owners(rekognition, collection, UserId="bob").keys() == {bob[0]}
    assert owners(rekognition, collection, FaceIds=[bob[1]]) == {bob[1]: None}


def test_a_user_without_a_face_takes_any_whatever_the_threshold(
    rekognition: Any, collection: str, store: Store
) -> None:
    unlike = store(collection, random_embeddings(RNG, 3))
    rekognition.create_user(CollectionId=collection, UserId="ada")
    first = {"CollectionId": collection, "UserId": "ada", "UserMatchThreshold": 100}
    answer = rekognition.associate_faces(**first, FaceIds=unlike[:2])
    assert [face["FaceId"] for face in answer["AssociatedFaces"]] == unlike[:2]
    answer = rekognition.associate_faces(**first, FaceIds=unlike[2:])
    assert answer["UnsuccessfulFaceAssociations"][0]["Reasons"] == ["LOW_MATCH_CONFIDENCE"]
    answer = rekognition.associate_faces(**first | {"UserMatchThreshold": 0}, FaceIds=unlike[2:])
    assert answer["AssociatedFaces"] == [{"FaceId": unlike[2]}]


@pytest.mark.parametrize(("similarity", "taken"), [(76, True), (74, False)])
def test_without_a_threshold_a_face_must_be_75_alike(
    rekognition: Any, collection: str, store: Store, similarity: float, taken: bool
) -> None:
    one, other = store(collection, np.stack([ADA, near(ADA, similarity)]))
    rekognition.create_user(CollectionId=collection, UserId="ada")
    rekognition.associate_faces(CollectionId=collection, UserId="ada", FaceIds=[one])
    answer = rekognition.associate_faces(CollectionId=collection, UserId="ada", FaceIds=[other])
    assert bool(answer["AssociatedFaces"]) is taken
    for failure in answer["UnsuccessfulFaceAssociations"]:
        assert failure["Confidence"] == pytest.approx(similarity, abs=0.01)


def test_the_same_picture_passes_a_threshold_of_100(rekognition: Any, collection: str, store: Store) -> None:
    one, same = store(collection, np.stack([ADA, ADA]))
    rekognition.create_user(CollectionId=collection, UserId="ada")
    rekognition.associate_faces(CollectionId=collection, UserId="ada", FaceIds=[one])
    answer = rekognition.associate_faces(CollectionId=collection, UserId="ada", FaceIds=[same], UserMatchThreshold=100)
    assert answer["AssociatedFaces"] == [{"FaceId": same}]


def test_a_user_has_at_most_a_hundred_faces(rekognition: Any, collection: str, store: Store) -> None:
    many = store(collection, lookalikes(RNG, ADA, 102))
    ada = {"CollectionId": collection, "UserId": "ada"}
    rekognition.create_user(**ada)
    with pytest.raises(ClientError, match=r"ValidationException.*less than or equal to 100"):
        rekognition.associate_faces(**ada, FaceIds=many[:101])
    rekognition.associate_faces(**ada, FaceIds=many[:99])
    error = rekognition.exceptions.ServiceQuotaExceededException
    message = refused(error, rekognition.associate_faces, **ada, FaceIds=many[99:101])
    assert message == "A user can have at most 100 faces."
    assert len(owners(rekognition, collection, UserId="ada")) == 99, "a refused call changes nothing"
    assert len(rekognition.associate_faces(**ada, FaceIds=many[98:100])["AssociatedFaces"]) == 1
    refused(error, rekognition.associate_faces, **ada, FaceIds=many[100:])
    rekognition.disassociate_faces(**ada, FaceIds=many[:1])
    assert len(rekognition.associate_faces(**ada, FaceIds=many[100:101])["AssociatedFaces"]) == 1


def test_disassociating_names_what_is_gone_and_what_was_never_there(
    rekognition: Any, collection: str, ada: list[str], bob: list[str]
) -> None:
    unknown = str(uuid.uuid4())
    call = {"CollectionId": collection, "UserId": "ada"}
    answer = rekognition.disassociate_faces(**call, FaceIds=[unknown, ada[0], bob[0], ada[3], ada[0]])
    assert answer["DisassociatedFaces"] == [{"FaceId": ada[0]}]
    assert answer["UnsuccessfulFaceDisassociations"] == [
        {"FaceId": unknown, "Reasons": ["FACE_NOT_FOUND"]},
        {"FaceId": bob[0], "UserId": "bob", "Reasons": ["ASSOCIATED_TO_A_DIFFERENT_USER"]},
    ]
    assert answer["UserStatus"] == "ACTIVE"
    last = rekognition.disassociate_faces(**call, FaceIds=ada)
    assert last["DisassociatedFaces"] == [{"FaceId": ada[1]}]
    assert last["UserStatus"] == "CREATED"
    again = rekognition.disassociate_faces(**call, FaceIds=ada)
    assert (again["DisassociatedFaces"], again["UnsuccessfulFaceDisassociations"]) == ([], [])
    assert users(rekognition, collection) == {"ada": "CREATED", "bob": "ACTIVE"}
    assert owners(rekognition, collection) == dict.fromkeys([*ada, bob[1]]) | {bob[0]: "bob"}


def test_a_collection_takes_its_users_and_their_vectors_with_it(
    live: LiveStack, rekognition: Any, collection: str, ada: list[str], bob: list[str]
) -> None:
    ((number,),) = live.query("SELECT collection_id FROM collections WHERE name = %s", collection)
    counts = """
        WITH gone AS (SELECT %s::int AS number)
        SELECT (SELECT count(*) FROM users, gone WHERE collection_id = number),
               (SELECT count(*) FROM uv_sface128, gone WHERE collection_id = number),
               (SELECT count(*) FROM faces, gone WHERE collection_id = number),
               (SELECT count(*) FROM fv_sface128, gone WHERE collection_id = number)"""
    assert live.query(counts, number) == [(2, 2, 6, 6)]
    rekognition.delete_collection(CollectionId=collection)
    assert live.query(counts, number) == [(0, 0, 0, 0)]
