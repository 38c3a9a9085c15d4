"""`rekollect keys` and `rekollect webhooks secret`: access keys by hand."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.engine import Connection

from app.config import Settings
from app.db import accounts
from app.db.session import Database
from app.encryption import Cipher
from app.services import access_keys
from app.services.access_keys import NewKey


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the actions of `rekollect keys`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    making = actions.add_parser("create", help="make a key and show it once")
    making.add_argument("--account", default="default", help="account, made where it is new (default: %(default)s)")
    making.add_argument("--name", default="", help="a note that helps to tell keys apart")
    making.set_defaults(run=create)
    actions.add_parser("list", help="list keys without their secrets").set_defaults(run=list_)
    revoking = actions.add_parser("revoke", help="refuse a key from now on")
    revoking.add_argument("access_key_id")
    revoking.set_defaults(run=revoke)


def configure_webhooks(parser: argparse.ArgumentParser) -> None:
    """Add the actions of `rekollect webhooks`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    secret = actions.add_parser("secret", help="show the secret that signs an account's webhooks")
    secret.add_argument("--account", default="default")
    secret.set_defaults(run=webhook_secret)


@contextmanager
def _transaction(settings: Settings) -> Iterator[Connection]:
    settings.require("database_url", "secret_key")
    database = Database(settings.database_url, pool_size=1)
    try:
        with database.transaction() as connection:
            yield connection
    finally:
        database.close()


def show(key: NewKey) -> str:
    """Write a new key for people; the names are those of the AWS tools."""
    return "\n".join(
        (
            f"  aws_access_key_id      {key.access_key_id}",
            f"  aws_secret_access_key  {key.secret_access_key}",
            f"  API key (bearer)       {key.api_key}",
            f"  webhook secret         {key.webhook_secret}",
        )
    )


def create(arguments: argparse.Namespace) -> int:
    """Make a key and show it once."""
    settings = Settings.from_environment()
    with _transaction(settings) as connection:
        key = access_keys.create(
            connection, Cipher(settings.secret_key), account=arguments.account, name=arguments.name
        )
    print("Keep these now; the secret is not shown again.")
    print(show(key))
    return 0


def list_(arguments: argparse.Namespace) -> int:
    """List all keys, without secrets."""
    with _transaction(Settings.from_environment()) as connection:
        rows = accounts.list_keys(connection)
    print(f"{'access key':<22}{'account':<16}{'name':<16}{'created':<22}state")
    for row in rows:
        state = "active" if row.revoked_at is None else "revoked"
        created = f"{row.created_at:%Y-%m-%d %H:%M:%S}"
        print(f"{row.access_key_id:<22}{row.account:<16}{row.name:<16}{created:<22}{state}")
    return 0


def revoke(arguments: argparse.Namespace) -> int:
    """Revoke a key; requests with it are refused from now on."""
    with _transaction(Settings.from_environment()) as connection:
        revoked = accounts.revoke_key(connection, arguments.access_key_id)
    print("Revoked." if revoked else f"There is no active key {arguments.access_key_id}.")
    return 0 if revoked else 1


def webhook_secret(arguments: argparse.Namespace) -> int:
    """Show the secret that signs an account's webhooks."""
    settings = Settings.from_environment()
    with _transaction(settings) as connection:
        print(access_keys.webhook_secret_of(connection, Cipher(settings.secret_key), arguments.account))
    return 0
