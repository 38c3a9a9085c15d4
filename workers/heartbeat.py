"""Show that this process is alive: one thread renews the leases of all work of one kind that runs here.

It runs beside the work, so a process that dies or freezes goes silent with its jobs, and the sweeper takes them. A job that
merely hangs keeps its heartbeat; its run deadline gives it to another worker. The thread that hangs cannot be freed, so the
process ends itself, and whoever supervises it starts a fresh one.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Generic, Protocol, TypeVar

from app.domain.jobs import HEARTBEAT

log = logging.getLogger(__name__)

#: How long after its run deadline a job counts as hung for good.
GRACE_SECONDS = 10.0

_EXIT_STATUS = 70  # EX_SOFTWARE of sysexits.h


class CancelRequested(Exception):
    """The caller wants the job canceled, and its worker stops between two steps."""


class Leased(Protocol):
    """Work under a lease: a job's claim, a chunk of a batch."""

    @property
    def key(self) -> tuple[str, int]: ...


Work = TypeVar("Work", bound=Leased)


class Heartbeat(Generic[Work]):
    """Renews the leases of what is held; its thread starts with the first.

    `renew` gives the keys of those whose caller wants them to stop.
    """

    def __init__(self, renew: Callable[[list[Work]], set[tuple[str, int]]], *, run_timeout: timedelta) -> None:
        self._renew = renew
        self._longest = run_timeout.total_seconds() + GRACE_SECONDS
        self._held: dict[tuple[str, int], Work] = {}
        self._since: dict[tuple[str, int], float] = {}
        self._stopped: set[tuple[str, int]] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @contextmanager
    def hold(self, work: Work) -> Iterator[None]:
        """Renew a lease until the block ends."""
        with self._lock:
            self._held[work.key] = work
            self._since[work.key] = time.monotonic()
            if self._thread is None:
                self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                del self._held[work.key]
                del self._since[work.key]

    def advance(self, work: Work) -> None:
        """Note that held work has got on, so that only its present step counts as hung when it takes too long."""
        with self._lock:
            self._since[work.key] = time.monotonic()

    def is_stopped(self, work: Work) -> bool:
        """Tell whether the newest renewal said that this work is to stop."""
        return work.key in self._stopped

    def check(self, work: Work) -> None:
        """Raise CancelRequested where the newest renewal of this lease told so."""
        if self.is_stopped(work):
            raise CancelRequested

    def _beat(self) -> None:
        pause = threading.Event()
        while not pause.wait(HEARTBEAT.total_seconds()):
            with self._lock:
                held = list(self._held.values())
                oldest = min(self._since.values(), default=time.monotonic())
            if not held:
                continue
            if time.monotonic() - oldest > self._longest:
                log.error("job_hung", extra={"jobs": [work.key[0] for work in held]})
                os._exit(_EXIT_STATUS)
            try:
                self._stopped = self._renew(held)
            except Exception as error:  # whatever it was: a thread that ends here would lose all work of this process
                log.warning("heartbeat_failed", exc_info=error)
