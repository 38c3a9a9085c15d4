"""The life of a collection, as boto3 sees it from its creation to its end."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.services.access_keys import NewKey
from tests.contract.ways import refused
from tests.live import LiveStack

FACE_MEMBERS = {"FaceId", "BoundingBox", "ImageId", "Confidence", "IndexFacesModelVersion"}


def external_ids(matches: list[dict[str, Any]]) -> list[str]:
    return [match["Face"]["ExternalImageId"] for match in matches]


def test_a_new_collection_has_an_arn_and_the_newest_face_model_version(rekognition: Any) -> None:
    name = f"new-{uuid.uuid4()}"
    answer = rekognition.create_collection(CollectionId=name, Tags={"team": "events"})
    assert answer["ResponseMetadata"]["RequestId"]
    assert answer["StatusCode"] == 200
    assert answer["FaceModelVersion"] == "1.0"
    prefix, _, ending = answer["CollectionArn"].rpartition(":")
    assert ending == f"collection/{name}"
    # AWS leaves «arn:» out of this one answer.
    assert prefix.split(":")[:3] == ["aws", "rekognition", "us-east-1"]
    assert rekognition.describe_collection(CollectionId=name)["CollectionARN"] == "arn:" + answer["CollectionArn"]


def test_a_second_collection_of_the_same_name_is_refused(rekognition: Any, collection: str) -> None:
    error = rekognition.exceptions.ResourceAlreadyExistsException
    message = refused(error, rekognition.create_collection, CollectionId=collection)
    assert message == f"The collection id: {collection} already exists"


def test_names_differ_in_case(rekognition: Any, collection: str) -> None:
    other = collection.upper()
    assert rekognition.create_collection(CollectionId=other)["StatusCode"] == 200
    assert rekognition.delete_collection(CollectionId=other)["StatusCode"] == 200
    assert rekognition.describe_collection(CollectionId=collection)["FaceCount"] == 0


def test_an_empty_collection_describes_itself(rekognition: Any, collection: str) -> None:
    answer = rekognition.describe_collection(CollectionId=collection)
    assert answer["FaceCount"] == 0
    assert answer["UserCount"] == 0
    assert answer["FaceModelVersion"] == "1.0"
    assert abs(datetime.now(UTC) - answer["CreationTimestamp"]) < timedelta(minutes=2)


def test_collections_are_listed_page_by_page(rekognition: Any, gallery: str, collection: str) -> None:
    paginator = rekognition.get_paginator("list_collections")
    pages = list(paginator.paginate(PaginationConfig={"PageSize": 1}))
    assert all(len(page["CollectionIds"]) == len(page["FaceModelVersions"]) == 1 for page in pages)
    assert "NextToken" not in pages[-1]
    names = [page["CollectionIds"][0] for page in pages]
    assert len(set(names)) == len(names)
    assert {gallery, collection} <= set(names)
    assert rekognition.list_collections(MaxResults=0)["CollectionIds"] == names


def test_another_account_sees_nothing_of_it(live: LiveStack, stranger: NewKey, gallery: str) -> None:
    client = live.rekognition_of(stranger)
    assert gallery not in client.list_collections()["CollectionIds"]
    for call in (client.describe_collection, client.list_faces, client.delete_collection):
        message = refused(client.exceptions.ResourceNotFoundException, call, CollectionId=gallery)
        assert message == f"The collection id: {gallery} does not exist"


def test_indexing_answers_with_the_face_and_what_was_seen_of_it(
    rekognition: Any, collection: str, portraits: dict[str, bytes]
) -> None:
    image = {"Bytes": portraits["obama"]}
    answer = rekognition.index_faces(CollectionId=collection, Image=image, ExternalImageId="a:b-1")
    (record,) = answer["FaceRecords"]
    assert answer["FaceModelVersion"] == "1.0"
    assert answer["UnindexedFaces"] == []
    assert "OrientationCorrection" not in answer
    assert record["Face"].keys() == FACE_MEMBERS | {"ExternalImageId"}
    assert record["Face"]["ExternalImageId"] == "a:b-1"
    assert record["Face"]["IndexFacesModelVersion"] == "1.0"
    assert uuid.UUID(record["Face"]["FaceId"]).version == 4
    assert uuid.UUID(record["Face"]["ImageId"]).version == 5
    assert record["FaceDetail"].keys() == {"BoundingBox", "Confidence", "Landmarks", "Pose", "Quality"}
    assert len(record["FaceDetail"]["Landmarks"]) == 5
    assert rekognition.describe_collection(CollectionId=collection)["FaceCount"] == 1
    (listed,) = rekognition.list_faces(CollectionId=collection)["Faces"]
    assert listed == record["Face"]


def test_faces_are_listed_page_by_page_and_in_one_order(rekognition: Any, gallery: str) -> None:
    whole = rekognition.list_faces(CollectionId=gallery, MaxResults=0)
    assert whole["FaceModelVersion"] == "1.0"
    assert "NextToken" not in whole
    paginator = rekognition.get_paginator("list_faces")
    pages = list(paginator.paginate(CollectionId=gallery, PaginationConfig={"PageSize": 1}))
    assert [len(page["Faces"]) for page in pages] == [1, 1, 1, 1]
    assert [page["Faces"][0] for page in pages] == whole["Faces"]


def test_faces_can_be_listed_by_their_ids_and_unknown_ids_are_absent(rekognition: Any, gallery: str) -> None:
    wanted = [face["FaceId"] for face in rekognition.list_faces(CollectionId=gallery)["Faces"]][1:3]
    answer = rekognition.list_faces(CollectionId=gallery, FaceIds=[*wanted, str(uuid.uuid4())])
    assert [face["FaceId"] for face in answer["Faces"]] == wanted


@pytest.mark.parametrize("token", ["nonsense", "AAAA", "é", "a" * 255])
def test_a_token_that_was_never_given_out_is_refused(rekognition: Any, gallery: str, token: str) -> None:
    error = rekognition.exceptions.InvalidPaginationTokenException
    assert refused(error, rekognition.list_collections, NextToken=token) == "Invalid Pagination Token"
    assert refused(error, rekognition.list_faces, CollectionId=gallery, NextToken=token) == "Invalid Pagination Token"


def test_the_token_of_one_list_is_refused_by_the_other(rekognition: Any, gallery: str, collection: str) -> None:
    error = rekognition.exceptions.InvalidPaginationTokenException
    token = rekognition.list_collections(MaxResults=1)["NextToken"]
    refused(error, rekognition.list_faces, CollectionId=gallery, NextToken=token)
    token = rekognition.list_faces(CollectionId=gallery, MaxResults=1)["NextToken"]
    refused(error, rekognition.list_faces, CollectionId=collection, NextToken=token)


def test_a_search_by_face_finds_the_same_person_but_not_the_face_itself(rekognition: Any, gallery: str) -> None:
    faces = {face["ExternalImageId"]: face for face in rekognition.list_faces(CollectionId=gallery)["Faces"]}
    searched = faces["obama"]["FaceId"]
    answer = rekognition.search_faces(CollectionId=gallery, FaceId=searched)
    assert answer["SearchedFaceId"] == searched
    assert answer["FaceModelVersion"] == "1.0"
    assert sorted(external_ids(answer["FaceMatches"])) == ["obama2", "obama3"]
    similarities = [match["Similarity"] for match in answer["FaceMatches"]]
    assert similarities == sorted(similarities, reverse=True)
    assert all(80 <= similarity <= 100 for similarity in similarities)
    every = rekognition.search_faces(CollectionId=gallery, FaceId=searched, FaceMatchThreshold=0)
    assert sorted(external_ids(every["FaceMatches"])) == ["biden", "obama2", "obama3"]
    one = rekognition.search_faces(CollectionId=gallery, FaceId=searched, FaceMatchThreshold=0, MaxFaces=1)
    assert one["FaceMatches"] == every["FaceMatches"][:1]


def test_a_search_by_an_unknown_face_is_an_invalid_parameter(rekognition: Any, gallery: str) -> None:
    error = rekognition.exceptions.InvalidParameterException
    message = refused(error, rekognition.search_faces, CollectionId=gallery, FaceId=str(uuid.uuid4()))
    assert message == "faceId was not found in the collection."


def test_a_search_by_image_finds_the_person(rekognition: Any, gallery: str, portraits: dict[str, bytes]) -> None:
    answer = rekognition.search_faces_by_image(CollectionId=gallery, Image={"Bytes": portraits["obama2"]})
    assert external_ids(answer["FaceMatches"])[0] == "obama2"
    assert sorted(external_ids(answer["FaceMatches"])) == ["obama", "obama2", "obama3"]
    assert answer["SearchedFaceConfidence"] > 90
    assert answer["SearchedFaceBoundingBox"].keys() == {"Width", "Height", "Left", "Top"}
    nearest = rekognition.search_faces_by_image(
        CollectionId=gallery, Image={"Bytes": portraits["biden"]}, MaxFaces=1, FaceMatchThreshold=0
    )
    assert external_ids(nearest["FaceMatches"]) == ["biden"]


def test_a_search_without_a_match_is_an_empty_answer(
    rekognition: Any, collection: str, portraits: dict[str, bytes]
) -> None:
    answer = rekognition.search_faces_by_image(CollectionId=collection, Image={"Bytes": portraits["obama"]})
    assert answer["FaceMatches"] == []
    assert answer["SearchedFaceConfidence"] > 90


def test_deleting_faces_names_those_that_are_gone_and_those_that_never_were(
    rekognition: Any, collection: str, portraits: dict[str, bytes]
) -> None:
    record = rekognition.index_faces(CollectionId=collection, Image={"Bytes": portraits["obama"]})["FaceRecords"][0]
    known, unknown = record["Face"]["FaceId"], str(uuid.uuid4())
    answer = rekognition.delete_faces(CollectionId=collection, FaceIds=[unknown, known, known])
    assert answer["DeletedFaces"] == [known]
    assert answer["UnsuccessfulFaceDeletions"] == [{"FaceId": unknown, "Reasons": ["FACE_NOT_FOUND"]}]
    assert rekognition.describe_collection(CollectionId=collection)["FaceCount"] == 0
    assert rekognition.list_faces(CollectionId=collection)["Faces"] == []
    again = rekognition.delete_faces(CollectionId=collection, FaceIds=[known])
    assert again["DeletedFaces"] == []


def test_a_collection_can_be_deleted_once(
    live: LiveStack, rekognition: Any, collection: str, portraits: dict[str, bytes]
) -> None:
    face = rekognition.index_faces(CollectionId=collection, Image={"Bytes": portraits["obama"]})["FaceRecords"][0]
    answer = rekognition.delete_collection(CollectionId=collection)
    assert answer["StatusCode"] == 200
    error = rekognition.exceptions.ResourceNotFoundException
    for call in (rekognition.delete_collection, rekognition.describe_collection, rekognition.list_faces):
        message = refused(error, call, CollectionId=collection)
        assert message == f"The collection id: {collection} does not exist"
    assert live.query("SELECT count(*) FROM faces WHERE face_id = %s", face["Face"]["FaceId"]) == [(0,)]


def test_every_operation_names_a_collection_that_does_not_exist(rekognition: Any, portraits: dict[str, bytes]) -> None:
    nothing, image, face_id = "no-such-collection", {"Bytes": portraits["obama"]}, str(uuid.uuid4())
    calls = {
        rekognition.index_faces: {"Image": image},
        rekognition.search_faces_by_image: {"Image": image},
        rekognition.search_faces: {"FaceId": face_id},
        rekognition.delete_faces: {"FaceIds": [face_id]},
        rekognition.create_user: {"UserId": "ada"},
        rekognition.delete_user: {"UserId": "ada"},
        rekognition.list_users: {},
        rekognition.associate_faces: {"UserId": "ada", "FaceIds": [face_id]},
        rekognition.disassociate_faces: {"UserId": "ada", "FaceIds": [face_id]},
        rekognition.search_users: {"UserId": "ada"},
        rekognition.search_users_by_image: {"Image": image},
    }
    for call, parameters in calls.items():
        error = rekognition.exceptions.ResourceNotFoundException
        message = refused(error, call, CollectionId=nothing, **parameters)
        assert message == f"The collection id: {nothing} does not exist"
