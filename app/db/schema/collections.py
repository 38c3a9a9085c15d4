"""Collections, faces and users.

The float32 truth of a face or user in the version that `model` names lies in its own row, in another version beside it
(`embeddings.py`). What is searched are the narrow tables of `search.py`.
"""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from app.db.schema.metadata import metadata, moment, owner

collections = sa.Table(
    "collections",
    metadata,
    sa.Column("collection_id", sa.Integer, sa.Identity(always=True), primary_key=True),
    owner(),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),  # the face model version that is searched now
    sa.Column("other_model", sa.Text),  # a second version that embeddings are kept of: the next one, or the former
    sa.Column("indexes_other", sa.Boolean, nullable=False, server_default=sa.false()),  # new faces get both
    sa.Column("buckets", ARRAY(sa.SmallInteger), nullable=False),  # partitions that hold its embeddings
    sa.Column("next_no", sa.BigInteger, nullable=False, server_default="1"),  # its row lock serialises the writers ...
    sa.Column("change_seq", sa.BigInteger, nullable=False, server_default="0"),  # ... so this number has no gaps
    sa.Column(
        "model_seq", sa.BigInteger, nullable=False, server_default="0"
    ),  # the change since which `model` is searched
    sa.Column("live_faces", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("live_users", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("search_mode", sa.Text, nullable=False, server_default="exact"),
    sa.Column("tags", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
    moment("created_at", now=True),
    sa.Column("indexed_model", sa.Text),  # the version in which its own buckets have approximate indexes
    sa.UniqueConstraint("account_id", "name"),
    sa.CheckConstraint("search_mode IN ('exact', 'approximate')", name="search_mode"),
)

# No foreign key to collections: every writer holds the collection's row lock, and bulk loads must not pay for the check.
faces = sa.Table(
    "faces",
    metadata,
    sa.Column("collection_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("face_no", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("face_id", sa.Uuid, nullable=False),
    sa.Column("image_id", sa.Uuid, nullable=False),
    sa.Column("external_image_id", sa.Text),
    sa.Column("user_id", sa.Text),  # a face belongs to one user at most
    sa.Column("model", sa.Text, nullable=False),  # the version of emb32
    sa.Column("bbox", ARRAY(sa.REAL), nullable=False),  # left, top, width, height
    sa.Column("confidence", sa.REAL, nullable=False),
    sa.Column("quality", sa.REAL, nullable=False),  # length of the raw embedding
    sa.Column("details", JSONB, nullable=False),  # landmarks, pose, measures
    sa.Column("source", JSONB(none_as_null=True)),  # S3 object or URL, for re-embedding; never inline bytes
    sa.Column("emb32", sa.LargeBinary, nullable=False),  # float32 little-endian, unit length
    sa.Column("change_seq", sa.BigInteger, nullable=False),
    moment("created_at", now=True),
    sa.Index("uq_faces_collection_id_face_id", "collection_id", "face_id", unique=True),
    sa.Index("ix_faces_collection_id_change_seq", "collection_id", "change_seq"),
    sa.Index("ix_faces_collection_id_image_id", "collection_id", "image_id", "external_image_id"),
    sa.Index(
        "ix_faces_collection_id_user_id", "collection_id", "user_id", postgresql_where=sa.text("user_id IS NOT NULL")
    ),
    postgresql_partition_by="HASH (collection_id)",
)

face_tombstones = sa.Table(
    "face_tombstones",
    metadata,
    sa.Column("collection_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("change_seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("face_no", sa.BigInteger, primary_key=True, autoincrement=False),
)

user_tombstones = sa.Table(
    "user_tombstones",
    metadata,
    sa.Column("collection_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("change_seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("user_no", sa.BigInteger, primary_key=True, autoincrement=False),
)

users = sa.Table(
    "users",
    metadata,
    sa.Column("collection_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("user_no", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("user_id", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False, server_default="1.0"),  # the version of vec32
    sa.Column("vec32", sa.LargeBinary),  # float32 little-endian, unit length; none without faces
    sa.Column("change_seq", sa.BigInteger, nullable=False, server_default="0"),  # of the newest change of its vector
    moment("created_at", now=True),
    sa.UniqueConstraint("collection_id", "user_id"),
    sa.Index("ix_users_collection_id_change_seq", "collection_id", "change_seq"),
    sa.CheckConstraint("status IN ('CREATED', 'ACTIVE')", name="status"),
)
