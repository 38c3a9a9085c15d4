"""Collections, faces and the search table of face model version 1.0, with their partitions.

`bucket` is the unit of partition, vacuum and cluster placement. Sixteen shared buckets hold the small collections; their
covering index makes an exact scan of one collection an index-only scan, physically grouped. There is no DEFAULT partition:
it would have to be locked and scanned for every new bucket. Only new tables: older code survives it.
"""

from alembic import op

from app.db import search_tables

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

FACE_PARTITIONS = 16


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
    for statement in search_tables.ddl("fv_sface128", "face_no", 128):
        op.execute(statement)


def downgrade() -> None:
    for table in ("fv_sface128", "face_tombstones", "faces", "collections"):
        op.execute(f"DROP TABLE {table}")
    op.execute("DROP EXTENSION vector")
