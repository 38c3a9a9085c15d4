"""A growing collection that asks for approximate search, and the worker that keeps its indexes."""

import threading
from typing import Any

import sqlalchemy as sa

from app.db import schema
from app.domain.search_modes import SearchMode
from app.services.index_keeping import IndexKeeper
from app.services.search_modes import SearchModes
from tests.growing import Growing


class Approximating:
    """One collection; its account, and a worker."""

    def __init__(self, growing: Growing) -> None:
        self.growing, self.database, self.number = growing, growing.database, growing.row.collection_id
        self.modes = SearchModes(growing.database, own_bucket_faces=50)
        self.keeper = IndexKeeper(growing.database, megabytes=64)

    def ask(self, mode: str) -> dict[str, Any]:
        return self.modes.change(self.growing.account.account_id, self.growing.name, SearchMode(mode))

    def show(self) -> dict[str, Any]:
        return self.modes.get(self.growing.account.account_id, self.growing.name)

    def grow(self) -> None:
        for _ in self.growing.steps():
            pass

    def keep(self) -> dict[str, Any]:
        """Let a worker do all that is due, as if every pause were over."""
        self.work()
        return self.show()

    def work(self) -> None:
        with self.database.transaction() as connection:
            connection.execute(sa.update(schema.search_indexes).values(due_at=sa.func.now()))
        self.keeper.run(threading.Event())

    def indexes(self) -> dict[str, bool]:
        """Name the approximate indexes of its buckets, and say which of them are valid."""
        statement = sa.text(
            "SELECT relname, indisvalid FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid"
            " JOIN pg_am ON pg_am.oid = relam WHERE amname = 'hnsw' AND relname ~ :mine"
        )
        with self.database.transaction() as connection:
            return {
                row.relname: row.indisvalid
                for row in connection.execute(statement, {"mine": f"_{self.number}(_ccnew)?$"})
            }

    def finish(self) -> None:
        """Have no collection ask for anything any more, those of other tests included."""
        with self.database.transaction() as connection:
            connection.execute(sa.update(schema.collections).values(search_mode="exact"))
        self.work()

    def tables(self) -> list[str]:
        return [f"fv_sface128_{bucket}_{self.number}" for bucket in self.growing.row.buckets]

    def alter(self, statement: str) -> None:
        with self.database.session() as session:
            session.exec_driver_sql(statement)
