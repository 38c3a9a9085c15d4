"""Batches, their items, and the leases under which workers hold some of them.

An item is no job: items are claimed and ended many at a time. They have no foreign key to their batch, because loading millions
of them must not pay for the check; the purge deletes them before the batch.
"""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from app.db.schema.metadata import metadata, moment, owner

_OPEN = "status IN ('EXPANDING', 'IN_PROGRESS')"


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, server_default="0")


batches = sa.Table(
    "batches",
    metadata,
    sa.Column("batch_id", sa.Uuid, primary_key=True, server_default=sa.text("uuidv7()")),
    owner(),
    sa.Column("operation", sa.Text, nullable=False),
    sa.Column("defaults", JSONB, nullable=False),
    sa.Column("source", JSONB, nullable=False),  # where the items come from
    sa.Column("cursor", JSONB(none_as_null=True)),  # how far the source was read
    sa.Column("region", sa.Text),
    sa.Column("status", sa.Text, nullable=False),
    _count("total"),
    _count("running"),
    _count("succeeded"),
    _count("failed"),
    _count("canceled"),
    sa.Column("idempotency_key", sa.Text),
    sa.Column("request_hash", sa.LargeBinary),
    sa.Column("metadata", JSONB(none_as_null=True), key="caller_metadata"),
    sa.Column("actor", JSONB(none_as_null=True)),  # who submitted it, for the audit log
    sa.Column("webhook_url", sa.Text),
    sa.Column("webhook_endpoint_id", sa.Uuid),  # no foreign key: the endpoint may be gone before the batch ends
    sa.Column("tells_endpoints", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("retry_of", sa.Uuid),
    sa.Column("error", JSONB(none_as_null=True)),
    sa.Column("rate", sa.REAL),  # items that ended in a second, over the last stretch that was measured
    sa.Column("measured_ended", sa.BigInteger, nullable=False, server_default="0"),
    moment("measured_at", nullable=True),
    moment("created_at", now=True),
    moment("touched_at", now=True),  # the newest sign of whoever uploads the items
    moment("served_at", nullable=True),  # whose turn it is: the newest claim
    moment("listed_at", nullable=True),  # likewise for reading its source on
    moment("listable_at", nullable=True),  # its store did not answer, and is not asked again before
    moment("rung_at", nullable=True),
    moment("started_at", nullable=True),
    moment("paused_at", nullable=True),
    moment("stopped_at", nullable=True),  # no item is started any more
    sa.Column("cut_short", sa.Boolean, nullable=False, server_default=sa.false()),  # it was stopped while it was listed
    moment("finished_at", nullable=True),
    moment("expires_at", nullable=True),
    sa.UniqueConstraint("account_id", "idempotency_key"),
    sa.CheckConstraint(
        "status IN ('UPLOADING', 'EXPANDING', 'IN_PROGRESS', 'SUCCEEDED', 'FAILED', 'CANCELED')", name="status"
    ),
    sa.CheckConstraint(
        "(status IN ('SUCCEEDED', 'FAILED', 'CANCELED')) = (finished_at IS NOT NULL)", name="finished_at"
    ),
    sa.CheckConstraint(
        "running >= 0 AND succeeded >= 0 AND failed >= 0 AND canceled >= 0"
        " AND running + succeeded + failed + canceled <= total",
        name="counts",
    ),
    sa.Index("ix_batches_account_id_batch_id", "account_id", "batch_id"),
    sa.Index("ix_batches_open", "account_id", "served_at", postgresql_where=sa.text(_OPEN)),
    sa.Index("ix_batches_uploading", "touched_at", postgresql_where=sa.text("status = 'UPLOADING'")),
    sa.Index("ix_batches_expires_at", "expires_at", postgresql_where=sa.text("expires_at IS NOT NULL")),
)

batch_items = sa.Table(
    "batch_items",
    metadata,
    sa.Column("batch_id", sa.Uuid, primary_key=True),
    sa.Column("item_no", sa.BigInteger, primary_key=True, autoincrement=False),  # 1, 2, … as in the source
    sa.Column("custom_id", sa.Text),
    sa.Column("input", JSONB, nullable=False),  # its own; the batch's defaults are added when it is claimed
    sa.Column("status", sa.Text, nullable=False, server_default="QUEUED"),
    sa.Column("lease", sa.BigInteger),  # of the newest claim
    sa.Column("attempt", sa.Integer, nullable=False, server_default="0"),
    sa.Column("crashes", sa.Integer, nullable=False, server_default="0"),
    sa.Column("ended_no", sa.BigInteger),  # 1, 2, … in the order of the endings, without gaps: where readers go on
    sa.Column("result", JSONB(none_as_null=True)),
    sa.Column("error", JSONB(none_as_null=True)),
    moment("available_at", now=True),
    moment("finished_at", nullable=True),
    sa.UniqueConstraint("batch_id", "custom_id"),
    sa.CheckConstraint("status IN ('QUEUED', 'IN_PROGRESS', 'SUCCEEDED', 'FAILED', 'CANCELED')", name="status"),
    sa.CheckConstraint("(status IN ('QUEUED', 'IN_PROGRESS')) = (ended_no IS NULL)", name="ended_no"),
    sa.Index("ix_batch_items_queued", "batch_id", "item_no", postgresql_where=sa.text("status = 'QUEUED'")),
    sa.Index(
        "uq_batch_items_batch_id_ended_no",
        "batch_id",
        "ended_no",
        unique=True,
        postgresql_where=sa.text("ended_no IS NOT NULL"),
    ),
    sa.Index("ix_batch_items_failed", "batch_id", "ended_no", postgresql_where=sa.text("status = 'FAILED'")),
)

#: One row while a worker is at it: items that it runs, or the batch's source that it reads (then without items).
batch_leases = sa.Table(
    "batch_leases",
    metadata,
    sa.Column("lease", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("batch_id", sa.Uuid, sa.ForeignKey("batches.batch_id", ondelete="CASCADE"), nullable=False),
    sa.Column("item_numbers", ARRAY(sa.BigInteger)),
    sa.Column("worker", sa.Text, nullable=False),
    moment("started_at", now=True),
    moment("heartbeat_at", now=True),
    sa.Index(
        "uq_batch_leases_batch_id_expansion", "batch_id", unique=True, postgresql_where=sa.text("item_numbers IS NULL")
    ),
    sa.Index("ix_batch_leases_batch_id", "batch_id"),
)
