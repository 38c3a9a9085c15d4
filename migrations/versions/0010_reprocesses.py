"""Registered face model versions, embeddings of a second version, kept crops, and reprocesses.

New tables, and nullable or defaulted columns: older code survives it as long as no reprocess has begun.
"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        ALTER TABLE collections
            ADD COLUMN other_model text,
            ADD COLUMN indexes_other boolean NOT NULL DEFAULT false""")
    op.execute("ALTER TABLE users ADD COLUMN model text NOT NULL DEFAULT '1.0'")
    op.execute("""
        CREATE TABLE face_models (
            version text NOT NULL CONSTRAINT pk_face_models PRIMARY KEY,
            file_name text NOT NULL,
            sha256 text NOT NULL,
            size int8 NOT NULL,
            licence text NOT NULL DEFAULT '',
            dimension int NOT NULL,
            template text NOT NULL,
            channels text NOT NULL CONSTRAINT ck_face_models_channels CHECK (channels IN ('RGB', 'BGR')),
            mean float8[] NOT NULL,
            deviation float8[] NOT NULL,
            slope float8 NOT NULL,
            curve_offset float8 NOT NULL,
            is_default boolean NOT NULL DEFAULT false,
            created_at timestamptz NOT NULL DEFAULT now()
        )""")
    op.execute("CREATE UNIQUE INDEX uq_face_models_is_default ON face_models (is_default) WHERE is_default")
    op.execute("""
        CREATE TABLE face_embeddings (
            collection_id int NOT NULL,
            face_no int8 NOT NULL,
            model text NOT NULL,
            emb32 bytea NOT NULL,
            CONSTRAINT pk_face_embeddings PRIMARY KEY (collection_id, face_no, model)
        )""")
    op.execute("""
        CREATE TABLE user_embeddings (
            collection_id int NOT NULL,
            user_no int8 NOT NULL,
            model text NOT NULL,
            vec32 bytea NOT NULL,
            CONSTRAINT pk_user_embeddings PRIMARY KEY (collection_id, user_no, model)
        )""")
    op.execute("""
        CREATE TABLE face_crops (
            collection_id int NOT NULL,
            face_no int8 NOT NULL,
            crop bytea NOT NULL,
            CONSTRAINT pk_face_crops PRIMARY KEY (collection_id, face_no)
        )""")
    # Pictures are compressed already; trying again would only burn time.
    op.execute("ALTER TABLE face_crops ALTER COLUMN crop SET STORAGE EXTERNAL")
    _create_reprocesses()


def _create_reprocesses() -> None:
    op.execute("""
        CREATE TABLE reprocesses (
            reprocess_id uuid NOT NULL DEFAULT uuidv7() CONSTRAINT pk_reprocesses PRIMARY KEY,
            account_id int NOT NULL CONSTRAINT fk_reprocesses_account_id REFERENCES accounts (account_id),
            collection_id int NOT NULL,
            collection_name text NOT NULL,
            from_model text NOT NULL,
            to_model text NOT NULL,
            on_failure text NOT NULL
                CONSTRAINT ck_reprocesses_on_failure CHECK (on_failure IN ('keep-out', 'abort')),
            status text NOT NULL DEFAULT 'IN_PROGRESS' CONSTRAINT ck_reprocesses_status
                CHECK (status IN ('IN_PROGRESS', 'SUCCEEDED', 'FAILED', 'CANCELED', 'ROLLED_BACK')),
            total int8 NOT NULL,
            done int8 NOT NULL DEFAULT 0,
            failed int8 NOT NULL DEFAULT 0,
            face_cursor int8 NOT NULL DEFAULT 0,
            user_cursor int8 NOT NULL DEFAULT 0,
            error jsonb,
            created_at timestamptz NOT NULL DEFAULT now(),
            served_at timestamptz,
            finished_at timestamptz,
            rolled_back_at timestamptz,
            keep_until timestamptz,
            cleaned_at timestamptz,
            CONSTRAINT ck_reprocesses_finished_at CHECK ((status = 'IN_PROGRESS') = (finished_at IS NULL))
        )""")
    op.execute("CREATE UNIQUE INDEX uq_reprocesses_open ON reprocesses (collection_id) WHERE cleaned_at IS NULL")
    op.execute("CREATE INDEX ix_reprocesses_collection_id_reprocess_id ON reprocesses (collection_id, reprocess_id)")
    op.execute("""
        CREATE TABLE reprocess_pages (
            reprocess_id uuid NOT NULL CONSTRAINT fk_reprocess_pages_reprocess_id
                REFERENCES reprocesses (reprocess_id) ON DELETE CASCADE,
            after_no int8 NOT NULL,
            last_no int8 NOT NULL,
            lease int8 NOT NULL DEFAULT 1,
            leased_until timestamptz NOT NULL,
            paused boolean NOT NULL DEFAULT false,
            tries int NOT NULL DEFAULT 0,
            crashes int NOT NULL DEFAULT 0,
            CONSTRAINT pk_reprocess_pages PRIMARY KEY (reprocess_id, after_no)
        )""")
    op.execute("""
        CREATE TABLE reprocess_failures (
            reprocess_id uuid NOT NULL CONSTRAINT fk_reprocess_failures_reprocess_id
                REFERENCES reprocesses (reprocess_id) ON DELETE CASCADE,
            face_no int8 NOT NULL,
            face_id uuid NOT NULL,
            reason text NOT NULL,
            message text NOT NULL,
            failed_at timestamptz NOT NULL DEFAULT now(),
            CONSTRAINT pk_reprocess_failures PRIMARY KEY (reprocess_id, face_no)
        )""")


def downgrade() -> None:
    op.execute("""
        DO $$ DECLARE name text; BEGIN
            FOR name IN SELECT table_name FROM face_models, LATERAL (VALUES ('fv_'), ('uv_')) AS kind (prefix),
                LATERAL (SELECT prefix || replace(version, '.', '_') || '_d' || dimension AS table_name) AS made
            LOOP EXECUTE format('DROP TABLE %I', name); END LOOP;
        END $$""")
    for table in (
        *("reprocess_failures", "reprocess_pages", "reprocesses"),
        *("face_crops", "user_embeddings", "face_embeddings", "face_models"),
    ):
        op.execute(f"DROP TABLE {table}")
    op.execute("ALTER TABLE users DROP COLUMN model")
    op.execute("ALTER TABLE collections DROP COLUMN other_model, DROP COLUMN indexes_other")
