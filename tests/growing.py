"""A collection that grows step by step, and what a search of it must find: what a comparison with every face finds."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import sqlalchemy as sa

from app.db import bucket_work, collections, faces, schema, search_tables, vectors
from app.db.session import Database, Row
from app.domain.face_models import NEWEST
from app.services.growth import Growth
from tests.factories import Account, Embeddings, random_embeddings, store_embeddings

#: Sums of float32 products depend on their order; nobody can tell faces this close to the threshold apart.
ROUNDING = 1e-6

RNG = np.random.default_rng(2)

#: What is searched for.
WANTED = random_embeddings(RNG, 1)[0]


@dataclass
class Growing:
    """One collection, and every embedding that was stored in it and not deleted, by FaceId."""

    database: Database
    account: Account
    name: str = "people"
    growth: Growth = field(default_factory=lambda: Growth(threshold=50, batch=7))
    stored: dict[str, Embeddings] = field(default_factory=dict)

    @property
    def row(self) -> Row:
        with self.database.transaction() as connection:
            row = collections.find(connection, self.account.account_id, self.name)
        assert row is not None
        return row

    def store(self, embeddings: Embeddings) -> list[str]:
        ids = store_embeddings(self.database, self.account, self.name, embeddings)
        self.stored |= dict(zip(ids, embeddings, strict=True))
        return ids

    def delete(self, ids: list[str]) -> None:
        with self.database.transaction() as connection:
            collection = collections.lock_for_writing(connection, self.account.account_id, self.name)
            assert collection is not None
            gone = faces.delete(connection, collection, ids)
            collections.add_faces(connection, collection.collection_id, -len(gone))
        for face_id in ids:
            del self.stored[face_id]

    def claim(self) -> Row:
        """Find that it has outgrown its bucket, and claim what is to be done."""
        with self.database.transaction() as connection:
            self.growth.find(connection)
            claimed = bucket_work.claim(connection)
        assert claimed is not None, "there is nothing to do"
        return claimed

    def let_time_pass(self) -> None:
        """Let every lease and pause run out."""
        with self.database.transaction() as connection:
            connection.execute(sa.update(schema.bucket_work).values(leased_until=sa.func.now()))

    def step(self, claimed: Row) -> bool:
        with self.database.transaction() as connection:
            return self.growth.step(connection, claimed)

    def steps(self) -> Iterator[Row]:
        """Grow to the end; gives the collection after each step."""
        claimed = self.claim()
        while self.step(claimed):
            yield self.row

    def search(self, query: Embeddings, min_cosine: float, *, known: Row | None = None, limit: int = 4096) -> list[str]:
        """Search as a worker does, with the collection as it was read before if need be; best first."""
        known = known or self.row
        with self.database.transaction() as connection:
            hits = faces.nearest(connection, known, query.tobytes(), min_cosine=min_cosine, limit=limit)
        return [str(hit.row.face_id) for hit in hits]

    def check(self, query: Embeddings, min_cosine: float, *, known: Row | None = None) -> None:
        """Assert that a search finds what brute force finds, and nothing twice."""
        found = self.search(query, min_cosine, known=known)
        assert len(found) == len(set(found))
        cosines = {face_id: float(embedding @ query) for face_id, embedding in self.stored.items()}
        certain = {face_id for face_id, cosine in cosines.items() if cosine >= min_cosine + ROUNDING}
        possible = {face_id for face_id, cosine in cosines.items() if cosine >= min_cosine - ROUNDING}
        assert certain <= set(found) <= possible
        ordered = np.array([cosines[face_id] for face_id in found])
        assert np.all(np.diff(ordered) <= ROUNDING)

    def check_all(self) -> None:
        """Check a search for everything, one for a part, and one for the lookalikes."""
        for min_cosine in (-1.0, 0.0, 0.5):
            self.check(WANTED, min_cosine)

    def scanned(self, query: Embeddings) -> list[int]:
        """List the numbers that a scan gives for everything: each once, if all is well."""
        table = search_tables.of_faces(NEWEST)
        with self.database.transaction() as connection:
            return vectors.scan(connection, table, self.row, query.tobytes(), min_cosine=-1.0, limit=10_000)

    def per_bucket(self, table: sa.Table | None = None) -> dict[int, int]:
        """Count the vectors of the collection in each bucket."""
        table = search_tables.of_faces(NEWEST) if table is None else table
        counted = sa.select(table.c.bucket, sa.func.count()).where(table.c.collection_id == self.row.collection_id)
        with self.database.transaction() as connection:
            return {row.bucket: row.count for row in connection.execute(counted.group_by(table.c.bucket))}

    def partitions(self) -> set[str]:
        """Name the dedicated buckets of all search tables."""
        statement = sa.text("SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ '^[fu]v_.*_[0-9]+_[0-9]+$'")
        with self.database.transaction() as connection:
            return set(connection.execute(statement).scalars())

    def own_partitions(self, collection_id: int) -> set[str]:
        """Name those of one collection."""
        return {name for name in self.partitions() if name.endswith(f"_{collection_id}")}


def rows(database: Database, table: sa.Table) -> list[dict[str, Any]]:
    """Read a whole table."""
    with database.transaction() as connection:
        return [dict(row) for row in connection.execute(sa.select(table)).mappings()]
