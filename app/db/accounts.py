"""Queries on accounts and access keys."""

from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.db.schema import access_keys, accounts
from app.db.session import Row


def find_account(connection: Connection, name: str) -> int | None:
    """Find the number of an account by its name."""
    statement = sa.select(accounts.c.account_id).where(accounts.c.name == name)
    found: int | None = connection.execute(statement).scalar_one_or_none()
    return found


def insert_account(connection: Connection, name: str, webhook_secret: bytes) -> int:
    """Insert an account with its encrypted webhook secret; give its number."""
    statement = sa.insert(accounts).values(name=name, webhook_secret=webhook_secret).returning(accounts.c.account_id)
    return int(connection.execute(statement).scalar_one())


def get_webhook_secret(connection: Connection, account_id: int) -> bytes:
    """Read an account's encrypted webhook secret."""
    statement = sa.select(accounts.c.webhook_secret).where(accounts.c.account_id == account_id)
    return bytes(connection.execute(statement).scalar_one())


def insert_key(connection: Connection, values: dict[str, Any], *, lifetime: timedelta | None) -> None:
    """Insert an access key with its encrypted secret."""
    expires_at = None if lifetime is None else sa.func.now() + lifetime
    connection.execute(sa.insert(access_keys).values(**values, expires_at=expires_at))


def find_key(connection: Connection, access_key_id: str) -> Row | None:
    """Find a key that is neither revoked nor disabled."""
    expired = sa.func.coalesce(access_keys.c.expires_at <= sa.func.now(), False)
    statement = sa.select(
        access_keys.c.account_id,
        access_keys.c.secret,
        access_keys.c.session_token,
        access_keys.c.scopes,
        access_keys.c.rate,
        expired.label("expired"),
    ).where(
        access_keys.c.access_key_id == access_key_id,
        access_keys.c.revoked_at.is_(None),
        access_keys.c.disabled_at.is_(None),
    )
    return connection.execute(statement).one_or_none()


def list_keys(connection: Connection) -> list[Row]:
    """List all keys: whose they are, since when, until when, and what they may do."""
    statement = (
        sa.select(
            access_keys.c.access_key_id,
            accounts.c.name.label("account"),
            access_keys.c.name,
            access_keys.c.created_at,
            access_keys.c.expires_at,
            access_keys.c.disabled_at,
            access_keys.c.revoked_at,
            access_keys.c.scopes,
            access_keys.c.rate,
        )
        .join(accounts, accounts.c.account_id == access_keys.c.account_id)
        .order_by(access_keys.c.created_at)
    )
    return list(connection.execute(statement))


def revoke_key(connection: Connection, access_key_id: str) -> int | None:
    """Revoke a key and give its account; None where there is none that is still good."""
    statement = (
        sa.update(access_keys)
        .where(access_keys.c.access_key_id == access_key_id, access_keys.c.revoked_at.is_(None))
        .values(revoked_at=sa.func.now())
        .returning(access_keys.c.account_id)
    )
    return connection.execute(statement).scalar_one_or_none()


def set_disabled(connection: Connection, access_key_id: str, *, disabled: bool) -> int | None:
    """Disable a key or enable it again and give its account; None where there is none that is not revoked."""
    statement = (
        sa.update(access_keys)
        .where(access_keys.c.access_key_id == access_key_id, access_keys.c.revoked_at.is_(None))
        .values(disabled_at=sa.func.now() if disabled else None)
        .returning(access_keys.c.account_id)
    )
    return connection.execute(statement).scalar_one_or_none()


def lock_keys(connection: Connection) -> None:
    """Keep everybody else from making or revoking a key until the transaction ends; finding one goes on."""
    connection.execute(sa.text("LOCK TABLE access_keys IN SHARE ROW EXCLUSIVE MODE"))


def any_key(connection: Connection) -> bool:
    """Tell whether the database has an access key at all, revoked ones included."""
    return connection.execute(sa.select(sa.exists(sa.select(access_keys.c.access_key_id)))).scalar_one()
