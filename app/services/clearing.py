"""A large collection that was deleted is cleared away: its rows in batches, then its own buckets, which cost nobody a wait.

Nothing finds any of it: the collection's row is gone. A step begins with what the tables say, so a worker may die anywhere.
"""

from app.db import bucket_work as rows
from app.db import dedicated_buckets, face_models, leftovers, search_tables
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
        buckets = dedicated_buckets.owned(connection, work.collection_id)
    for bucket in buckets:
        for version in versions:
            with database.statement() as connection:
                search_tables.drop_bucket(connection, version, bucket, work.collection_id)
    with database.transaction() as connection:
        if rows.lock(connection, claimed) is not None:
            dedicated_buckets.release(connection, work.collection_id)
            rows.finish(connection, work)
    return False
