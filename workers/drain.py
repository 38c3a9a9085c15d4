"""Work without bells: while Redis is away, a thread of each process asks Postgres itself for what is due.

Redis being down then makes jobs slower, never late for their deadline; the thread sleeps while bells are heard.
"""

import logging
import threading
import time
from collections.abc import Callable

from app.broker import Doorbell

log = logging.getLogger(__name__)

_PAUSE_SECONDS = 2.0


class Drain:
    """Calls what bells would have called."""

    def __init__(self, doorbell: Doorbell, work: Callable[[], None]) -> None:
        self._doorbell = doorbell
        self._work = work

    def start(self) -> None:
        """Watch in a thread of its own until the process ends."""
        threading.Thread(target=self._watch, name="drain", daemon=True).start()

    def _watch(self) -> None:
        while True:
            time.sleep(_PAUSE_SECONDS)
            if self._doorbell.answers():
                continue
            try:
                self._work()
            except Exception as error:  # whatever it was: without this thread nothing runs until Redis is back
                log.warning("drain_failed", exc_info=error)
