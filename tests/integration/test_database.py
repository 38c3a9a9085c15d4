"""The connection to Postgres: what a transaction promises, and what a Postgres that is away looks like."""

import contextlib
from pathlib import Path

import pytest
import sqlalchemy as sa

from app.db import schema
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


def test_a_connection_that_was_cut_is_replaced(database_url: str) -> None:
    database = Database(database_url, pool_size=1)
    with database.transaction() as connection:
        pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
    other = Database(database_url, pool_size=1)
    with other.transaction() as connection:
        connection.exec_driver_sql(f"SELECT pg_terminate_backend({pid}, 5000)")
    with database.transaction() as connection:
        assert connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one() != pid
    database.close()
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
