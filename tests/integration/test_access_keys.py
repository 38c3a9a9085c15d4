"""Access keys: made, found, revoked; their secrets rest encrypted and belong to their own row."""

import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from app.config import Settings
from app.db import accounts, schema
from app.db.session import Database
from app.encryption import Cipher, WrongSecretKey
from app.local.postgres import LocalPostgres
from app.services import access_keys
from tests.factories import CIPHER, SECRET_KEY, Account, make_account
from tests.fresh import fresh_database


@pytest.fixture
def empty(database_url: str, postgres: LocalPostgres) -> Iterator[Database]:
    """A migrated database without any account."""
    with fresh_database(postgres.url, migrated=True) as url:
        database = Database(url)
        yield database
        database.close()


def test_a_key_is_found_by_its_id_and_by_its_bearer_token(database: Database, account: Account) -> None:
    with database.transaction() as connection:
        known = access_keys.find(connection, CIPHER, account.key.access_key_id)
        by_token = access_keys.find_by_api_key(connection, CIPHER, account.key.api_key)
    assert known is not None
    assert (known.account_id, known.secret) == (account.account_id, account.key.secret_access_key)
    assert by_token == known


@pytest.mark.parametrize(
    "token", ["", ".", "nobody.", "{id}", "{id}.", "{id}.wrong", "{id}.{secret}x", "{secret}.{id}", "{id}.é"]
)
def test_another_bearer_token_finds_nothing(database: Database, account: Account, token: str) -> None:
    shown = token.format(id=account.key.access_key_id, secret=account.key.secret_access_key)
    with database.transaction() as connection:
        assert access_keys.find_by_api_key(connection, CIPHER, shown) is None


def test_a_revoked_key_is_not_found_and_the_others_are(database: Database, account: Account) -> None:
    with database.transaction() as connection:
        second = access_keys.create(connection, CIPHER, account=account.name, name="second")
        assert accounts.revoke_key(connection, account.key.access_key_id)
        assert not accounts.revoke_key(connection, account.key.access_key_id)
        assert not accounts.revoke_key(connection, "nobody")
        assert access_keys.find(connection, CIPHER, account.key.access_key_id) is None
        assert access_keys.find_by_api_key(connection, CIPHER, account.key.api_key) is None
        assert access_keys.find(connection, CIPHER, second.access_key_id) is not None
        listed = {row.access_key_id: row for row in accounts.list_keys(connection) if row.account == account.name}
    assert listed[account.key.access_key_id].revoked_at is not None
    assert (listed[second.access_key_id].revoked_at, listed[second.access_key_id].name) == (None, "second")


def test_keys_of_one_account_share_its_webhook_secret(database: Database, account: Account) -> None:
    with database.transaction() as connection:
        second = access_keys.create(connection, CIPHER, account=account.name)
        assert access_keys.webhook_secret_of(connection, CIPHER, account.name) == account.key.webhook_secret
        with pytest.raises(access_keys.AccountNotFound):
            access_keys.webhook_secret_of(connection, CIPHER, "nobody")
    assert second.webhook_secret == account.key.webhook_secret
    assert second.secret_access_key != account.key.secret_access_key
    assert make_account(database).key.webhook_secret != account.key.webhook_secret


def test_another_secret_key_opens_nothing(database: Database, account: Account) -> None:
    other = Cipher(bytes(32))
    with database.transaction() as connection:
        with pytest.raises(WrongSecretKey):
            access_keys.find(connection, other, account.key.access_key_id)
        with pytest.raises(WrongSecretKey):
            access_keys.webhook_secret_of(connection, other, account.name)


def test_a_secret_copied_to_another_row_does_not_open(database: Database, account: Account) -> None:
    other = make_account(database)
    keys, owners = schema.access_keys, schema.accounts
    with database.transaction() as connection:
        mine = sa.select(keys.c.secret).where(keys.c.account_id == account.account_id).scalar_subquery()
        connection.execute(sa.update(keys).where(keys.c.account_id == other.account_id).values(secret=mine))
        hooks = sa.select(owners.c.webhook_secret).where(owners.c.name == account.name).scalar_subquery()
        connection.execute(sa.update(owners).where(owners.c.name == other.name).values(webhook_secret=hooks))
    with database.transaction() as connection:
        with pytest.raises(WrongSecretKey):
            access_keys.find(connection, CIPHER, other.key.access_key_id)
        with pytest.raises(WrongSecretKey):
            access_keys.webhook_secret_of(connection, CIPHER, other.name)


def test_no_column_holds_a_secret_in_clear(database: Database, account: Account) -> None:
    secret, hook = account.key.secret_access_key, account.key.webhook_secret.removeprefix("whsec_")
    clear = [secret, hook, secret.encode().hex(), hook.encode().hex(), base64.b64decode(hook).hex()]
    with database.transaction() as connection:
        stored = " ".join(
            text
            for table in ("access_keys", "accounts")
            for text in connection.execute(
                sa.select(sa.cast(sa.literal_column(table), sa.Text)).select_from(sa.table(table))
            ).scalars()
        )
    assert account.key.access_key_id in stored
    assert [text for text in clear if text in stored] == []
    assert secret not in repr(account.key)
    assert hook not in repr(account.key)


def test_a_new_database_gets_one_first_key(empty: Database) -> None:
    settings = Settings(secret_key=SECRET_KEY)
    first = access_keys.ensure_first_key(empty.url, settings)
    assert first is not None
    assert access_keys.ensure_first_key(empty.url, settings) is None
    with empty.transaction() as connection:
        assert access_keys.find_by_api_key(connection, CIPHER, first.api_key) is not None
        accounts.revoke_key(connection, first.access_key_id)
    assert access_keys.ensure_first_key(empty.url, settings) is None, "whoever revoked it did so on purpose"


def test_the_first_key_can_be_chosen(empty: Database) -> None:
    settings = Settings(
        secret_key=SECRET_KEY,
        bootstrap_access_key_id="AKIACHOSEN",
        bootstrap_secret_access_key="chosen secret",
    )
    first = access_keys.ensure_first_key(empty.url, settings)
    assert first is not None
    assert (first.access_key_id, first.api_key) == ("AKIACHOSEN", "AKIACHOSEN.chosen secret")
    assert access_keys.ensure_first_key(empty.url, settings) is None


def test_processes_that_start_together_make_one_first_key(empty: Database) -> None:
    settings = Settings(
        secret_key=SECRET_KEY, bootstrap_access_key_id="AKIACHOSEN", bootstrap_secret_access_key="chosen secret"
    )
    with ThreadPoolExecutor(4) as starting:
        made = list(starting.map(lambda _: access_keys.ensure_first_key(empty.url, settings), range(4)))
    assert len([key for key in made if key is not None]) == 1
