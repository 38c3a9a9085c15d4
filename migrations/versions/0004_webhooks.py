"""Webhook events, their deliveries and every attempt. Only new tables: older code survives it."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE events (
            event_id text NOT NULL CONSTRAINT pk_events PRIMARY KEY,
            account_id int NOT NULL CONSTRAINT fk_events_account_id REFERENCES accounts (account_id),
            job_id uuid NOT NULL CONSTRAINT fk_events_job_id REFERENCES jobs (job_id) ON DELETE CASCADE,
            type text NOT NULL,
            body bytea NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now(),
            CONSTRAINT uq_events_job_id_type UNIQUE (job_id, type)
        )""")
    op.execute("""
        CREATE TABLE deliveries (
            delivery_id uuid NOT NULL DEFAULT uuidv7() CONSTRAINT pk_deliveries PRIMARY KEY,
            event_id text NOT NULL CONSTRAINT fk_deliveries_event_id REFERENCES events (event_id) ON DELETE CASCADE,
            url text NOT NULL,
            status text NOT NULL DEFAULT 'PENDING'
                CONSTRAINT ck_deliveries_status CHECK (status IN ('PENDING', 'SUCCEEDED', 'FAILED')),
            attempts int NOT NULL DEFAULT 0,
            next_attempt_at timestamptz NOT NULL DEFAULT now(),
            created_at timestamptz NOT NULL DEFAULT now(),
            finished_at timestamptz,
            CONSTRAINT uq_deliveries_event_id_url UNIQUE (event_id, url)
        )""")
    op.execute("CREATE INDEX ix_deliveries_due ON deliveries (next_attempt_at) WHERE status = 'PENDING'")
    op.execute("""
        CREATE TABLE delivery_attempts (
            delivery_id uuid NOT NULL CONSTRAINT fk_delivery_attempts_delivery_id
                REFERENCES deliveries (delivery_id) ON DELETE CASCADE,
            attempt int NOT NULL,
            started_at timestamptz NOT NULL DEFAULT now(),
            status_code int,
            error text,
            milliseconds int,
            answer bytea,
            CONSTRAINT pk_delivery_attempts PRIMARY KEY (delivery_id, attempt)
        )""")


def downgrade() -> None:
    for table in ("delivery_attempts", "deliveries", "events"):
        op.execute(f"DROP TABLE {table}")
