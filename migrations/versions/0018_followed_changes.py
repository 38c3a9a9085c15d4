"""What a copy of a collection's vectors needs to follow it: changes of users, and since when a version is searched.

Defaulted columns and a new table: older code survives it, but notes no change of a user's vector. Where it still runs, workers
that keep copies miss such changes: end it before they start.
"""

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE collections ADD COLUMN model_seq int8 NOT NULL DEFAULT 0")
    op.execute("ALTER TABLE users ADD COLUMN change_seq int8 NOT NULL DEFAULT 0")
    op.execute("CREATE INDEX ix_users_collection_id_change_seq ON users (collection_id, change_seq)")
    op.execute("""
        CREATE TABLE user_tombstones (
            collection_id int NOT NULL,
            change_seq int8 NOT NULL,
            user_no int8 NOT NULL,
            CONSTRAINT pk_user_tombstones PRIMARY KEY (collection_id, change_seq, user_no)
        )""")


def downgrade() -> None:
    op.execute("DROP TABLE user_tombstones")
    op.execute("DROP INDEX ix_users_collection_id_change_seq")
    op.execute("ALTER TABLE users DROP COLUMN change_seq")
    op.execute("ALTER TABLE collections DROP COLUMN model_seq")
