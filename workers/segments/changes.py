"""What became of a collection's vectors after its segment was built: which rows count no more, and the new ones.

Invariant: a value says what is true at one change number and is never altered, so a search that holds one meets no half of a
change.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.db import vector_changes
from app.db.session import Row
from workers.segments.scanner import Candidates
from workers.vision.arrays import Floats


class TooManyChanges(Exception):
    """A segment lags too far behind to be followed."""


@dataclass(frozen=True, slots=True, eq=False)
class Changes:
    """All changes up to a change number."""

    change_seq: int
    superseded: frozenset[int] = frozenset()  #: rows of the segment that count no more, and numbers that it has not
    numbers: Any = None  #: of the vectors that take their place
    vectors: Any = None

    def __len__(self) -> int:
        return len(self.superseded)

    def follow(self, connection: Connection, table: sa.Table, collection: Row, *, limit: int) -> "Changes":
        """Give what is true at a collection's present change number; raises TooManyChanges."""
        new = dict(vector_changes.since(connection, table, collection, self.change_seq, limit=limit))
        superseded = self.superseded | new.keys()
        if len(superseded) > limit:
            raise TooManyChanges
        present = {number: truth for number, truth in new.items() if truth is not None}
        numbers = np.fromiter(present, np.int64, len(present))
        vectors = np.frombuffer(b"".join(present.values()), "<f4").reshape(
            len(present), vector_changes.dimension_of(table)
        )
        if self.numbers is not None:
            stays = np.fromiter((number not in new for number in self.numbers.tolist()), bool, len(self.numbers))
            numbers = np.concatenate([self.numbers[stays], numbers])
            vectors = np.concatenate([self.vectors[stays], vectors])
        return Changes(collection.change_seq, superseded, numbers, vectors)

    def find(self, query: Floats, min_cosine: float) -> Candidates:
        """Find the numbers of the new vectors that reach the threshold."""
        if self.numbers is None:
            return Candidates(np.zeros(0, np.int64), np.zeros(0, np.float32))
        cosines = self.vectors @ query
        matches = np.flatnonzero(cosines >= min_cosine)
        return Candidates(self.numbers[matches], cosines[matches])

    def spares(self, numbers: Any) -> Any:
        """Tell of each row of the segment whether it still counts."""
        if not self.superseded:
            return np.ones(len(numbers), bool)
        return np.fromiter((number not in self.superseded for number in numbers.tolist()), bool, len(numbers))
