"""The thread that builds approximate indexes: a build takes minutes, and no thread for bulk work is to wait that long.

It holds nothing that must be given back: where the process ends, Postgres ends the build, and the next worker begins it anew.
"""

import threading

from app.services.index_keeping import IndexKeeper


class Indexer:
    """Keeps one such thread while there is something to do."""

    def __init__(self, keeper: IndexKeeper, stopping: threading.Event) -> None:
        self._keeper = keeper
        self._stopping = stopping
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def wake(self) -> None:
        """Begin, unless it is at it or there is nothing to do."""
        with self._lock:
            if (self._thread is None or not self._thread.is_alive()) and self._keeper.is_due():
                self._thread = threading.Thread(
                    target=self._keeper.run, args=(self._stopping,), name="indexer", daemon=True
                )
                self._thread.start()
