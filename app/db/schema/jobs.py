"""Jobs, every attempt to run one, and the inline pictures that live as long as their job runs."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from app.db.schema.metadata import metadata, moment, owner

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("job_id", sa.Uuid, primary_key=True, server_default=sa.text("uuidv7()")),
    owner(),
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
    sa.Column("region", sa.Text),  # that the caller signed for; ARNs in the answer name it
    sa.Column("actor", JSONB(none_as_null=True)),  # who submitted it, for the audit log
    sa.Column("webhook_url", sa.Text),
    sa.Column("webhook_endpoint_id", sa.Uuid),  # no foreign key: the endpoint may be gone before the job ends
    sa.Column("tells_endpoints", sa.Boolean, nullable=False, server_default=sa.false()),  # all that want its event
    sa.Column("retry_of", sa.Uuid),
    sa.Column("result", JSONB(none_as_null=True)),
    sa.Column("error", JSONB(none_as_null=True)),
    moment("created_at", now=True),
    moment("available_at", now=True),
    moment("start_deadline_at"),
    moment("rung_at", nullable=True),
    moment("started_at", nullable=True),
    moment("heartbeat_at", nullable=True),
    moment("run_deadline_at", nullable=True),
    moment("cancel_requested_at", nullable=True),
    moment("finished_at", nullable=True),
    moment("expires_at", nullable=True),
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
        "account_id",
        sa.text("priority DESC"),
        "available_at",
        postgresql_where=sa.text("status = 'QUEUED'"),
    ),
    sa.Index("ix_jobs_waiting", "lane", "available_at", postgresql_where=sa.text("status = 'QUEUED'")),
    sa.Index("ix_jobs_overdue", "start_deadline_at", postgresql_where=sa.text("status = 'QUEUED'")),
    sa.Index("ix_jobs_running", "heartbeat_at", postgresql_where=sa.text("status = 'IN_PROGRESS'")),
    sa.Index("ix_jobs_expires_at", "expires_at", postgresql_where=sa.text("expires_at IS NOT NULL")),
    sa.Index("ix_jobs_account_id_job_id", "account_id", "job_id"),
    sa.Index(
        "ix_jobs_unsuccessful",
        "account_id",
        "job_id",
        postgresql_where=sa.text("status IN ('FAILED', 'CANCELED', 'EXPIRED')"),
    ),
    # Whose turn it is: an account's newest claim, which set this deadline.
    sa.Index(
        "ix_jobs_served",
        "lane",
        "account_id",
        sa.text("run_deadline_at DESC"),
        postgresql_where=sa.text("run_deadline_at IS NOT NULL"),
    ),
)

job_attempts = sa.Table(
    "job_attempts",
    metadata,
    sa.Column("job_id", sa.Uuid, sa.ForeignKey("jobs.job_id", ondelete="CASCADE"), primary_key=True),
    sa.Column("lease", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("worker", sa.Text, nullable=False),
    moment("started_at", now=True),
    moment("finished_at", nullable=True),
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
