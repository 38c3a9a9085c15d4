"""Show that this process is alive: one thread renews the leases of all jobs that run here.

It runs beside the work, so a process that dies or freezes goes silent with its jobs, and the sweeper takes them. A job that
merely hangs keeps its heartbeat; its run deadline gives it to another worker. The thread that hangs cannot be freed, so the
process ends itself, and whoever supervises it starts a fresh one.
"""

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from app.db.session import Database
from app.domain.jobs import HEARTBEAT, Claim
from app.services import jobs

log = logging.getLogger(__name__)

#: How long after its run deadline a job counts as hung for good.
GRACE_SECONDS = 10.0

_EXIT_STATUS = 70  # EX_SOFTWARE of sysexits.h


class CancelRequested(Exception):
    """The caller wants the job canceled, and its worker stops between two steps."""


class Heartbeat:
    """Renews the leases of the claims that are held; its thread starts with the first."""

    def __init__(self, database: Database, *, run_timeout: timedelta) -> None:
        self._database = database
        self._longest = run_timeout.total_seconds() + GRACE_SECONDS
        self._claims: dict[tuple[str, int], Claim] = {}
        self._since: dict[tuple[str, int], float] = {}
        self._canceled: set[tuple[str, int]] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @contextmanager
    def hold(self, claim: Claim) -> Iterator[None]:
        """Renew a claim until the block ends."""
        key = (claim.job_id, claim.lease)
        with self._lock:
            self._claims[key] = claim
            self._since[key] = time.monotonic()
            if self._thread is None:
                self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                del self._claims[key]
                del self._since[key]

    def check(self, claim: Claim) -> None:
        """Raise CancelRequested where the newest renewal of this claim told so."""
        if (claim.job_id, claim.lease) in self._canceled:
            raise CancelRequested

    def _beat(self) -> None:
        pause = threading.Event()
        while not pause.wait(HEARTBEAT.total_seconds()):
            with self._lock:
                claims = list(self._claims.values())
                oldest = min(self._since.values(), default=time.monotonic())
            if not claims:
                continue
            if time.monotonic() - oldest > self._longest:
                log.error("job_hung", extra={"jobs": [claim.job_id for claim in claims]})
                os._exit(_EXIT_STATUS)
            try:
                self._canceled = jobs.renew(self._database, claims)
            except Exception as error:  # whatever it was: a thread that ends here would lose every job of this process
                log.warning("heartbeat_failed", exc_info=error)
