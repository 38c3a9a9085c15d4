"""The web worker in a hurry, and the application that its tests run in it; gunicorn loads this by name."""

from collections.abc import Callable, Iterable
from typing import Any

from app import web_worker
from app.web_worker import WebWorker

web_worker.HEAD_SECONDS = web_worker.BODY_SECONDS = web_worker.SEND_SECONDS = 1.0
web_worker.BYTES_PER_SECOND = 1000


class HastyWorker(WebWorker):
    """Gives everyone a second."""


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer with the size of the body, or with far more than a socket holds."""
    try:
        size = len(environ["wsgi.input"].read())
    except OSError as error:
        start_response("400 Bad Request", [])
        return [str(error).encode()]
    answer = bytes(50_000_000) if environ["PATH_INFO"] == "/large" else str(size).encode()
    start_response("200 OK", [("Content-Length", str(len(answer)))])
    return [answer]
