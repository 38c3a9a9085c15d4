"""/v1/collections/{id}/reprocess and /crops over HTTP: answers, refusals, and who may do what."""

from typing import Any

import pytest

from app.domain.scopes import Scope
from app.services.access_keys import NewKey
from tests.contract.conftest import MakeKey
from tests.contract.wire import problem
from tests.live import Answer, LiveStack

pytestmark = pytest.mark.models

ACTIONS = ("/cancel", "/rollback", "/finish")


def call(live: LiveStack, method: str, name: str, rest: str, body: Any = None, key: NewKey | None = None) -> Answer:
    return live.call(method, f"/v1/collections/{name}{rest}", body, key=None if key is None else key.api_key)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 400, "ValidationException"),
        ({"FaceModelVersion": 2}, 400, "ValidationException"),
        ({"FaceModelVersion": "9.9"}, 400, "InvalidParameterException"),
        ({"FaceModelVersion": "1.0"}, 400, "InvalidParameterException"),
        ({"FaceModelVersion": "9.9", "OnFailure": "retry"}, 400, "ValidationException"),
        ({"FaceModelVersion": "9.9", "Also": 1}, 400, "ValidationException"),
        ([], 400, "SerializationException"),
    ],
)
def test_what_cannot_be_begun_is_refused(live: LiveStack, collection: str, body: Any, status: int, code: str) -> None:
    problem(call(live, "POST", collection, "/reprocess", body), status, code)
    problem(call(live, "GET", collection, "/reprocess"), 404, "ResourceNotFoundException")


def test_a_collection_that_was_never_reprocessed_says_so(live: LiveStack, collection: str) -> None:
    for rest in ("/reprocess", "/reprocess/failures"):
        problem(call(live, "GET", collection, rest), 404, "ResourceNotFoundException")
    for action in ACTIONS:
        problem(call(live, "POST", collection, f"/reprocess{action}", {}), 404, "ResourceNotFoundException")


def test_another_accounts_collection_is_not_there(live: LiveStack, collection: str, stranger: NewKey) -> None:
    asked = {"FaceModelVersion": "2.0"}
    problem(call(live, "POST", collection, "/reprocess", asked, stranger), 404, "ResourceNotFoundException")
    for method, rest in (("GET", "/reprocess"), ("GET", "/crops"), ("DELETE", "/crops")):
        problem(call(live, method, collection, rest, key=stranger), 404, "ResourceNotFoundException")


def test_a_key_needs_the_permission_on_the_collection(live: LiveStack, collection: str, make_key: MakeKey) -> None:
    reader = make_key("default", scopes=(Scope(("Describe*",), ("*",)),))
    mover = make_key("default", scopes=(Scope(("ReprocessCollection",), ("test-*",)),))
    problem(call(live, "POST", collection, "/reprocess", {}, reader), 403, "AccessDeniedException")
    problem(call(live, "POST", collection, "/reprocess", {}, mover), 400, "ValidationException")
    problem(call(live, "POST", "other", "/reprocess", {}, mover), 403, "AccessDeniedException")
    assert call(live, "GET", collection, "/crops", key=reader).status == 200
    problem(call(live, "GET", collection, "/crops", key=mover), 403, "AccessDeniedException")
    problem(call(live, "PUT", collection, "/crops", {"KeepCrops": True}, reader), 403, "AccessDeniedException")


def test_crops_are_kept_from_the_moment_that_says_so_and_deleted_on_demand(
    live: LiveStack, rekognition: Any, collection: str, portraits: dict[str, bytes]
) -> None:
    def index(name: str) -> None:
        rekognition.index_faces(CollectionId=collection, Image={"Bytes": portraits[name]}, ExternalImageId=name)

    index("obama")
    assert call(live, "GET", collection, "/crops").json == {"CollectionId": collection, "KeepCrops": False, "Crops": 0}
    assert call(live, "PUT", collection, "/crops", {"KeepCrops": True}).json["KeepCrops"] is True
    arn = rekognition.describe_collection(CollectionId=collection)["CollectionARN"]
    assert rekognition.list_tags_for_resource(ResourceArn=arn)["Tags"] == {"rekollect:keep-crops": "true"}
    index("biden")
    assert call(live, "GET", collection, "/crops").json["Crops"] == 1
    rekognition.untag_resource(ResourceArn=arn, TagKeys=["rekollect:keep-crops"])
    index("obama2")
    assert call(live, "GET", collection, "/crops").json == {"CollectionId": collection, "KeepCrops": False, "Crops": 1}
    assert call(live, "DELETE", collection, "/crops").json == {"Deleted": 1, "Left": 0}
    assert call(live, "GET", collection, "/crops").json["Crops"] == 0
    problem(call(live, "PUT", collection, "/crops", {"KeepCrops": "yes"}), 400, "ValidationException")
