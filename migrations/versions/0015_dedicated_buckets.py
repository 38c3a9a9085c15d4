"""Buckets of their own for large collections, and what workers have to do about buckets.

Only new tables: older code survives it as long as no collection has grown into a bucket of its own.
"""

from alembic import op

revision = "0015"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE dedicated_buckets (
            bucket int2 NOT NULL CONSTRAINT pk_dedicated_buckets PRIMARY KEY
                CONSTRAINT ck_dedicated_buckets_bucket CHECK (bucket >= 100),
            collection_id int NOT NULL,
            faces int8 NOT NULL DEFAULT 0,
            next_no int8 NOT NULL
        )""")
    op.execute("CREATE INDEX ix_dedicated_buckets_collection_id ON dedicated_buckets (collection_id)")
    op.execute("""
        CREATE TABLE bucket_work (
            collection_id int NOT NULL CONSTRAINT pk_bucket_work PRIMARY KEY,
            kind text NOT NULL CONSTRAINT ck_bucket_work_kind CHECK (kind IN ('GROW', 'CLEAR')),
            cursor int8 NOT NULL DEFAULT 0,
            lease int8 NOT NULL DEFAULT 0,
            leased_until timestamptz NOT NULL DEFAULT now()
        )""")


def downgrade() -> None:
    # All collections go back into the shared buckets: older code knows no others.
    op.execute("""
        DO $$ DECLARE parent regclass; partition regclass; BEGIN
            FOR parent IN SELECT oid::regclass FROM pg_class
                WHERE relkind = 'p' AND relname ~ '^[fu]v_' AND relnamespace = 'public'::regnamespace
            LOOP
                EXECUTE format('UPDATE %s SET bucket = collection_id %% 16 WHERE bucket >= 100', parent);
                FOR partition IN SELECT inhrelid::regclass FROM pg_inherits
                    JOIN dedicated_buckets ON inhrelid::regclass::text = parent::text || '_' || bucket
                    WHERE inhparent = parent
                LOOP EXECUTE format('DROP TABLE %s', partition); END LOOP;
            END LOOP;
        END $$""")
    op.execute("UPDATE collections SET buckets = ARRAY[collection_id % 16]::int2[] WHERE 100 <= ANY (buckets)")
    op.execute("DROP TABLE bucket_work")
    op.execute("DROP TABLE dedicated_buckets")
