"""Reprocesses: moves of a collection to another face model version, their pages of faces, and the faces that stayed behind."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from app.db.schema.metadata import metadata, moment, owner

reprocesses = sa.Table(
    "reprocesses",
    metadata,
    sa.Column("reprocess_id", sa.Uuid, primary_key=True, server_default=sa.text("uuidv7()")),
    owner(),
    sa.Column("collection_id", sa.Integer, nullable=False),
    sa.Column("collection_name", sa.Text, nullable=False),
    sa.Column("from_model", sa.Text, nullable=False),
    sa.Column("to_model", sa.Text, nullable=False),
    sa.Column("on_failure", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False, server_default="IN_PROGRESS"),
    sa.Column("total", sa.BigInteger, nullable=False),  # faces when it began
    sa.Column("done", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("failed", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("face_cursor", sa.BigInteger, nullable=False, server_default="0"),  # faces up to here were handed out
    sa.Column("user_cursor", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("error", JSONB(none_as_null=True)),
    moment("created_at", now=True),
    moment("served_at", nullable=True),  # when a worker last did something for it
    moment("stalled_at", nullable=True),  # since then every worker that came found no model
    moment("finished_at", nullable=True),
    moment("rolled_back_at", nullable=True),
    moment("keep_until", nullable=True),  # then the version that is not searched is removed
    moment("cleaned_at", nullable=True),
    sa.CheckConstraint("on_failure IN ('keep-out', 'abort')", name="on_failure"),
    sa.CheckConstraint("status IN ('IN_PROGRESS', 'SUCCEEDED', 'FAILED', 'CANCELED', 'ROLLED_BACK')", name="status"),
    sa.CheckConstraint("(status = 'IN_PROGRESS') = (finished_at IS NULL)", name="finished_at"),
    # A collection has two versions at most, so one reprocess must be cleaned up before the next begins.
    sa.Index("uq_reprocesses_open", "collection_id", unique=True, postgresql_where=sa.text("cleaned_at IS NULL")),
    sa.Index("ix_reprocesses_collection_id_reprocess_id", "collection_id", "reprocess_id"),
)

reprocess_pages = sa.Table(
    "reprocess_pages",
    metadata,
    sa.Column("reprocess_id", sa.Uuid, sa.ForeignKey("reprocesses.reprocess_id", ondelete="CASCADE"), primary_key=True),
    sa.Column("after_no", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("last_no", sa.BigInteger, nullable=False),
    sa.Column("lease", sa.BigInteger, nullable=False, server_default="1"),  # fencing number of the newest claim
    moment("leased_until"),
    sa.Column("paused", sa.Boolean, nullable=False, server_default=sa.false()),  # put back, not left by a dead worker
    sa.Column("tries", sa.Integer, nullable=False, server_default="0"),  # that ended with a source which may come back
    sa.Column("crashes", sa.Integer, nullable=False, server_default="0"),
)

reprocess_failures = sa.Table(
    "reprocess_failures",
    metadata,
    sa.Column("reprocess_id", sa.Uuid, sa.ForeignKey("reprocesses.reprocess_id", ondelete="CASCADE"), primary_key=True),
    sa.Column("face_no", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("face_id", sa.Uuid, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    moment("failed_at", now=True),
)
