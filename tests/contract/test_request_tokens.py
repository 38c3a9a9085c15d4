"""ClientRequestToken: one token stands for one request and its answer."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from app.services.access_keys import NewKey
from tests.contract.conftest import Store
from tests.contract.ways import refused
from tests.factories import random_embeddings
from tests.live import LiveStack


@pytest.fixture
def token() -> str:
    return uuid.uuid4().hex


@pytest.fixture
def face(collection: str, store: Store) -> str:
    (face,) = store(collection, random_embeddings(np.random.default_rng(22), 1))
    return face


def without_metadata(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name != "ResponseMetadata"}


def test_the_same_token_gives_the_same_answer_and_does_nothing_again(
    rekognition: Any, collection: str, face: str, token: str
) -> None:
    ada = {"CollectionId": collection, "UserId": "ada"}
    for _ in range(2):
        assert without_metadata(rekognition.create_user(**ada, ClientRequestToken=token)) == {}
    for call in (rekognition.associate_faces, rekognition.disassociate_faces):
        first, second = (
            without_metadata(call(**ada, FaceIds=[face], ClientRequestToken=f"{token}-{call.__name__}"))
            for _ in range(2)
        )
        assert first == second
        assert [{"FaceId": face}] in first.values(), "without the token the second answer would be empty"
    for _ in range(2):
        rekognition.delete_user(**ada, ClientRequestToken=f"{token}-delete")
    assert rekognition.describe_collection(CollectionId=collection)["UserCount"] == 0


def test_a_token_of_another_request_is_refused(rekognition: Any, collection: str, face: str, token: str) -> None:
    ada = {"CollectionId": collection, "UserId": "ada", "ClientRequestToken": token}
    rekognition.create_user(**ada)
    others = [
        (rekognition.create_user, {"UserId": "bob"}),
        (rekognition.create_user, {"CollectionId": "another"}),
        (rekognition.delete_user, {}),
        (rekognition.associate_faces, {"FaceIds": [face]}),
        (rekognition.disassociate_faces, {"FaceIds": [face]}),
    ]
    error = rekognition.exceptions.IdempotentParameterMismatchException
    for call, changes in others:
        message = refused(error, call, **ada | changes)
        assert message == f"The ClientRequestToken: {token} you have supplied is already in use."
    assert rekognition.list_users(CollectionId=collection)["Users"] == [{"UserId": "ada", "UserStatus": "CREATED"}]


def test_a_request_that_failed_leaves_its_token_free(rekognition: Any, collection: str, token: str) -> None:
    error = rekognition.exceptions.ResourceNotFoundException
    refused(error, rekognition.delete_user, CollectionId=collection, UserId="ada", ClientRequestToken=token)
    rekognition.create_user(CollectionId=collection, UserId="ada", ClientRequestToken=token)


def test_accounts_do_not_share_tokens(
    live: LiveStack, rekognition: Any, collection: str, stranger: NewKey, token: str
) -> None:
    rekognition.create_user(CollectionId=collection, UserId="ada", ClientRequestToken=token)
    client = live.rekognition_of(stranger)
    error = client.exceptions.ResourceNotFoundException
    refused(error, client.create_user, CollectionId=collection, UserId="ada", ClientRequestToken=token)


def test_the_same_token_at_the_same_time_is_one_request(rekognition: Any, collection: str, token: str) -> None:
    def create(_: int) -> int:
        answer = rekognition.create_user(CollectionId=collection, UserId="ada", ClientRequestToken=token)
        return int(answer["ResponseMetadata"]["HTTPStatusCode"])

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(create, range(8))) == [200] * 8
    assert rekognition.describe_collection(CollectionId=collection)["UserCount"] == 1


def test_different_tokens_at_the_same_time_are_one_user_and_conflicts(rekognition: Any, collection: str) -> None:
    def create(_: int) -> str:
        try:
            rekognition.create_user(CollectionId=collection, UserId="ada")
        except rekognition.exceptions.ConflictException:
            return "conflict"
        return "created"

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(create, range(8))) == ["conflict"] * 7 + ["created"]
    assert rekognition.describe_collection(CollectionId=collection)["UserCount"] == 1
