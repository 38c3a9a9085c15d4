"""A thread pool that turns Celery's event loop when one of its threads is free.

Celery takes the next bell when its loop turns, and by itself only a socket or a timer turns it: a worker whose threads were
all busy would look for its next job up to a second after it could have started it.
"""

from concurrent.futures import Future
from typing import Any

from celery.concurrency.thread import ApplyResult, TaskPool


class ThreadPool(TaskPool):  # type: ignore[misc]  # Celery ships no types
    """Celery's thread pool, with that one addition."""

    _loop: Any = None

    def register_with_event_loop(self, loop: Any) -> None:
        """Learn the loop; Celery calls this whenever one starts."""
        self._loop = loop

    def on_apply(self, *args: Any, **options: Any) -> ApplyResult:
        """Run a task in a thread and turn the loop when it ended, so that a bell that waits is heard at once."""
        result = super().on_apply(*args, **options)
        result.f.add_done_callback(self._turn_the_loop)
        return result

    def _turn_the_loop(self, _: Future[Any]) -> None:
        if self._loop is not None:
            self._loop.call_soon(_nothing)  # wakes the loop also from another thread


def _nothing() -> None:
    """The turn itself is what was wanted."""
