"""Collections that ask for it are searched by an approximate index of each of their buckets.

A column without a value and a new table: older code survives it, and goes on searching exactly.
"""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE collections ADD COLUMN indexed_model text")
    op.execute("""
        CREATE TABLE search_indexes (
            collection_id int NOT NULL CONSTRAINT pk_search_indexes PRIMARY KEY,
            buckets int2[] NOT NULL DEFAULT '{}',
            faces int8 NOT NULL DEFAULT 0,
            users int8 NOT NULL DEFAULT 0,
            next_no int8 NOT NULL DEFAULT 0,
            recall float8,
            sample int4,
            matches int4,
            measured_at timestamptz,
            due_at timestamptz NOT NULL DEFAULT now(),
            problem text
        )""")


def downgrade() -> None:
    # Nobody would take the indexes away afterwards, and nobody would vacuum them.
    op.execute("""
        DO $$ DECLARE indexed record; BEGIN
            FOR indexed IN SELECT indexrelid::regclass AS index, indrelid::regclass AS bucket
                FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid JOIN pg_am ON pg_am.oid = relam
                WHERE amname = 'hnsw' AND relnamespace = 'public'::regnamespace
            LOOP
                EXECUTE format('DROP INDEX %s', indexed.index);
                EXECUTE format('ALTER TABLE %s RESET (vacuum_index_cleanup)', indexed.bucket);
            END LOOP;
        END $$""")
    op.execute("UPDATE collections SET search_mode = 'exact' WHERE search_mode <> 'exact'")
    op.execute("DROP TABLE search_indexes")
    op.execute("ALTER TABLE collections DROP COLUMN indexed_model")
