"""What a caller's retry does: it joins the work of the first try and never repeats it."""

import base64
import contextlib
import json
import os
import signal
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ReadTimeoutError

from tests.contract.wire import call
from tests.live import LiveStack
from tests.patience import wait_until


@pytest.fixture
def new_collection(hurried: LiveStack) -> str:
    """An empty collection in the stack that does not wait long."""
    name = f"retry-{uuid.uuid4()}"
    hurried.rekognition().create_collection(CollectionId=name)
    return name


@contextlib.contextmanager
def frozen_worker(stack: LiveStack) -> Iterator[threading.Event]:
    """Freeze the stack's worker until the block ends or the event is set."""
    go_on = threading.Event()
    pid = stack.pids["worker"]

    def thaw() -> None:
        go_on.wait(20)
        os.kill(pid, signal.SIGCONT)

    thread = threading.Thread(target=thaw)
    os.kill(pid, signal.SIGSTOP)
    thread.start()
    try:
        yield go_on
    finally:
        go_on.set()
        thread.join()


def jobs_of(stack: LiveStack, collection: str) -> list[tuple[str, int]]:
    return stack.query("SELECT status, attempt FROM jobs WHERE input->>'CollectionId' = %s", collection)  # type: ignore[return-value]


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def face_ids(answer: Any) -> list[str]:
    return [record["Face"]["FaceId"] for record in answer["FaceRecords"]]


def test_a_call_that_outlasts_the_wait_is_an_error_that_sdks_retry(
    hurried: LiveStack, new_collection: str, portraits: dict[str, bytes]
) -> None:
    client = hurried.rekognition()
    with frozen_worker(hurried), pytest.raises(client.exceptions.ThrottlingException) as caught:
        client.index_faces(CollectionId=new_collection, Image={"Bytes": portraits["obama"]})
    answer = caught.value.response
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 500
    assert answer["Error"] == {"Code": "ThrottlingException", "Message": "Service Unavailable"}


def test_the_retry_of_boto3_joins_the_job_of_its_first_try(
    hurried: LiveStack, new_collection: str, portraits: dict[str, bytes]
) -> None:
    client = hurried.rekognition(config=Config(retries={"mode": "standard", "total_max_attempts": 6}))
    tries: list[bytes] = []
    with frozen_worker(hurried) as go_on:

        def note(request: Any, **_: Any) -> None:
            tries.append(request.headers["amz-sdk-invocation-id"])
            if len(tries) == 2:
                go_on.set()

        client.meta.events.register("before-send.rekognition.IndexFaces", note)
        answer = client.index_faces(CollectionId=new_collection, Image={"Bytes": portraits["obama"]})
    assert len(tries) >= 2
    assert len(set(tries)) == 1
    assert answer["ResponseMetadata"]["RetryAttempts"] == len(tries) - 1
    assert jobs_of(hurried, new_collection) == [("SUCCEEDED", 1)]
    assert client.describe_collection(CollectionId=new_collection)["FaceCount"] == 1
    assert [face["FaceId"] for face in client.list_faces(CollectionId=new_collection)["Faces"]] == face_ids(answer)


def test_two_tries_at_the_same_time_are_one_job(live: LiveStack, collection: str, portraits: dict[str, bytes]) -> None:
    document = {"CollectionId": collection, "Image": {"Bytes": encoded(portraits["biden"])}}
    headers = {"amz-sdk-invocation-id": str(uuid.uuid4())}
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: call(live, "IndexFaces", document, headers=headers), range(4)))
    assert {answer.body for answer in answers} == {answers[0].body}
    assert answers[0].status == 200
    assert len(jobs_of(live, collection)) == 1


def test_the_retry_after_a_lost_answer_joins_the_job_of_its_first_try(
    live: LiveStack, collection: str, portraits: dict[str, bytes]
) -> None:
    client = live.rekognition(config=Config(read_timeout=1, retries={"mode": "standard", "total_max_attempts": 6}))
    tries: list[bytes] = []
    with frozen_worker(live) as go_on:

        def note(request: Any, **_: Any) -> None:
            tries.append(request.headers["amz-sdk-invocation-id"])
            if len(tries) == 2:
                go_on.set()

        client.meta.events.register("before-send.rekognition.IndexFaces", note)
        answer = client.index_faces(CollectionId=collection, Image={"Bytes": portraits["obama"]})
    assert len(tries) >= 2
    assert len(set(tries)) == 1
    assert jobs_of(live, collection) == [("SUCCEEDED", 1)]
    assert [face["FaceId"] for face in client.list_faces(CollectionId=collection)["Faces"]] == face_ids(answer)


