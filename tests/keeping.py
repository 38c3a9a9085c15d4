"""A collection that workers keep a segment of, and what a search of it must find: what a comparison with every face finds."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.db import face_models, faces, search_tables, vector_changes, vectors
from app.db.session import Database, Row
from tests.factories import Embeddings
from tests.growing import ROUNDING, Growing
from tests.patience import wait_until
from workers.segments.cache import Segments
from workers.segments.folder import Folder


class Worker:
    """A worker's way to search."""

    _started: ClassVar[list["Worker"]] = []

    @classmethod
    def stop_all(cls) -> None:
        """Stop the threads of all workers: their database goes away."""
        while cls._started:
            cls._started.pop().segments.keeper.stop()

    def __init__(self, database: Database, folder: Path, *, most_bytes: int = 1 << 30, fewest: int = 1) -> None:
        self.folder = Folder(folder, most_bytes)
        self.segments = Segments(database, self.folder, fewest=fewest)
        self._started.append(self)

    def place(self, connection: Connection, collection: Row, *, users: bool = False) -> Path:
        """Give the place of a collection's file."""
        version = face_models.get(connection, collection.model)
        table = search_tables.of_users(version) if users else search_tables.of_faces(version)
        history = vector_changes.history(connection)
        assert history is not None
        return self.folder.place(collection.collection_id, table.name, history)


@dataclass
class Kept(Growing):
    """Searched by several workers in turn."""

    workers: list[Worker] = field(default_factory=list)
    searches: int = 0
    slow: int = 0  # answered by Postgres

    def scan(
        self, connection: Connection, table: sa.Table, collection: Row, vector: bytes, *, min_cosine: float, limit: int
    ) -> list[int]:
        worker = self.workers[self.searches % len(self.workers)]
        self.searches += 1
        found = worker.segments.find(connection, table, collection, vector, min_cosine=min_cosine, limit=limit)
        if found is None:
            self.slow += 1
            return vectors.scan(connection, table, collection, vector, min_cosine=min_cosine, limit=limit)
        return found

    def search(self, query: Embeddings, min_cosine: float, *, known: Row | None = None, limit: int = 4096) -> list[str]:
        known = known or self.row
        with self.database.transaction() as connection:
            hits = faces.nearest(connection, known, query.tobytes(), min_cosine=min_cosine, limit=limit, scan=self.scan)
        return [str(hit.row.face_id) for hit in hits]

    def check_nearest(self, query: Embeddings, min_cosine: float, limit: int) -> None:
        """Assert that a search finds as many as it should, and none that is farther than one that it leaves out."""
        found = self.search(query, min_cosine, limit=limit)
        assert len(set(found)) == len(found)
        cosines = np.array([float(embedding @ query) for embedding in self.stored.values()])
        best = np.sort(cosines[cosines >= min_cosine])[::-1][:limit]
        mine = np.array([float(self.stored[face_id] @ query) for face_id in found])
        clear = np.sum(best >= min_cosine + ROUNDING)
        assert clear <= len(mine) <= limit
        np.testing.assert_allclose(mine[:clear], best[:clear], atol=ROUNDING)

    def warm(self, seconds: float = 30) -> None:
        """Search until every worker has a segment that nothing is to be done about."""
        query = next(iter(self.stored.values()))

        def is_warm() -> bool:
            before = self.slow
            for _ in self.workers:
                self.search(query, 0.9)
            return self.slow == before and not any(self.is_stale(worker) for worker in self.workers)

        wait_until(is_warm, seconds)

    def is_stale(self, worker: Worker) -> bool:
        with self.database.transaction() as connection:
            place = worker.place(connection, self.row)
        segment = worker.segments.keeper.find(place)
        return segment is None or segment.is_stale or segment.inode != worker.folder.inode(place)

    def file(self) -> Path:
        """Give the place of its file."""
        with self.database.transaction() as connection:
            return self.workers[0].place(connection, self.row)

    def fast(self, count: int = 1) -> int:
        """Search, and tell how many of that many searches a segment answered."""
        before = self.slow
        for _ in range(count):
            self.check(next(iter(self.stored.values())), 0.5)
        return count - (self.slow - before)
