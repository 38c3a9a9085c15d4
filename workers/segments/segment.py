"""One collection's vectors in one search table, as a search meets them: the rows of a mapped file, and what changed since.

Invariant: what a search gets is true at the change number that it read in its own transaction, or later; where that cannot be
had at once it gets nothing, and asks Postgres.
"""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.db import vector_changes
from app.db.session import Row
from app.db.vectors import EXTRA_ROWS, HALF_PRECISION_MARGIN
from workers.segments.changes import Changes, TooManyChanges
from workers.segments.file import Mapped
from workers.segments.scanner import Candidates
from workers.vision.arrays import Floats

#: Somebody else applies changes; who waits longer is answered by Postgres.
_PATIENCE_SECONDS = 0.1

#: Changed rows above which a file is built anew, because searches become slower: a share, but never fewer than some.
_STALE_SHARE, _FEWEST_STALE = 0.02, 1_000

#: Changed rows above which a segment is not followed: each process has its own copy of them. Again a share, and a bound.
_LOST_SHARE, _MOST_CHANGES = 0.1, 20_000


class Segment:
    """Threads share one."""

    def __init__(self, place: Path) -> None:
        """Map a file; raises DamagedFile, or OSError where there is none."""
        self._mapped = Mapped(place)
        self.head, self.inode = self._mapped.head, self._mapped.inode
        self._scanner = self._mapped.scanner()
        self._changes = Changes(self.head.change_seq)
        self._following = threading.Lock()
        self.is_lost = False  #: it cannot be followed any more

    @property
    def is_stale(self) -> bool:
        """Tell whether it is to be built anew."""
        return self.is_lost or len(self._changes) > max(_FEWEST_STALE, _STALE_SHARE * self.head.count)

    def scan(
        self, connection: Connection, table: sa.Table, collection: Row, query: Floats, *, min_cosine: float, limit: int
    ) -> list[int] | None:
        """Give what `app.db.vectors.scan` gives, or None."""
        changes = self._follow(connection, table, collection)
        if changes is None:
            return None
        bar = min_cosine - HALF_PRECISION_MARGIN
        wanted = limit + EXTRA_ROWS
        old, new = self._scanner.find(query, bar), changes.find(query, bar)
        # As many more as there are changes: any of these may be a row that counts no more.
        old = _nearest(old, wanted + len(changes))
        numbers = self._mapped.numbers[old.places]
        counts = changes.spares(numbers)
        both = Candidates(
            np.concatenate([numbers[counts], new.places]), np.concatenate([old.cosines[counts], new.cosines])
        )
        found: list[int] = _nearest(both, wanted).places.tolist()
        return found

    def _follow(self, connection: Connection, table: sa.Table, collection: Row) -> Changes | None:
        """Give the changes up to the collection's, or None where they cannot be had at once."""
        head = self.head
        if vector_changes.history(connection) != head.history or collection.model_seq > head.change_seq:
            self.is_lost = True
        if self.is_lost or self._changes.change_seq >= collection.change_seq:
            return None if self.is_lost else self._changes
        if not self._following.acquire(timeout=_PATIENCE_SECONDS):
            return None
        try:
            if self._changes.change_seq < collection.change_seq:
                most = min(max(2 * _FEWEST_STALE, int(_LOST_SHARE * self.head.count)), _MOST_CHANGES)
                self._changes = self._changes.follow(connection, table, collection, limit=most)
            return self._changes
        except TooManyChanges:
            self.is_lost = True
            return None
        finally:
            self._following.release()


def _nearest(candidates: Candidates, count: int) -> Candidates:
    if len(candidates.places) <= count:
        return candidates
    nearest: Any = np.argpartition(-candidates.cosines, count - 1)[:count]
    return Candidates(candidates.places[nearest], candidates.cosines[nearest])
