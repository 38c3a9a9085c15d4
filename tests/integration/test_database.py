"""The connection to Postgres: what a transaction promises, and what a Postgres that is away looks like."""

import contextlib
import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.db import schema, session
from app.db.session import Database
from app.errors import ServiceUnavailable
from tests.factories import Account


def test_a_transaction_that_raises_leaves_nothing(database: Database) -> None:
    def interrupted() -> None:
        with database.transaction() as connection:
            connection.execute(sa.insert(schema.accounts).values(name="half an account", webhook_secret=b""))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        interrupted()
    with database.transaction() as connection:
        assert connection.execute(sa.select(schema.accounts).filter_by(name="half an account")).all() == []


def test_a_statement_commits_by_itself_and_leaves_the_next_transaction_alone(database_url: str) -> None:
    database = Database(database_url, pool_size=1)
    row = {"name": "by one statement", "webhook_secret": b""}
    with database.statement() as connection:
        connection.execute(sa.insert(schema.accounts).values(row))
        committed = sa.select(schema.accounts.c.name).filter_by(name=row["name"])
        other = Database(database_url, pool_size=1)
        with other.transaction() as elsewhere:
            assert elsewhere.execute(committed).scalar_one() == row["name"]
    with contextlib.suppress(ZeroDivisionError), database.transaction() as connection:
        connection.execute(sa.delete(schema.accounts).filter_by(name=row["name"]))
        raise ZeroDivisionError
    with database.statement() as connection:
        assert connection.execute(committed).scalar_one() == row["name"]
        connection.execute(sa.delete(schema.accounts).filter_by(name=row["name"]))
    database.close()
    other.close()


def test_a_postgres_that_is_away_is_a_service_that_is_unavailable(tmp_path: Path) -> None:
    database = Database(f"postgresql://nobody@/nothing?host={tmp_path}")
    with pytest.raises(ServiceUnavailable), database.transaction():
        pass
    database.close()


def test_connections_that_were_cut_while_they_lay_in_the_pool_are_replaced(database_url: str) -> None:
    database = Database(database_url, pool_size=2)
    with database.transaction() as one, database.transaction() as two:
        pids = {backend(one), backend(two)}
    cut(database_url, pids)
    time.sleep(session.TRUSTED_SECONDS)
    with database.transaction() as one, database.transaction() as two:
        assert not pids & {backend(one), backend(two)}
    database.close()


def test_a_connection_that_was_cut_right_after_its_use_costs_one_transaction(database_url: str) -> None:
    database = Database(database_url, pool_size=1)
    with database.transaction() as connection:
        pid = backend(connection)
    cut(database_url, {pid})
    with contextlib.suppress(ServiceUnavailable), database.transaction() as connection:
        assert backend(connection) != pid, "on a slow machine the connection was asked, and replaced"
    with database.transaction() as connection:
        assert backend(connection) != pid
    database.close()


def backend(connection: Connection) -> int:
    """Name the server's process behind a connection."""
    return int(connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one())


def cut(database_url: str, pids: set[int]) -> None:
    """End server processes, and wait until they have ended."""
    other = Database(database_url, pool_size=1)
    with other.transaction() as connection:
        for pid in pids:
            connection.exec_driver_sql(f"SELECT pg_terminate_backend({pid}, 5000)")
    other.close()


def test_a_connection_that_is_cut_amid_a_transaction_is_unavailable(database: Database) -> None:
    with pytest.raises(ServiceUnavailable), database.transaction() as connection:
        connection.exec_driver_sql("SELECT pg_terminate_backend(pg_backend_pid(), 1000)")


def test_the_text_of_an_error_holds_no_values(database: Database, account: Account) -> None:
    row = {"name": account.name, "webhook_secret": b"a sealed secret"}
    with pytest.raises(sa.exc.IntegrityError) as raised, database.transaction() as connection:
        connection.execute(sa.insert(schema.accounts).values(row))
    assert "sealed" not in str(raised.value)
    assert b"sealed".hex() not in str(raised.value)
