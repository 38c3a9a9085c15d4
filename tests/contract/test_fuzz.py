"""Whatever is sent, the answer is a result or a modelled error, in time, and nothing of it shows in the log.

`make test` sends about 1,500 requests, `make fuzz` 20,000 or REKOLLECT_FUZZ_REQUESTS; REKOLLECT_FUZZ_SEED repeats a run.
Images in them are no pictures, and nothing beyond this machine is ever dialled.
"""

import os
import random
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from botocore.credentials import Credentials
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from app.services.access_keys import NewKey
from tests.contract.conftest import MakeKey
from tests.contract.fuzz_inputs import Inputs, Known
from tests.contract.fuzz_requests import Draft, altered, calls, jobs, raw
from tests.contract.fuzz_wire import (
    Pool,
    check_any,
    check_aws,
    check_v1,
    closes_before,
    memory_and_threads,
    web_process,
)
from tests.contract.wire import AWS_JSON, signed
from tests.live import LiveStack

REQUESTS = int(os.environ.get("REKOLLECT_FUZZ_REQUESTS", "1500"))
SEED = int(os.environ.get("REKOLLECT_FUZZ_SEED", random.SystemRandom().randrange(2**32)))

#: The head of a request has 15 s, a body 10 s; beyond that everything is closed.
LONGEST_SECONDS = 25.0

#: Threads that worked for the first time and caches that filled; not a leak, which would grow with the requests.
MOST_GROWTH_MB = 60.0


