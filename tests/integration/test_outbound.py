"""The dialer against servers that misbehave: slow, endless, broken."""

import contextlib
import gzip
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from app.domain.addresses import parse_networks
from tests.scripted import Script, ScriptedServer, answer, drip, hang, raw
from workers import wire
from workers.outbound import ANSWER_BYTES, USER_AGENT, Dialer, Unreachable

ALLOWED = "127.0.0.2"  # 127.0.0.1 stays denied
LIMIT = 100_000


def dialer(*, allow: str = f"{ALLOWED}/32") -> Dialer:
    return Dialer(parse_networks([allow]))


def serve(script: Script, **options: Any) -> ScriptedServer:
    return ScriptedServer(script, host=ALLOWED, **options)


@contextmanager
def takes(seconds: float) -> Iterator[None]:
    """Check that the block takes this long, with a second of tolerance for a busy machine."""
    start = time.monotonic()
    yield
    assert seconds - 0.1 <= time.monotonic() - start <= seconds + 1


def failure(script: Script, deadline_seconds: float = 5, **options: Any) -> str:
    """Give the kind of the failure to which a script leads."""
    with serve(script, **options) as server, pytest.raises(Unreachable) as unreachable:
        dialer().get(server.url, limit_bytes=LIMIT, deadline_seconds=deadline_seconds)
    return unreachable.value.kind


def test_a_get_sends_what_it_should_and_nothing_else() -> None:
    with serve(answer(200, b"body", X_Name="value")) as server:
        response = dialer().get(f"{server.url}/path?a=b", limit_bytes=LIMIT)
    assert (response.status, response.body, response.truncated, response.address) == (200, b"body", False, ALLOWED)
    assert response.headers["x-name"] == "value"
    assert 0 < response.seconds < 5
    assert server.requests[0].startswith(b"GET /path?a=b HTTP/1.1\r\n")
    assert server.headers == {
        "host": f"{ALLOWED}:{server.port}",
        "user-agent": USER_AGENT,
        "accept-encoding": "identity",
        "connection": "close",
    }


def test_a_post_sends_the_body_and_the_headers() -> None:
    with serve(answer(202)) as server:
        response = dialer().post(f"{server.url}/hook", b"\x00body", {"webhook-id": "evt_1"})
    assert response.status == 202
    assert server.requests[0].endswith(b"\r\n\r\n\x00body")
    assert server.headers["webhook-id"] == "evt_1"
    assert server.headers["content-length"] == "5"


@pytest.mark.parametrize(
    "script",
    [
        drip(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"a"),
        drip(b"", b"HTTP/1.1 200 OK\r\n"),
        drip(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"a"),
        drip(b"HTTP/1.1 200 OK\r\n\r\n", b"a"),
        drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n"),
        drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n", pause=0.01),
        hang,
    ],
    ids=["header", "first-bytes", "body", "body-without-end", "chunks", "continue", "silence"],
)
def test_the_deadline_covers_everything_that_can_be_slow(script: Script) -> None:
    with takes(0.6):
        assert failure(script, deadline_seconds=0.6) == "timeout"


def test_the_deadline_covers_a_server_that_does_not_read() -> None:
    with serve(lambda _: time.sleep(1.5), reads=False) as server, takes(0.6), pytest.raises(Unreachable) as unreachable:
        dialer().post(server.url, bytes(50_000_000), {}, deadline_seconds=0.6)
    assert unreachable.value.kind == "timeout"


def test_the_deadline_covers_the_tls_handshake() -> None:
    with serve(hang, reads=False) as server, takes(0.6), pytest.raises(Unreachable) as unreachable:
        dialer().get(f"https://{ALLOWED}:{server.port}/", limit_bytes=LIMIT, deadline_seconds=0.6)
    assert unreachable.value.kind == "timeout"


def test_a_gigabyte_is_not_read() -> None:
    sent = 0

    def script(sock: socket.socket) -> None:
        nonlocal sent
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n")
        for _ in range(1024):
            sock.sendall(bytes(1 << 20))
            sent += 1 << 20

    with serve(script) as server:
        response = dialer().get(server.url, limit_bytes=LIMIT)
    assert response.truncated
    assert response.body == bytes(LIMIT)
    assert sent < 1 << 24


