"""The wire of the fuzz tests: bytes as they stand, over connections that are kept, and what an answer may look like."""

import collections
import contextlib
import http.client
import json
import re
import socket
import time
from collections.abc import Mapping
from pathlib import Path

from app import errors
from app.errors import FrontEndError, ServiceError
from app.service_model import operation_names, service_model, shape_output
from tests.contract.wire import AWS_JSON, PROBLEM_MEMBERS
from tests.live import Answer

#: Whatever is sent, it is answered or the connection is closed within this time.
PATIENCE_SECONDS = 12.0

_ANSWERS = re.compile(rb"HTTP/1\.\d (\d{3}) [^\r\n]*\r\n(?:Server|Connection): ")
_KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ServiceError)]
_FRONT_END = {kind.code for kind in _KINDS if issubclass(kind, FrontEndError)}
_ALL_CODES = {kind.code for kind in _KINDS}
_HTTP_CODES = {"BadRequest", "NotFound", "MethodNotAllowed", "RequestEntityTooLarge"}


def request_bytes(method: str, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """Write a request with its length, the rest as given."""
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    if not any(name.lower() == "content-length" for name in headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + body


class Pool:
    """A few kept connections to one port, used in turn; counts what went over them."""

    def __init__(self, port: int, size: int = 4) -> None:
        self.answers: collections.Counter[str] = collections.Counter()
        self._port = port
        self._free: collections.deque[socket.socket | None] = collections.deque([None] * size)

    def close(self) -> None:
        for connection in self._free:
            if connection is not None:
                connection.close()

    def ask(self, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> Answer:
        """Send a request of valid HTTP and read its answer; a connection may have been closed since its last one."""
        raw = request_bytes(method, path, headers, body)
        kept = self._free.popleft()
        try:
            answer = None if kept is None else self._exchange(kept, raw, method)
            if answer is None:
                kept = self._connect()
                answer = self._exchange(kept, raw, method)
            assert answer is not None, "the connection was closed without an answer"
        except BaseException:
            self._free.append(None)
            raise
        goes_on = answer.headers.get("connection", "").lower() != "close"
        if not goes_on:
            kept.close()
        self._free.append(kept if goes_on else None)
        self._count(answer.status, answer.body)
        return answer

    def hurl(self, raw: bytes) -> list[int]:
        """Send bytes that may be anything, then say that no more will come; gives the statuses of all answers."""
        data = b""
        with self._connect() as connection:
            # The server may refuse and close in the middle of what we send.
            with contextlib.suppress(OSError):
                connection.sendall(raw)
                connection.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionResetError):
                while piece := connection.recv(65536):
                    data += piece
        statuses = [int(status) for status in _ANSWERS.findall(data)]
        assert bool(statuses) == bool(data), data[:300]
        assert b"Traceback" not in data
        for status in statuses or [0]:
            self._count(status)
        return statuses

    def _count(self, status: int, body: bytes = b"") -> None:
        code = re.search(rb'"(?:__type|code)": "(\w+)"', body)
        self.answers[f"{status or 'closed'} {code[1].decode() if code else ''}".strip()] += 1

    def _connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._port), timeout=PATIENCE_SECONDS)

    def _exchange(self, connection: socket.socket, raw: bytes, method: str) -> Answer | None:
        try:
            connection.sendall(raw)
            answer = http.client.HTTPResponse(connection, method=method)
            answer.begin()
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            connection.close()
            return None
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())


def check_quiet(answer: Answer) -> None:
    """Refuse what no answer may be: a failure of ours, or one that tells about our insides."""
    assert answer.status < 500, (answer.status, answer.body)
    for word in (b"Traceback", b'File "', b"psycopg", b"sqlalchemy"):
        assert word not in answer.body, answer.body


def check_aws(answer: Answer, operation: str) -> None:
    """An answer of the AWS wire fits the model, or carries a modelled error."""
    check_quiet(answer)
    if answer.status == 413:
        assert answer.body == b""
        return
    assert answer.headers["content-type"] == AWS_JSON, answer
    assert answer.headers["x-amzn-requestid"]
    document = json.loads(answer.body)
    if answer.status == 200:
        assert shape_output(operation, document) == document
        return
    assert answer.status == 400, answer
    assert document["__type"] in _FRONT_END | _modelled(operation) | {"AccessDeniedException"}, answer.body
    assert document["__type"] == answer.headers["x-amzn-errortype"]
    assert isinstance(document.get("message", document.get("Message")), str)


def _modelled(operation: str) -> set[str]:
    """Name the exceptions that the model declares for an operation; boto3 has a class for each of them."""
    if operation not in operation_names():
        return set()
    return {shape.error_code for shape in service_model().operation_model(operation).error_shapes}


def check_v1(answer: Answer) -> None:
    """An answer of /v1 is a job, or a problem document."""
    check_quiet(answer)
    document = json.loads(answer.body)
    if answer.status in (200, 202):
        assert document["JobId"]
        return
    assert answer.headers["content-type"] == "application/problem+json", answer
    assert document.keys() == PROBLEM_MEMBERS
    assert document["status"] == answer.status
    assert document["code"] in _ALL_CODES | _HTTP_CODES, answer.body


def check_any(answer: Answer) -> None:
    """An answer to who knows what: ours as it should be, or the HTTP parser's refusal, after which nothing follows."""
    kind = answer.headers.get("content-type", "")
    if kind == "text/html":
        # 501 is HTTP's own word for a transfer coding that is not known.
        assert answer.status in (400, 414, 417, 431, 501), answer
        assert answer.headers["connection"] == "close"
        return
    check_quiet(answer)
    if kind == "application/problem+json" and answer.body:
        assert answer.json["code"] in _ALL_CODES | _HTTP_CODES, answer
    elif kind == AWS_JSON:
        assert answer.status == 200 or answer.json["__type"] in _ALL_CODES, answer


def web_process(gunicorn: int) -> int:
    """Name the process that serves: the one child of gunicorn's own."""
    (child,) = Path(f"/proc/{gunicorn}/task/{gunicorn}/children").read_text().split()
    return int(child)


def memory_and_threads(pid: int) -> tuple[float, int]:
    """Give the resident memory in MB and the number of threads of a process."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(status["VmRSS"].split()[0]) / 1024, int(status["Threads"])


def closes_before(connection: socket.socket, deadline: float) -> bool:
    """Read until the server closes; False when it did not before the deadline (of time.monotonic)."""
    try:
        while True:
            connection.settimeout(max(deadline - time.monotonic(), 0.1))
            if not connection.recv(65536):
                return True
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True
