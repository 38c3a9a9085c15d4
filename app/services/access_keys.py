"""Access keys: who may call, with which secret, for how long, and what.

A key's id and secret sign requests as at AWS; joined by a dot they are the bearer token of /v1. A secret is shown once, when
the key is made, and rests encrypted. A key that was made with a session token is good only together with it.
"""

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy.engine import Connection

from app.config import Settings
from app.db import accounts
from app.db.session import Database
from app.domain.audit import OPERATOR, Act, Line
from app.domain.scopes import Scope, read
from app.domain.signatures import new_secret
from app.encryption import Cipher
from app.services import audit

DEFAULT_ACCOUNT = "default"


class AccountNotFound(Exception):
    """No account has this name."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a key is good for; the default is everything in its account, without end."""

    scopes: tuple[Scope, ...] | None = None
    rate: float | None = None  # calls per second
    lifetime: timedelta | None = None
    with_session_token: bool = False


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made; its secrets are not shown again."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    api_key: str = field(repr=False)
    webhook_secret: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class KnownKey:
    """The owner, the secret and the limits of a key that is neither revoked nor disabled."""

    access_key_id: str
    account_id: int
    secret: str = field(repr=False)
    scopes: tuple[Scope, ...] | None
    rate: float | None
    expired: bool


def create(
    connection: Connection,
    cipher: Cipher,
    *,
    account: str = DEFAULT_ACCOUNT,
    name: str = "",
    access_key_id: str = "",
    secret_access_key: str = "",
    terms: Terms = Terms(),
) -> NewKey:
    """Make a key for an account, and the account where there is none of that name."""
    account_id, webhook_secret = _account(connection, cipher, account)
    access_key_id = access_key_id or "REKO" + base64.b32encode(secrets.token_bytes(10)).decode()
    secret = secret_access_key or secrets.token_urlsafe(30)
    token = secrets.token_urlsafe(48) if terms.with_session_token else None
    values = {
        "access_key_id": access_key_id,
        "account_id": account_id,
        "name": name,
        "secret": cipher.encrypt(secret, owner=access_key_id),
        "session_token": None if token is None else _digest(token),
        "scopes": None if terms.scopes is None else [scope.document() for scope in terms.scopes],
        "rate": terms.rate,
    }
    accounts.insert_key(connection, values, lifetime=terms.lifetime)
    _note(connection, account_id, access_key_id, Act.CREATE_KEY)
    return NewKey(access_key_id, secret, f"{access_key_id}.{secret}", webhook_secret, token)


def revoke(connection: Connection, access_key_id: str) -> bool:
    """Refuse a key from now on; False where there is none that is still good."""
    return _note(connection, accounts.revoke_key(connection, access_key_id), access_key_id, Act.REVOKE_KEY)


def switch(connection: Connection, access_key_id: str, *, disabled: bool) -> bool:
    """Disable a key or enable it again; False where there is none that is not revoked."""
    account_id = accounts.set_disabled(connection, access_key_id, disabled=disabled)
    return _note(connection, account_id, access_key_id, Act.DISABLE_KEY if disabled else Act.ENABLE_KEY)


def _note(connection: Connection, account_id: int | None, access_key_id: str, act: Act) -> bool:
    """Write down what an operator did with a key; False where there was no such key."""
    if account_id is not None:
        audit.note(connection, Line(account_id, OPERATOR, act, resources={"AccessKeyId": access_key_id}))
    return account_id is not None


def _account(connection: Connection, cipher: Cipher, name: str) -> tuple[int, str]:
    account_id = accounts.find_account(connection, name)
    if account_id is not None:
        return account_id, webhook_secret_of(connection, cipher, name)
    webhook_secret = new_secret()
    sealed = cipher.encrypt(webhook_secret, owner=f"account {name}")
    return accounts.insert_account(connection, name, sealed), webhook_secret


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def show_webhook_secret(connection: Connection, cipher: Cipher, account: str) -> str:
    """Give the secret that signs an account's webhooks to an operator, and write that down."""
    secret = webhook_secret_of(connection, cipher, account)
    audit.note(connection, Line(accounts.find_account(connection, account), OPERATOR, Act.SHOW_WEBHOOK_SECRET))
    return secret


def webhook_secret_of(connection: Connection, cipher: Cipher, account: str) -> str:
    """Read the secret that signs an account's webhooks."""
    account_id = accounts.find_account(connection, account)
    if account_id is None:
        raise AccountNotFound(f"There is no account named {account}.")
    return cipher.decrypt(accounts.get_webhook_secret(connection, account_id), owner=f"account {account}")


def find(
    connection: Connection, cipher: Cipher, access_key_id: str, session_token: str | None = None
) -> KnownKey | None:
    """Find a key that goes with this session token, or with none."""
    row = accounts.find_key(connection, access_key_id)
    if row is None:
        return None
    wanted = b"" if row.session_token is None else bytes(row.session_token)
    given = b"" if session_token is None else _digest(session_token)
    if not hmac.compare_digest(wanted, given):
        return None
    secret = cipher.decrypt(bytes(row.secret), owner=access_key_id)
    return KnownKey(access_key_id, row.account_id, secret, read(row.scopes), row.rate, row.expired)


def find_by_api_key(connection: Connection, cipher: Cipher, api_key: str) -> KnownKey | None:
    """Find the key whose bearer token this is; a wrong secret takes as long as a right one."""
    access_key_id, _, secret = api_key.partition(".")
    known = find(connection, cipher, access_key_id, None)
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
