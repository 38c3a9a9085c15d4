"""The tables that are searched: one for faces and one for users per face model version.

They are narrow (bucket, collection, number, halfvec) and hold nothing that a search does not scan. Partitions and their
covering indexes are made by `app.db.search_tables` alone, because SQLAlchemy cannot express them.
"""

import sqlalchemy as sa
from pgvector.sqlalchemy import HALFVEC
from sqlalchemy.dialects.postgresql import ARRAY

from app.db.schema.metadata import metadata, moment
from app.domain.face_models import VERSIONS

SHARED_BUCKETS = 16

#: From here on a bucket belongs to one collection.
FIRST_DEDICATED = 100
LAST_BUCKET = 2**15 - 1


def search_table(name: str, number: str, dimension: int, into: sa.MetaData) -> sa.Table:
    """Describe a search table; `number` is the name of its column of face or user numbers."""
    return sa.Table(
        name,
        into,
        sa.Column("bucket", sa.SmallInteger, nullable=False),
        sa.Column("collection_id", sa.Integer, nullable=False),
        sa.Column(number, sa.BigInteger, nullable=False, key="number"),
        sa.Column("embedding", HALFVEC(dimension), nullable=False),
        postgresql_partition_by="LIST (bucket)",
    )


#: Those of the built-in versions, which the migrations make.
face_vectors = {v.version: search_table(v.search_table, "face_no", v.dimension, metadata) for v in VERSIONS.values()}
user_vectors = {
    v.version: search_table(v.user_search_table, "user_no", v.dimension, metadata) for v in VERSIONS.values()
}

dedicated_buckets = sa.Table(
    "dedicated_buckets",
    metadata,
    sa.Column("bucket", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("collection_id", sa.Integer, nullable=False, index=True),
    sa.Column("faces", sa.BigInteger, nullable=False, server_default="0"),  # when the collection's next number was ...
    sa.Column("next_no", sa.BigInteger, nullable=False),  # ... this one; every later number may be one more
    sa.CheckConstraint(f"bucket >= {FIRST_DEDICATED}", name="bucket"),
)

#: What workers have to do about the buckets of a collection; no row where there is nothing.
bucket_work = sa.Table(
    "bucket_work",
    metadata,
    sa.Column("collection_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("cursor", sa.BigInteger, nullable=False, server_default="0"),  # numbers up to here were moved
    sa.Column("lease", sa.BigInteger, nullable=False, server_default="0"),  # fencing number of the newest claim
    moment("leased_until", now=True),
    sa.CheckConstraint("kind IN ('GROW', 'CLEAR')", name="kind"),
)

#: The approximate indexes of collections that ask for them, or did; no row where there is nothing to do about them.
search_indexes = sa.Table(
    "search_indexes",
    metadata,
    sa.Column("collection_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("buckets", ARRAY(sa.SmallInteger), nullable=False, server_default="{}"),  # those that have one
    sa.Column("faces", sa.BigInteger, nullable=False, server_default="0"),  # how many there were when ...
    sa.Column("users", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("next_no", sa.BigInteger, nullable=False, server_default="0"),  # ... the first of them was begun
    sa.Column("recall", sa.Double),
    sa.Column("sample", sa.Integer),  # faces that were searched with
    sa.Column("matches", sa.Integer),  # what an exact search of them finds
    moment("measured_at", nullable=True),
    moment("due_at", now=True),  # when somebody looks at them next
    sa.Column("problem", sa.Text),  # why there is none yet
)
