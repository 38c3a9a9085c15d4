"""The uploads that one process receives at once: each holds a thread as long as its client sends.

No account has them all, so that one that sends slowly keeps no other from uploading.
"""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from app.errors import Throttled


class UploadSlots:
    """Counts uploads. Threads share one."""

    def __init__(self, most: int, *, most_of_account: int) -> None:
        self._most = most
        self._most_of_account = most_of_account
        self._open = Counter[int]()
        self._lock = threading.Lock()

    @contextmanager
    def take(self, account_id: int) -> Iterator[None]:
        """Count an upload of an account as long as the block lasts; raise Throttled where there are too many."""
        with self._lock:
            if self._open.total() >= self._most or self._open[account_id] >= self._most_of_account:
                raise Throttled("As many uploads as can be received at once are under way.")
            self._open[account_id] += 1
        try:
            yield
        finally:
            with self._lock:
                self._open[account_id] -= 1
                self._open += Counter()  # forgets accounts without any
