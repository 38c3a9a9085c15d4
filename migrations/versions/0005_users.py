"""Users, their vectors, and the answers that request tokens repeat. Adds tables and nullable or defaulted columns: older
code survives it.

A user's vector is searched like a face's embedding, so its search table has the same partitions and covering index.
"""

from alembic import op

from app.db import search_tables

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE collections ADD COLUMN live_users int8 NOT NULL DEFAULT 0")
    op.execute("ALTER TABLE faces ADD COLUMN user_id text")
    op.execute(
        "CREATE INDEX ix_faces_collection_id_user_id ON faces (collection_id, user_id) WHERE user_id IS NOT NULL"
    )
    op.execute("""
        CREATE TABLE users (
            collection_id int NOT NULL,
            user_no int8 NOT NULL,
            user_id text NOT NULL,
            status text NOT NULL,
            vec32 bytea,
            created_at timestamptz NOT NULL DEFAULT now(),
            CONSTRAINT pk_users PRIMARY KEY (collection_id, user_no),
            CONSTRAINT uq_users_collection_id_user_id UNIQUE (collection_id, user_id),
            CONSTRAINT ck_users_status CHECK (status IN ('CREATED', 'ACTIVE'))
        )""")
    for statement in search_tables.ddl("uv_sface128", "user_no", 128):
        op.execute(statement)
    op.execute("""
        CREATE TABLE request_tokens (
            account_id int NOT NULL CONSTRAINT fk_request_tokens_account_id REFERENCES accounts (account_id),
            token text NOT NULL,
            request_hash bytea NOT NULL,
            response jsonb NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now(),
            CONSTRAINT pk_request_tokens PRIMARY KEY (account_id, token)
        )""")
    op.execute("CREATE INDEX ix_request_tokens_created_at ON request_tokens (created_at)")


def downgrade() -> None:
    for table in ("request_tokens", "uv_sface128", "users"):
        op.execute(f"DROP TABLE {table}")
    op.execute("DROP INDEX ix_faces_collection_id_user_id")
    op.execute("ALTER TABLE faces DROP COLUMN user_id")
    op.execute("ALTER TABLE collections DROP COLUMN live_users")
