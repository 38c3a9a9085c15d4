"""Face model versions beyond the built-in one, and what a collection keeps while it has two of them.

Like `faces`, these rows have no foreign key to the collection: every writer holds its row lock.
"""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from app.db.schema.metadata import metadata, moment

face_models = sa.Table(
    "face_models",
    metadata,
    sa.Column("version", sa.Text, primary_key=True),
    sa.Column("file_name", sa.Text, nullable=False),
    sa.Column("sha256", sa.Text, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("licence", sa.Text, nullable=False, server_default=""),
    sa.Column("dimension", sa.Integer, nullable=False),
    sa.Column("template", sa.Text, nullable=False),
    sa.Column("channels", sa.Text, nullable=False),
    sa.Column("mean", ARRAY(sa.Double), nullable=False),
    sa.Column("deviation", ARRAY(sa.Double), nullable=False),
    sa.Column("slope", sa.Double, nullable=False),
    sa.Column("curve_offset", sa.Double, nullable=False),
    sa.Column(
        "is_default", sa.Boolean, nullable=False, server_default=sa.false()
    ),  # of new collections; none: built-in
    moment("created_at", now=True),
    sa.CheckConstraint("channels IN ('RGB', 'BGR')", name="channels"),
    sa.Index("uq_face_models_is_default", "is_default", unique=True, postgresql_where=sa.text("is_default")),
)

face_embeddings = sa.Table(
    "face_embeddings",
    metadata,
    sa.Column("collection_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("face_no", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("emb32", sa.LargeBinary, nullable=False),  # float32 little-endian, unit length
)

user_embeddings = sa.Table(
    "user_embeddings",
    metadata,
    sa.Column("collection_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("user_no", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("vec32", sa.LargeBinary, nullable=False),
)

face_crops = sa.Table(
    "face_crops",
    metadata,
    sa.Column("collection_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("face_no", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column(
        "crop", sa.LargeBinary, nullable=False
    ),  # PNG, 112 x 112: lossless, so that its embedding is the picture's
)
