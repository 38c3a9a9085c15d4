"""How long the answer under a ClientRequestToken is kept."""

import sqlalchemy as sa

from app.db.schema import request_tokens as table
from app.db.session import Database
from app.services import request_tokens, users
from tests.factories import Account, make_collection


def test_tokens_are_kept_for_a_day(database: Database, account: Account) -> None:
    make_collection(database, account)
    with database.transaction() as connection:
        for name in ("ada", "bob"):
            request = {"CollectionId": "people", "UserId": name, "ClientRequestToken": name}
            users.create_user(connection, account.caller, request)
        for name, hours in (("ada", 23), ("bob", 25)):
            older = sa.func.now() - sa.func.make_interval(0, 0, 0, 0, hours)
            connection.execute(sa.update(table).where(table.c.token == name).values(created_at=older))
    request_tokens.purge(database)
    with database.transaction() as connection:
        left = connection.execute(sa.select(table.c.token).where(table.c.account_id == account.account_id))
        assert list(left.scalars()) == ["ada"]
