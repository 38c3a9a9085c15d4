"""Tags: hung on a collection by its ARN, in either form that AWS gives out."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from app.services.access_keys import NewKey
from tests.contract.ways import refused
from tests.live import LiveStack


@pytest.fixture
def arn(rekognition: Any, collection: str) -> str:
    return str(rekognition.describe_collection(CollectionId=collection)["CollectionARN"])


@pytest.fixture
def name(rekognition: Any) -> Iterator[str]:
    """The name of a collection that the test may make."""
    name = f"tagged-{uuid.uuid4()}"
    yield name
    if name in rekognition.list_collections()["CollectionIds"]:
        rekognition.delete_collection(CollectionId=name)


def tags(rekognition: Any, arn: str) -> dict[str, str]:
    return dict(rekognition.list_tags_for_resource(ResourceArn=arn)["Tags"])


def test_tags_are_added_replaced_and_removed(rekognition: Any, arn: str) -> None:
    assert tags(rekognition, arn) == {}
    answer = rekognition.tag_resource(ResourceArn=arn, Tags={"team": "events", "stage": "test", "empty": ""})
    assert answer.keys() == {"ResponseMetadata"}
    rekognition.tag_resource(ResourceArn=arn, Tags={"stage": "live"})
    assert tags(rekognition, arn) == {"team": "events", "stage": "live", "empty": ""}
    answer = rekognition.untag_resource(ResourceArn=arn, TagKeys=["team", "never there", "Stage"])
    assert answer.keys() == {"ResponseMetadata"}
    assert tags(rekognition, arn) == {"stage": "live", "empty": ""}
    rekognition.untag_resource(ResourceArn=arn, TagKeys=[])
    assert len(tags(rekognition, arn)) == 2


def test_a_collection_can_be_made_with_tags_and_named_by_both_forms_of_its_arn(rekognition: Any, name: str) -> None:
    given = {"Größe": "très grand = 2 + @:/-_."}
    short = rekognition.create_collection(CollectionId=name, Tags=given)["CollectionArn"]
    long = rekognition.describe_collection(CollectionId=name)["CollectionARN"]
    assert long == f"arn:{short}"
    assert tags(rekognition, short) == tags(rekognition, long) == given
    rekognition.tag_resource(ResourceArn=short, Tags={"by": "short"})
    rekognition.untag_resource(ResourceArn=short, TagKeys=["Größe"])
    assert tags(rekognition, long) == {"by": "short"}


def test_tags_go_with_their_collection(rekognition: Any, name: str) -> None:
    arn = rekognition.create_collection(CollectionId=name, Tags={"a": "b"})["CollectionArn"]
    rekognition.delete_collection(CollectionId=name)
    error = rekognition.exceptions.ResourceNotFoundException
    assert refused(error, rekognition.list_tags_for_resource, ResourceArn=arn) == f"The resource: {arn} does not exist"
    rekognition.create_collection(CollectionId=name)
    assert tags(rekognition, arn) == {}


@pytest.mark.parametrize(
    "change",
    [
        ("collection/", "collection/never-"),
        (":collection/", ":project/"),
        (":rekognition:", ":s3:"),
        (":collection/", ":collection/a/"),
        ("1:collection", "2:collection"),
    ],
    ids=["unknown collection", "other resource", "other service", "path", "other account"],
)
def test_an_arn_that_names_no_collection_of_ours_is_not_found(
    rekognition: Any, arn: str, change: tuple[str, str]
) -> None:
    other = arn.replace(*change)
    assert other != arn
    calls: dict[Any, dict[str, Any]] = {
        rekognition.list_tags_for_resource: {},
        rekognition.tag_resource: {"Tags": {"a": "b"}},
        rekognition.untag_resource: {"TagKeys": ["a"]},
    }
    for call, parameters in calls.items():
        error = rekognition.exceptions.ResourceNotFoundException
        assert refused(error, call, ResourceArn=other, **parameters) == f"The resource: {other} does not exist"


def test_another_account_does_not_reach_them(live: LiveStack, rekognition: Any, arn: str, stranger: NewKey) -> None:
    rekognition.tag_resource(ResourceArn=arn, Tags={"mine": "1"})
    client = live.rekognition_of(stranger)
    error = client.exceptions.ResourceNotFoundException
    refused(error, client.list_tags_for_resource, ResourceArn=arn)
    refused(error, client.tag_resource, ResourceArn=arn, Tags={"mine": "2"})
    refused(error, client.untag_resource, ResourceArn=arn, TagKeys=["mine"])
    assert tags(rekognition, arn) == {"mine": "1"}


def test_a_collection_has_at_most_two_hundred_tags(rekognition: Any, arn: str, name: str) -> None:
    most = {f"key-{number}": "value" for number in range(200)}
    rekognition.tag_resource(ResourceArn=arn, Tags=most)
    rekognition.tag_resource(ResourceArn=arn, Tags={"key-7": "another"})
    error = rekognition.exceptions.ServiceQuotaExceededException
    message = refused(error, rekognition.tag_resource, ResourceArn=arn, Tags={"one": "more"})
    assert message == "A resource can have at most 200 tags."
    assert tags(rekognition, arn) == most | {"key-7": "another"}
    short = rekognition.create_collection(CollectionId=name, Tags=most)["CollectionArn"]
    assert tags(rekognition, short) == most


@pytest.mark.parametrize(
    "wrong",
    [
        {"aws:team": "events"},
        {"a" * 129: ""},
        {"key": "a" * 257},
        {"what?": ""},
        {"key": "<b>"},
        {str(number): "" for number in range(201)},
    ],
    ids=["aws:", "long key", "long value", "key sign", "value sign", "201"],
)
def test_tags_outside_the_model_are_refused(rekognition: Any, arn: str, name: str, wrong: dict[str, str]) -> None:
    with pytest.raises(ClientError, match="ValidationException"):
        rekognition.tag_resource(ResourceArn=arn, Tags=wrong)
    with pytest.raises(ClientError, match="ValidationException"):
        rekognition.create_collection(CollectionId=name, Tags=wrong)
    assert tags(rekognition, arn) == {}
