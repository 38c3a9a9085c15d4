"""A collection grows out of its shared bucket into buckets of its own, while searches and writes go on.

First a bucket is made that takes every new row; then the old rows follow, a batch at a time; last the collection forgets the
shared bucket. Each step begins with what the tables say, so a worker may die anywhere. Searches look into both meanwhile.
"""

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.db import bucket_moves as moves
from app.db import bucket_work as rows
from app.db import collections, dedicated_buckets, face_models, search_tables, second_versions
from app.db.session import Row
from app.domain.buckets import BATCH, CAPACITY, OWN_BUCKET_FACES
from app.failpoints import failpoint

#: A bucket that was counted and lacks less than a twentieth is full: else it would be counted over and over.
_FULL_SHARE = 0.95


@dataclass(frozen=True, slots=True)
class Growth:
    """When a collection gets a bucket of its own, and when the next one."""

    threshold: int = OWN_BUCKET_FACES  #: faces above which it gets one
    capacity: int = CAPACITY
    batch: int = BATCH

    def find(self, connection: Connection) -> int:
        """Note which collections are to grow; give how many are new."""
        return rows.find_growth(connection, threshold=self.threshold, capacity=self.capacity)

    def step(self, connection: Connection, claimed: Row) -> bool:
        """Do the next part of a collection's growth; False where nothing is left, or not by us."""
        collection = collections.lock(connection, claimed.collection_id)
        work = rows.lock(connection, claimed)
        if collection is None or work is None:
            return False
        newest = dedicated_buckets.find(connection, collection.buckets[-1])
        if newest is None and collection.live_faces <= self.threshold:  # it shrank meanwhile
            return _done(connection, work)
        if newest is None or self._is_full(connection, collection, newest):
            dedicated_buckets.open_next(connection, collection, beside=_in_use(connection, collection))
            rows.save(connection, work, cursor=work.cursor)
            return True
        if not dedicated_buckets.is_shared(collection.buckets[0]):
            return _done(connection, work)
        self._move_batch(connection, collection, newest, work)
        return True

    def _is_full(self, connection: Connection, collection: Row, newest: Row) -> bool:
        if dedicated_buckets.most_faces(newest, collection) < self.capacity:
            return False
        table = search_tables.of_faces(face_models.get(connection, collection.model))
        there = moves.count(connection, table, collection, newest.bucket, limit=self.capacity)
        dedicated_buckets.set_faces(connection, newest, collection, there)
        return there >= _FULL_SHARE * self.capacity

    def _move_batch(self, connection: Connection, collection: Row, newest: Row, work: Row) -> None:
        """Move the next vectors of every table out of the shared bucket, and leave it when it has none left."""
        shared, after = collection.buckets[0], work.cursor
        tables = _tables(connection, collection)
        ends = [
            moves.end_of_batch(connection, table, collection, shared, after=after, size=self.batch) for table in tables
        ]
        until = min((end for end in ends if end is not None), default=None)
        moved = [moves.move(connection, table, collection, shared, after=after, until=until) for table in tables]
        faces = dedicated_buckets.most_faces(newest, collection) + max(moved)
        dedicated_buckets.set_faces(connection, newest, collection, faces)
        if until is None and not any(moves.any_in(connection, table, collection, shared) for table in tables):
            dedicated_buckets.set_buckets(connection, collection, collection.buckets[1:])
        rows.save(connection, work, cursor=until or 0)
        failpoint("in_bucket_move")


def _in_use(connection: Connection, collection: Row) -> list[int]:
    """List the buckets of a collection, without those of its own that hold nothing any more: workers drop them."""
    tables = _tables(connection, collection)
    return [
        bucket
        for bucket in collection.buckets
        if dedicated_buckets.is_shared(bucket)
        or any(moves.any_in(connection, table, collection, bucket) for table in tables)
    ]


def _tables(connection: Connection, collection: Row) -> list[sa.Table]:
    versions = second_versions.versions(connection, collection)
    return [
        table for version in versions for table in (search_tables.of_faces(version), search_tables.of_users(version))
    ]


def _done(connection: Connection, work: Row) -> bool:
    rows.finish(connection, work)
    return False
