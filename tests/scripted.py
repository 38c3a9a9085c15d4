"""A real server whose behaviour is a function: for answers that no well-kept server gives."""

import contextlib
import itertools
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable

Script = Callable[[socket.socket], object]

#: A server that waits for the client to lose patience gives up itself after this, so that a mistake fails and does not hang.
PATIENCE_SECONDS = 5


class ScriptedServer:
    """Reads one request of each connection and hands the socket to the script; `with ScriptedServer(script) as server`."""

    def __init__(
        self,
        script: Script,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        reads: bool = True,
    ) -> None:
        self.connections = 0
        self.requests: list[bytes] = []
        self._script = script
        self._tls = tls
        self._reads = reads
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family)
        self._threads: list[threading.Thread] = []
        self.host = host
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://{host}:{self.port}"

    def __enter__(self) -> "ScriptedServer":
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()
        return self

    def __exit__(self, *_: object) -> None:
        # Closing alone does not wake a thread in accept().
        self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join(5)
        self._listener.close()
        for thread in self._threads:
            thread.join(5)

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the only request, names in lower case."""
        (request,) = self.requests
        lines = request.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
        return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self.connections += 1
                thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            stack.callback(sock.close)
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_side=True)
                stack.callback(sock.close)
            if self._reads:
                self.requests.append(_request(sock))
            self._script(sock)


def _request(sock: socket.socket) -> bytes:
    received = b""
    while b"\r\n\r\n" not in received:
        received += _more(sock)
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", received)
    total = received.index(b"\r\n\r\n") + 4 + (int(length[1]) if length else 0)
    while len(received) < total:
        received += _more(sock)
    return received


def _more(sock: socket.socket) -> bytes:
    received = sock.recv(65536)
    if not received:
        raise ConnectionResetError
    return received


def answer(status: int, body: bytes = b"", **headers: str) -> Script:
    """Make a script that answers well; an underscore in a header's name stands for a hyphen."""
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return raw("\r\n".join([*lines, "", ""]).encode() + body)


def raw(content: bytes) -> Script:
    """Make a script that sends these bytes and closes."""
    return lambda sock: sock.sendall(content)


def drip(first: bytes, endless: bytes, pause: float = 0.1) -> Script:
    """Make a script that goes on beyond every deadline of a test: some bytes at once, then one after the other."""

    def script(sock: socket.socket) -> None:
        sock.sendall(first)
        end = time.monotonic() + PATIENCE_SECONDS
        for place in itertools.count():
            sock.sendall(endless[place % len(endless) :][:1])
            time.sleep(pause)
            if time.monotonic() > end:
                return

    return script


def hang(sock: socket.socket) -> None:
    """Say nothing until the other side goes."""
    sock.settimeout(PATIENCE_SECONDS)
    while sock.recv(65536):
        pass
