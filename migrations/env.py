"""Run the migrations against REKOLLECT_DATABASE_URL, or against the connection that a caller hands in.

Each migration is a transaction of its own, so that what one locks is free before the next one builds an index. The lock timeout
keeps a migration from waiting for a lock while every query queues up behind it; the advisory lock, which belongs to the
connection, keeps two processes that start together from migrating twice.
"""

import sqlalchemy as sa
from alembic import context

from app.config import Settings
from app.db.schema import metadata
from app.db.session import sqlalchemy_url

_MIGRATION_LOCK = 7_231_001  # any fixed number; nothing else takes it


def _run(connection: sa.Connection) -> None:
    connection.execute(sa.text("SELECT pg_advisory_lock(:lock)"), {"lock": _MIGRATION_LOCK})
    connection.execute(sa.text("SET lock_timeout = '10s'"))
    connection.commit()  # inside an open transaction Alembic would make none of its own
    context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()


def _main() -> None:
    given = context.config.attributes.get("connection")
    if given is not None:
        _run(given)
        return
    settings = Settings.from_environment()
    settings.require("database_url")
    engine = sa.create_engine(sqlalchemy_url(settings.database_url), poolclass=sa.NullPool)
    with engine.connect() as connection:
        _run(connection)


_main()
