"""Webhook endpoints, events, their deliveries and every attempt, and how each receiver has been doing."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from app.db.schema.metadata import metadata, moment, owner

webhook_endpoints = sa.Table(
    "webhook_endpoints",
    metadata,
    sa.Column("endpoint_id", sa.Uuid, primary_key=True, server_default=sa.text("uuidv7()")),
    owner(),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("description", sa.Text, nullable=False, server_default=""),
    sa.Column("event_types", ARRAY(sa.Text)),  # none: all
    sa.Column("headers", sa.LargeBinary),  # encrypted JSON: some carry credentials
    sa.Column("payload", sa.Text, nullable=False, server_default="FULL"),
    sa.Column("status", sa.Text, nullable=False, server_default="ENABLED"),
    sa.Column("disabled_reason", sa.Text),
    moment("disabled_at", nullable=True),
    moment("created_at", now=True),
    moment("updated_at", now=True),
    sa.CheckConstraint("payload IN ('FULL', 'REFERENCE')", name="payload"),
    sa.CheckConstraint("status IN ('ENABLED', 'DISABLED')", name="status"),
    sa.CheckConstraint("disabled_reason IN ('REQUESTED', 'FAILING', 'GONE')", name="disabled_reason"),
    sa.Index("ix_webhook_endpoints_account_id_endpoint_id", "account_id", "endpoint_id"),
)

webhook_secrets = sa.Table(
    "webhook_secrets",
    metadata,
    sa.Column("secret_id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column(
        "endpoint_id", sa.Uuid, sa.ForeignKey("webhook_endpoints.endpoint_id", ondelete="CASCADE"), nullable=False
    ),
    sa.Column("secret", sa.LargeBinary, nullable=False),  # encrypted
    moment("created_at", now=True),
    moment("expires_at", nullable=True),  # none: the newest
    sa.Index("ix_webhook_secrets_endpoint_id", "endpoint_id"),
)

events = sa.Table(
    "events",
    metadata,
    sa.Column("event_id", sa.Text, primary_key=True),
    owner(),
    sa.Column("job_id", sa.Uuid, sa.ForeignKey("jobs.job_id", ondelete="CASCADE")),  # none: not about a job
    sa.Column("batch_id", sa.Uuid, sa.ForeignKey("batches.batch_id", ondelete="CASCADE")),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),  # the exact bytes of every attempt
    moment("created_at", now=True),
    sa.UniqueConstraint("job_id", "type"),
    sa.UniqueConstraint("batch_id", "type"),
    sa.Index("ix_events_account_id_created_at", "account_id", "created_at"),
    sa.Index("ix_events_created_at", "created_at", postgresql_where=sa.text("job_id IS NULL")),  # for the purge
)

deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("delivery_id", sa.Uuid, primary_key=True, server_default=sa.text("uuidv7()")),
    owner(),
    sa.Column("event_id", sa.Text, sa.ForeignKey("events.event_id", ondelete="CASCADE"), nullable=False),
    sa.Column("endpoint_id", sa.Uuid, sa.ForeignKey("webhook_endpoints.endpoint_id", ondelete="CASCADE")),
    sa.Column("receiver", sa.Text, nullable=False),  # an endpoint's id, or the origin of a job's own URL
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False, server_default="PENDING"),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("round_start", sa.Integer, nullable=False, server_default="0"),  # attempts before the newest redelivery
    sa.Column("trigger", sa.Text, nullable=False, server_default="SCHEDULE"),  # why the next attempt is made
    sa.Column("urgent", sa.Boolean, nullable=False, server_default=sa.false()),  # asked for: goes before all others
    sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    moment("leased_until", nullable=True),  # a courier is at it
    moment("created_at", now=True),
    moment("finished_at", nullable=True),
    sa.UniqueConstraint("event_id", "receiver"),
    sa.CheckConstraint("status IN ('PENDING', 'SUCCEEDED', 'FAILED')", name="status"),
    sa.CheckConstraint("trigger IN ('SCHEDULE', 'MANUAL', 'TEST')", name="trigger"),
    sa.Index(
        "ix_deliveries_due",
        "account_id",
        "receiver",
        sa.text("urgent DESC"),
        "next_attempt_at",
        postgresql_where=sa.text("status = 'PENDING'"),
    ),
    sa.Index(
        "ix_deliveries_fresh",
        "account_id",
        "receiver",
        sa.text("urgent DESC"),
        "next_attempt_at",
        postgresql_where=sa.text("status = 'PENDING' AND attempts = round_start"),
    ),
    sa.Index(
        "ix_deliveries_retries",
        "next_attempt_at",
        postgresql_where=sa.text("status = 'PENDING' AND attempts <> round_start"),
    ),
    sa.Index("ix_deliveries_leased", "account_id", "receiver", postgresql_where=sa.text("leased_until IS NOT NULL")),
    sa.Index("ix_deliveries_account_id_delivery_id", "account_id", "delivery_id"),
    sa.Index("ix_deliveries_dead", "account_id", "delivery_id", postgresql_where=sa.text("status = 'FAILED'")),
    sa.Index(
        "ix_deliveries_endpoint_id",
        "endpoint_id",
        "delivery_id",
        postgresql_where=sa.text("endpoint_id IS NOT NULL"),
    ),
)

delivery_attempts = sa.Table(
    "delivery_attempts",
    metadata,
    sa.Column("delivery_id", sa.Uuid, sa.ForeignKey("deliveries.delivery_id", ondelete="CASCADE"), primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("trigger", sa.Text, nullable=False, server_default="SCHEDULE"),
    moment("started_at", now=True),
    sa.Column("status_code", sa.Integer),
    sa.Column("error_kind", sa.Text),  # refused, dns, connect, tls, timeout, reset, protocol, status, internal
    sa.Column("error", sa.Text),
    sa.Column("milliseconds", sa.Integer),
    sa.Column("address", sa.Text),
    sa.Column("answer", sa.LargeBinary),
)

receivers = sa.Table(
    "receivers",
    metadata,
    sa.Column("account_id", sa.Integer, sa.ForeignKey("accounts.account_id"), primary_key=True, autoincrement=False),
    sa.Column("receiver", sa.Text, primary_key=True),
    sa.Column("concurrency", sa.SmallInteger, nullable=False, server_default="1"),  # deliveries under way at most
    sa.Column("failures", sa.Integer, nullable=False, server_default="0"),  # in a row; one success ends them
    moment("failing_since", nullable=True),
    moment("warned_at", nullable=True),
    moment("open_until", nullable=True),  # the circuit is open: nothing is sent before
    moment("updated_at", now=True),
)
