"""gunicorn's threaded worker, made safe against clients that are slow, silent or break off.

Its own bounds the time between requests only: a client that stops in the middle of one holds a thread for good, a connection
that says nothing holds one for five seconds, and one that its client leaves open stops the accept loop for two. Here a thread
is taken when the head of a request is there, and everything after it has a deadline. A body that is not whole is never taken
for a shorter one.
"""

import contextlib
import errno
import selectors
import socket
import time
from functools import partial
from typing import Any

from gunicorn.http.errors import ParseException
from gunicorn.util import close_graceful
from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER, TConn, ThreadWorker

#: The head of a request must be there this long after the connection was made or last answered on; no thread waits for it.
HEAD_SECONDS = 15.0

#: The first bytes of a body must come within this time; a body may take longer, as long as it comes at this rate.
BODY_SECONDS = 10.0
BYTES_PER_SECOND = 16 * 1024

#: A client may keep an answer waiting this long in all; while it takes it at that rate, the time comes back.
SEND_SECONDS = 60.0

_LONGEST_WAITED_FOR = 64 * 1024  # a longer head is the parser's business, which has limits of its own


class RequestSocket(socket.socket):
    """A connection that gives up on a peer that is too slow, as if that had hung up."""

    head = b""
    _deadline = 0.0
    _patience = SEND_SECONDS
    _given_up = False

    def has_head(self) -> bool:
        """Read what is there; tell whether a thread is needed: for a whole head, too long a one, or the end."""
        try:
            piece = super().recv(_LONGEST_WAITED_FOR)
        except BlockingIOError:
            return False
        except OSError:
            piece = b""
        self.head += piece
        return not piece or b"\r\n\r\n" in self.head or len(self.head) >= _LONGEST_WAITED_FOR

    def begin(self) -> bytes:
        """Start the clock of a request; gives what was read of it already."""
        self._deadline = time.monotonic() + BODY_SECONDS
        self._patience = SEND_SECONDS
        head, self.head = self.head, b""
        return head

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Receive before the deadline, which moves on with every byte; a caller's own timeout stands."""
        if self._given_up:
            return b""
        if self.gettimeout() is not None:
            return super().recv(size, flags)
        try:
            self.settimeout(max(self._deadline - time.monotonic(), 0.001))
            piece = super().recv(size, flags)
        except TimeoutError:
            self._given_up = True  # for good: nobody knows where the next request starts
            return b""
        finally:
            self.settimeout(None)
        self._deadline += len(piece) / BYTES_PER_SECOND
        return piece

    def sendall(self, data: bytes, flags: int = 0) -> None:  # type: ignore[override]  # gunicorn sends bytes only
        """Send all of it in time, or fail as if the peer had gone; a stream is sent piece by piece, and its pieces add up."""
        before, began = self.gettimeout(), time.monotonic()
        try:
            self.settimeout(max(self._patience, 0.001) if before is None else before)
            super().sendall(data, flags)
        except TimeoutError:
            raise BrokenPipeError(errno.EPIPE, "the client does not take its answer") from None
        finally:
            self.settimeout(before)
        waited = time.monotonic() - began - len(data) / BYTES_PER_SECOND
        self._patience = min(self._patience - waited, SEND_SECONDS)

    def linger(self) -> None:
        """Say that nothing more is coming, and give the peer a moment to take the last answer and hang up."""
        if not self._given_up:
            with contextlib.suppress(OSError):
                close_graceful(self.dup())
        self._given_up = True  # whoever closes us has nobody to wait for


class WholeBody:
    """A body of known length or in chunks; one that is malformed or ends early fails as a broken connection does."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader

    def read(self, size: int) -> bytes:
        """Read as much as asked for, unless the body ends."""
        expected = min(size, getattr(self._reader, "length", 0))
        try:
            piece: bytes = self._reader.read(size)
        except ParseException as error:
            raise ConnectionResetError(errno.ECONNRESET, str(error)) from error
        if len(piece) < expected:
            raise ConnectionResetError(errno.ECONNRESET, "the body ended early")
        return piece


class WebWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn ships no type information
    """The worker class of `rekollect api`."""

    _last_call = 0.0  # when a worker that stops gives up on heads that have not come

    def enqueue_req(self, conn: TConn) -> None:
        """Wait for the head of the connection's next request; when it is there, or was sent ahead, take a thread."""
        if not isinstance(conn.sock, RequestSocket):
            conn.sock = RequestSocket(fileno=conn.sock.detach())
        conn.sock.setblocking(False)
        sent_ahead = conn.parser and conn.parser.unreader.buf.getvalue()
        if sent_ahead or conn.data_ready or conn.sock.has_head():
            super().enqueue_req(conn)
            return
        conn.timeout = time.monotonic() + HEAD_SECONDS
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def on_pending_socket_readable(self, conn: TConn, client: RequestSocket) -> None:
        """Read some of a head; the rest may take its time."""
        if client.has_head():
            super().on_pending_socket_readable(conn, client)

    def murder_pending(self) -> None:
        """Close connections whose head did not come in time; when the worker stops, that is soon."""
        if not self.alive:
            self._last_call = self._last_call or time.monotonic() + STOP_KEEPALIVE_LINGER
            for conn in self.pending_conns:
                conn.timeout = min(conn.timeout, self._last_call)
        super().murder_pending()

    def handle(self, conn: TConn) -> object:
        """Serve one request; a connection that is to end waits for its client here and not in the accept loop."""
        conn.data_ready = False
        conn.init()
        conn.parser.unreader.unread(conn.sock.begin())
        goes_on: object = super().handle(conn)
        if not goes_on:
            conn.sock.linger()
        return goes_on

    def handle_request(self, req: Any, conn: TConn) -> object:
        """Run the application."""
        req.body.reader = WholeBody(req.body.reader)
        result: object = super().handle_request(req, conn)
        return result
