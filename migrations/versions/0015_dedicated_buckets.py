"""Buckets of their own for large collections, and what workers have to do about buckets.

Only new tables: older code survives it as long as no collection has grown into a bucket of its own.
"""

from alembic import op

revision = "0015"
down_revision = "0014"
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
    # All collections go back into the shared buckets, and what nobody can clear away afterwards goes now.
    for table in ("faces", "face_tombstones", "face_embeddings", "face_crops", "users", "user_embeddings"):
        op.execute(f"""
            DELETE FROM {table} USING bucket_work AS work
                WHERE work.kind = 'CLEAR' AND work.collection_id = {table}.collection_id""")  # noqa: S608 - our own words
    op.execute("""
        DO $$ DECLARE parent regclass; partition regclass; BEGIN
            FOR parent IN SELECT oid::regclass FROM pg_class
                WHERE relkind = 'p' AND relname ~ '^[fu]v_' AND relnamespace = 'public'::regnamespace
            LOOP
                EXECUTE format('DELETE FROM %s WHERE collection_id IN
                    (SELECT collection_id FROM bucket_work WHERE kind = ''CLEAR'')', parent);
                EXECUTE format('UPDATE %s SET bucket = collection_id %% 16 WHERE bucket >= 100', parent);
                FOR partition IN SELECT inhrelid::regclass FROM pg_inherits
                    JOIN dedicated_buckets ON inhrelid::regclass::text = parent::text || '_' || bucket || '_' || collection_id
                    WHERE inhparent = parent
                LOOP EXECUTE format('DROP TABLE %s', partition); END LOOP;
            END LOOP;
        END $$""")
    op.execute("UPDATE collections SET buckets = ARRAY[collection_id % 16]::int2[] WHERE 100 <= ANY (buckets)")
    op.execute("DROP TABLE bucket_work")
    op.execute("DROP TABLE dedicated_buckets")
