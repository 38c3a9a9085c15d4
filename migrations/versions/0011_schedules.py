"""Schedules with their ticks, the objects that a re-sync has seen, and an index that finds the faces of an S3 object.

The purge becomes a schedule that is built in. Older beats go on sending their tick for it, which newer workers do not know and
drop; older workers find only new tables. While the index over faces is built they are read, but not written.
"""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE schedules (
            schedule_id uuid NOT NULL DEFAULT uuidv7() CONSTRAINT pk_schedules PRIMARY KEY,
            account_id int CONSTRAINT fk_schedules_account_id REFERENCES accounts (account_id),
            name text NOT NULL,
            kind text NOT NULL
                CONSTRAINT ck_schedules_kind CHECK (kind IN ('PURGE', 'RETENTION', 'RESYNC', 'INTEGRITY')),
            cron text NOT NULL,
            timezone text NOT NULL DEFAULT 'UTC',
            catch_up text NOT NULL DEFAULT 'ONE'
                CONSTRAINT ck_schedules_catch_up CHECK (catch_up IN ('SKIP', 'ONE', 'ALL')),
            settings jsonb NOT NULL DEFAULT '{}'::jsonb,
            enabled boolean NOT NULL DEFAULT true,
            next_due_at timestamptz,
            last_due_at timestamptz,
            created_at timestamptz NOT NULL DEFAULT now(),
            updated_at timestamptz NOT NULL DEFAULT now(),
            CONSTRAINT uq_schedules_account_id_name UNIQUE NULLS NOT DISTINCT (account_id, name),
            CONSTRAINT ck_schedules_next_due_at CHECK (enabled = (next_due_at IS NOT NULL))
        )""")
    op.execute("CREATE INDEX ix_schedules_next_due_at ON schedules (next_due_at) WHERE next_due_at IS NOT NULL")
    op.execute("CREATE INDEX ix_schedules_account_id_schedule_id ON schedules (account_id, schedule_id)")
    op.execute("""
        INSERT INTO schedules (name, kind, cron, next_due_at)
        VALUES ('purge', 'PURGE', '* * * * *', date_trunc('minute', now()))""")
    _create_ticks()
    _create_synced_objects()


def _create_ticks() -> None:
    op.execute("""
        CREATE TABLE ticks (
            schedule_id uuid NOT NULL CONSTRAINT fk_ticks_schedule_id
                REFERENCES schedules (schedule_id) ON DELETE CASCADE,
            due_at timestamptz NOT NULL,
            trigger text NOT NULL DEFAULT 'SCHEDULE'
                CONSTRAINT ck_ticks_trigger CHECK (trigger IN ('SCHEDULE', 'MANUAL')),
            status text NOT NULL DEFAULT 'QUEUED'
                CONSTRAINT ck_ticks_status CHECK (status IN ('QUEUED', 'IN_PROGRESS', 'SUCCEEDED', 'FAILED')),
            lease int8 NOT NULL DEFAULT 0,
            leased_until timestamptz NOT NULL DEFAULT now(),
            failures int NOT NULL DEFAULT 0,
            cursor jsonb,
            result jsonb,
            error jsonb,
            created_at timestamptz NOT NULL DEFAULT now(),
            started_at timestamptz,
            finished_at timestamptz,
            CONSTRAINT pk_ticks PRIMARY KEY (schedule_id, due_at),
            CONSTRAINT ck_ticks_finished_at CHECK ((status IN ('SUCCEEDED', 'FAILED')) = (finished_at IS NOT NULL))
        )""")
    opened = "WHERE status IN ('QUEUED', 'IN_PROGRESS')"
    op.execute(f"CREATE INDEX ix_ticks_open ON ticks (schedule_id, due_at) {opened}")
    op.execute(f"CREATE INDEX ix_ticks_leased_until ON ticks (leased_until) {opened}")
    op.execute("CREATE INDEX ix_ticks_finished_at ON ticks (finished_at) WHERE finished_at IS NOT NULL")


def _create_synced_objects() -> None:
    op.execute("""
        CREATE TABLE synced_objects (
            schedule_id uuid NOT NULL CONSTRAINT fk_synced_objects_schedule_id
                REFERENCES schedules (schedule_id) ON DELETE CASCADE,
            key text NOT NULL,
            collection_id int NOT NULL,
            etag text NOT NULL,
            job_id uuid,
            seen_at timestamptz NOT NULL,
            CONSTRAINT pk_synced_objects PRIMARY KEY (schedule_id, key)
        )""")
    op.execute("CREATE INDEX ix_synced_objects_schedule_id_seen_at ON synced_objects (schedule_id, seen_at)")
    name = "\"left\"((source -> 'S3Object') ->> 'Name', 512)"
    op.execute(f"CREATE INDEX ix_faces_collection_id_object ON faces (collection_id, {name}) WHERE {name} IS NOT NULL")


def downgrade() -> None:
    op.execute("DROP INDEX ix_faces_collection_id_object")
    for table in ("synced_objects", "ticks", "schedules"):
        op.execute(f"DROP TABLE {table}")
