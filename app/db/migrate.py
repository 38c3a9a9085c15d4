"""Bring a database to the newest schema, and tell whether it is there."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

import migrations
from app.db.session import sqlalchemy_url


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent).replace("%", "%%"))
    return config


def _engine(database_url: str) -> sa.Engine:
    return sa.create_engine(sqlalchemy_url(database_url), poolclass=sa.NullPool, connect_args={"connect_timeout": 5})


def upgrade(database_url: str, revision: str = "head") -> None:
    """Run every migration that is missing, each in a transaction of its own: none holds locks while another builds an index."""
    _migrate(database_url, lambda config: command.upgrade(config, revision))


def downgrade(database_url: str, revision: str) -> None:
    """Go back to a revision; `base` empties the database."""
    _migrate(database_url, lambda config: command.downgrade(config, revision))


def _migrate(database_url: str, run: Callable[[Config], None]) -> None:
    config = _config()
    engine = _engine(database_url)
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        run(config)
    engine.dispose()


def is_at_head(connection: sa.Connection) -> bool:
    """Tell whether the database has every migration of this code."""
    return MigrationContext.configure(connection).get_current_revision() == head()


@lru_cache(maxsize=1)
def head() -> str | None:
    """Name the newest revision of this code."""
    return ScriptDirectory.from_config(_config()).get_current_head()
