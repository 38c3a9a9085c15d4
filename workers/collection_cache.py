"""Collections as bulk work knows them: read again after a second, not for every picture.

What interactive work must know of a collection it reads itself: it sees what was written before it began. An item of a batch
has no such moment, and the writes that complete it look at the collection again under its lock: one whose face model version
has changed meanwhile is tried again, one of a deleted collection fails.
"""

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from app.db.session import Row
from app.domain.face_models import FaceModelVersion

_SECONDS = 1.0
_MOST = 256  #: collections that are known at a time


class Known(NamedTuple):
    """A collection's row, and the versions that it has embeddings of, the one that is searched first."""

    collection: Row
    versions: list[FaceModelVersion]


class CollectionCache:
    """Remembers what was read for a second. Threads share one."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[tuple[int, str], tuple[float, Known]] = {}
        self._lock = threading.Lock()

    def get(self, account_id: int, name: str, read: Callable[[], Known]) -> Known:
        """Give what is known of a collection, or what `read` says of it now; what that raises is not remembered."""
        with self._lock:
            found = self._known.get((account_id, name))
        if found is not None and self._clock() - found[0] < _SECONDS:
            return found[1]
        read_at = self._clock()
        known = read()
        with self._lock:
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[account_id, name] = (read_at, known)
        return known
