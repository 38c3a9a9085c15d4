"""Show that this process is alive: one thread renews the leases of all jobs that run here.

It runs beside the work, so a process that dies or freezes goes silent with its jobs, and the sweeper takes them. A job that
merely hangs keeps its heartbeat; its run deadline ends that.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from app.db.session import Database
from app.domain.jobs import HEARTBEAT, Claim
from app.services import jobs

log = logging.getLogger(__name__)


class Heartbeat:
    """Renews the leases of the claims that are held; its thread starts with the first."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._claims: dict[tuple[str, int], Claim] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @contextmanager
    def hold(self, claim: Claim) -> Iterator[None]:
        """Renew a claim until the block ends."""
        key = (claim.job_id, claim.lease)
        with self._lock:
            self._claims[key] = claim
            if self._thread is None:
                self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                del self._claims[key]

    def _beat(self) -> None:
        pause = threading.Event()
        while not pause.wait(HEARTBEAT.total_seconds()):
            with self._lock:
                claims = list(self._claims.values())
            if not claims:
                continue
            try:
                jobs.renew(self._database, claims)
            except Exception as error:  # whatever it was: a thread that ends here would lose every job of this process
                log.warning("heartbeat_failed", exc_info=error)
