"""Schedules: what an account has set up to happen by itself, and how due times become ticks.

A due time becomes a tick in the transaction that moves the schedule on, so it does so once, however many sweepers there are and
wherever one of them dies.
"""

import logging
import uuid
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.engine import Connection

from app.broker import Doorbell
from app.db import schedules as rows
from app.db import ticks
from app.db.session import Database, now
from app.domain.audit import OPERATOR, Act, Actor, Line
from app.domain.cron import CatchUp, Rule
from app.domain.jobs import Lane
from app.domain.schedules import MAX_SCHEDULES, Schedule, document, tick_document
from app.errors import Conflict, ScheduleNotFound, ServiceQuotaExceeded
from app.failpoints import failpoint
from app.services import audit

log = logging.getLogger(__name__)

#: Schedules that one sweep moves on at most; the next sweep is a second away.
_SWEEP_LIMIT = 100

#: Bells that one sweep rings at most: a run rings again for what is left.
_BELLS_PER_SWEEP = 2

#: Ticks that are shown with a schedule.
_SHOWN_TICKS = 20

#: Runs that somebody may ask for before the earlier ones have ended.
_MAX_OPEN = 10

_FORGOTTEN_AT_ONCE = 2000

#: A schedule whose times cannot be told, because this machine does not know its time zone, is looked at again after this.
_UNTOLD_PAUSE = timedelta(minutes=1)

Document = dict[str, Any]

#: What ticks end with whose schedule was disabled before they had ended.
_DISABLED: Document = {"Code": "Disabled", "Message": "The schedule was disabled before this run had ended."}


def create(database: Database, account_id: int, values: Document, actor: Actor = OPERATOR) -> Document:
    """Make a schedule and show it."""
    with database.transaction() as connection:
        if rows.lock_and_count(connection, account_id) >= MAX_SCHEDULES:
            raise ServiceQuotaExceeded(f"An account can have at most {MAX_SCHEDULES} schedules.")
        due = _next_due(values, now(connection))
        schedule = rows.insert(connection, {**values, "account_id": account_id, "next_due_at": due})
        if schedule is None:
            raise _name_taken(values["name"])
        audit.note(connection, _line(schedule, actor, Act.CREATE_SCHEDULE))
        return document(schedule, None)


def get(database: Database, account_id: int | None, schedule_id: str) -> Document:
    """Show a schedule of an account with its newest ticks, or raise ScheduleNotFound."""
    with database.transaction() as connection:
        schedule = _found(connection, account_id, schedule_id)
        newest = ticks.newest(connection, schedule.schedule_id, limit=_SHOWN_TICKS)
    shown = document(schedule, newest[0] if newest else None)
    return {**shown, "Ticks": [tick_document(tick) for tick in newest]}


def list_page(database: Database, account_id: int, *, before: uuid.UUID | None, limit: int) -> list[Document]:
    """Show schedules of an account with their last runs, newest first."""
    with database.transaction() as connection:
        found = rows.list_page(connection, account_id, before=before, limit=limit)
        last = ticks.newest_of_each(connection, [schedule.schedule_id for schedule in found])
    return [document(schedule, last.get(schedule.schedule_id)) for schedule in found]


def list_all(database: Database) -> list[tuple[int | None, str | None, Document]]:
    """Show the schedules of all accounts, each with its account's number and name; built-in ones have none."""
    with database.transaction() as connection:
        found = rows.list_all(connection)
        last = ticks.newest_of_each(connection, [schedule.schedule_id for _, schedule in found])
    return [
        (schedule.account_id, account, document(schedule, last.get(schedule.schedule_id)))
        for account, schedule in found
    ]


def get_stored(database: Database, account_id: int | None, schedule_id: str) -> Schedule:
    """Give a schedule of an account as it is stored, or raise ScheduleNotFound."""
    with database.statement() as connection:
        return _found(connection, account_id, schedule_id)


def change(
    database: Database, account_id: int | None, schedule_id: str, changes: Document, actor: Actor = OPERATOR
) -> Document:
    """Set columns and show the schedule. With other times its next one counts from now, and nothing is made up for.

    Disabling ends the runs that wait or are under way: a worker sees it at its next step.
    """
    values = dict(changes)
    with database.transaction() as connection:
        if account_id is not None:
            rows.lock_and_count(connection, account_id)  # names are given one after the other
        schedule = _found(connection, account_id, schedule_id, lock=True)
        number = schedule.schedule_id
        if "name" in values and rows.has_name(connection, account_id, values["name"], but=number):
            raise _name_taken(values["name"])
        if {"cron", "timezone", "enabled"} & values.keys():
            values["next_due_at"] = _next_due(_columns(schedule) | values, now(connection))
        if values:
            rows.update(connection, number, values)
        if values.get("enabled") is False:
            ticks.end_open(connection, number, error=_DISABLED)
        audit.note(connection, _line(schedule, actor, Act.UPDATE_SCHEDULE))
    if values.get("settings", schedule.settings) != schedule.settings:
        _forget_objects(database, number)
    return get(database, account_id, schedule_id)


