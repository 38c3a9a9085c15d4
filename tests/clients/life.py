"""The whole life of a collection, told once for every client that speaks Python or JSON."""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import pytest


class Refused(Exception):
    """What a client raised or printed for an error, by the name of the exception."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class Client(Protocol):
    """A way to call an operation; `call` gives its whole output, all pages of it, or raises Refused."""

    def call(self, operation: str, page_size: int | None = None, **parameters: Any) -> dict[str, Any]: ...


def refused(client: Client, code: str, operation: str, **parameters: Any) -> str:
    with pytest.raises(Refused) as caught:
        client.call(operation, **parameters)
    assert caught.value.code == code
    return caught.value.message


def live_a_life(client: Client, name: str, portraits: Mapping[str, bytes]) -> None:
    """Create, fill, search, use and delete a collection."""
    images = {person: {"Bytes": content} for person, content in portraits.items()}
    _is_born(client, name)
    _is_tagged(client, name)
    faces = _is_filled(client, name, images)
    _is_searched(client, name, images, faces)
    _gets_users(client, name, images, faces)
    _refuses(client, name)
    _ends(client, name, faces)


def _is_born(client: Client, name: str) -> None:
    for one in (name, name + "-other"):
        created = client.call("CreateCollection", CollectionId=one, Tags={"team": "events"})
        assert created["StatusCode"] == 200
    message = refused(client, "ResourceAlreadyExistsException", "CreateCollection", CollectionId=name)
    assert message == f"The collection id: {name} already exists"
    described = client.call("DescribeCollection", CollectionId=name)
    assert (described["FaceCount"], described["UserCount"]) == (0, 0)
    listed = client.call("ListCollections", page_size=1)
    assert {name, name + "-other"} <= set(listed["CollectionIds"])
    client.call("DeleteCollection", CollectionId=name + "-other")


def _is_tagged(client: Client, name: str) -> None:
    arn = client.call("DescribeCollection", CollectionId=name)["CollectionARN"]
    client.call("TagResource", ResourceArn=arn, Tags={"year": "2026"})
    client.call("UntagResource", ResourceArn=arn, TagKeys=["team"])
    assert client.call("ListTagsForResource", ResourceArn=arn)["Tags"] == {"year": "2026"}


def _is_filled(client: Client, name: str, images: Mapping[str, Any]) -> dict[str, str]:
    faces = {}
    for person in ("obama", "obama2", "biden"):
        answer = client.call("IndexFaces", CollectionId=name, Image=images[person], ExternalImageId=person)
        (record,) = answer["FaceRecords"]
        assert answer["UnindexedFaces"] == []
        faces[person] = record["Face"]["FaceId"]
    listed = client.call("ListFaces", CollectionId=name, page_size=1)["Faces"]
    assert {face["ExternalImageId"]: face["FaceId"] for face in listed} == faces
    assert client.call("DescribeCollection", CollectionId=name)["FaceCount"] == 3
    (detected,) = client.call("DetectFaces", Image=images["biden"])["FaceDetails"]
    assert detected["Confidence"] > 90
    return faces


def _is_searched(client: Client, name: str, images: Mapping[str, Any], faces: Mapping[str, str]) -> None:
    answer = client.call("SearchFaces", CollectionId=name, FaceId=faces["obama"], FaceMatchThreshold=90.5)
    assert list(_found(answer)) == ["obama2"]
    answer = client.call("SearchFacesByImage", CollectionId=name, Image=images["obama3"])
    assert set(_found(answer)) == {"obama", "obama2"}
    answer = client.call("SearchFacesByImage", CollectionId=name, Image=images["biden"], MaxFaces=1)
    assert list(_found(answer)) == ["biden"]
    same = client.call("CompareFaces", SourceImage=images["obama"], TargetImage=images["obama2"])
    assert (len(same["FaceMatches"]), same["UnmatchedFaces"]) == (1, [])
    other = client.call("CompareFaces", SourceImage=images["obama"], TargetImage=images["biden"])
    assert (other["FaceMatches"], len(other["UnmatchedFaces"])) == ([], 1)


def _found(answer: Mapping[str, Any]) -> Iterator[str]:
    return (match["Face"]["ExternalImageId"] for match in answer["FaceMatches"])


def _gets_users(client: Client, name: str, images: Mapping[str, Any], faces: Mapping[str, str]) -> None:
    of = {"CollectionId": name, "UserId": "ada"}
    client.call("CreateUser", **of)
    refused(client, "ConflictException", "CreateUser", **of)
    known = [faces["obama"], faces["obama2"]]
    associated = client.call("AssociateFaces", **of, FaceIds=known)
    assert {face["FaceId"] for face in associated["AssociatedFaces"]} == set(known)
    client.call("CreateUser", CollectionId=name, UserId="bea")
    listed = client.call("ListUsers", CollectionId=name, page_size=1)["Users"]
    assert {user["UserId"] for user in listed} == {"ada", "bea"}
    found = client.call("SearchUsersByImage", CollectionId=name, Image=images["obama3"])
    assert [match["User"]["UserId"] for match in found["UserMatches"]] == ["ada"]
    found = client.call("SearchUsers", CollectionId=name, FaceId=faces["biden"])
    assert found["UserMatches"] == []
    kept = client.call("DeleteFaces", CollectionId=name, FaceIds=known[:1])
    assert kept["UnsuccessfulFaceDeletions"][0]["Reasons"] == ["ASSOCIATED_TO_AN_EXISTING_USER"]
    gone = client.call("DisassociateFaces", **of, FaceIds=known)
    assert {face["FaceId"] for face in gone["DisassociatedFaces"]} == set(known)
    client.call("DeleteUser", **of)
    refused(client, "ResourceNotFoundException", "DeleteUser", **of)


def _refuses(client: Client, name: str) -> None:
    image = {"Bytes": b"no picture"}
    refused(client, "InvalidImageFormatException", "IndexFaces", CollectionId=name, Image=image)
    message = refused(client, "ResourceNotFoundException", "ListFaces", CollectionId="no-such-collection")
    assert message == "The collection id: no-such-collection does not exist"
    refused(client, "ValidationException", "SearchFacesByImage", CollectionId=name, Image=image, MaxFaces=5000)
    unknown = "11111111-2222-4333-8444-555555555555"
    message = refused(client, "InvalidParameterException", "SearchFaces", CollectionId=name, FaceId=unknown)
    assert message == "faceId was not found in the collection."
    refused(client, "InvalidPaginationTokenException", "ListFaces", CollectionId=name, NextToken="nonsense")


def _ends(client: Client, name: str, faces: Mapping[str, str]) -> None:
    gone = client.call("DeleteFaces", CollectionId=name, FaceIds=[faces["obama"], faces["biden"]])
    assert set(gone["DeletedFaces"]) == {faces["obama"], faces["biden"]}
    assert client.call("DescribeCollection", CollectionId=name)["FaceCount"] == 1
    assert client.call("DeleteCollection", CollectionId=name)["StatusCode"] == 200
    refused(client, "ResourceNotFoundException", "DeleteCollection", CollectionId=name)
