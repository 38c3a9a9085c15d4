"""What became of a collection's vectors after its segment was built: which rows count no more, and the new ones.

Invariant: a value says what is true at one change number and is never altered, so a search that holds one meets no half of a
change.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.db import vector_changes
from app.db.session import Row
from workers.segments.scanner import Candidates
from workers.vision.arrays import Floats

#: More are not followed: they would be slower to compare than the segment itself, and each process has its own.
MOST = 20_000


class TooManyChanges(Exception):
    """A segment lags too far behind to be followed."""


@dataclass(frozen=True, slots=True, eq=False)
class Changes:
    """All changes up to a change number."""

    change_seq: int
    truths: dict[int, bytes | None] = field(default_factory=dict)
    numbers: Any = field(default_factory=lambda: np.zeros(0, np.int64))  #: of those that have a vector now
    vectors: Floats = field(default_factory=lambda: np.zeros((0, 0), np.float32))

    def follow(self, connection: Connection, table: sa.Table, collection: Row) -> "Changes":
        """Give what is true at a collection's present change number; raises TooManyChanges."""
        new = vector_changes.since(connection, table, collection, self.change_seq, limit=MOST)
        truths = {**self.truths, **dict(new)}
        if len(new) > MOST or len(truths) > MOST:
            raise TooManyChanges
        present = {number: truth for number, truth in truths.items() if truth is not None}
        numbers = np.fromiter(present, np.int64, len(present))
        vectors = np.frombuffer(b"".join(present.values()), "<f4").reshape(
            len(present), vector_changes.dimension_of(table)
        )
        return Changes(collection.change_seq, truths, numbers, vectors)

    def find(self, query: Floats, min_cosine: float) -> Candidates:
        """Find the numbers of the new vectors that reach the threshold."""
        if not len(self.numbers):
            return Candidates(self.numbers, np.zeros(0, np.float32))
        cosines = self.vectors @ query
        matches = np.flatnonzero(cosines >= min_cosine)
        return Candidates(self.numbers[matches], cosines[matches])

    def unchanged(self, numbers: Any) -> Any:
        """Tell of each row of the segment whether it still counts."""
        if not self.truths:
            return np.ones(len(numbers), bool)
        return np.fromiter((number not in self.truths for number in numbers.tolist()), bool, len(numbers))
