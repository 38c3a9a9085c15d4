"""A batch remembers when it was listed last, for its turn; when it may be again; and that its listing was cut short.

Older code survives it.
"""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE batches ADD COLUMN cut_short boolean NOT NULL DEFAULT false")
    op.execute("ALTER TABLE batches ADD COLUMN listed_at timestamptz")
    op.execute("ALTER TABLE batches ADD COLUMN listable_at timestamptz")


def downgrade() -> None:
    op.execute("ALTER TABLE batches DROP COLUMN listable_at")
    op.execute("ALTER TABLE batches DROP COLUMN listed_at")
    op.execute("ALTER TABLE batches DROP COLUMN cut_short")
