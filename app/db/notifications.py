"""One listener per process that wakes whoever waits for a job.

Postgres tells every listener when a job has ended (LISTEN/NOTIFY, inside the finishing transaction, so never before the
commit). While the listening connection is down, waiters still look for themselves every now and then.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from app.db.jobs import FINISHED_CHANNEL

log = logging.getLogger(__name__)

_RECONNECT_SECONDS = 1.0
_POLL_SECONDS = 1.0


class JobListener:
    """Wakes waiting threads; its own thread starts with the first waiter, after the web server has forked."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self._waiters: dict[str, set[threading.Event]] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()

    @contextmanager
    def waiter(self, job_id: str) -> Iterator[threading.Event]:
        """Give an event that is set when the job ends; look at the job after entering, before waiting."""
        event = threading.Event()
        with self._lock:
            self._waiters.setdefault(job_id, set()).add(event)
            if self._thread is None:
                self._thread = threading.Thread(target=self._listen, name="job-listener", daemon=True)
                self._thread.start()
        try:
            yield event
        finally:
            with self._lock:
                self._waiters[job_id].discard(event)
                if not self._waiters[job_id]:
                    del self._waiters[job_id]

    def close(self) -> None:
        """Stop listening; waiters fall back to looking for themselves."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join(timeout=2 * _POLL_SECONDS)

    def _listen(self) -> None:
        while not self._closed.is_set():
            try:
                with psycopg.connect(self._database_url, autocommit=True, connect_timeout=5) as connection:
                    connection.execute(f"LISTEN {FINISHED_CHANNEL}")
                    self._wake_all()  # what ended while nobody listened
                    self._hear(connection)
            except psycopg.Error as error:
                log.warning("job_listener_failed", extra={"reason": type(error).__name__})
                self._closed.wait(_RECONNECT_SECONDS)

    def _hear(self, connection: psycopg.Connection) -> None:
        while not self._closed.is_set():
            for notification in connection.notifies(timeout=_POLL_SECONDS):
                self._wake(notification.payload)

    def _wake(self, job_id: str) -> None:
        with self._lock:
            for event in self._waiters.get(job_id, ()):
                event.set()

    def _wake_all(self) -> None:
        with self._lock:
            for events in self._waiters.values():
                for event in events:
                    event.set()