@pytest.mark.parametrize(
    "endless",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n" + bytes(10_000_000),
        b"HTTP/1.1 200 OK\r\n\r\n" + bytes(10_000_000),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 1_000_000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n" + bytes(10_000_000),
    ],
    ids=["length", "close", "chunks", "negative-chunk"],
)
def test_of_the_answer_to_a_post_64_kib_are_received_and_no_more(
    endless: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    received = 0
    real = socket.socket.recv_into

    def counting(sock: socket.socket, *arguments: Any) -> int:
        nonlocal received
        count = real(sock, *arguments)
        received += count
        return count

    with serve(raw(endless)) as server:
        monkeypatch.setattr(socket.socket, "recv_into", counting)
        response = dialer().post(server.url, b"", {})
        monkeypatch.undo()
    assert (response.status, response.truncated) == (200, True)
    assert received == ANSWER_BYTES == 65_536


@pytest.mark.parametrize("size", [LIMIT, LIMIT + 1])
def test_the_limit_is_exact(size: int) -> None:
    with serve(answer(200, bytes(size))) as server:
        response = dialer().get(server.url, limit_bytes=LIMIT)
    assert len(response.body) == LIMIT
    assert response.truncated is (size > LIMIT)


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (reset, "reset"),
        (raw(b""), "reset"),
        (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort"), "reset"),
        (raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nA\r\nshort"), "reset"),
        (raw(b"SSH-2.0-OpenSSH_9.6\r\n"), "protocol"),
        (raw(b"HTTP/1.1 abc OK\r\n\r\n"), "protocol"),
        (raw(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n"), "protocol"),
        (raw(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000), "protocol"),
        (raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n" + bytes(1_000_000)), "protocol"),
        (raw(b"HTTP/1.1 100 Continue\r\n\r\n" * 100_000), "protocol"),
    ],
    ids=[
        "reset",
        "empty",
        "short",
        "short-chunk",
        "ssh",
        "status",
        "many-headers",
        "long-header",
        "negative-chunk",
        "continue",
    ],
)
def test_a_broken_answer_is_named(script: Script, kind: str) -> None:
    assert failure(script) == kind


def test_plain_http_on_a_tls_port_is_a_tls_failure() -> None:
    with serve(raw(b"HTTP/1.1 400 Bad\r\n\r\n"), reads=False) as server, pytest.raises(Unreachable) as unreachable:
        dialer().get(f"https://{ALLOWED}:{server.port}/", limit_bytes=LIMIT)
    assert unreachable.value.kind == "tls"


def test_a_closed_port_is_a_failure_to_connect() -> None:
    with serve(hang) as server:
        pass
    with pytest.raises(Unreachable) as unreachable:
        dialer().get(server.url, limit_bytes=LIMIT)
    assert unreachable.value.kind == "connect"


def test_an_address_that_does_not_answer_is_given_up_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "CONNECT_SECONDS", 0.4)
    with contextlib.ExitStack() as stack:
        deaf = stack.enter_context(socket.socket())
        deaf.bind((ALLOWED, 0))
        deaf.listen(0)
        for _ in range(2):  # its queue is full: a further connection is not answered
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(deaf.getsockname())
        port = deaf.getsockname()[1]
        other = stack.enter_context(ScriptedServer(hang, host="127.0.0.3", port=port, reads=False))
        names = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in (ALLOWED, "127.0.0.3")]
        dial = Dialer(parse_networks(["127.0.0.2/31"]), lambda *_, **__: names)
        with takes(1.0), pytest.raises(Unreachable) as unreachable:
            dial.get(f"https://two.test:{port}/", limit_bytes=LIMIT, deadline_seconds=1.0)
        assert other.connections == 1
    assert (unreachable.value.kind, unreachable.value.address) == ("timeout", "127.0.0.3")


def test_redirects_and_proxies_are_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedServer(hang) as canary:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, canary.url)
        with serve(answer(302, Location=canary.url)) as server:
            response = dialer(allow="127.0.0.0/8").get(server.url, limit_bytes=LIMIT)
    assert (response.status, response.headers["location"]) == (302, canary.url)
    assert canary.connections == 0


def test_encodings_are_not_undone() -> None:
    packed = gzip.compress(bytes(10_000))
    with serve(answer(200, packed, Content_Encoding="gzip")) as server:
        assert dialer().get(server.url, limit_bytes=LIMIT).body == packed
