"""Batches, their items, and the leases under which workers hold some of them; events learn of batches.

New tables and a new column without a value: older code survives it. While the index over faces is built they are read, but not
written; the old one goes last, because dropping it keeps readers out until the commit.
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # One picture may be indexed under thousands of ids.
    op.execute("CREATE INDEX ix_faces_new ON faces (collection_id, image_id, external_image_id)")
    op.execute("""
        CREATE TABLE batches (
            batch_id uuid NOT NULL DEFAULT uuidv7() CONSTRAINT pk_batches PRIMARY KEY,
            account_id int NOT NULL CONSTRAINT fk_batches_account_id REFERENCES accounts (account_id),
            operation text NOT NULL,
            defaults jsonb NOT NULL,
            source jsonb NOT NULL,
            cursor jsonb,
            region text,
            status text NOT NULL CONSTRAINT ck_batches_status CHECK (
                status IN ('UPLOADING', 'EXPANDING', 'IN_PROGRESS', 'SUCCEEDED', 'FAILED', 'CANCELED')),
            total int8 NOT NULL DEFAULT 0,
            running int8 NOT NULL DEFAULT 0,
            succeeded int8 NOT NULL DEFAULT 0,
            failed int8 NOT NULL DEFAULT 0,
            canceled int8 NOT NULL DEFAULT 0,
            idempotency_key text,
            request_hash bytea,
            metadata jsonb,
            webhook_url text,
            webhook_endpoint_id uuid,
            tells_endpoints boolean NOT NULL DEFAULT false,
            retry_of uuid,
            error jsonb,
            rate real,
            measured_ended int8 NOT NULL DEFAULT 0,
            measured_at timestamptz,
            created_at timestamptz NOT NULL DEFAULT now(),
            touched_at timestamptz NOT NULL DEFAULT now(),
            served_at timestamptz,
            rung_at timestamptz,
            started_at timestamptz,
            paused_at timestamptz,
            stopped_at timestamptz,
            finished_at timestamptz,
            expires_at timestamptz,
            CONSTRAINT uq_batches_account_id_idempotency_key UNIQUE (account_id, idempotency_key),
            CONSTRAINT ck_batches_finished_at CHECK (
                (status IN ('SUCCEEDED', 'FAILED', 'CANCELED')) = (finished_at IS NOT NULL)),
            CONSTRAINT ck_batches_counts CHECK (
                running >= 0 AND succeeded >= 0 AND failed >= 0 AND canceled >= 0
                AND running + succeeded + failed + canceled <= total)
        )""")
    op.execute("CREATE INDEX ix_batches_account_id_batch_id ON batches (account_id, batch_id)")
    op.execute(
        "CREATE INDEX ix_batches_open ON batches (account_id, served_at) WHERE status IN ('EXPANDING', 'IN_PROGRESS')"
    )
    op.execute("CREATE INDEX ix_batches_uploading ON batches (touched_at) WHERE status = 'UPLOADING'")
    op.execute("CREATE INDEX ix_batches_expires_at ON batches (expires_at) WHERE expires_at IS NOT NULL")
    _create_items()
    op.execute("""
        CREATE TABLE batch_leases (
            lease int8 NOT NULL GENERATED ALWAYS AS IDENTITY CONSTRAINT pk_batch_leases PRIMARY KEY,
            batch_id uuid NOT NULL CONSTRAINT fk_batch_leases_batch_id REFERENCES batches (batch_id) ON DELETE CASCADE,
            item_numbers int8[],
            worker text NOT NULL,
            started_at timestamptz NOT NULL DEFAULT now(),
            heartbeat_at timestamptz NOT NULL DEFAULT now()
        )""")
    op.execute(
        "CREATE UNIQUE INDEX uq_batch_leases_batch_id_expansion ON batch_leases (batch_id) WHERE item_numbers IS NULL"
    )
    op.execute("CREATE INDEX ix_batch_leases_batch_id ON batch_leases (batch_id)")
    op.execute("""
        ALTER TABLE events
            ADD COLUMN batch_id uuid CONSTRAINT fk_events_batch_id REFERENCES batches (batch_id) ON DELETE CASCADE,
            ADD CONSTRAINT uq_events_batch_id_type UNIQUE (batch_id, type)""")
    op.execute("DROP INDEX ix_faces_collection_id_image_id")
    op.execute("ALTER INDEX ix_faces_new RENAME TO ix_faces_collection_id_image_id")


def _create_items() -> None:
    # Rows are written three times in their life and the oldest are claimed first, so dead rows are cleared away early.
    op.execute("""
        CREATE TABLE batch_items (
            batch_id uuid NOT NULL,
            item_no int8 NOT NULL,
            custom_id text,
            input jsonb NOT NULL,
            status text NOT NULL DEFAULT 'QUEUED' CONSTRAINT ck_batch_items_status CHECK (
                status IN ('QUEUED', 'IN_PROGRESS', 'SUCCEEDED', 'FAILED', 'CANCELED')),
            lease int8,
            attempt int NOT NULL DEFAULT 0,
            crashes int NOT NULL DEFAULT 0,
            ended_no int8,
            result jsonb,
            error jsonb,
            available_at timestamptz NOT NULL DEFAULT now(),
            finished_at timestamptz,
            CONSTRAINT pk_batch_items PRIMARY KEY (batch_id, item_no),
            CONSTRAINT uq_batch_items_batch_id_custom_id UNIQUE (batch_id, custom_id),
            CONSTRAINT ck_batch_items_ended_no CHECK ((status IN ('QUEUED', 'IN_PROGRESS')) = (ended_no IS NULL))
        ) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.05)""")
    op.execute("CREATE INDEX ix_batch_items_queued ON batch_items (batch_id, item_no) WHERE status = 'QUEUED'")
    op.execute("""
        CREATE UNIQUE INDEX uq_batch_items_batch_id_ended_no ON batch_items (batch_id, ended_no)
            WHERE ended_no IS NOT NULL""")
    op.execute("CREATE INDEX ix_batch_items_failed ON batch_items (batch_id, ended_no) WHERE status = 'FAILED'")


def downgrade() -> None:
    op.execute("DROP INDEX ix_faces_collection_id_image_id")
    op.execute("CREATE INDEX ix_faces_collection_id_image_id ON faces (collection_id, image_id)")
    op.execute("DELETE FROM events WHERE batch_id IS NOT NULL")
    op.execute("ALTER TABLE events DROP COLUMN batch_id")
    for table in ("batch_leases", "batch_items", "batches"):
        op.execute(f"DROP TABLE {table}")
