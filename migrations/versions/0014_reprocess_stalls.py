"""A reprocess notes since when no worker could open its model.

A column without a value: older code survives it.
"""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE reprocesses ADD COLUMN stalled_at timestamptz")


def downgrade() -> None:
    op.execute("ALTER TABLE reprocesses DROP COLUMN stalled_at")
