"""New deliveries and those that wait for a retry are found by indexes of their own; a new receiver gets one at a time.

What somebody asked for goes first.

Older code survives it. While the indexes are built deliveries are neither read nor written; it is webhooks alone that wait.
"""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE deliveries ADD COLUMN urgent boolean NOT NULL DEFAULT false")
    op.execute("DROP INDEX ix_deliveries_due")
    op.execute("""
        CREATE INDEX ix_deliveries_due ON deliveries (account_id, receiver, urgent DESC, next_attempt_at)
            WHERE status = 'PENDING'""")
    op.execute("""
        CREATE INDEX ix_deliveries_fresh ON deliveries (account_id, receiver, urgent DESC, next_attempt_at)
            WHERE status = 'PENDING' AND attempts = round_start""")
    op.execute("""
        CREATE INDEX ix_deliveries_retries ON deliveries (next_attempt_at)
            WHERE status = 'PENDING' AND attempts <> round_start""")
    op.execute("ALTER TABLE receivers ALTER COLUMN concurrency SET DEFAULT 1")


def downgrade() -> None:
    op.execute("ALTER TABLE receivers ALTER COLUMN concurrency SET DEFAULT 4")
    for index in ("retries", "fresh", "due"):
        op.execute(f"DROP INDEX ix_deliveries_{index}")
    op.execute(
        "CREATE INDEX ix_deliveries_due ON deliveries (account_id, receiver, next_attempt_at) WHERE status = 'PENDING'"
    )
    op.execute("ALTER TABLE deliveries DROP COLUMN urgent")
