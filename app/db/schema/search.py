"""The tables that are searched: one for faces and one for users per face model version.

They are narrow (bucket, collection, number, halfvec) and hold nothing that a search does not scan. Partitions and their
covering indexes are made by `app.db.search_tables` alone, because SQLAlchemy cannot express them.
"""

import sqlalchemy as sa
from pgvector.sqlalchemy import HALFVEC

from app.db.schema.metadata import metadata
from app.domain.face_models import VERSIONS

SHARED_BUCKETS = 16


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
