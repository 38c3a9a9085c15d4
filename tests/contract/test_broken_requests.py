"""Requests that broke off or are no well-formed HTTP: refused in the form of the wire they came in by, never half taken."""

import json
import socket
from typing import Any

import pytest

from tests.contract.fuzz_wire import request_bytes
from tests.contract.wire import AWS_JSON, front_end_error, problem, send, signed
from tests.live import Answer, LiveStack

JOB = json.dumps({"Operation": "DetectFaces", "Input": {"Image": {"Bytes": "QUJD"}}}).encode()
FORM = b'--x\r\nContent-Disposition: form-data; name="Operation"\r\n\r\nDetectFaces\r\n--x--\r\n'
BROKEN_CHUNKS = [b"g\r\n", b"5\r\nhelloX\r\n", b"5\r\nhel", b"5;" + b"a" * 9000, b"0\r\nno colon\r\n\r\n", b"-1\r\n"]


def hang_up_after(live: LiveStack, raw: bytes) -> Answer:
    """Send bytes, then no more; read the one answer to its end."""
    with socket.create_connection(("127.0.0.1", live.stack.port), timeout=10) as connection:
        connection.sendall(raw)
        connection.shutdown(socket.SHUT_WR)
        data = b""
        while piece := connection.recv(65536):
            data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    return Answer(int(first.split()[1]), headers, body)


def jobs(live: LiveStack) -> Any:
    return live.query("SELECT count(*) FROM jobs")


@pytest.mark.parametrize("chunks", BROKEN_CHUNKS)
def test_broken_chunks_are_refused_on_both_wires(live: LiveStack, chunks: bytes) -> None:
    raw = request_bytes("POST", "/", _headers(live) | {"Transfer-Encoding": "chunked"}, chunks)
    raw = raw.replace(b"Content-Length: %d\r\n" % len(chunks), b"")
    front_end_error(hang_up_after(live, raw), "SerializationException")
    answer = hang_up_after(live, raw.replace(b"POST / ", b"POST /v1/jobs "))
    assert problem(answer, 400, "BadRequest") == "What came is no well-formed HTTP request, or its body broke off."


def _headers(live: LiveStack) -> dict[str, str]:
    return {
        "Host": "a",
        "Authorization": f"Bearer {live.key.api_key}",
        "X-Amz-Target": "RekognitionService.ListCollections",
    }


@pytest.mark.parametrize(("kind", "body"), [("application/json", JOB), ("multipart/form-data; boundary=x", FORM)])
def test_a_submission_that_breaks_off_is_no_job_even_if_it_reads_like_one(
    live: LiveStack, kind: str, body: bytes
) -> None:
    before = jobs(live)
    headers = _headers(live) | {"Content-Type": kind, "Content-Length": str(len(body) + 1)}
    problem(hang_up_after(live, request_bytes("POST", "/v1/jobs", headers, body)), 400, "BadRequest")
    assert jobs(live) == before


def test_a_call_that_breaks_off_is_refused(live: LiveStack) -> None:
    headers = signed(live, "POST", "/", b"{}", headers={"X-Amz-Target": _headers(live)["X-Amz-Target"]})
    raw = request_bytes("POST", "/", headers | {"Content-Type": AWS_JSON, "Content-Length": "3"}, b"{}")
    front_end_error(hang_up_after(live, raw), "SerializationException")


def test_a_host_that_is_none_is_refused(live: LiveStack) -> None:
    problem(send(live, "POST", "/", b"{}", {"Host": "a" * 4000, "X-Amz-Target": "any"}), 400, "BadRequest")
