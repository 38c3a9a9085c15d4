"""Webhook endpoints with their secrets, and how each receiver has been doing.

Deliveries learn whose they are and who receives them. Older code reads what is here, but its new deliveries lack both: stop the
couriers and workers of the old version first.
"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE webhook_endpoints (
            endpoint_id uuid NOT NULL DEFAULT uuidv7() CONSTRAINT pk_webhook_endpoints PRIMARY KEY,
            account_id int NOT NULL CONSTRAINT fk_webhook_endpoints_account_id REFERENCES accounts (account_id),
            url text NOT NULL,
            description text NOT NULL DEFAULT '',
            event_types text[],
            headers bytea,
            payload text NOT NULL DEFAULT 'FULL'
                CONSTRAINT ck_webhook_endpoints_payload CHECK (payload IN ('FULL', 'REFERENCE')),
            status text NOT NULL DEFAULT 'ENABLED'
                CONSTRAINT ck_webhook_endpoints_status CHECK (status IN ('ENABLED', 'DISABLED')),
            disabled_reason text
                CONSTRAINT ck_webhook_endpoints_disabled_reason CHECK (disabled_reason IN ('REQUESTED', 'FAILING', 'GONE')),
            disabled_at timestamptz,
            created_at timestamptz NOT NULL DEFAULT now(),
            updated_at timestamptz NOT NULL DEFAULT now()
        )""")
    op.execute(
        "CREATE INDEX ix_webhook_endpoints_account_id_endpoint_id ON webhook_endpoints (account_id, endpoint_id)"
    )
    op.execute("""
        CREATE TABLE webhook_secrets (
            secret_id int8 NOT NULL GENERATED ALWAYS AS IDENTITY CONSTRAINT pk_webhook_secrets PRIMARY KEY,
            endpoint_id uuid NOT NULL CONSTRAINT fk_webhook_secrets_endpoint_id
                REFERENCES webhook_endpoints (endpoint_id) ON DELETE CASCADE,
            secret bytea NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now(),
            expires_at timestamptz
        )""")
    op.execute("CREATE INDEX ix_webhook_secrets_endpoint_id ON webhook_secrets (endpoint_id)")
    op.execute("""
        CREATE TABLE receivers (
            account_id int NOT NULL CONSTRAINT fk_receivers_account_id REFERENCES accounts (account_id),
            receiver text NOT NULL,
            concurrency smallint NOT NULL DEFAULT 4,
            failures int NOT NULL DEFAULT 0,
            failing_since timestamptz,
            warned_at timestamptz,
            open_until timestamptz,
            updated_at timestamptz NOT NULL DEFAULT now(),
            CONSTRAINT pk_receivers PRIMARY KEY (account_id, receiver)
        )""")
    _change_events_and_deliveries()


def _change_events_and_deliveries() -> None:
    op.execute("ALTER TABLE events ALTER COLUMN job_id DROP NOT NULL")
    op.execute("CREATE INDEX ix_events_account_id_created_at ON events (account_id, created_at)")
    op.execute("CREATE INDEX ix_events_created_at ON events (created_at) WHERE job_id IS NULL")
    op.execute("""
        ALTER TABLE deliveries
            ADD COLUMN account_id int CONSTRAINT fk_deliveries_account_id REFERENCES accounts (account_id),
            ADD COLUMN endpoint_id uuid CONSTRAINT fk_deliveries_endpoint_id
                REFERENCES webhook_endpoints (endpoint_id) ON DELETE CASCADE,
            ADD COLUMN receiver text,
            ADD COLUMN round_start int NOT NULL DEFAULT 0,
            ADD COLUMN trigger text NOT NULL DEFAULT 'SCHEDULE'
                CONSTRAINT ck_deliveries_trigger CHECK (trigger IN ('SCHEDULE', 'MANUAL', 'TEST')),
            ADD COLUMN leased_until timestamptz""")
    op.execute("""
        UPDATE deliveries SET account_id = events.account_id, receiver = substring(url from '^[^/]*//[^/?#]*')
        FROM events WHERE events.event_id = deliveries.event_id""")
    op.execute("""
        ALTER TABLE deliveries
            ALTER COLUMN account_id SET NOT NULL,
            ALTER COLUMN receiver SET NOT NULL,
            DROP CONSTRAINT uq_deliveries_event_id_url,
            ADD CONSTRAINT uq_deliveries_event_id_receiver UNIQUE (event_id, receiver)""")
    op.execute("DROP INDEX ix_deliveries_due")
    op.execute(
        "CREATE INDEX ix_deliveries_due ON deliveries (account_id, receiver, next_attempt_at) WHERE status = 'PENDING'"
    )
    op.execute("CREATE INDEX ix_deliveries_leased ON deliveries (account_id, receiver) WHERE leased_until IS NOT NULL")
    op.execute("CREATE INDEX ix_deliveries_account_id_delivery_id ON deliveries (account_id, delivery_id)")
    op.execute("CREATE INDEX ix_deliveries_dead ON deliveries (account_id, delivery_id) WHERE status = 'FAILED'")
    op.execute(
        "CREATE INDEX ix_deliveries_endpoint_id ON deliveries (endpoint_id, delivery_id) WHERE endpoint_id IS NOT NULL"
    )
    op.execute("""
        ALTER TABLE delivery_attempts
            ADD COLUMN trigger text NOT NULL DEFAULT 'SCHEDULE',
            ADD COLUMN error_kind text,
            ADD COLUMN address text""")


def downgrade() -> None:
    op.execute("DELETE FROM events WHERE job_id IS NULL")
    op.execute("DELETE FROM deliveries WHERE endpoint_id IS NOT NULL")
    op.execute("ALTER TABLE delivery_attempts DROP COLUMN trigger, DROP COLUMN error_kind, DROP COLUMN address")
    for index in ("due", "leased", "account_id_delivery_id", "dead", "endpoint_id"):
        op.execute(f"DROP INDEX ix_deliveries_{index}")
    op.execute("CREATE INDEX ix_deliveries_due ON deliveries (next_attempt_at) WHERE status = 'PENDING'")
    op.execute("""
        ALTER TABLE deliveries
            DROP CONSTRAINT uq_deliveries_event_id_receiver,
            ADD CONSTRAINT uq_deliveries_event_id_url UNIQUE (event_id, url),
            DROP COLUMN account_id,
            DROP COLUMN endpoint_id,
            DROP COLUMN receiver,
            DROP COLUMN round_start,
            DROP COLUMN trigger,
            DROP COLUMN leased_until""")
    op.execute("DROP INDEX ix_events_created_at")
    op.execute("DROP INDEX ix_events_account_id_created_at")
    op.execute("ALTER TABLE events ALTER COLUMN job_id SET NOT NULL")
    for table in ("receivers", "webhook_secrets", "webhook_endpoints"):
        op.execute(f"DROP TABLE {table}")
