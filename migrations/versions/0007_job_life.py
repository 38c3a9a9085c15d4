"""A job's life: whose turn it is, cancellation, retries, and endings that never change.

New columns with defaults and other indexes: older code survives it.
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        ALTER TABLE jobs
            ADD COLUMN region text,
            ADD COLUMN webhook_endpoint_id uuid,
            ADD COLUMN tells_endpoints boolean NOT NULL DEFAULT false,
            ADD COLUMN retry_of uuid,
            ADD COLUMN cancel_requested_at timestamptz""")
    op.execute("DROP INDEX ix_jobs_queued")
    op.execute(
        "CREATE INDEX ix_jobs_queued ON jobs (lane, account_id, priority DESC, available_at) WHERE status = 'QUEUED'"
    )
    op.execute("CREATE INDEX ix_jobs_waiting ON jobs (lane, available_at) WHERE status = 'QUEUED'")
    op.execute("""
        CREATE INDEX ix_jobs_unsuccessful ON jobs (account_id, job_id)
            WHERE status IN ('FAILED', 'CANCELED', 'EXPIRED')""")
    op.execute("""
        CREATE INDEX ix_jobs_served ON jobs (lane, account_id, run_deadline_at DESC)
            WHERE run_deadline_at IS NOT NULL""")
    op.execute("CREATE INDEX ix_jobs_overdue ON jobs (start_deadline_at) WHERE status = 'QUEUED'")
    op.execute("""
        CREATE FUNCTION refuse_change_of_finished_job() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'job % has ended and never changes', OLD.job_id;
        END $$""")
    op.execute("""
        CREATE TRIGGER finished_jobs_never_change BEFORE UPDATE ON jobs FOR EACH ROW
            WHEN (OLD.finished_at IS NOT NULL) EXECUTE FUNCTION refuse_change_of_finished_job()""")


def downgrade() -> None:
    op.execute("DROP TRIGGER finished_jobs_never_change ON jobs")
    op.execute("DROP FUNCTION refuse_change_of_finished_job()")
    for index in ("ix_jobs_overdue", "ix_jobs_served", "ix_jobs_unsuccessful", "ix_jobs_waiting", "ix_jobs_queued"):
        op.execute(f"DROP INDEX {index}")
    op.execute("CREATE INDEX ix_jobs_queued ON jobs (lane, priority DESC, available_at) WHERE status = 'QUEUED'")
    op.execute("""
        ALTER TABLE jobs
            DROP COLUMN region,
            DROP COLUMN webhook_endpoint_id,
            DROP COLUMN tells_endpoints,
            DROP COLUMN retry_of,
            DROP COLUMN cancel_requested_at""")
