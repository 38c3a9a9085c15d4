"""Wait for a job to end, for a bounded number of callers at once.

A waiting request holds a thread of the web server, so their number has a cap; above it a caller is told at once.
"""

import threading
import time
from collections.abc import Callable

from app.db.notifications import JobListener
from app.db.session import Database
from app.domain.jobs import Job
from app.services import jobs

#: The first look, for a job that ended before the waiter sat down, leaves the machine to the worker that takes the job up.
_FIRST_LOOK_SECONDS = 0.25

#: A waiter looks for itself this often, in case the notification was missed while Postgres restarted.
_LOOK_SECONDS = 5.0


class TooManyWaiters(Exception):
    """The cap on waiting requests is reached."""


class Waiting:
    """The waiting room of one web process."""

    def __init__(self, database: Database, listener: JobListener, *, max_waiters: int) -> None:
        self._database = database
        self._listener = listener
        self._seats = threading.BoundedSemaphore(max_waiters)

    def wait(self, job: Job, seconds: float, hung_up: Callable[[], bool] = lambda: False) -> Job:
        """Give the job as soon as it is done, or as it stands after some seconds; raises TooManyWaiters.

        Whoever hung up meanwhile keeps no seat longer than until the next look.
        """
        if job.done or seconds <= 0:
            return job
        if not self._seats.acquire(blocking=False):
            raise TooManyWaiters
        try:
            return self._wait(job, time.monotonic() + seconds, hung_up)
        finally:
            self._seats.release()

    def _wait(self, job: Job, deadline: float, hung_up: Callable[[], bool]) -> Job:
        pause = _FIRST_LOOK_SECONDS
        with self._listener.waiter(job.job_id) as ended:
            while True:
                ended.wait(min(pause, max(0.0, deadline - time.monotonic())))
                ended.clear()
                job = jobs.get(self._database, job.account_id, job.job_id)
                if job.done or time.monotonic() >= deadline or hung_up():
                    return job
                pause = _LOOK_SECONDS
