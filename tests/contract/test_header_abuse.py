"""Heads that are too large, contradict themselves or hide a second request: refused, and nothing behind them is ever run."""

import socket
import time

import pytest

from tests.contract.wire import signed
from tests.live import LiveStack

#: A second request, hidden in what one reader takes for the body of the first.
HIDDEN = b"DELETE /v1/batches HTTP/1.1\r\nHost: smuggled\r\n\r\n"


def answers(live: LiveStack, raw: bytes) -> list[int]:
    """Send bytes and give the statuses of all answers until the server closes."""
    data = b""
    with socket.create_connection(("127.0.0.1", live.stack.port), timeout=20) as connection:
        connection.sendall(raw)
        connection.shutdown(socket.SHUT_WR)
        try:
            while piece := connection.recv(65536):
                data += piece
        except ConnectionResetError:  # it closed while we still sent
            pass
    return [int(part[:3]) for part in data.split(b"HTTP/1.1 ")[1:]]


def request(*headers: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join([b"POST /v1/jobs HTTP/1.1", b"Host: a", *headers, b"", body])


@pytest.mark.parametrize(
    "headers",
    [
        [b"Content-Length: 5", b"Transfer-Encoding: chunked"],
        [b"Transfer-Encoding: chunked", b"Content-Length: 5"],
        [b"Content-Length: 5", b"Content-Length: 50"],
        [b"Content-Length: 5, 50"],
        [b"Content-Length: +5"],
        [b"Content-Length: -5"],
        [b"Content-Length: 0x5"],
        [b"Content-Length: 5 5"],
        [b"Content-Length: " + b"9" * 400],
        [b"Transfer-Encoding: chunked, chunked"],
        [b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"],
        [b"Transfer-Encoding: xchunked"],
        [b"Transfer-Encoding: \x0bchunked"],
        [b"Transfer-Encoding : chunked"],
        [b"Content-Length : 5"],
        [b"X: a", b" Content-Length: 5"],
        [b"X: a\rContent-Length: 5"],
        [b"X: a\0b"],
        [b"\xc3\xa9: a"],
        [b"no colon"],
        [b": no name"],
    ],
    ids=lambda headers: repr(b"; ".join(headers))[:60],
)
def test_a_head_that_contradicts_itself_hides_no_second_request(live: LiveStack, headers: list[bytes]) -> None:
    statuses = answers(live, request(*headers, body=b"0\r\n\r\n" + HIDDEN))
    assert len(statuses) <= 1, statuses
    assert all(400 <= status < 500 or status == 501 for status in statuses), statuses


@pytest.mark.parametrize(
    "headers",
    [
        [b"X-%d: a" % number for number in range(1000)],
        [b"X: " + b"a" * 100_000],
        [b"X" * 100_000 + b": a"],
        [b"Cookie: a=b"] * 5000,
    ],
    ids=["a thousand", "a long value", "a long name", "the same, five thousand times"],
)
def test_too_many_or_too_long_headers_are_refused(live: LiveStack, headers: list[bytes]) -> None:
    began = time.monotonic()
    statuses = answers(live, request(*headers))
    assert len(statuses) <= 1
    assert all(status in (400, 431) for status in statuses), statuses
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "target", [b"/" + b"a" * 100_000, b"/v1/jobs?" + b"a" * 100_000, b"http://[::1", b"\x00", b"*"]
)
def test_a_request_line_that_is_none_is_refused(live: LiveStack, target: bytes) -> None:
    statuses = answers(live, b"POST " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n")
    assert len(statuses) <= 1
    assert all(400 <= status < 500 for status in statuses), statuses


@pytest.mark.parametrize("name", ["Authorization", "X-Amz-Date", "X-Amz-Target", "Host"])
def test_a_header_that_comes_twice_is_not_half_believed(live: LiveStack, name: str) -> None:
    body = b"{}"
    headers = signed(
        live, "POST", "/", body, headers={"X-Amz-Target": "RekognitionService.ListCollections", "Host": "a"}
    )
    lines = [f"{key}: {value}".encode() for key, value in headers.items() if key != "Content-Length"]
    twice = [*lines, f"{name}: other".encode(), b"Content-Length: 2"]
    raw = b"\r\n".join([b"POST / HTTP/1.1", *twice, b"", body])
    (status,) = answers(live, raw)
    assert 400 <= status < 500, status
