"""What large collections leave is cleared away: the rows of a deleted one in batches, then its buckets; nobody waits for it.

Nothing finds any of it: the collection's row is gone. A step begins with what the tables say, so a worker may die anywhere.
"""

from app.db import bucket_work as rows
from app.db import dedicated_buckets, face_models, hnsw, leftovers, search_tables
from app.db.session import Database, Row
from app.domain.buckets import BATCH


def step(database: Database, claimed: Row) -> bool:
    """Do the next part; False where nothing is left, or not by us. Raises ServiceUnavailable where searches take too long."""
    with database.transaction() as connection:
        work = rows.lock(connection, claimed)
        if work is None:
            return False
        versions = face_models.list_all(connection)
        if leftovers.remove_some(connection, work.collection_id, versions, limit=BATCH):
            rows.save(connection, work, cursor=0)
            return True
    drop_unused(database, claimed.collection_id)
    with database.transaction() as connection:
        rows.finish(connection, claimed)
    return False


def drop_unused(database: Database, collection_id: int) -> None:
    """Drop the buckets that a collection has left, all of them where it was deleted."""
    with database.transaction() as connection:
        buckets = dedicated_buckets.unused(connection, collection_id)
        versions = face_models.list_all(connection)
    for bucket in buckets:
        for version in versions:
            with database.statement() as connection:
                hnsw.stop(connection, search_tables.own_table(version, bucket, collection_id))
                search_tables.drop_bucket(connection, version, bucket, collection_id)
        with database.transaction() as connection:
            dedicated_buckets.release(connection, collection_id, bucket)
