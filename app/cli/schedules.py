"""`rekollect schedules`: what happens by itself in all accounts, asked of the database as `rekollect keys` does."""

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from app.broker import Doorbell, create_celery
from app.cli import tables
from app.config import Settings
from app.db.session import Database
from app.services import schedules

_BUILT_IN = "(built in)"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the actions of `rekollect schedules`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("list", help="list schedules with their last and next runs").set_defaults(run=list_)
    for name, help_, action in (
        ("show", "show a schedule with its newest runs", show),
        ("run", "run it now", run),
        ("enable", "let it come due again", switch),
        ("disable", "let it not come due", switch),
    ):
        one = actions.add_parser(name, help=help_)
        one.add_argument("schedule", help="its name or its id")
        one.add_argument("--account", help="whose it is, where several have one of the name")
        one.set_defaults(run=action)
    for parsers in actions.choices.values():
        parsers.add_argument("--json", action="store_true", help="print the documents of the API")


@contextmanager
def _database(settings: Settings) -> Iterator[Database]:
    settings.require("database_url")
    database = Database(settings.database_url, pool_size=1)
    try:
        yield database
    finally:
        database.close()


def list_(arguments: argparse.Namespace) -> int:
    """List the schedules of all accounts."""
    with _database(Settings.from_environment()) as database:
        found = schedules.list_all(database)
    if arguments.json:
        print(json.dumps([{"Account": account, **document} for _, account, document in found], indent=2))
        return 0
    rows = [_row(account, document) for _, account, document in found]
    titles = ("account", "name", "kind", "cron", "time zone", "catch up", "last run", "status", "next run")
    print(tables.table(titles, rows))
    return 0


def _row(account: str | None, document: dict[str, Any]) -> tuple[object, ...]:
    last = document.get("LastRun", {})
    return (
        account or _BUILT_IN,
        document["Name"],
        document["Kind"],
        document["Cron"],
        document["TimeZone"],
        document["CatchUp"],
        tables.moment(last.get("DueAt")),
        last.get("Status"),
        tables.moment(document.get("NextRunAt")) if document["Enabled"] else "disabled",
    )


def show(arguments: argparse.Namespace) -> int:
    """Show one schedule."""
    with _database(Settings.from_environment()) as database:
        found = _find(database, arguments)
        return 1 if found is None else _print(arguments, schedules.get(database, *found))


def run(arguments: argparse.Namespace) -> int:
    """Queue a run."""
    settings = Settings.from_environment()
    settings.require("redis_url")
    with _database(settings) as database:
        found = _find(database, arguments)
        if found is None:
            return 1
        doorbell = Doorbell(create_celery(settings.redis_url))
        return _print(arguments, schedules.run_now(database, doorbell, *found))


def switch(arguments: argparse.Namespace) -> int:
    """Enable or disable a schedule."""
    with _database(Settings.from_environment()) as database:
        found = _find(database, arguments)
        if found is None:
            return 1
        return _print(arguments, schedules.change(database, *found, {"enabled": arguments.action == "enable"}))


def _find(database: Database, arguments: argparse.Namespace) -> tuple[int | None, str] | None:
    """Find the schedule that is meant: the number of its account, and its id."""
    named = [
        (number, str(document["ScheduleId"]))
        for number, account, document in schedules.list_all(database)
        if arguments.schedule in (document["Name"], document["ScheduleId"]) and arguments.account in (None, account)
    ]
    if len(named) == 1:
        return named[0]
    print(f"There is {'no' if not named else 'more than one'} schedule {arguments.schedule}.")
    return None


def _print(arguments: argparse.Namespace, document: dict[str, Any]) -> int:
    print(json.dumps(document, indent=2) if arguments.json else tables.lines(document))
    return 0
