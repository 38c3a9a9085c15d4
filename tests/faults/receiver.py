"""A webhook receiver that dies in the middle of its answers when told to, and remembers all that reached it."""

import contextlib
import http.server
import json
import threading
from typing import Any

from app.cli.receiver import Message


class FrailReceiver:
    """Listens on a free loopback port while its block lasts. Signatures are checked as messages arrive: they age."""

    def __init__(self) -> None:
        self.secret = ""
        self.messages: list[Message] = []
        self.ill_signed: list[Message] = []
        self._deaths = 0
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"

    def __enter__(self) -> "FrailReceiver":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def die(self, times: int) -> None:
        """Break off the next answers half way."""
        with self._lock:
            self._deaths += times

    def of_job(self) -> dict[str, set[tuple[str, bytes]]]:
        """Give what arrived about each job or batch: event ids with their bytes."""
        found: dict[str, set[tuple[str, bytes]]] = {}
        for message in self.messages:
            data = json.loads(message.body)["data"]
            about = data.get("JobId") or data.get("BatchId")
            found.setdefault(about, set()).add((message.headers["webhook-id"], message.body))
        return found

    def _take(self, message: Message) -> bool:
        """Note a message; tell whether this answer is to break off."""
        with self._lock:
            self.messages.append(message)
            if not message.is_signed_with(self.secret):
                self.ill_signed.append(message)
            dies = self._deaths > 0
            self._deaths -= dies
        return dies

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                dies = receiver._take(Message({name.lower(): value for name, value in self.headers.items()}, body))
                with contextlib.suppress(ConnectionError):  # the courier may have been killed meanwhile
                    self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + (b"o" if dies else b"ok"))
                self.close_connection = True

            def log_message(self, format: str, *args: Any) -> None:
                """Stay silent."""

        return Handler


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A courier that was killed in the middle of sending is no error of ours."""
