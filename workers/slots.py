"""How the threads of a worker are shared: what somebody waits for starts at once, and bulk work makes way between two items.

The pool has two threads more than slots. As many items of bulk work run at once as there are slots, in one thread more: while
that one asks Postgres for a chunk or writes one, the cores go on. The last thread is always there to hear what is urgent; while
that runs, one item less runs beside it.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

#: Bulk work makes way this long for one item at most, so that it goes on under any load.
PATIENCE_SECONDS = 1.0


class Slots:
    """Counts what runs in a process. Threads share one."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._urgent = 0
        self._bulk = 0
        self._items = 0
        self._changed = threading.Condition()

    @contextmanager
    def urgent(self) -> Iterator[None]:
        """Count a job that somebody waits for, as long as the block lasts; as many run at once as there are slots."""
        with self._changed:
            self._changed.wait_for(lambda: self._urgent < self._slots)
            self._urgent += 1
        try:
            yield
        finally:
            with self._changed:
                self._urgent -= 1
                self._changed.notify_all()

    @contextmanager
    def bulk(self) -> Iterator[bool]:
        """Take one of the threads for bulk work; the block is told False where it may not have one."""
        with self._changed:
            taken = self._bulk <= self._slots
            self._bulk += taken
        try:
            yield taken
        finally:
            with self._changed:
                self._bulk -= taken

    def is_crowded(self) -> bool:
        """Tell whether one more item would keep something urgent from a whole core."""
        with self._changed:
            return self._is_crowded()

    @contextmanager
    def item(self) -> Iterator[None]:
        """Count an item of bulk work; it begins when there is room beside what is urgent, or its patience is over."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        with self._changed:
            while self._is_crowded() and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)
            self._changed.wait_for(lambda: self._items < self._slots)
            self._items += 1
        try:
            yield
        finally:
            with self._changed:
                self._items -= 1
                self._changed.notify_all()

    def _is_crowded(self) -> bool:
        return self._urgent > 0 and self._urgent + self._items >= self._slots
