"""The audit log, which Postgres lets nobody change, and who submitted a job or a batch, for the line of its end.

New columns without a value and a new table: older code survives it, and writes no lines.
"""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE jobs ADD COLUMN actor jsonb")
    op.execute("ALTER TABLE batches ADD COLUMN actor jsonb")
    op.execute("""
        CREATE TABLE audit_log (
            audit_id uuid NOT NULL DEFAULT uuidv7() CONSTRAINT pk_audit_log PRIMARY KEY,
            account_id int,
            actor_kind text NOT NULL CONSTRAINT ck_audit_log_actor_kind
                CHECK (actor_kind IN ('KEY', 'SCHEDULE', 'OPERATOR', 'SYSTEM')),
            actor text,
            source_address text,
            request_id text,
            operation text NOT NULL,
            collection text,
            resources jsonb NOT NULL,
            result text NOT NULL,
            count int8
        )""")
    op.execute("CREATE INDEX ix_audit_log_account_id_audit_id ON audit_log (account_id, audit_id)")
    for column in ("collection", "actor"):
        op.execute(f"""
            CREATE INDEX ix_audit_log_account_id_{column}_audit_id ON audit_log (account_id, {column}, audit_id)
                WHERE {column} IS NOT NULL""")
    _refuse_changes()


def _refuse_changes() -> None:
    op.execute("""
        CREATE FUNCTION refuse_change_of_audit_log() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_OP = 'DELETE' AND current_setting('rekollect.purges_audit_log', true) = 'on' THEN
                RETURN NULL;
            END IF;
            RAISE EXCEPTION 'the audit log is only written to, and purged by age';
        END $$""")
    op.execute("""
        CREATE TRIGGER audit_log_is_only_written_to BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
            FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_audit_log()""")


def downgrade() -> None:
    op.execute("DROP TABLE audit_log")
    op.execute("DROP FUNCTION refuse_change_of_audit_log()")
    op.execute("ALTER TABLE batches DROP COLUMN actor")
    op.execute("ALTER TABLE jobs DROP COLUMN actor")
