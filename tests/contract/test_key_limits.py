"""What an access key may do: operations and collections, by either way in, and that nothing else gets through."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from app.domain.scopes import Scope
from app.services.access_keys import NewKey
from tests.contract.conftest import MakeKey
from tests.contract.ways import refused
from tests.contract.wire import call, key_of, problem, rekognition_error
from tests.live import LiveStack


@pytest.fixture(scope="module")
def limited(make_key: MakeKey) -> Callable[..., NewKey]:
    """Make a key of the first account with scopes, each written as operations and collections."""

    def make(*scopes: tuple[list[str], list[str]]) -> NewKey:
        return make_key("default", scopes=tuple(Scope(tuple(one), tuple(other)) for one, other in scopes))

    return make


@pytest.fixture(scope="module")
def searcher(limited: Callable[..., NewKey]) -> NewKey:
    """A key that may search the collections whose names begin with `contract-`."""
    return limited((["Search*"], ["contract-*"]))


def denial(key: NewKey, operation: str, resource: str) -> str:
    user = f"arn:aws:iam::000000000001:user/{key.access_key_id}"
    return f"User: {user} is not authorized to perform: rekognition:{operation} on resource: {resource}"


def collection_arn(name: str) -> str:
    return f"arn:aws:rekognition:us-east-1:000000000001:collection/{name}"


def test_a_limited_key_does_what_its_scopes_hold(
    live: LiveStack, searcher: NewKey, gallery: str, portraits: dict[str, bytes]
) -> None:
    image = {"Bytes": portraits["obama"]}
    client = live.rekognition_of(searcher)
    assert len(client.search_faces_by_image(CollectionId=gallery, Image=image)["FaceMatches"]) == 3
    assert client.search_users_by_image(CollectionId=gallery, Image=image)["UserMatches"] == []


@pytest.mark.parametrize(
    ("operation", "input_"),
    [
        ("DescribeCollection", {"CollectionId": "contract-gallery"}),
        ("ListFaces", {"CollectionId": "contract-gallery"}),
        ("DeleteCollection", {"CollectionId": "contract-gallery"}),
        ("IndexFaces", {"CollectionId": "contract-gallery", "Image": {"Bytes": "AAAA"}}),
        ("SearchFacesByImage", {"CollectionId": "other-gallery", "Image": {"Bytes": "AAAA"}}),
        ("SearchFaces", {"CollectionId": "xcontract-1", "FaceId": str(uuid.uuid4())}),
        ("SearchUsers", {"CollectionId": "Contract-1", "UserId": "ada"}),
        ("CreateUser", {"CollectionId": "contract-gallery", "UserId": "ada"}),
    ],
)
def test_what_is_outside_the_scopes_is_denied_with_operation_and_arn(
    live: LiveStack, searcher: NewKey, gallery: str, operation: str, input_: dict[str, Any]
) -> None:
    answer = call(live, operation, input_, credentials=key_of(searcher))
    message = denial(searcher, operation, collection_arn(input_["CollectionId"]))
    assert rekognition_error(answer, "AccessDeniedException") == message
    assert live.rekognition().describe_collection(CollectionId=gallery)["UserCount"] == 0


@pytest.mark.parametrize(
    ("operation", "input_"),
    [
        ("ListCollections", {}),
        ("DetectFaces", {"Image": {"Bytes": "AAAA"}}),
        ("CompareFaces", {"SourceImage": {"Bytes": "AAAA"}, "TargetImage": {"Bytes": "AAAA"}}),
    ],
)
def test_an_operation_without_a_collection_is_denied_on_everything(
    live: LiveStack, searcher: NewKey, operation: str, input_: dict[str, Any]
) -> None:
    answer = call(live, operation, input_, credentials=key_of(searcher))
    assert rekognition_error(answer, "AccessDeniedException") == denial(searcher, operation, "*")


def test_boto3_knows_the_denial_by_its_class(live: LiveStack, searcher: NewKey, gallery: str) -> None:
    client = live.rekognition_of(searcher)
    error = client.exceptions.AccessDeniedException
    assert refused(error, client.delete_collection, CollectionId=gallery).startswith("User: arn:aws:iam::")


def test_a_wrong_request_is_told_before_it_is_denied(live: LiveStack, searcher: NewKey) -> None:
    answer = call(live, "DeleteCollection", {"CollectionId": "a b"}, credentials=key_of(searcher))
    assert answer.json["__type"] == "ValidationException"


def test_collections_that_are_not_there_are_denied_like_those_that_are(live: LiveStack, searcher: NewKey) -> None:
    names = ("never-was", "other")
    answers = [call(live, "ListFaces", {"CollectionId": name}, credentials=key_of(searcher)).json for name in names]
    assert {answer["__type"] for answer in answers} == {"AccessDeniedException"}


def test_scopes_add_up_and_do_not_mix(live: LiveStack, limited: Callable[..., NewKey], gallery: str) -> None:
    key = limited((["ListFaces", "DescribeCollection"], ["contract-*"]), (["*Collection"], ["scratch-?"]))
    client = live.rekognition_of(key)
    assert client.describe_collection(CollectionId=gallery)["FaceCount"] == 4
    client.create_collection(CollectionId="scratch-1")
    denied = client.exceptions.AccessDeniedException
    refused(denied, client.list_faces, CollectionId="scratch-1")
    refused(denied, client.delete_collection, CollectionId=gallery)
    refused(denied, client.create_collection, CollectionId="scratch-22")
    client.delete_collection(CollectionId="scratch-1")


def test_tags_are_denied_by_the_collection_that_an_arn_names(live: LiveStack, limited: Callable[..., NewKey]) -> None:
    client = live.rekognition_of(limited((["*Tag*", "*Collection"], ["mine-*"])))
    arn = client.create_collection(CollectionId="mine-1", Tags={"a": "b"})["CollectionArn"]
    assert client.list_tags_for_resource(ResourceArn=arn)["Tags"] == {"a": "b"}
    error = client.exceptions.AccessDeniedException
    other = collection_arn("contract-gallery")
    for call_, parameters in ((client.tag_resource, {"Tags": {"a": "c"}}), (client.untag_resource, {"TagKeys": ["a"]})):
        message = refused(error, call_, ResourceArn=other, **parameters)
        assert message.endswith(f"on resource: {other}")
    client.delete_collection(CollectionId="mine-1")


def test_a_collection_with_tags_needs_the_permission_to_tag(
    live: LiveStack, rekognition: Any, limited: Callable[..., NewKey]
) -> None:
    key = limited((["CreateCollection"], ["*"]))
    client, name = live.rekognition_of(key), f"untagged-{uuid.uuid4()}"
    error = client.exceptions.AccessDeniedException
    message = refused(error, client.create_collection, CollectionId=name, Tags={"a": "b"})
    assert message == denial(key, "TagResource", collection_arn(name))
    client.create_collection(CollectionId=name)
    rekognition.delete_collection(CollectionId=name)


def test_jobs_are_denied_by_operation_and_collection(
    live: LiveStack, searcher: NewKey, gallery: str, portraits: dict[str, bytes]
) -> None:
    def submit(operation: str, collection: str) -> Any:
        body = {"Operation": operation, "Input": {"CollectionId": collection, "Image": {"Bytes": "AAAA"}}}
        return live.call("POST", "/v1/jobs", body, key=searcher.api_key)

    jobs = live.query("SELECT count(*) FROM jobs")
    for operation, collection in (("IndexFaces", gallery), ("SearchFacesByImage", "other")):
        detail = problem(submit(operation, collection), 403, "AccessDeniedException")
        assert detail == denial(searcher, operation, collection_arn(collection))
    assert live.query("SELECT count(*) FROM jobs") == jobs
    assert submit("SearchFacesByImage", gallery).status == 202


def test_a_job_outside_the_scopes_cannot_be_read(
    live: LiveStack, searcher: NewKey, gallery: str, portraits: dict[str, bytes]
) -> None:
    image = {"Bytes": portraits["obama"]}
    found = live.submit("SearchFacesByImage", {"CollectionId": gallery, "Image": image}).json["JobId"]
    seen = live.submit("DetectFaces", {"Image": image}).json["JobId"]
    for job_id in (found, seen):
        assert live.finished(job_id)["Status"] == "SUCCEEDED"
    assert live.call("GET", f"/v1/jobs/{found}", key=searcher.api_key).json["Result"]["FaceMatches"]
    denied = live.call("GET", f"/v1/jobs/{seen}?wait=1", key=searcher.api_key)
    assert problem(denied, 403, "AccessDeniedException") == denial(searcher, "DetectFaces", "*")


def test_a_key_that_may_do_nothing_may_do_nothing(live: LiveStack, make_key: MakeKey) -> None:
    nothing = make_key("default", scopes=())
    answer = call(live, "ListCollections", {}, credentials=key_of(nothing))
    assert rekognition_error(answer, "AccessDeniedException") == denial(nothing, "ListCollections", "*")