def fuzz(share: float) -> Callable[[Any], Any]:
    """Run a test with its share of all requests, by the seed of this run."""
    limits = settings(
        max_examples=max(int(REQUESTS * share), 1),
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    return lambda test: seed(SEED)(limits(test))


@dataclass(frozen=True)
class Target:
    """A stack with an account whose things the requests may change and delete."""

    live: LiveStack
    key: NewKey
    pool: Pool
    inputs: Inputs
    job_inputs: Inputs

    def signed(self, operation: str, body: bytes, path: str = "/", **headers: str) -> dict[str, str]:
        named = {"X-Amz-Target": f"RekognitionService.{operation}", "Content-Type": AWS_JSON, **headers}
        credentials = Credentials(self.key.access_key_id, self.key.secret_access_key)
        return signed(self.live, "POST", path, body, headers=named, credentials=credentials)


@pytest.fixture(scope="module")
def target(
    live: LiveStack, make_key: MakeKey, portraits: dict[str, bytes], request: pytest.FixtureRequest
) -> Iterator[Target]:
    """An account with some of everything; afterwards the log is clean and the web process no larger."""
    say = partial(_say, request.config)
    say(f"{REQUESTS} requests, REKOLLECT_FUZZ_SEED={SEED}")
    key = make_key(f"fuzz-{SEED}")
    known, expendable = _furnish(live.rekognition_of(key), portraits["obama"])
    log = live.stack.directory.logs / "api.log"
    already = log.stat().st_size
    slow = _slow_clients(live.stack.port)
    pool = Pool(live.stack.port)
    web = web_process(live.pids["api"])
    memory, _ = memory_and_threads(web)
    yield Target(live, key, pool, Inputs(known, expendable), Inputs(known, extensions=True))
    pool.close()
    say(f"{pool.answers.total()} answers: {dict(pool.answers.most_common())}")
    left_open = [name for name, (connection, deadline) in slow.items() if not closes_before(connection, deadline)]
    for connection, _ in slow.values():
        connection.close()
    memory_now, threads = memory_and_threads(web)
    say(f"the web process has {threads} threads and {memory_now:.0f} MB, before it {memory:.0f} MB")
    assert left_open == []
    assert memory_now < memory + MOST_GROWTH_MB
    assert threads <= live.stack.settings.api_threads + 8
    said = log.read_text(errors="replace")[already:]
    for word in ("request_failed", "Traceback", "Error handling request", "Socket error"):
        assert word not in said, said[max(said.find(word) - 500, 0) :][:4000]


def _say(config: pytest.Config, line: str) -> None:
    plugins = config.pluginmanager
    with plugins.get_plugin("capturemanager").global_and_fixture_disabled():
        plugins.get_plugin("terminalreporter").write_line(f"\nfuzz: {line}")


def _furnish(client: Any, picture: bytes) -> tuple[Known, Known]:
    """Fill an account; gives what is there, and what of it may be deleted, by the shapes in the service model."""
    faces = []
    for collection in ("full", "spare"):
        client.create_collection(CollectionId=collection, Tags={"team": "a"})
        record = client.index_faces(CollectionId=collection, Image={"Bytes": picture})["FaceRecords"][0]
        faces.append(record["Face"]["FaceId"])
        client.create_user(CollectionId=collection, UserId="ada")
    client.associate_faces(CollectionId="full", UserId="ada", FaceIds=faces[:1])
    arn = client.describe_collection(CollectionId="full")["CollectionARN"]
    known = {
        "CollectionId": ["full"] * 4 + ["spare", "none"],
        "FaceId": faces,
        "UserId": ["ada", "bea"],
        "ResourceArn": [arn, arn.removeprefix("arn:"), arn.replace("full", "none"), arn.replace("rekognition", "s3")],
        "PaginationToken": [client.list_collections(MaxResults=1)["NextToken"]],
    }
    return known, {"CollectionId": ["spare", "none"], "FaceId": faces[1:], "UserId": ["bea"]}


def _slow_clients(port: int) -> dict[str, tuple[socket.socket, float]]:
    """Start requests that are never finished, and say until when the server must have closed them."""
    pieces = {
        "silence": b"",
        "half a head": b"POST / HTTP/1.1\r\nHost: a\r\nX-Amz-",
        "half a body": b"POST / HTTP/1.1\r\nHost: a\r\nX-Amz-Target: x\r\nConnection: close\r\nContent-Length: 9\r\n\r\n{",
        "half a chunk": b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
    }
    slow = {}
    for name, piece in pieces.items():
        connection = socket.create_connection(("127.0.0.1", port))
        connection.sendall(piece)
        slow[name] = (connection, time.monotonic() + LONGEST_SECONDS)
    return slow


@fuzz(0.5)
@given(data=st.data())
def test_any_input_of_any_operation_gets_a_result_or_a_modelled_error(target: Target, data: st.DataObject) -> None:
    operation, body = data.draw(calls(target.inputs))
    check_aws(target.pool.ask("POST", "/", target.signed(operation, body), body), operation)


@fuzz(0.15)
@given(data=st.data())
def test_a_signed_request_that_was_altered_gets_a_modelled_error(target: Target, data: st.DataObject) -> None:
    operation, body = data.draw(calls(target.inputs))
    sent = data.draw(altered(Draft(body, headers=target.signed(operation, body))))
    check_any(target.pool.ask(sent.method, sent.path, sent.headers, sent.body))


@fuzz(0.2)
@given(data=st.data())
def test_any_submission_gets_a_job_or_a_problem(target: Target, data: st.DataObject) -> None:
    headers, body = data.draw(jobs(target.job_inputs))
    answer = target.pool.ask(
        "POST", "/v1/jobs", {"Host": "a", "Authorization": f"Bearer {target.key.api_key}"} | headers, body
    )
    check_v1(answer)


@fuzz(0.15)
@given(data=st.data())
def test_any_bytes_are_answered_or_the_connection_is_closed(target: Target, data: st.DataObject) -> None:
    body = b'{"CollectionId": "full"}'
    good = Draft(body, headers=target.signed("ListFaces", body))
    statuses = target.pool.hurl(data.draw(raw(good)))
    # 501 is HTTP's own word for a transfer coding that is not known.
    assert all(status < 500 or status == 501 for status in statuses), statuses
