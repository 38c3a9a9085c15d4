"""How a worker shares its cores: it looks at as many pictures at once, and first at those that somebody waits for.

Only looking counts. Of jobs and items many more are under way, fetching, asking Postgres or writing; so no core idles while a
store is far away or a transaction commits.

Threads, not processes, share the cores. On two busy ones, the two ways in turn, threads took 1.02 to 1.06 times the CPU of
processes for a picture, and 0.9, 1.0 and 1.6 times the median latency in three rounds; but one more thread costs 20 MiB
with portraits of 640 pixels, and one more process 190. Of the 26 ms for a picture Python's lock is held for 1.7: sixteen
cores of one process, on paper 600 pictures a second, would wait for it. So above eight cores each eight get a process: on
sixteen that is 0.7 GiB, and 3.1 with a process for each.
"""

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from app.domain.jobs import Lane

#: Bulk work gets a turn for every core at least this often, so that it goes on under any load: with the few threads that it has
#: for a core, each waits some four seconds at most, however many cores there are.
PATIENCE_SECONDS = 1.0


class Cores:
    """Hands out turns at the cores of a process. Threads share one."""

    def __init__(self, cores: int) -> None:
        self._free = cores  # while any is free nobody waits
        self._patience = PATIENCE_SECONDS / cores
        self._urgent: deque[threading.Lock] = deque()
        self._bulk: deque[threading.Lock] = deque()
        self._bulk_at = 0.0  # when bulk work had its newest turn
        self._lock = threading.Lock()

    @contextmanager
    def turn(self, lane: Lane) -> Iterator[None]:
        """Hold a core for the block; bulk work waits until nothing urgent does, or until its patience is over."""
        self._take(lane)
        try:
            yield
        finally:
            self._hand_on()

    def _take(self, lane: Lane) -> None:
        line = self._bulk if lane == Lane.BULK else self._urgent
        with self._lock:
            if self._free:
                self._free -= 1
                if lane == Lane.BULK:
                    self._bulk_at = time.monotonic()
                return
            turn = threading.Lock()
            turn.acquire()
            line.append(turn)
        turn.acquire()  # until somebody hands on to us

    def _hand_on(self) -> None:
        with self._lock:
            if self._bulk and (not self._urgent or time.monotonic() - self._bulk_at >= self._patience):
                self._bulk_at = time.monotonic()
                self._bulk.popleft().release()
            elif self._urgent:
                self._urgent.popleft().release()
            else:
                self._free += 1
