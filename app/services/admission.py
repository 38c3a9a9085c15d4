"""Whether there is room for one more job: caps for each account, and refusal while others wait too long.

Decided from Postgres, which knows what is queued; what it said is believed for a quarter of a second, and what was admitted
since is counted in. Work that nobody waits for is refused first.
"""

import math
import threading
import time
from dataclasses import dataclass

from app.db import jobs as rows
from app.db.jobs import Load
from app.db.session import Database
from app.domain.jobs import Lane
from app.errors import ProvisionedThroughputExceeded, ServiceError, ServiceUnavailable

_BELIEVED_SECONDS = 0.25
_MAX_ACCOUNTS = 4096  # remembered; above it all are forgotten
_SHORTEST_RETRY_SECONDS = 1
_LONGEST_RETRY_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Limits:
    """Jobs of one account that may be queued and running; how long an interactive job waits before others are refused."""

    queued: int
    running: int
    shed_after_seconds: float


@dataclass(slots=True)
class _Reading:
    load: Load
    read_at: float
    admitted: int = 0


class Admission:
    """Says yes or no before anything is written."""

    def __init__(self, database: Database, limits: Limits) -> None:
        self._database = database
        self._limits = limits
        self._readings: dict[int, _Reading] = {}
        self._lock = threading.Lock()

    def refusal(self, account_id: int, lane: Lane) -> ServiceError | None:
        """Give the error to refuse a job of an account with, or None and count it as admitted."""
        reading = self._reading(account_id)
        with self._lock:
            refusal = self._over_cap(reading) or self._too_late(reading.load, lane)
            reading.admitted += refusal is None
        return refusal

    def wait_seconds(self, account_id: int, lane: Lane) -> int:
        """Estimate how long a new job of the lane waits: as long as the one that has waited longest."""
        load = self._reading(account_id).load
        return _bounded(load.bulk_wait if lane is Lane.BULK else load.interactive_wait)

    def _reading(self, account_id: int) -> _Reading:
        with self._lock:
            reading = self._readings.get(account_id)
        if reading is not None and time.monotonic() - reading.read_at < _BELIEVED_SECONDS:
            return reading
        with self._database.statement() as connection:
            load = rows.load(connection, account_id, limit=max(self._limits.queued, self._limits.running))
        with self._lock:
            if len(self._readings) >= _MAX_ACCOUNTS:
                self._readings.clear()
            reading = self._readings[account_id] = _Reading(load, time.monotonic())
        return reading

    def _over_cap(self, reading: _Reading) -> ServiceError | None:
        for count, cap, state in (
            (reading.load.queued + reading.admitted, self._limits.queued, "queued"),
            (reading.load.running, self._limits.running, "running"),
        ):
            if count >= cap:
                error = ProvisionedThroughputExceeded(f"The account has {cap} jobs {state}, as many as it may have.")
                error.retry_after_milliseconds = 1000 * _bounded(reading.load.interactive_wait)
                return error
        return None

    def _too_late(self, load: Load, lane: Lane) -> ServiceError | None:
        longest = self._limits.shed_after_seconds / (2 if lane is Lane.BULK else 1)
        if load.interactive_wait < longest:
            return None
        error = ServiceUnavailable("Jobs wait too long for a worker at present.")
        error.retry_after_milliseconds = 1000 * _bounded(load.interactive_wait)
        return error


def _bounded(seconds: float) -> int:
    return max(_SHORTEST_RETRY_SECONDS, min(_LONGEST_RETRY_SECONDS, math.ceil(seconds)))
