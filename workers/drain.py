"""Work without bells: while Redis is away, threads of each process ask Postgres themselves for what is due.

Redis being down then makes jobs slower, never late for their deadline; the threads sleep while bells are heard. Each kind of
work has threads of its own, so that a slow picture or a batch holds up nobody who waits.
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence

from app.broker import Doorbell

log = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0

#: Threads that found nothing look again after this, each a little sooner or later than the others.
_PAUSE_SECONDS = 1.0


class Drain:
    """Calls what bells would have called: each of the works in a thread of its own."""

    def __init__(self, doorbell: Doorbell, works: Sequence[Callable[[], object]]) -> None:
        self._doorbell = doorbell
        self._works = works
        self._away = threading.Event()

    def start(self) -> None:
        """Watch until the process ends."""
        threading.Thread(target=self._watch, name="drain", daemon=True).start()
        for work in self._works:
            threading.Thread(target=self._repeat, args=(work,), name="drain-work", daemon=True).start()

    def _watch(self) -> None:
        while True:
            if self._doorbell.answers():
                self._away.clear()
            else:
                self._away.set()
            time.sleep(_LOOK_SECONDS)

    def _repeat(self, work: Callable[[], object]) -> None:
        while self._away.wait():
            try:
                work()
            except Exception as error:  # whatever it was: without this thread nothing runs until Redis is back
                log.warning("drain_failed", exc_info=error)
            time.sleep(_PAUSE_SECONDS * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret
