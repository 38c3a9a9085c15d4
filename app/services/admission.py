"""Whether there is room for one more job: a cap for each account, and refusal while its jobs wait too long.

Decided from Postgres, which knows what is queued; what it said is believed for a quarter of a second, and what was admitted
since is counted in. Accounts take turns at the workers, so an account is judged by its own queue alone: what another has queued
refuses nobody. Work that nobody waits for is refused first.
"""

import math
import random
import threading
import time
from dataclasses import dataclass

from app.db import jobs as rows
from app.db.jobs import Load
from app.db.session import Database
from app.domain.jobs import Lane
from app.errors import ProvisionedThroughputExceeded, ServiceError, ServiceUnavailable

_BELIEVED_SECONDS = 0.25
_MAX_READINGS = 4096  # remembered; above it all are forgotten
_SHORTEST_RETRY_SECONDS = 1
_LONGEST_RETRY_SECONDS = 60

#: A pause that is asked for is stretched by up to this share, so that those who were refused together come back apart.
_JITTER = 0.25


@dataclass(frozen=True, slots=True)
class Limits:
    """Jobs of one account that may wait in one lane, and how long its interactive ones wait before others are refused."""

    queued: int
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
        self._readings: dict[tuple[int, Lane], _Reading] = {}
        self._lock = threading.Lock()

    def refusal(self, account_id: int, lane: Lane) -> ServiceError | None:
        """Give the error to refuse a job of an account with, or None and count it as admitted."""
        reading = self._reading(account_id, lane)
        with self._lock:
            refusal = self._over_cap(reading) or self._too_late(reading.load, lane)
            reading.admitted += refusal is None
        return refusal

    def wait_seconds(self, account_id: int, lane: Lane) -> int:
        """Estimate how long a new job of the lane waits: as long as the one that is next has waited."""
        return _bounded(self._reading(account_id, lane).load.wait)

    def _reading(self, account_id: int, lane: Lane) -> _Reading:
        key = (account_id, lane)
        with self._lock:
            reading = self._readings.get(key)
        if reading is not None and time.monotonic() - reading.read_at < _BELIEVED_SECONDS:
            return reading
        with self._database.statement() as connection:
            load = rows.load(connection, account_id, lane, limit=self._limits.queued)
        with self._lock:
            if len(self._readings) >= _MAX_READINGS:
                self._readings.clear()
            reading = self._readings[key] = _Reading(load, time.monotonic())
        return reading

    def _over_cap(self, reading: _Reading) -> ServiceError | None:
        if reading.load.queued + reading.admitted < self._limits.queued:
            return None
        error = ProvisionedThroughputExceeded(
            f"The account has {self._limits.queued} jobs queued, as many as it may have."
        )
        error.retry_after_milliseconds = _pause(reading.load.wait)
        return error

    def _too_late(self, load: Load, lane: Lane) -> ServiceError | None:
        longest = self._limits.shed_after_seconds / (2 if lane is Lane.BULK else 1)
        if load.interactive_wait < longest:
            return None
        error = ServiceUnavailable("The account's jobs wait too long for a worker at present.")
        error.retry_after_milliseconds = _pause(load.interactive_wait)
        return error


def _pause(seconds: float) -> int:
    """Give the pause to ask for, in milliseconds."""
    return int(1000 * _bounded(seconds) * (1 + _JITTER * random.random()))  # noqa: S311 - it spreads, it hides nothing


def _bounded(seconds: float) -> int:
    return max(_SHORTEST_RETRY_SECONDS, min(_LONGEST_RETRY_SECONDS, math.ceil(seconds)))
