"""Finds work in one thread and does it in many, so that work that hangs holds up nothing but itself.

One thread alone looks for work: it sees all that it gave out, and takes no more than there are free threads. It is woken and
never polls; whatever woke it while it was looking makes it look once more.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

log = logging.getLogger(__name__)

Work = TypeVar("Work")

#: Nothing was found: what wakes it within this time is looked for together. A look that took longer is followed by a longer
#: rest, so that looking never takes more than half of the time.
_REST_SECONDS = 0.01


class Dispatcher(Generic[Work]):
    """Takes work whenever it is woken and a thread is free."""

    def __init__(self, take: Callable[[int], Sequence[Work]], do: Callable[[Work], None], *, threads: int) -> None:
        self._take = take
        self._do = do
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="dispatched")
        self._busy = 0
        self._changed = threading.Condition()
        self._wanted = threading.Event()
        self._stopping = False

    def start(self) -> None:
        """Look for work, now and whenever woken."""
        threading.Thread(target=self._look, name="dispatcher", daemon=True).start()
        self.wake()

    def wake(self) -> None:
        """Say that there may be work."""
        self._wanted.set()

    def stop(self) -> None:
        """Take no more work; what is being done goes on."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self.wake()

    def _look(self) -> None:
        while self._wanted.wait() and not self._stopping:
            self._wanted.clear()
            try:
                time.sleep(max(_REST_SECONDS, self._begin_all()))
            except Exception as error:  # whatever it was: without this thread nothing is done any more
                log.warning("dispatch_failed", exc_info=error)
                time.sleep(_REST_SECONDS)

    def _begin_all(self) -> float:
        """Begin all that is found; give the seconds that the look took which found nothing."""
        while free := self._wait_for_threads():
            began = time.monotonic()
            found = self._take(free)
            if not found:
                return time.monotonic() - began
            for work in found:
                self._begin(work)
        return 0.0

    def _wait_for_threads(self) -> int:
        """Wait until a thread is free, give how many are; none once it is to stop."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or self._busy < self._threads)
            return 0 if self._stopping else self._threads - self._busy

    def _begin(self, work: Work) -> None:
        with self._changed:
            self._busy += 1
        self._pool.submit(self._finish, work)

    def _finish(self, work: Work) -> None:
        try:
            self._do(work)
        except Exception as error:  # the edge of the thread
            log.warning("dispatched_work_failed", exc_info=error)
        finally:
            with self._changed:
                self._busy -= 1
                self._changed.notify()
            self.wake()  # what waited for this work to end may be due
