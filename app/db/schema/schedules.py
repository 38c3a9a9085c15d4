"""Schedules, their ticks, and the objects that a re-sync has seen."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from app.db.schema.collections import faces
from app.db.schema.metadata import metadata, moment

schedules = sa.Table(
    "schedules",
    metadata,
    sa.Column("schedule_id", sa.Uuid, primary_key=True, server_default=sa.text("uuidv7()")),
    sa.Column("account_id", sa.Integer, sa.ForeignKey("accounts.account_id")),  # none: built in
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("cron", sa.Text, nullable=False),
    sa.Column("timezone", sa.Text, nullable=False, server_default="UTC"),
    sa.Column("catch_up", sa.Text, nullable=False, server_default="ONE"),
    sa.Column("settings", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
    sa.Column("enabled", sa.Boolean, nullable=False, server_default=sa.true()),
    moment("next_due_at", nullable=True),  # none while it is disabled
    moment("last_due_at", nullable=True),
    moment("created_at", now=True),
    moment("updated_at", now=True),
    sa.UniqueConstraint("account_id", "name", postgresql_nulls_not_distinct=True),
    sa.CheckConstraint("kind IN ('PURGE', 'RETENTION', 'RESYNC', 'INTEGRITY')", name="kind"),
    sa.CheckConstraint("catch_up IN ('SKIP', 'ONE', 'ALL')", name="catch_up"),
    sa.CheckConstraint("enabled = (next_due_at IS NOT NULL)", name="next_due_at"),
    sa.Index("ix_schedules_next_due_at", "next_due_at", postgresql_where=sa.text("next_due_at IS NOT NULL")),
    sa.Index("ix_schedules_account_id_schedule_id", "account_id", "schedule_id"),
)

_OPEN = sa.text("status IN ('QUEUED', 'IN_PROGRESS')")

ticks = sa.Table(
    "ticks",
    metadata,
    sa.Column("schedule_id", sa.Uuid, sa.ForeignKey("schedules.schedule_id", ondelete="CASCADE"), primary_key=True),
    sa.Column("due_at", sa.DateTime(timezone=True), primary_key=True),
    sa.Column("trigger", sa.Text, nullable=False, server_default="SCHEDULE"),
    sa.Column("status", sa.Text, nullable=False, server_default="QUEUED"),
    sa.Column("lease", sa.BigInteger, nullable=False, server_default="0"),  # fencing number of the newest claim
    moment("leased_until", now=True),  # of a queued tick: not before
    sa.Column("failures", sa.Integer, nullable=False, server_default="0"),
    sa.Column("cursor", JSONB(none_as_null=True)),  # where the next step begins
    sa.Column("result", JSONB(none_as_null=True)),  # grows while the tick runs
    sa.Column("error", JSONB(none_as_null=True)),
    moment("created_at", now=True),
    moment("started_at", nullable=True),
    moment("finished_at", nullable=True),
    sa.CheckConstraint("trigger IN ('SCHEDULE', 'MANUAL')", name="trigger"),
    sa.CheckConstraint("status IN ('QUEUED', 'IN_PROGRESS', 'SUCCEEDED', 'FAILED')", name="status"),
    sa.CheckConstraint("(status IN ('SUCCEEDED', 'FAILED')) = (finished_at IS NOT NULL)", name="finished_at"),
    sa.Index("ix_ticks_open", "schedule_id", "due_at", postgresql_where=_OPEN),
    sa.Index("ix_ticks_leased_until", "leased_until", postgresql_where=_OPEN),
    sa.Index("ix_ticks_finished_at", "finished_at", postgresql_where=sa.text("finished_at IS NOT NULL")),
)

synced_objects = sa.Table(
    "synced_objects",
    metadata,
    sa.Column("schedule_id", sa.Uuid, sa.ForeignKey("schedules.schedule_id", ondelete="CASCADE"), primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("collection_id", sa.Integer, nullable=False),  # a collection made anew under the name holds nothing of it
    sa.Column("etag", sa.Text, nullable=False),
    sa.Column("job_id", sa.Uuid),  # that indexes it; no foreign key: the job goes first
    sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),  # due time of the newest tick that listed it
    sa.Index("ix_synced_objects_schedule_id_seen_at", "schedule_id", "seen_at"),
)

#: The name of the S3 object that a face was found in, as far as an index has room for it.
FACE_OBJECT = "\"left\"((source -> 'S3Object') ->> 'Name', 512)"

sa.Index(
    "ix_faces_collection_id_object",
    faces.c.collection_id,
    sa.text(FACE_OBJECT),
    postgresql_where=sa.text(f"{FACE_OBJECT} IS NOT NULL"),
)
