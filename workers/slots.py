"""How a worker shares its threads between what somebody waits for and bulk work.

Each kind has threads of its own, a few for every core: most of them fetch, ask Postgres or write, and a turn at a core
(workers.cores) is what they wait for. Bulk work, however much there is, never keeps a thread from what is urgent.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from app.domain.jobs import SLOTS_PER_CORE


class Slots:
    """Counts the threads in a process that are at work. Threads share one."""

    def __init__(self, cores: int) -> None:
        self._urgent = threading.BoundedSemaphore(SLOTS_PER_CORE * cores)
        self._bulk = threading.BoundedSemaphore(SLOTS_PER_CORE * cores)

    @contextmanager
    def urgent(self) -> Iterator[None]:
        """Count a job that somebody waits for, as long as the block lasts; one too many waits until another one ends."""
        with self._urgent:
            yield

    @contextmanager
    def bulk(self) -> Iterator[bool]:
        """Take a thread for bulk work; the block is told False where it may not have one."""
        taken = self._bulk.acquire(blocking=False)
        try:
            yield taken
        finally:
            if taken:
                self._bulk.release()
