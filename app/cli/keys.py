"""`rekollect keys` and `rekollect webhooks secret`: access keys by hand."""

import argparse
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from sqlalchemy.engine import Connection

from app.config import Settings, read_rate
from app.db import accounts
from app.db.session import Database, Row
from app.domain.scopes import OWN, Scope, allows
from app.encryption import Cipher
from app.services import access_keys, operations
from app.services.access_keys import NewKey, Terms


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the actions of `rekollect keys`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    making = actions.add_parser("create", help="make a key and show it once")
    making.add_argument("--account", default="default", help="account, made where it is new (default: %(default)s)")
    making.add_argument("--name", default="", help="a note that helps to tell keys apart")
    making.add_argument(
        "--operations",
        nargs="+",
        type=_operations,
        metavar="PATTERN",
        help="operations it may call, as 'SearchFaces*' (default: all)",
    )
    making.add_argument(
        "--collections", nargs="+", metavar="PATTERN", help="collections it may touch, as 'team-a-*' (default: all)"
    )
    making.add_argument("--rate", type=_rate, help="calls per second (default: REKOLLECT_RATE_LIMIT)")
    making.add_argument(
        "--expires",
        type=_lifetime,
        metavar="TIME",
        help="how long it is good for, as 15m, 12h or 30d (default: for ever)",
    )
    making.add_argument(
        "--session", action="store_true", help="make temporary credentials: a session token belongs to the key"
    )
    making.set_defaults(run=create)
    actions.add_parser("list", help="list keys without their secrets").set_defaults(run=list_)
    for name, help_ in (("disable", "refuse a key until it is enabled"), ("enable", "accept a disabled key again")):
        switching = actions.add_parser(name, help=help_)
        switching.add_argument("access_key_id")
        switching.set_defaults(run=switch, disabled=name == "disable")
    revoking = actions.add_parser("revoke", help="refuse a key from now on")
    revoking.add_argument("access_key_id")
    revoking.set_defaults(run=revoke)


def configure_webhook_secret(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `secret` to the actions of `rekollect webhooks`."""
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
    lines = {"aws_access_key_id": key.access_key_id, "aws_secret_access_key": key.secret_access_key}
    if key.session_token is None:
        lines["API key (bearer)"] = key.api_key
    else:
        lines["aws_session_token"] = key.session_token
    lines["webhook secret"] = key.webhook_secret
    return "\n".join(f"  {name:<23}{value}" for name, value in lines.items())


def _lifetime(text: str) -> timedelta:
    units = {"s": timedelta(seconds=1), "m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
    found = re.fullmatch(r"([1-9][0-9]{0,4})([smhd])", text)
    if found is None:
        raise argparse.ArgumentTypeError("must be seconds, minutes, hours or days, as 15m, 12h or 30d")
    return int(found[1]) * units[found[2]]


def _rate(text: str) -> float:
    try:
        return read_rate(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _operations(pattern: str) -> str:
    scopes = (Scope(operations=(pattern,)),)
    known = sorted(operations.ALL | OWN)
    if not any(allows(scopes, operation, None) for operation in known):
        raise argparse.ArgumentTypeError(f"{pattern} is no operation: known are {', '.join(known)}")
    return pattern


def _terms(arguments: argparse.Namespace) -> Terms:
    scope = Scope(tuple(arguments.operations or ("*",)), tuple(arguments.collections or ("*",)))
    limited = bool(arguments.operations or arguments.collections)
    return Terms((scope,) if limited else None, arguments.rate, arguments.expires, arguments.session)


def create(arguments: argparse.Namespace) -> int:
    """Make a key and show it once."""
    settings = Settings.from_environment()
    with _transaction(settings) as connection:
        key = access_keys.create(
            connection,
            Cipher(settings.secret_key),
            account=arguments.account,
            name=arguments.name,
            terms=_terms(arguments),
        )
    print("Keep these now; the secret is not shown again.")
    print(show(key))
    return 0


def list_(arguments: argparse.Namespace) -> int:
    """List all keys, without secrets."""
    with _transaction(Settings.from_environment()) as connection:
        rows = accounts.list_keys(connection)
    print(f"{'access key':<22}{'account':<16}{'name':<16}{'created':<22}{'state':<10}{'until':<22}{'rate':<8}may do")
    for row in rows:
        created, until = _second(row.created_at), _second(row.expires_at)
        rate = "-" if row.rate is None else f"{row.rate:g}"
        whose = f"{row.access_key_id:<22}{row.account:<16}{row.name:<16}"
        print(f"{whose}{created:<22}{_state(row):<10}{until:<22}{rate:<8}{_may_do(row)}")
    return 0


def _second(moment: datetime | None) -> str:
    return "-" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}"


def _state(row: Row) -> str:
    if row.revoked_at is not None:
        return "revoked"
    if row.disabled_at is not None:
        return "disabled"
    return "expired" if row.expires_at is not None and row.expires_at <= datetime.now(UTC) else "active"


def _may_do(row: Row) -> str:
    if row.scopes is None:
        return "everything"
    scopes = [f"{' '.join(scope['Operations'])} on {' '.join(scope['Collections'])}" for scope in row.scopes]
    return "; ".join(scopes) or "nothing"


def switch(arguments: argparse.Namespace) -> int:
    """Disable a key or enable it again."""
    with _transaction(Settings.from_environment()) as connection:
        done = access_keys.switch(connection, arguments.access_key_id, disabled=arguments.disabled)
    word = "Disabled." if arguments.disabled else "Enabled."
    print(word if done else f"There is no key {arguments.access_key_id} that is not revoked.")
    return 0 if done else 1


def revoke(arguments: argparse.Namespace) -> int:
    """Revoke a key; requests with it are refused from now on."""
    with _transaction(Settings.from_environment()) as connection:
        revoked = access_keys.revoke(connection, arguments.access_key_id)
    print("Revoked." if revoked else f"There is no active key {arguments.access_key_id}.")
    return 0 if revoked else 1


def webhook_secret(arguments: argparse.Namespace) -> int:
    """Show the secret that signs an account's webhooks."""
    settings = Settings.from_environment()
    with _transaction(settings) as connection:
        print(access_keys.show_webhook_secret(connection, Cipher(settings.secret_key), arguments.account))
    return 0
