"""Scopes, expiry, session tokens and rates of access keys. Adds nullable columns: older code survives it, and ignores them."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        ALTER TABLE access_keys
            ADD COLUMN session_token bytea,
            ADD COLUMN scopes jsonb,
            ADD COLUMN rate real,
            ADD COLUMN disabled_at timestamptz,
            ADD COLUMN expires_at timestamptz""")


def downgrade() -> None:
    op.execute("""
        ALTER TABLE access_keys
            DROP COLUMN session_token,
            DROP COLUMN scopes,
            DROP COLUMN rate,
            DROP COLUMN disabled_at,
            DROP COLUMN expires_at""")
