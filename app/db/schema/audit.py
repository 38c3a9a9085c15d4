"""The audit log. Postgres itself refuses to change a line, and to delete one outside the log's own purge (migration 0017).

A line's moment is in its id (UUIDv7), so the primary key is also the order of time.
"""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from app.db.schema.metadata import metadata

audit_log = sa.Table(
    "audit_log",
    metadata,
    sa.Column("audit_id", sa.Uuid, primary_key=True, server_default=sa.text("uuidv7()")),
    sa.Column("account_id", sa.Integer),  # none: of all; no foreign key: a line outlives what it names
    sa.Column("actor_kind", sa.Text, nullable=False),
    sa.Column("actor", sa.Text),  # the id of an access key or of a schedule
    sa.Column("source_address", sa.Text),
    sa.Column("request_id", sa.Text),
    sa.Column("operation", sa.Text, nullable=False),
    sa.Column("collection", sa.Text),
    sa.Column("resources", JSONB, nullable=False),  # ids by what they are of
    sa.Column("result", sa.Text, nullable=False),
    sa.Column("count", sa.BigInteger),
    sa.CheckConstraint("actor_kind IN ('KEY', 'SCHEDULE', 'OPERATOR', 'SYSTEM')", name="actor_kind"),
    sa.Index("ix_audit_log_account_id_audit_id", "account_id", "audit_id"),
    sa.Index(
        "ix_audit_log_account_id_collection_audit_id",
        "account_id",
        "collection",
        "audit_id",
        postgresql_where=sa.text("collection IS NOT NULL"),
    ),
    sa.Index(
        "ix_audit_log_account_id_actor_audit_id",
        "account_id",
        "actor",
        "audit_id",
        postgresql_where=sa.text("actor IS NOT NULL"),
    ),
)
