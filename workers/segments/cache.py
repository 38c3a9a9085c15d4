"""The way of a worker's searches: through a segment where there is one that is up to date, else through Postgres.

Invariant: what a segment gives keeps the promise of `app.db.vectors.scan`; no search waits for one.
"""

import numpy as np
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.db import approximate, search_tables, vector_changes
from app.db.session import Database, Row
from workers.segments.codebook import PAIR
from workers.segments.folder import Folder
from workers.segments.keeper import Keeper


class Segments:
    """The segments of a process."""

    def __init__(self, database: Database, folder: Folder, *, fewest: int) -> None:
        """Use segments for collections with at least so many faces, or users, in what is searched."""
        self._folder, self._fewest = folder, fewest
        self.keeper = Keeper(database, folder)

    def scan(
        self, connection: Connection, table: sa.Table, collection: Row, vector: bytes, *, min_cosine: float, limit: int
    ) -> list[int]:
        """Give the numbers of the rows that may be above the threshold, or of the nearest; a few more than the limit."""
        found = self.find(connection, table, collection, vector, min_cosine=min_cosine, limit=limit)
        if found is None:
            return approximate.scan_as_asked(connection, table, collection, vector, min_cosine=min_cosine, limit=limit)
        return found

    def find(
        self, connection: Connection, table: sa.Table, collection: Row, vector: bytes, *, min_cosine: float, limit: int
    ) -> list[int] | None:
        """Give the same by a segment alone; None where there is none, or none that is up to date."""
        history = vector_changes.history(connection) if self._is_large(table, collection) else None
        if history is None:
            return None
        place = self._folder.place(collection.collection_id, table.name, history)
        segment = self.keeper.find(place)
        found = None
        if segment is not None:
            query = np.frombuffer(vector, "<f4")
            found = segment.scan(connection, table, collection, query, min_cosine=min_cosine, limit=limit)
            self._folder.note_use(place)
        if segment is None or segment.is_stale:
            self.keeper.want(place, table, collection.collection_id)
        return found

    def _is_large(self, table: sa.Table, collection: Row) -> bool:
        count = collection.live_faces if search_tables.is_of_faces(table) else collection.live_users
        return (
            bool(count >= self._fewest) and vector_changes.dimension_of(table) % (2 * PAIR) == 0
        )  # whole bytes of codes
