"""The one dialer: every URL that a caller chose is fetched and posted to from here.

The address that was checked is the address that is dialled, and one wall-clock deadline covers name, connection,
headers and body. urllib3 and requests promise neither: they resolve the name again when they connect, their timeouts
start anew with every byte that arrives, and they follow redirects, proxies and encodings. So this is http.client over
our own socket.
"""

import contextlib
import http.client
import ipaddress
import queue
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Literal

from app.domain.addresses import (
    NO_PUBLIC_ADDRESS,
    IPAddress,
    IPNetwork,
    Refused,
    Target,
    fixed_addresses,
    is_allowed,
    parse_target,
)
from workers.wire import MAX_HEADER_BYTES, Deadline, Wire, connect

USER_AGENT = f"Rekollect/{version('rekollect')}"

DEADLINE_SECONDS = 15.0
ANSWER_BYTES = 65_536

Resolver = Callable[..., Sequence[tuple[Any, ...]]]
Kind = Literal["dns", "connect", "tls", "timeout", "reset", "protocol"]

_TEXTS: dict[Kind, str] = {
    # The text of a denied address: the difference would tell which names exist inside.
    "dns": NO_PUBLIC_ADDRESS,
    "connect": "the server could not be reached",
    "tls": "the server's TLS handshake failed",
    "timeout": "the server did not answer in time",
    "reset": "the server closed the connection early",
    "protocol": "the server did not answer in HTTP/1.1",
}


class Unreachable(Exception):
    """No complete answer; `kind` says what failed, the text is a clause for the caller."""

    def __init__(self, kind: Kind, text: str | None = None) -> None:
        self.kind = kind
        super().__init__(text or _TEXTS[kind])


@dataclass(frozen=True, slots=True)
class Response:
    """An answer of any status; header names are in lower case, the body is as sent, cut off at the limit."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    truncated: bool
    seconds: float
    address: str


class Dialer:
    """Reaches public addresses, and those of `allow_networks`. Threads may share one."""

    def __init__(self, allow_networks: Sequence[IPNetwork], resolver: Resolver = socket.getaddrinfo) -> None:
        self._allow = tuple(allow_networks)
        self._resolver = resolver
        self._tls = ssl.create_default_context()
        self._tls.set_alpn_protocols(["http/1.1"])

    def get(self, url: str, *, limit_bytes: int, deadline_seconds: float = DEADLINE_SECONDS) -> Response:
        """Fetch a URL; raise Refused or Unreachable."""
        return self._exchange("GET", url, None, {}, limit_bytes, deadline_seconds)

    def post(
        self,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        *,
        limit_bytes: int = ANSWER_BYTES,
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> Response:
        """Post a body; raise Refused or Unreachable."""
        return self._exchange("POST", url, body, headers, limit_bytes, deadline_seconds)

    def _exchange(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str], limit_bytes: int, seconds: float
    ) -> Response:
        deadline = Deadline(seconds)
        target = parse_target(url, self._allow)
        with _failures_named("connect"):
            sock, address = connect(self._addresses(target, deadline), target.port, deadline)
        with contextlib.closing(sock), _failures_named("reset"):
            stream = self._secured(sock, target.host, deadline) if target.scheme == "https" else sock
            with contextlib.closing(stream):
                wire = Wire(stream, deadline)
                connection = http.client.HTTPConnection(target.host, target.port)
                connection.sock = wire
                ours = {"host": target.authority, "accept-encoding": "identity", "connection": "close"}
                connection.request(method, target.path, body, {"user-agent": USER_AGENT, **headers, **ours})
                return _read(connection, wire, limit_bytes, str(address), deadline)

    def _addresses(self, target: Target, deadline: Deadline) -> list[IPAddress]:
        """List the addresses of the target, asking once; one denied address among them refuses all."""
        found = fixed_addresses(target.host, self._allow) or self._resolved(target, deadline)
        if not all(is_allowed(address, self._allow) for address in found):
            raise Refused(NO_PUBLIC_ADDRESS)
        return list(dict.fromkeys(found))

    def _resolved(self, target: Target, deadline: Deadline) -> Sequence[IPAddress]:
        """Ask the resolver in a thread of its own, because getaddrinfo knows no deadline.

        A thread that is left behind ends with the resolver's own timeout.
        """
        answers: queue.SimpleQueue[Sequence[tuple[Any, ...]] | None] = queue.SimpleQueue()

        def ask() -> None:
            try:
                answers.put(self._resolver(target.host, target.port, type=socket.SOCK_STREAM))
            except (OSError, UnicodeError):
                answers.put(None)

        threading.Thread(target=ask, name="resolve", daemon=True).start()
        try:
            answer = answers.get(timeout=deadline.left())
        except queue.Empty as error:
            raise TimeoutError from error
        if not answer:
            raise Unreachable("dns")
        return [ipaddress.ip_address(entry[4][0]) for entry in answer]

    def _secured(self, sock: socket.socket, host: str, deadline: Deadline) -> ssl.SSLSocket:
        sock.settimeout(deadline.left())
        return self._tls.wrap_socket(sock, server_hostname=host)


def _read(
    connection: http.client.HTTPConnection, wire: Wire, limit_bytes: int, address: str, deadline: Deadline
) -> Response:
    with connection.getresponse() as answer:
        # Chunks have overhead, and http.client reads a chunk of negative size to the end of the stream: bound both.
        wire.incoming.budget = 2 * limit_bytes + MAX_HEADER_BYTES
        body = answer.read(limit_bytes + 1)
        if len(body) <= limit_bytes and answer.length:
            raise Unreachable("reset")
        headers = {name.lower(): value for name, value in answer.getheaders()}
        return Response(answer.status, headers, body[:limit_bytes], len(body) > limit_bytes, deadline.passed(), address)


@contextlib.contextmanager
def _failures_named(otherwise: Kind) -> Iterator[None]:
    """Turn the errors of sockets, TLS and http.client into Unreachable; `otherwise` is for an error of the socket."""
    try:
        yield
    except TimeoutError as error:
        raise Unreachable("timeout") from error
    except ssl.SSLCertVerificationError as error:
        raise Unreachable("tls", "the server's TLS certificate is not trusted") from error
    except ssl.SSLError as error:
        raise Unreachable("tls") from error
    except (OSError, http.client.IncompleteRead) as error:
        raise Unreachable(otherwise) from error
    except (http.client.HTTPException, ValueError) as error:
        raise Unreachable("protocol") from error
