"""Collections, faces and the search table of face model version 1.0, with their partitions.

`bucket` is the unit of partition, vacuum and cluster placement. Sixteen shared buckets hold the small collections; their
covering index makes an exact scan of one collection an index-only scan, physically grouped. There is no DEFAULT partition:
it would have to be locked and scanned for every new bucket. Only new tables: older code survives it.
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

FACE_PARTITIONS = 16
SHARED_BUCKETS = 16


def upgrade() -> None:
    op.execute("CREATE EXTENSION IF NOT EXISTS vector")
    op.execute("""
        CREATE TABLE collections (
            collection_id int GENERATED ALWAYS AS IDENTITY CONSTRAINT pk_collections PRIMARY KEY,
            account_id int NOT NULL CONSTRAINT fk_collections_account_id REFERENCES accounts (account_id),
            name text NOT NULL,
            model text NOT NULL,
            buckets int2[] NOT NULL,
            next_no int8 NOT NULL DEFAULT 1,
            change_seq int8 NOT NULL DEFAULT 0,
            live_faces int8 NOT NULL DEFAULT 0,
            search_mode text NOT NULL DEFAULT 'exact'
                CONSTRAINT ck_collections_search_mode CHECK (search_mode IN ('exact', 'approximate')),
            tags jsonb NOT NULL DEFAULT '{}'::jsonb,
            created_at timestamptz NOT NULL DEFAULT now(),
            CONSTRAINT uq_collections_account_id_name UNIQUE (account_id, name)
        )""")
    op.execute("""
        CREATE TABLE faces (
            collection_id int NOT NULL,
            face_no int8 NOT NULL,
            face_id uuid NOT NULL,
            image_id uuid NOT NULL,
            external_image_id text,
            model text NOT NULL,
            bbox real[] NOT NULL,
            confidence real NOT NULL,
            quality real NOT NULL,
            details jsonb NOT NULL,
            source jsonb,
            emb32 bytea NOT NULL,
            change_seq int8 NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now(),
            CONSTRAINT pk_faces PRIMARY KEY (collection_id, face_no)
        ) PARTITION BY HASH (collection_id)""")
    for remainder in range(FACE_PARTITIONS):
        op.execute(
            f"CREATE TABLE faces_{remainder} PARTITION OF faces"
            f" FOR VALUES WITH (MODULUS {FACE_PARTITIONS}, REMAINDER {remainder})"
        )
    op.execute("CREATE UNIQUE INDEX uq_faces_collection_id_face_id ON faces (collection_id, face_id)")
    op.execute("CREATE INDEX ix_faces_collection_id_change_seq ON faces (collection_id, change_seq)")
    op.execute("CREATE INDEX ix_faces_collection_id_image_id ON faces (collection_id, image_id)")
    op.execute("""
        CREATE TABLE face_tombstones (
            collection_id int NOT NULL,
            change_seq int8 NOT NULL,
            face_no int8 NOT NULL,
            CONSTRAINT pk_face_tombstones PRIMARY KEY (collection_id, change_seq, face_no)
        )""")
    _create_search_table()


def _create_search_table() -> None:
    op.execute("""
        CREATE TABLE fv_sface128 (
            bucket int2 NOT NULL,
            collection_id int NOT NULL,
            face_no int8 NOT NULL,
            embedding halfvec(128) STORAGE PLAIN NOT NULL
        ) PARTITION BY LIST (bucket)""")
    for bucket in range(SHARED_BUCKETS):
        # The scan is index-only while the visibility map is fresh, hence the eager vacuum.
        op.execute(
            f"CREATE TABLE fv_sface128_{bucket} PARTITION OF fv_sface128 FOR VALUES IN ({bucket})"
            " WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.02,"
            " autovacuum_vacuum_insert_threshold = 1000)"
        )
        op.execute(
            f"CREATE UNIQUE INDEX uq_fv_sface128_{bucket} ON fv_sface128_{bucket}"
            " (collection_id, face_no) INCLUDE (bucket, embedding)"
        )


def downgrade() -> None:
    for table in ("fv_sface128", "face_tombstones", "faces", "collections"):
        op.execute(f"DROP TABLE {table}")
    op.execute("DROP EXTENSION vector")
