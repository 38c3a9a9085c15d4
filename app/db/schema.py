"""Every table, index and constraint. The migrations build the same; a test compares the two.

Everything is scoped by account. The search tables are narrow (bucket, collection, number, halfvec) and hold nothing that a
search does not scan; the float32 truth lies in `faces.emb32`. Partitions and their covering indexes are made by the
migrations alone, because SQLAlchemy cannot express them.
"""

import sqlalchemy as sa
from pgvector.sqlalchemy import HALFVEC
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from app.domain.face_models import VERSIONS

metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)


def _moment(name: str, *, nullable: bool = False, now: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable, server_default=sa.func.now() if now else None)


def _owner() -> sa.Column[object]:
    return sa.Column("account_id", sa.Integer, sa.ForeignKey("accounts.account_id"), nullable=False)


accounts = sa.Table(
    "accounts",
    metadata,
    sa.Column("account_id", sa.Integer, sa.Identity(always=True), primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("webhook_secret", sa.LargeBinary, nullable=False),  # encrypted
    _moment("created_at", now=True),
)

access_keys = sa.Table(
    "access_keys",
    metadata,
    sa.Column("access_key_id", sa.Text, primary_key=True),
    _owner(),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("secret", sa.LargeBinary, nullable=False),  # encrypted, not hashed: SigV4 needs it back
    sa.Column("session_token", sa.LargeBinary),  # its SHA-256; requests with the key must carry the token
    sa.Column("scopes", JSONB(none_as_null=True)),  # what the key may do; none: everything in the account
    sa.Column("rate", sa.REAL),  # calls per second; none: the setting
    _moment("created_at", now=True),
    _moment("revoked_at", nullable=True),
    _moment("disabled_at", nullable=True),
    _moment("expires_at", nullable=True),
)

collections = sa.Table(
    "collections",
    metadata,
    sa.Column("collection_id", sa.Integer, sa.Identity(always=True), primary_key=True),
    _owner(),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),  # the face model version that is searched now
    sa.Column("buckets", ARRAY(sa.SmallInteger), nullable=False),  # partitions that hold its embeddings
    sa.Column("next_no", sa.BigInteger, nullable=False, server_default="1"),  # its row lock serialises the writers ...
    sa.Column("change_seq", sa.BigInteger, nullable=False, server_default="0"),  # ... so this number has no gaps
    sa.Column("live_faces", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("live_users", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("search_mode", sa.Text, nullable=False, server_default="exact"),
    sa.Column("tags", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
    _moment("created_at", now=True),
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
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("bbox", ARRAY(sa.REAL), nullable=False),  # left, top, width, height
    sa.Column("confidence", sa.REAL, nullable=False),
    sa.Column("quality", sa.REAL, nullable=False),  # length of the raw embedding
    sa.Column("details", JSONB, nullable=False),  # landmarks, pose, measures
    sa.Column("source", JSONB(none_as_null=True)),  # S3 object or URL, for re-embedding; never inline bytes
    sa.Column("emb32", sa.LargeBinary, nullable=False),  # float32 little-endian, unit length
    sa.Column("change_seq", sa.BigInteger, nullable=False),
    _moment("created_at", now=True),
    sa.Index("uq_faces_collection_id_face_id", "collection_id", "face_id", unique=True),
    sa.Index("ix_faces_collection_id_change_seq", "collection_id", "change_seq"),
    sa.Index("ix_faces_collection_id_image_id", "collection_id", "image_id"),
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

users = sa.Table(
    "users",
    metadata,
    sa.Column("collection_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("user_no", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("user_id", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("vec32", sa.LargeBinary),  # float32 little-endian, unit length; none without faces
    _moment("created_at", now=True),
    sa.UniqueConstraint("collection_id", "user_id"),
    sa.CheckConstraint("status IN ('CREATED', 'ACTIVE')", name="status"),
)

request_tokens = sa.Table(
    "request_tokens",
    metadata,
    sa.Column("account_id", sa.Integer, sa.ForeignKey("accounts.account_id"), primary_key=True),
    sa.Column("token", sa.Text, primary_key=True),
    sa.Column("request_hash", sa.LargeBinary, nullable=False),
    sa.Column("response", JSONB, nullable=False),
    _moment("created_at", now=True),
    sa.Index("ix_request_tokens_created_at", "created_at"),
)


def _search_table(name: str, number: str, dimension: int) -> sa.Table:
    return sa.Table(
        name,
        metadata,
        sa.Column("bucket", sa.SmallInteger, nullable=False),
        sa.Column("collection_id", sa.Integer, nullable=False),
        sa.Column(number, sa.BigInteger, nullable=False, key="number"),
        sa.Column("embedding", HALFVEC(dimension), nullable=False),
        postgresql_partition_by="LIST (bucket)",
    )


#: One search table for faces and one for users per face model version, partitioned by bucket.
face_vectors = {v.version: _search_table(v.search_table, "face_no", v.dimension) for v in VERSIONS.values()}
user_vectors = {v.version: _search_table(v.user_search_table, "user_no", v.dimension) for v in VERSIONS.values()}

SHARED_BUCKETS = 16

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("job_id", sa.Uuid, primary_key=True, server_default=sa.text("uuidv7()")),
    _owner(),
    sa.Column("operation", sa.Text, nullable=False),
    sa.Column("input", JSONB, nullable=False),
    sa.Column("lane", sa.Text, nullable=False),
    sa.Column("priority", sa.SmallInteger, nullable=False, server_default="0"),
    sa.Column("status", sa.Text, nullable=False, server_default="QUEUED"),
    sa.Column("lease", sa.BigInteger, nullable=False, server_default="0"),  # fencing number of the newest claim
    sa.Column("attempt", sa.Integer, nullable=False, server_default="0"),
    sa.Column("crashes", sa.Integer, nullable=False, server_default="0"),
    sa.Column("idempotency_key", sa.Text),
    sa.Column("request_hash", sa.LargeBinary, nullable=False),
    sa.Column("metadata", JSONB(none_as_null=True), key="caller_metadata"),
    sa.Column("webhook_url", sa.Text),
    sa.Column("result", JSONB(none_as_null=True)),
    sa.Column("error", JSONB(none_as_null=True)),
    _moment("created_at", now=True),
    _moment("available_at", now=True),
    _moment("start_deadline_at"),
    _moment("rung_at", nullable=True),
    _moment("started_at", nullable=True),
    _moment("heartbeat_at", nullable=True),
    _moment("run_deadline_at", nullable=True),
    _moment("finished_at", nullable=True),
    _moment("expires_at", nullable=True),
    sa.UniqueConstraint("account_id", "idempotency_key"),
    sa.CheckConstraint(
        "status IN ('QUEUED', 'IN_PROGRESS', 'SUCCEEDED', 'FAILED', 'CANCELED', 'EXPIRED')", name="status"
    ),
    sa.CheckConstraint(
        "(status IN ('SUCCEEDED', 'FAILED', 'CANCELED', 'EXPIRED')) = (finished_at IS NOT NULL)", name="finished_at"
    ),
    sa.Index(
        "ix_jobs_queued",
        "lane",
        sa.text("priority DESC"),
        "available_at",
        postgresql_where=sa.text("status = 'QUEUED'"),
    ),
    sa.Index("ix_jobs_running", "heartbeat_at", postgresql_where=sa.text("status = 'IN_PROGRESS'")),
    sa.Index("ix_jobs_expires_at", "expires_at", postgresql_where=sa.text("expires_at IS NOT NULL")),
    sa.Index("ix_jobs_account_id_job_id", "account_id", "job_id"),
)

job_attempts = sa.Table(
    "job_attempts",
    metadata,
    sa.Column("job_id", sa.Uuid, sa.ForeignKey("jobs.job_id", ondelete="CASCADE"), primary_key=True),
    sa.Column("lease", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("worker", sa.Text, nullable=False),
    _moment("started_at", now=True),
    _moment("finished_at", nullable=True),
    sa.Column("outcome", sa.Text),  # succeeded, failed, retried, crashed, timed-out
    sa.Column("error", JSONB(none_as_null=True)),
)

blobs = sa.Table(
    "blobs",
    metadata,
    sa.Column("job_id", sa.Uuid, sa.ForeignKey("jobs.job_id", ondelete="CASCADE"), primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("content", sa.LargeBinary, nullable=False),
)

events = sa.Table(
    "events",
    metadata,
    sa.Column("event_id", sa.Text, primary_key=True),
    _owner(),
    sa.Column("job_id", sa.Uuid, sa.ForeignKey("jobs.job_id", ondelete="CASCADE"), nullable=False),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),  # the exact bytes of every attempt
    _moment("created_at", now=True),
    sa.UniqueConstraint("job_id", "type"),
)

deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("delivery_id", sa.Uuid, primary_key=True, server_default=sa.text("uuidv7()")),
    sa.Column("event_id", sa.Text, sa.ForeignKey("events.event_id", ondelete="CASCADE"), nullable=False),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False, server_default="PENDING"),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    _moment("created_at", now=True),
    _moment("finished_at", nullable=True),
    sa.UniqueConstraint("event_id", "url"),
    sa.CheckConstraint("status IN ('PENDING', 'SUCCEEDED', 'FAILED')", name="status"),
    sa.Index("ix_deliveries_due", "next_attempt_at", postgresql_where=sa.text("status = 'PENDING'")),
)

delivery_attempts = sa.Table(
    "delivery_attempts",
    metadata,
    sa.Column("delivery_id", sa.Uuid, sa.ForeignKey("deliveries.delivery_id", ondelete="CASCADE"), primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True, autoincrement=False),
    _moment("started_at", now=True),
    sa.Column("status_code", sa.Integer),
    sa.Column("error", sa.Text),
    sa.Column("milliseconds", sa.Integer),
    sa.Column("answer", sa.LargeBinary),
)