def test_a_caller_who_lost_the_answer_and_asks_again_gets_the_same_faces(
    live: LiveStack, rekognition: Any, collection: str, portraits: dict[str, bytes]
) -> None:
    impatient = live.rekognition(config=Config(read_timeout=1, retries={"total_max_attempts": 1}))
    parameters = {"CollectionId": collection, "Image": {"Bytes": portraits["obama"]}, "ExternalImageId": "obama"}
    with frozen_worker(live), pytest.raises(ReadTimeoutError):
        impatient.index_faces(**parameters)
    answer = rekognition.index_faces(**parameters)
    assert [face["FaceId"] for face in rekognition.list_faces(CollectionId=collection)["Faces"]] == face_ids(answer)
    # The job of the first call runs beside that of the second, and either may be the last to end.
    wait_until(lambda: jobs_of(live, collection) == [("SUCCEEDED", 1)] * 2)


def test_the_same_call_by_several_callers_at_once_stores_its_faces_once(
    live: LiveStack, rekognition: Any, collection: str, portraits: dict[str, bytes]
) -> None:
    parameters = {"CollectionId": collection, "Image": {"Bytes": portraits["obama"]}, "ExternalImageId": "obama"}
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: face_ids(rekognition.index_faces(**parameters)), range(4)))
    assert answers == [answers[0]] * 4
    assert rekognition.describe_collection(CollectionId=collection)["FaceCount"] == 1
    assert jobs_of(live, collection) == [("SUCCEEDED", 1)] * 4


def test_the_invocation_id_alone_joins_nothing(live: LiveStack, collection: str, portraits: dict[str, bytes]) -> None:
    headers = {"amz-sdk-invocation-id": str(uuid.uuid4())}
    for name in ("obama", "biden"):
        document = {"CollectionId": collection, "Image": {"Bytes": encoded(portraits[name])}, "ExternalImageId": name}
        (record,) = call(live, "IndexFaces", document, headers=headers).json["FaceRecords"]
        assert record["Face"]["ExternalImageId"] == name
    assert len(jobs_of(live, collection)) == 2


@pytest.mark.parametrize("external_id", [{}, {"ExternalImageId": "one"}], ids=["without", "with"])
def test_indexing_the_same_image_again_gives_the_same_faces(
    rekognition: Any, collection: str, portraits: dict[str, bytes], external_id: dict[str, str]
) -> None:
    parameters = {"CollectionId": collection, "Image": {"Bytes": portraits["obama"]}, **external_id}
    first, second = rekognition.index_faces(**parameters), rekognition.index_faces(**parameters)
    assert face_ids(first) == face_ids(second)
    assert first["FaceRecords"] == second["FaceRecords"]
    assert rekognition.describe_collection(CollectionId=collection)["FaceCount"] == 1


def test_the_same_image_under_another_external_id_is_another_face(
    rekognition: Any, collection: str, portraits: dict[str, bytes]
) -> None:
    parameters = {"CollectionId": collection, "Image": {"Bytes": portraits["obama"]}}
    one = rekognition.index_faces(**parameters, ExternalImageId="one")["FaceRecords"][0]["Face"]
    two = rekognition.index_faces(**parameters, ExternalImageId="two")["FaceRecords"][0]["Face"]
    assert one["FaceId"] != two["FaceId"]
    assert one["ImageId"] == two["ImageId"]
    assert rekognition.describe_collection(CollectionId=collection)["FaceCount"] == 2


def test_a_refusal_is_remembered_for_the_retry_too(live: LiveStack, collection: str) -> None:
    document = {"CollectionId": collection, "Image": {"Bytes": encoded(b"no image")}}
    headers = {"amz-sdk-invocation-id": str(uuid.uuid4())}
    answers = [call(live, "IndexFaces", json.dumps(document).encode(), headers=headers) for _ in range(2)]
    assert [answer.json["__type"] for answer in answers] == ["InvalidImageFormatException"] * 2
    assert jobs_of(live, collection) == [("FAILED", 1)]
