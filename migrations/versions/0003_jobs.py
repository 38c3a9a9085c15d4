"""Jobs, their attempts and the inline images that they wait with. Only new tables: older code survives it."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE jobs (
            job_id uuid NOT NULL DEFAULT uuidv7() CONSTRAINT pk_jobs PRIMARY KEY,
            account_id int NOT NULL CONSTRAINT fk_jobs_account_id REFERENCES accounts (account_id),
            operation text NOT NULL,
            input jsonb NOT NULL,
            lane text NOT NULL,
            priority int2 NOT NULL DEFAULT 0,
            status text NOT NULL DEFAULT 'QUEUED' CONSTRAINT ck_jobs_status
                CHECK (status IN ('QUEUED', 'IN_PROGRESS', 'SUCCEEDED', 'FAILED', 'CANCELED', 'EXPIRED')),
            lease int8 NOT NULL DEFAULT 0,
            attempt int NOT NULL DEFAULT 0,
            crashes int NOT NULL DEFAULT 0,
            idempotency_key text,
            request_hash bytea NOT NULL,
            metadata jsonb,
            webhook_url text,
            result jsonb,
            error jsonb,
            created_at timestamptz NOT NULL DEFAULT now(),
            available_at timestamptz NOT NULL DEFAULT now(),
            start_deadline_at timestamptz NOT NULL,
            rung_at timestamptz,
            started_at timestamptz,
            heartbeat_at timestamptz,
            run_deadline_at timestamptz,
            finished_at timestamptz,
            expires_at timestamptz,
            CONSTRAINT uq_jobs_account_id_idempotency_key UNIQUE (account_id, idempotency_key),
            CONSTRAINT ck_jobs_finished_at CHECK (
                (status IN ('SUCCEEDED', 'FAILED', 'CANCELED', 'EXPIRED')) = (finished_at IS NOT NULL))
        ) WITH (fillfactor = 80)""")
    op.execute("CREATE INDEX ix_jobs_queued ON jobs (lane, priority DESC, available_at) WHERE status = 'QUEUED'")
    op.execute("CREATE INDEX ix_jobs_running ON jobs (heartbeat_at) WHERE status = 'IN_PROGRESS'")
    op.execute("CREATE INDEX ix_jobs_expires_at ON jobs (expires_at) WHERE expires_at IS NOT NULL")
    op.execute("CREATE INDEX ix_jobs_account_id_job_id ON jobs (account_id, job_id)")
    op.execute("""
        CREATE TABLE job_attempts (
            job_id uuid NOT NULL CONSTRAINT fk_job_attempts_job_id REFERENCES jobs (job_id) ON DELETE CASCADE,
            lease int8 NOT NULL,
            worker text NOT NULL,
            started_at timestamptz NOT NULL DEFAULT now(),
            finished_at timestamptz,
            outcome text,
            error jsonb,
            CONSTRAINT pk_job_attempts PRIMARY KEY (job_id, lease)
        )""")
    op.execute("""
        CREATE TABLE blobs (
            job_id uuid NOT NULL CONSTRAINT fk_blobs_job_id REFERENCES jobs (job_id) ON DELETE CASCADE,
            name text NOT NULL,
            content bytea NOT NULL,
            CONSTRAINT pk_blobs PRIMARY KEY (job_id, name)
        )""")
    # Pictures are compressed already; trying again would only burn time.
    op.execute("ALTER TABLE blobs ALTER COLUMN content SET STORAGE EXTERNAL")


def downgrade() -> None:
    for table in ("blobs", "job_attempts", "jobs"):
        op.execute(f"DROP TABLE {table}")