def delete(database: Database, account_id: int, schedule_id: str, actor: Actor = OPERATOR) -> None:
    """Delete a schedule with its ticks, in transactions that stay short; what it indexed stays."""
    with database.transaction() as connection:
        schedule = _found(connection, account_id, schedule_id, lock=True)
        rows.update(connection, schedule.schedule_id, {"enabled": False, "next_due_at": None})
    _forget_objects(database, schedule.schedule_id)
    with database.transaction() as connection:
        rows.delete(connection, account_id, schedule.schedule_id)
        audit.note(connection, _line(schedule, actor, Act.DELETE_SCHEDULE))


def run_now(
    database: Database, doorbell: Doorbell, account_id: int | None, schedule_id: str, actor: Actor = OPERATOR
) -> Document:
    """Queue a run at this moment, whether or not the schedule is enabled, and show its tick."""
    with database.transaction() as connection:
        schedule = _found(connection, account_id, schedule_id, lock=True)
        if ticks.count_open(connection, schedule.schedule_id) >= _MAX_OPEN:
            raise Conflict(f"The schedule has {_MAX_OPEN} runs that have not ended.")
        tick = ticks.insert_manual(connection, schedule.schedule_id)
        audit.note(connection, _line(schedule, actor, Act.RUN_SCHEDULE))
    doorbell.ring(Lane.MAINTENANCE)
    return tick_document(tick)


def _line(schedule: Schedule, actor: Actor, act: Act) -> Line:
    resources = {"ScheduleId": str(schedule.schedule_id)}
    return Line(schedule.account_id, actor, act, schedule.settings.get("CollectionId"), resources)


def make_ticks(database: Database) -> int:
    """Turn due times into ticks and move their schedules on; give how many ticks were made."""
    made = 0
    with database.transaction() as connection:
        moment = now(connection)
        for schedule in rows.lock_due(connection, limit=_SWEEP_LIMIT):
            made += _make_ticks(connection, schedule, moment)
        if made:
            failpoint("in_ticks")
    return made


def _make_ticks(connection: Connection, schedule: Schedule, moment: datetime) -> int:
    try:
        due = schedule.rule.due(schedule.next_due_at or moment, moment)
        following = schedule.rule.following(moment)
    except ValueError as error:  # one schedule that cannot be told must not hold up the others
        log.error("schedule_not_told", exc_info=error, extra={"schedule_id": str(schedule.schedule_id)})
        due, following = [], moment + _UNTOLD_PAUSE
    rows.advance(connection, schedule.schedule_id, next_due_at=following, last_due_at=due[-1] if due else None)
    return ticks.insert(connection, schedule.schedule_id, due)


def ring(database: Database, doorbell: Doorbell) -> None:
    """Ring for ticks that wait for a worker."""
    with database.statement() as connection:
        waiting = ticks.count_claimable(connection, limit=_BELLS_PER_SWEEP)
    doorbell.ring(Lane.MAINTENANCE, waiting)


def _next_due(values: Document, moment: datetime) -> datetime | None:
    rule = Rule(values["cron"], values["timezone"], CatchUp(values["catch_up"]))
    return rule.following(moment) if values["enabled"] else None


def _columns(schedule: Schedule) -> Document:
    rule = schedule.rule
    times = {"cron": rule.cron, "timezone": rule.time_zone, "catch_up": rule.catch_up}
    return {**times, "enabled": schedule.enabled}


def _forget_objects(database: Database, schedule_id: uuid.UUID) -> None:
    """Forget what a re-sync has seen: elsewhere it begins anew."""
    forgotten = _FORGOTTEN_AT_ONCE
    while forgotten == _FORGOTTEN_AT_ONCE:
        with database.transaction() as connection:
            forgotten = rows.forget_objects(connection, schedule_id, limit=_FORGOTTEN_AT_ONCE)


def _found(connection: Connection, account_id: int | None, schedule_id: str, *, lock: bool = False) -> Schedule:
    try:
        schedule = rows.find(connection, account_id, uuid.UUID(schedule_id), lock=lock)
    except ValueError:
        schedule = None
    if schedule is None:
        raise ScheduleNotFound(schedule_id)
    return schedule


def _name_taken(name: str) -> Conflict:
    return Conflict(f"The schedule name: {name} already exists")
