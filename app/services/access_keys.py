"""Access keys: who may call, and with which secret.

A key's id and secret sign requests as at AWS; joined by a dot they are the bearer token of /v1. A secret is shown once, when
the key is made, and rests encrypted.
"""

import base64
import hmac
import secrets
from dataclasses import dataclass, field

from sqlalchemy.engine import Connection

from app.config import Settings
from app.db import accounts
from app.db.session import Database
from app.domain.signatures import new_secret
from app.encryption import Cipher

DEFAULT_ACCOUNT = "default"


class AccountNotFound(Exception):
    """No account has this name."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made; its secrets are not shown again."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    api_key: str = field(repr=False)
    webhook_secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class KnownKey:
    """The owner and the secret of a good key."""

    account_id: int
    secret: str = field(repr=False)


def create(
    connection: Connection,
    cipher: Cipher,
    *,
    account: str = DEFAULT_ACCOUNT,
    name: str = "",
    access_key_id: str = "",
    secret_access_key: str = "",
) -> NewKey:
    """Make a key for an account, and the account where there is none of that name."""
    account_id = accounts.find_account(connection, account)
    if account_id is None:
        webhook_secret = new_secret()
        sealed = cipher.encrypt(webhook_secret, owner=f"account {account}")
        account_id = accounts.insert_account(connection, account, sealed)
    else:
        webhook_secret = webhook_secret_of(connection, cipher, account)
    access_key_id = access_key_id or "REKO" + base64.b32encode(secrets.token_bytes(10)).decode()
    secret = secret_access_key or secrets.token_urlsafe(30)
    accounts.insert_key(connection, access_key_id, account_id, name, cipher.encrypt(secret, owner=access_key_id))
    return NewKey(access_key_id, secret, f"{access_key_id}.{secret}", webhook_secret)


def webhook_secret_of(connection: Connection, cipher: Cipher, account: str) -> str:
    """Read the secret that signs an account's webhooks."""
    account_id = accounts.find_account(connection, account)
    if account_id is None:
        raise AccountNotFound(f"There is no account named {account}.")
    return cipher.decrypt(accounts.get_webhook_secret(connection, account_id), owner=f"account {account}")


def find(connection: Connection, cipher: Cipher, access_key_id: str) -> KnownKey | None:
    """Find a key that is not revoked."""
    row = accounts.find_key(connection, access_key_id)
    if row is None:
        return None
    return KnownKey(row.account_id, cipher.decrypt(bytes(row.secret), owner=access_key_id))


def find_by_api_key(connection: Connection, cipher: Cipher, api_key: str) -> KnownKey | None:
    """Find the key whose bearer token this is; a wrong secret takes as long as a right one."""
    access_key_id, _, secret = api_key.partition(".")
    known = find(connection, cipher, access_key_id)
    expected = known.secret if known is not None else ""
    equal = hmac.compare_digest(expected.encode(), secret.encode())
    return known if known is not None and equal else None


def ensure_first_key(database_url: str, settings: Settings) -> NewKey | None:
    """Make the first key of a new database; None where there is one already."""
    database = Database(database_url, pool_size=1)
    try:
        with database.transaction() as connection:
            accounts.lock_keys(connection)  # of processes that start together one makes the key
            if accounts.any_key(connection):
                return None
            return create(
                connection,
                Cipher(settings.secret_key),
                name="first",
                access_key_id=settings.bootstrap_access_key_id,
                secret_access_key=settings.bootstrap_secret_access_key,
            )
    finally:
        database.close()
