"""`rekollect audit`: who did what, in all accounts, asked of the database as `rekollect keys` does."""

import argparse
import json
import uuid
from datetime import datetime
from typing import Any

from app.cli import tables
from app.config import Settings
from app.db.session import Database
from app.domain.audit import Filter
from app.domain.deliveries import read_moment
from app.errors import ValidationError
from app.services import audit

_PAGE = 1000
_TITLES = ("time", "account", "actor", "operation", "collection", "count", "result", "from", "resources")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--account", help="only what concerns this account")
    parser.add_argument("--collection", help="only what was done to this collection")
    parser.add_argument("--operation", help="only this operation, as DeleteFaces")
    parser.add_argument("--key", metavar="ACCESS_KEY_ID", help="only what was done with this access key")
    parser.add_argument("--since", type=_moment, metavar="TIME", help="from this time on, as 2026-01-31T12:00:00Z")
    parser.add_argument("--until", type=_moment, metavar="TIME", help="before this time")
    parser.add_argument("--limit", type=int, default=100, help="lines at most, newest first (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print a JSON object a line")
    parser.set_defaults(run=run)


def _moment(text: str) -> datetime:
    try:
        return read_moment(text, "TIME")
    except ValidationError as error:
        raise argparse.ArgumentTypeError(error.message) from error


def run(arguments: argparse.Namespace) -> int:
    """List lines, newest first."""
    settings = Settings.from_environment()
    settings.require("database_url")
    database = Database(settings.database_url, pool_size=1)
    try:
        found = _read(database, arguments)
    finally:
        database.close()
    if arguments.json:
        for line in found:
            print(json.dumps(line))
    else:
        print(tables.table(_TITLES, [_row(line) for line in found]))
    return 0


def _read(database: Database, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    wanted = Filter(arguments.collection, arguments.operation, arguments.key, arguments.since, arguments.until)
    found: list[dict[str, Any]] = []
    before: uuid.UUID | None = None
    while len(found) < arguments.limit:
        size = min(_PAGE, arguments.limit - len(found))
        page = audit.list_all(database, wanted, account=arguments.account, before=before, limit=size)
        found += page
        if len(page) < size:
            break
        before = uuid.UUID(page[-1]["AuditId"])
    return found


def _row(line: dict[str, Any]) -> tuple[object, ...]:
    actor = line["Actor"]
    return (
        tables.moment(line["RecordedAt"]),
        line["Account"],
        " ".join(actor.values()),
        line["Operation"],
        line.get("CollectionId"),
        line.get("Count"),
        line["Result"],
        line.get("SourceAddress"),
        " ".join(f"{name}={value}" for name, value in line.get("Resources", {}).items()),
    )
