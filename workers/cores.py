"""How a worker shares its cores: it looks at as many pictures at once, and first at those that somebody waits for.

Only looking counts. Of jobs and items many more are under way, fetching, asking Postgres or writing; so no core idles while a
store is far away or a transaction commits.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from app.domain.jobs import Lane

#: Bulk work gets a turn at least this often, so that it goes on under any load.
PATIENCE_SECONDS = 1.0


class Cores:
    """Hands out turns at the cores of a process. Threads share one."""

    def __init__(self, cores: int) -> None:
        self._cores = cores
        self._busy = 0
        self._urgent = 0  # how many wait for a turn
        self._bulk = 0
        self._bulk_at = 0.0  # when bulk work had its newest turn
        self._changed = threading.Condition()

    @contextmanager
    def turn(self, lane: Lane) -> Iterator[None]:
        """Hold a core for the block; bulk work waits until nothing urgent does, or until its patience is over."""
        with self._changed:
            if lane == Lane.BULK:
                self._wait_for_bulk()
            else:
                self._wait_for_urgent()
            self._busy += 1
        try:
            yield
        finally:
            with self._changed:
                self._busy -= 1
                self._changed.notify_all()

    def _wait_for_urgent(self) -> None:
        self._urgent += 1
        try:
            self._changed.wait_for(lambda: self._is_free() and not self._is_bulk_due())
        finally:
            self._urgent -= 1

    def _wait_for_bulk(self) -> None:
        self._bulk += 1
        try:
            while not (self._is_free() and (self._urgent == 0 or self._is_bulk_due())):
                self._changed.wait(self._patience() or None)
        finally:
            self._bulk -= 1
        self._bulk_at = time.monotonic()

    def _is_free(self) -> bool:
        return self._busy < self._cores

    def _is_bulk_due(self) -> bool:
        return self._bulk > 0 and self._patience() == 0

    def _patience(self) -> float:
        """Give the seconds until bulk work goes before what is urgent."""
        return max(self._bulk_at + PATIENCE_SECONDS - time.monotonic(), 0.0)
