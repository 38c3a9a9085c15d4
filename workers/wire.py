"""Sockets under one deadline: a connection to a checked address, and what http.client may use of it.

A socket's own timeout starts anew with every byte, so a server that sends one byte a second would hold a worker for
hours. Here every call gets what is left of the total.
"""

import contextlib
import http.client
import io
import ipaddress
import socket
import time
from collections.abc import Sequence
from typing import Any

from app.domain.addresses import NO_PUBLIC_ADDRESS, IPAddress, Refused

CONNECT_SECONDS = 3.0  # for each address, within the deadline
MAX_ADDRESSES = 4  # of one name are tried
MAX_HEADER_BYTES = 65_536


class Spent(http.client.HTTPException):
    """As many bytes came as may be received."""


class Deadline:
    """The moment at which an exchange is over, whatever it is waiting for."""

    def __init__(self, seconds: float) -> None:
        self._start = time.monotonic()
        self._seconds = seconds

    def passed(self) -> float:
        """Give the seconds since the start."""
        return time.monotonic() - self._start

    def left(self) -> float:
        """Give the seconds that remain, always above 0; raise TimeoutError when there are none."""
        left = self._seconds - self.passed()
        if left <= 0:
            raise TimeoutError
        return left


def connect(addresses: Sequence[IPAddress], port: int, deadline: Deadline) -> tuple[socket.socket, IPAddress]:
    """Connect to the first address that answers; raise the last one's error when none does."""
    failure = OSError("no address")
    for address in addresses[:MAX_ADDRESSES]:
        try:
            return _connected(address, port, min(CONNECT_SECONDS, deadline.left())), address
        except OSError as error:
            failure = error
    raise failure


def _connected(address: IPAddress, port: int, seconds: float) -> socket.socket:
    with contextlib.ExitStack() as undo:
        sock = socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6)
        undo.callback(sock.close)
        sock.settimeout(seconds)
        sock.connect((str(address), port))
        if ipaddress.ip_address(sock.getpeername()[0]) != address:
            raise Refused(NO_PUBLIC_ADDRESS)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        undo.pop_all()
    return sock


class _Incoming(io.RawIOBase):
    """Received bytes; each read gets what is left of the time, and `budget` bounds what is received at all."""

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock = sock
        self._deadline = deadline
        self.budget = MAX_HEADER_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self.budget <= 0:
            raise Spent
        self._sock.settimeout(self._deadline.left())
        count = self._sock.recv_into(buffer, min(len(buffer), self.budget))
        self.budget -= count
        return count


class Wire:
    """The part of a socket that http.client uses, under the deadline."""

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock = sock
        self._deadline = deadline
        self.incoming = _Incoming(sock, deadline)

    def sendall(self, data: bytes) -> None:
        # Not the socket's own: under TLS its timeout starts anew with every record.
        view = memoryview(data)
        while view:
            self._sock.settimeout(self._deadline.left())
            view = view[self._sock.send(view) :]

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self.incoming)

    def close(self) -> None:
        """Leave the socket to its owner: http.client closes it before the body is read."""
