"""A local web server that can keep its callers waiting: pictures for whoever GETs, a webhook receiver for whoever POSTs.

A job is held in the middle by holding its picture, a delivery by holding its receiver: no hook in the product is needed.
"""

import contextlib
import http.server
import threading
from typing import Any

from app.cli.receiver import Message

_LONGEST_HOLD_SECONDS = 30.0


class HeldServer:
    """Listens on a free loopback port while its block lasts; answers at once unless it holds."""

    def __init__(self, picture: bytes = b"") -> None:
        self.paths: list[str] = []
        self.messages: list[Message] = []
        self._picture = picture
        self._open = threading.Event()
        self._open.set()
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "HeldServer":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
        self._server.shutdown()
        self._server.server_close()

    def hold(self) -> None:
        """Let every caller from now on wait."""
        self._open.clear()

    def release(self) -> None:
        """Answer those who wait, and from now on at once."""
        self._open.set()

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        held = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                held.paths.append(self.path)
                held._open.wait(_LONGEST_HOLD_SECONDS)
                self._answer(200, held._picture)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                held.messages.append(Message({name.lower(): value for name, value in self.headers.items()}, body))
                held._open.wait(_LONGEST_HOLD_SECONDS)
                self._answer(204, b"")

            def _answer(self, status: int, body: bytes) -> None:
                with contextlib.suppress(ConnectionError):  # the caller may have been killed meanwhile
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Stay silent."""

        return Handler


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
