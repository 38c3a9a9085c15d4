"""How often a key may call, and what an AWS client makes of the refusal."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from urllib.parse import unquote

import pytest
import redis
from botocore.config import Config

from app.services.access_keys import NewKey
from tests.contract.conftest import MakeKey
from tests.contract.wire import call, key_of, problem, rekognition_error
from tests.live import Answer, LiveStack

Exceed = Callable[[NewKey, float], None]

SLOW = 0.05  # calls per second: after the first two the next one is 20 s away


@pytest.fixture
def slow(make_key: MakeKey) -> NewKey:
    """A key with two calls to spend."""
    return make_key("default", rate=SLOW)


@pytest.fixture
def exceeded_for(live: LiveStack) -> Exceed:
    """Move the moment back at which a key's bucket was full the last time."""

    def move(key: NewKey, seconds: float) -> None:
        with valkey_of(live) as client:
            full = client.hget(bucket(key), "full")
            assert full is not None
            client.hset(bucket(key), "full", str(float(full) - seconds))

    return move


def valkey_of(stack: LiveStack) -> redis.Redis:
    return redis.Redis(unix_socket_path=unquote(stack.stack.settings.redis_url.removeprefix("redis+socket://")))


def bucket(key: NewKey) -> str:
    return f"rekollect:rate:{key.access_key_id}"


def spend(live: LiveStack, key: NewKey) -> Answer:
    return call(live, "ListCollections", {}, credentials=key_of(key))


def test_a_burst_is_throttled_and_the_client_learns_how_long_to_wait(live: LiveStack, slow: NewKey) -> None:
    assert [spend(live, slow).status for _ in range(2)] == [200, 200]
    answer = spend(live, slow)
    message = rekognition_error(answer, "ThrottlingException")
    assert message == "Slow down; sudden increase in rate of requests."
    assert 15_000 < int(answer.headers["x-amz-retry-after"]) <= 20_000
    assert spend(live, live.key).status == 200, "other keys go on"


def test_boto3_retries_a_throttled_call_and_ends_in_the_exception(
    live: LiveStack, slow: NewKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=waits.append))
    client = live.rekognition_of(slow, config=Config(retries={"total_max_attempts": 3, "mode": "standard"}))
    for _ in range(2):
        assert client.list_collections()["ResponseMetadata"]["RetryAttempts"] == 0
    with pytest.raises(client.exceptions.ThrottlingException) as caught:
        client.list_collections()
    metadata = caught.value.response["ResponseMetadata"]
    assert (metadata["HTTPStatusCode"], metadata["RetryAttempts"], metadata["MaxAttemptsReached"]) == (400, 2, True)
    assert len(waits) == 2
    assert all(wait >= 5 for wait in waits), "botocore waits as long as it is told, up to 5 s more than by itself"


def test_boto3_gets_through_once_it_has_waited(live: LiveStack, make_key: MakeKey) -> None:
    key = make_key("default", rate=4)
    client = live.rekognition_of(key, config=Config(retries={"total_max_attempts": 3, "mode": "standard"}))
    answers = [client.list_collections()["ResponseMetadata"]["RetryAttempts"] for _ in range(11)]
    assert max(answers) > 0, "the bucket holds eight calls"


def test_both_ways_in_count_against_one_rate(live: LiveStack, slow: NewKey) -> None:
    job = "/v1/jobs/00000000-0000-0000-0000-000000000000"
    assert spend(live, slow).status == 200
    assert live.call("GET", job, key=slow.api_key).status == 404
    answer = live.call("GET", job, key=slow.api_key)
    problem(answer, 429, "ThrottlingException")
    assert answer.json["retryable"] is True
    assert 15 < int(answer.headers["retry-after"]) <= 20
    rekognition_error(spend(live, slow), "ThrottlingException")


def test_a_wrong_signature_spends_nothing(live: LiveStack, slow: NewKey) -> None:
    for _ in range(4):
        wrong = call(live, "ListCollections", {}, credentials=key_of(slow, secret_key="wrong"))
        assert wrong.json["__type"] == "InvalidSignatureException"
    assert spend(live, slow).status == 200


def test_who_exceeds_the_rate_for_long_is_told_so(live: LiveStack, slow: NewKey, exceeded_for: Exceed) -> None:
    assert [spend(live, slow).status for _ in range(2)] == [200, 200]
    exceeded_for(slow, 11)
    answer = spend(live, slow)
    message = rekognition_error(answer, "ProvisionedThroughputExceededException")
    assert message == "Provisioned Rate exceeded."
    assert "x-amz-retry-after" in answer.headers
    job = live.call("GET", "/v1/jobs/any", key=slow.api_key)
    problem(job, 429, "ProvisionedThroughputExceededException")
    assert "retry-after" in job.headers


def test_a_key_without_a_rate_of_its_own_has_that_of_the_setting(live: LiveStack, hurried: LiveStack) -> None:
    assert spend(hurried, hurried.key).status == 200
    with valkey_of(hurried) as client:
        assert 1900 < float(client.hget(bucket(hurried.key), "tokens") or 0) < 2000
    assert spend(live, live.key).status == 200
    with valkey_of(live) as client:
        assert not client.exists(bucket(live.key)), "without a setting there is no limit"


@contextmanager
def frozen_valkey(stack: LiveStack) -> Iterator[None]:
    pid = stack.pids["valkey"]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_while_valkey_does_not_answer_nobody_is_refused(hurried: LiveStack) -> None:
    hurried.query("UPDATE access_keys SET rate = %s WHERE access_key_id = %s", SLOW, hurried.key.access_key_id)
    try:
        with frozen_valkey(hurried):
            began = time.monotonic()
            assert [spend(hurried, hurried.key).status for _ in range(6)] == [200] * 6
            assert time.monotonic() - began < 1, "one call waits a moment, the others do not ask"
    finally:
        hurried.query("UPDATE access_keys SET rate = NULL")
