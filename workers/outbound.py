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
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
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
    is_same_host,
    parse_target,
)
from workers.wire import MAX_ADDRESSES, MAX_HEADER_BYTES, Deadline, Spent, Wire, connect

USER_AGENT = f"Rekollect/{version('rekollect')}"

DEADLINE_SECONDS = 15.0

#: Of the answer to a POST no more is received than this, headers included; nobody reads it to the end.
ANSWER_BYTES = MAX_HEADER_BYTES

_PIECE_BYTES = 8_192

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
    """No complete answer; `kind` says what failed, `address` where if so far, the text is a clause for the caller."""

    def __init__(self, kind: Kind, text: str | None = None, address: str | None = None) -> None:
        self.kind = kind
        self.address = address
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
    """Reaches public addresses, and those of `allow_networks`. Threads may share one.

    `own_servers` are the host and port of what Rekollect itself runs on: never reached, whatever is allowed.
    """

    def __init__(
        self,
        allow_networks: Sequence[IPNetwork],
        resolver: Resolver = socket.getaddrinfo,
        *,
        own_servers: Collection[tuple[str, int]] = (),
    ) -> None:
        self._allow = tuple(allow_networks)
        self._resolver = resolver
        self._own_servers = tuple(own_servers)
        self._tls = ssl.create_default_context()
        self._tls.set_alpn_protocols(["http/1.1"])

    def get(self, url: str, *, limit_bytes: int, deadline_seconds: float = DEADLINE_SECONDS) -> Response:
        """Fetch a URL; raise Refused or Unreachable."""
        return self._exchange("GET", url, None, {}, limit_bytes, deadline_seconds)

    def post(
        self, url: str, body: bytes, headers: Mapping[str, str], *, deadline_seconds: float = DEADLINE_SECONDS
    ) -> Response:
        """Post a body; raise Refused or Unreachable. A long answer is cut off."""
        return self._exchange("POST", url, body, headers, None, deadline_seconds)

    def _exchange(
        self,
        method: str,
        url: str,
        body: bytes | None,
        headers: Mapping[str, str],
        limit_bytes: int | None,
        seconds: float,
    ) -> Response:
        deadline = Deadline(seconds)
        target = parse_target(url, self._allow)
        with _failures_named("dns"):
            addresses = self._addresses(target, deadline)
        with _failures_named("connect", addresses[:MAX_ADDRESSES][-1]):
            sock, address = connect(addresses, target.port, deadline)
        with contextlib.closing(sock), _failures_named("reset", address):
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
        found = fixed_addresses(target.host, self._allow) or self._resolved(target.host, target.port, deadline)
        if not all(is_allowed(address, self._allow) for address in found):
            raise Refused(NO_PUBLIC_ADDRESS)
        for host, port in self._own_servers:
            if port == target.port and not self._is_elsewhere(found, host, port, deadline):
                raise Refused(NO_PUBLIC_ADDRESS)
        return list(dict.fromkeys(found))

    def _is_elsewhere(self, found: Sequence[IPAddress], host: str, port: int, deadline: Deadline) -> bool:
        own = fixed_addresses(host, ()) or self._resolved(host, port, deadline)
        return not any(is_same_host(address, other) for address in found for other in own)

    def _resolved(self, host: str, port: int, deadline: Deadline) -> Sequence[IPAddress]:
        """Ask the resolver in a thread of its own, because getaddrinfo knows no deadline.

        A thread that is left behind ends with the resolver's own timeout.
        """
        answers: queue.SimpleQueue[Sequence[tuple[Any, ...]] | None] = queue.SimpleQueue()

        def ask() -> None:
            try:
                answers.put(self._resolver(host, port, type=socket.SOCK_STREAM))
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
    connection: http.client.HTTPConnection,
    wire: Wire,
    limit_bytes: int | None,
    address: str,
    deadline: Deadline,
) -> Response:
    with connection.getresponse() as answer:
        if limit_bytes is None:
            body, truncated = _beginning(answer)
        else:
            # Chunks have overhead, and http.client reads a chunk of negative size to the end of the stream: bound both.
            wire.incoming.budget = 2 * limit_bytes + MAX_HEADER_BYTES
            body = answer.read(limit_bytes + 1)
            body, truncated = body[:limit_bytes], len(body) > limit_bytes
        if not truncated and answer.length:
            raise Unreachable("reset", address=address)
        headers = {name.lower(): value for name, value in answer.getheaders()}
        return Response(answer.status, headers, body, truncated, deadline.passed(), address)


def _beginning(answer: http.client.HTTPResponse) -> tuple[bytes, bool]:
    """Read to the end, or until nothing more may be received; True where it was cut off."""
    pieces: list[bytes] = []
    try:
        while piece := answer.read1(_PIECE_BYTES):
            pieces.append(piece)
    except Spent:
        return b"".join(pieces), True
    return b"".join(pieces), False


@contextlib.contextmanager
def _failures_named(otherwise: Kind, address: IPAddress | None = None) -> Iterator[None]:
    """Turn the errors of sockets, TLS and http.client into Unreachable; `otherwise` is for an error of the socket."""
    where = None if address is None else str(address)
    try:
        yield
    except TimeoutError as error:
        raise Unreachable("timeout", address=where) from error
    except ssl.SSLCertVerificationError as error:
        raise Unreachable("tls", "the server's TLS certificate is not trusted", where) from error
    except ssl.SSLError as error:
        raise Unreachable("tls", address=where) from error
    except (OSError, http.client.IncompleteRead) as error:
        raise Unreachable(otherwise, address=where) from error
    except (http.client.HTTPException, ValueError) as error:
        raise Unreachable("protocol", address=where) from error
