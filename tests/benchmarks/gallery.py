"""Collections of made faces, as large as wanted, beside an account that calls like any other."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.db.session import Database
from tests.factories import Account, make_account
from workers.bench import in_postgres


class Gallery(in_postgres.Gallery):
    """A database of its own for an account that stores made faces."""

    def __init__(self, database: Database, account: Account) -> None:
        super().__init__(database, account.account_id)
        self.account = account


@contextmanager
def open_gallery(folder: Path) -> Iterator[Gallery]:
    """Start a Postgres for a gallery."""
    with in_postgres.open_gallery(folder) as gallery:
        yield Gallery(gallery.database, make_account(gallery.database))
