"""gunicorn with our worker class: clients that are slow, silent or rude hold up nobody else and are let go."""

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import pytest

from app import web_worker
from app.web_worker import RequestSocket
from tests.live import free_port

THREADS = 4
HEAD = b"POST / HTTP/1.1\r\nHost: a\r\n"
HALF_A_BODY = HEAD + b"Content-Length: 100\r\n\r\nhello"

Connect = Callable[[bytes], socket.socket]


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """The port of a server that gives every client one second."""
    port = free_port()
    with running(port) as server:
        yield port
        server.terminate()


def running(port: int) -> subprocess.Popen[bytes]:
    options = [
        "--bind",
        f"127.0.0.1:{port}",
        "--worker-class",
        "tests.integration.hasty.HastyWorker",
        "--threads",
        str(THREADS),
    ]
    command = [sys.executable, "-m", "gunicorn", "--no-control-socket", *options, "tests.integration.hasty:application"]
    server = subprocess.Popen(command)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port)).close()
            return server
        time.sleep(0.05)
    server.kill()
    raise AssertionError("gunicorn did not start")


@pytest.fixture
def connect(port: int) -> Iterator[Connect]:
    """Open a connection and send something."""
    with ExitStack() as open_ones:

        def open_one(sent: bytes) -> socket.socket:
            connection = open_ones.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
            connection.sendall(sent)
            return connection

        yield open_one


def everything(connection: socket.socket) -> bytes:
    """Read until the server closes."""
    data = b""
    while piece := connection.recv(65536):
        data += piece
    return data


def seconds_for_a_request(connect: Connect) -> float:
    started = time.monotonic()
    answer = everything(connect(HEAD + b"Connection: close\r\nContent-Length: 2\r\n\r\nhi"))
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"\r\n\r\n2")
    return time.monotonic() - started


@pytest.mark.parametrize("sent", [b"", b"P", HEAD], ids=["silence", "a byte", "half a head"])
def test_a_request_that_is_not_finished_takes_no_thread_and_ends(connect: Connect, sent: bytes) -> None:
    started = time.monotonic()
    slow = [connect(sent) for _ in range(20 * THREADS)]
    assert seconds_for_a_request(connect) < 0.7
    assert {everything(connection) for connection in slow} == {b""}
    assert time.monotonic() - started < 4


def test_a_head_that_trickles_ends_all_the_same(connect: Connect) -> None:
    slow = connect(HEAD)
    started = time.monotonic()
    with suppress(BrokenPipeError, ConnectionResetError):
        while time.monotonic() - started < 5:
            slow.sendall(b"X")
            time.sleep(0.1)
    assert time.monotonic() - started < 4


def test_a_body_that_stops_gives_its_thread_back_and_is_never_taken_for_a_whole_one(connect: Connect) -> None:
    slow = [connect(HALF_A_BODY) for _ in range(THREADS)]
    assert seconds_for_a_request(connect) < 3
    answers = [everything(connection) for connection in slow]
    assert all(answer.startswith(b"HTTP/1.1 400") for answer in answers)
    assert all(b"the body ended early" in answer for answer in answers)


def test_a_long_body_may_take_its_time_while_it_keeps_coming(connect: Connect) -> None:
    slow = connect(HEAD + b"Connection: close\r\nContent-Length: 3000\r\n\r\n")
    for _ in range(15):
        slow.sendall(bytes(200))
        time.sleep(0.15)
    assert everything(slow).endswith(b"\r\n\r\n3000")


@pytest.mark.parametrize(
    "body", [b"g\r\n", b"5\r\nhelloX\r\n", b"5\r\nhel", b"5;" + b"a" * 9000, b"0\r\nno colon\r\n\r\n"]
)
def test_a_broken_chunk_is_the_clients_fault(connect: Connect, body: bytes) -> None:
    rude = connect(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + body)
    rude.shutdown(socket.SHUT_WR)
    assert everything(rude).startswith(b"HTTP/1.1 400")


def test_a_client_that_does_not_take_its_answer_gives_its_thread_back(connect: Connect) -> None:
    for _ in range(THREADS):
        connect(HEAD.replace(b"/", b"/large", 1) + b"Content-Length: 0\r\n\r\n")
    assert seconds_for_a_request(connect) < 6


def test_a_client_that_takes_a_stream_too_slowly_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_worker, "SEND_SECONDS", 1.0)
    monkeypatch.setattr(web_worker, "BYTES_PER_SECOND", 1_000_000)
    ours, theirs = socket.socketpair()
    with RequestSocket(fileno=ours.detach()) as answer, theirs:
        answer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        answer.begin()
        reading = threading.Thread(target=sip, args=(theirs,))
        reading.start()
        started = time.monotonic()
        with pytest.raises(BrokenPipeError):
            stream(answer, seconds=8)
        assert time.monotonic() - started < 4
    reading.join()


def stream(answer: RequestSocket, *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer.sendall(bytes(1000))


def sip(connection: socket.socket) -> None:
    """Read a little at a time, so that each piece of an answer finds room soon."""
    with suppress(OSError):
        while connection.recv(2000):
            time.sleep(0.1)


def test_a_refused_client_that_does_not_hang_up_holds_up_nobody(connect: Connect) -> None:
    rude = [connect(b"BROKEN\r\n\r\n") for _ in range(THREADS - 1)]
    time.sleep(0.2)
    assert seconds_for_a_request(connect) < 1
    assert all(connection.recv(65536).startswith(b"HTTP/1.1 400") for connection in rude)


def test_requests_sent_ahead_are_answered_in_order(connect: Connect) -> None:
    requests = [HEAD + b"Content-Length: %d\r\n\r\n%s" % (size, bytes(size)) for size in (0, 7, 70_000, 1)]
    ahead = connect(b"".join(requests) + b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    answers = everything(ahead).split(b"HTTP/1.1 200 OK")[1:]
    assert [answer.rpartition(b"\r\n\r\n")[2] for answer in answers] == [b"0", b"7", b"70000", b"1", b"0"]


def test_a_connection_is_kept_for_the_next_request(connect: Connect) -> None:
    kept = connect(b"")
    kept.settimeout(2)
    for size in (1, 5, 20_000):
        request = HEAD + b"Content-Length: %d\r\n\r\n%s" % (size, bytes(size))
        kept.sendall(request[:30])
        time.sleep(0.05)
        kept.sendall(request[30:])
        answer = b""
        while not answer.endswith(b"\r\n\r\n%d" % size):
            answer += kept.recv(65536)
        assert answer.startswith(b"HTTP/1.1 200")


def test_idle_connections_do_not_hold_up_the_end() -> None:
    port = free_port()
    with running(port) as server, socket.create_connection(("127.0.0.1", port)), ExitStack() as others:
        kept = others.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
        kept.sendall(HEAD + b"Content-Length: 0\r\n\r\n")
        kept.recv(65536)
        server.send_signal(signal.SIGTERM)
        started = time.monotonic()
        assert server.wait(10) == 0
    assert time.monotonic() - started < 5
