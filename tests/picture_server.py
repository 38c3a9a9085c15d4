"""A local web server with a picture, or a status, under each path."""

import http.server
import threading
from typing import Any


class PictureServer:
    """Listens on a free loopback port while its block lasts; `pictures` may change meanwhile."""

    def __init__(self) -> None:
        self.pictures: dict[str, bytes | int] = {}
        self.asked: list[str] = []
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "PictureServer":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def put(self, name: str, picture: bytes | int) -> str:
        """Serve a picture, or answer with a status; give its URL."""
        self.pictures[f"/{name}"] = picture
        return f"{self.url}/{name}"

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked.append(self.path)
                found = server.pictures.get(self.path, 404)
                status, body = (found, b"") if isinstance(found, int) else (200, found)
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Stay silent."""

        return Handler
