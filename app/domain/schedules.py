"""Schedules: what may be done at times of one's choosing, what a caller may set, and how schedules and their ticks are shown.

A tick is one due time of one schedule: it is run to its end once, in as many pieces and attempts as that takes.
"""

import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from app.domain.cron import CatchUp, Rule, read_catch_up, read_cron, read_time_zone
from app.domain.jobs import iso
from app.errors import ValidationError

MAX_SCHEDULES = 100  #: of an account

#: A worker that did not get on with its tick for this long is dead; each step renews. Longer than any step's timeouts.
LEASE = timedelta(minutes=1)

#: A tick that failed is tried again after these pauses, then it ends as FAILED. A crash costs a try like any other failure.
RETRY_PAUSES = (timedelta(minutes=1), timedelta(minutes=5))
MAX_TRIES = len(RETRY_PAUSES) + 1

#: How long ended ticks are kept; the newest of a schedule stays.
KEEP_TICKS = timedelta(days=7)

NAME = re.compile(r"[a-zA-Z0-9_.\-]{1,128}")
_COLLECTION = re.compile(r"[a-zA-Z0-9_.\-]{1,255}")
BUCKET = re.compile(r"[0-9A-Za-z.\-_]{3,255}")
_CONTROL = re.compile("[\0-\x1f\x7f\ud800-\udfff]")
MAX_PREFIX = 1024
MAX_DAYS = 36_500


class Kind(StrEnum):
    """What a schedule does."""

    PURGE = "PURGE"  #: forget what is past its retention, in all accounts; built in
    RETENTION = "RETENTION"  #: delete the old faces of a collection
    RESYNC = "RESYNC"  #: bring a collection up to date with the objects under a prefix
    INTEGRITY = "INTEGRITY"  #: look for what does not fit together


#: Operations that a key must be allowed on the collection of a schedule to set it up: what its runs do in the key's place.
NEEDS: dict[Kind, tuple[str, ...]] = {
    Kind.RETENTION: ("DeleteFaces", "DisassociateFaces"),
    Kind.RESYNC: ("IndexFaces", "DeleteFaces", "DisassociateFaces"),
    Kind.INTEGRITY: (),
}


class TickStatus(StrEnum):
    """Where a tick stands."""

    QUEUED = "QUEUED"  #: waits for a worker, or for the rest of its turn
    IN_PROGRESS = "IN_PROGRESS"  #: a worker is at it
    SUCCEEDED = "SUCCEEDED"  #: the result is stored
    FAILED = "FAILED"  #: the error is stored


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule as stored; without an account it is built in."""

    schedule_id: uuid.UUID
    account_id: int | None
    name: str
    kind: Kind
    rule: Rule
    settings: dict[str, Any]
    enabled: bool
    next_due_at: datetime | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Tick:
    """One due time of a schedule, and what became of it."""

    schedule_id: uuid.UUID
    due_at: datetime
    trigger: str
    status: TickStatus
    failures: int
    result: dict[str, Any] | None
    error: dict[str, Any] | None
    started_at: datetime | None
    finished_at: datetime | None


def document(schedule: Schedule, last: Tick | None) -> dict[str, Any]:
    """Render a schedule with its last run; absent members are left out."""
    itself = f"/v1/schedules/{schedule.schedule_id}"
    members = {
        "ScheduleId": str(schedule.schedule_id),
        "Name": schedule.name,
        "Kind": schedule.kind.value,
        "Cron": schedule.rule.cron,
        "TimeZone": schedule.rule.time_zone,
        "CatchUp": schedule.rule.catch_up.value,
        "Settings": schedule.settings,
        "Enabled": schedule.enabled,
        "NextRunAt": iso(schedule.next_due_at),
        "LastRun": None if last is None else tick_document(last),
        "CreatedAt": iso(schedule.created_at),
        "UpdatedAt": iso(schedule.updated_at),
        "Links": {"Self": itself, "Run": f"{itself}/run"},
    }
    return {name: value for name, value in members.items() if value is not None}


def tick_document(tick: Tick) -> dict[str, Any]:
    """Render a tick; absent members are left out."""
    members = {
        "DueAt": iso(tick.due_at),
        "Trigger": tick.trigger,
        "Status": tick.status.value,
        "Attempt": None if tick.started_at is None else min(tick.failures + 1, MAX_TRIES),
        "StartedAt": iso(tick.started_at),
        "FinishedAt": iso(tick.finished_at),
        "Result": tick.result,
        "Error": tick.error,
    }
    return {name: value for name, value in members.items() if value is not None}


def read_new(members: Mapping[str, Any]) -> dict[str, Any]:
    """Check what a caller says of a new schedule and give it as columns; raises ValidationError."""
    for name in ("Name", "Kind", "Cron"):
        if name not in members:
            raise ValidationError(f"{name} is missing.")
    kind = _kind(members["Kind"])
    defaults = {"TimeZone": "UTC", "CatchUp": CatchUp.ONE.value, "Settings": {}, "Enabled": True}
    return {"kind": kind, **read_changes(defaults | {k: v for k, v in members.items() if k != "Kind"}, kind)}


def read_changes(members: Mapping[str, Any], kind: Kind) -> dict[str, Any]:
    """Check the members that a caller named and give them as columns; raises ValidationError."""
    readers: dict[str, tuple[str, Callable[[Any], Any]]] = {
        "Name": ("name", _name),
        "Cron": ("cron", read_cron),
        "TimeZone": ("timezone", read_time_zone),
        "CatchUp": ("catch_up", read_catch_up),
        "Settings": ("settings", lambda value: _settings(value, kind)),
        "Enabled": ("enabled", _enabled),
    }
    return {column: read(members[name]) for name, (column, read) in readers.items() if name in members}


#: What a caller may change; Kind is said once, when the schedule is made.
CHANGEABLE = ("Name", "Cron", "TimeZone", "CatchUp", "Settings", "Enabled")
MEMBERS = (*CHANGEABLE, "Kind")


def _kind(value: object) -> Kind:
    if not isinstance(value, str) or value not in {kind.value for kind in NEEDS}:
        raise ValidationError(f"Kind must be one of {', '.join(NEEDS)}.")
    return Kind(value)


def _name(value: object) -> str:
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise ValidationError("Name must be 1 to 128 letters, digits and signs of _.-")
    return value


def _enabled(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValidationError("Enabled must be true or false.")
    return value


def _settings(value: object, kind: Kind) -> dict[str, Any]:
    """Check the settings of a kind: each of them is needed, but for a default."""
    readers, defaults = _SETTINGS[kind]
    if not isinstance(value, dict) or not set(value) <= set(readers):
        known = ", ".join(readers) or "no member"
        raise ValidationError(f"Settings of {kind} must be an object with {known}.")
    given = defaults | value
    missing = [name for name in readers if name not in given]
    if missing:
        raise ValidationError(f"Settings.{missing[0]} is missing.")
    return {name: read(given[name]) for name, read in readers.items()}


def _collection(value: object) -> str:
    if not isinstance(value, str) or not _COLLECTION.fullmatch(value):
        raise ValidationError("Settings.CollectionId must be the id of a collection.")
    return value


def _days(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_DAYS:
        raise ValidationError(f"Settings.Days must be a whole number of days, 1 to {MAX_DAYS}.")
    return value


def _bucket(value: object) -> str:
    if not isinstance(value, str) or not BUCKET.fullmatch(value):
        raise ValidationError("Settings.Bucket must be the name of an S3 bucket.")
    return value


def _prefix(value: object) -> str:
    if not isinstance(value, str) or len(value) > MAX_PREFIX or _CONTROL.search(value):
        raise ValidationError(f"Settings.Prefix must be a text of at most {MAX_PREFIX} characters on one line.")
    return value


_Readers = Mapping[str, Callable[[Any], Any]]
_SETTINGS: dict[Kind, tuple[_Readers, dict[str, Any]]] = {
    Kind.PURGE: ({}, {}),
    Kind.RETENTION: ({"CollectionId": _collection, "Days": _days}, {}),
    Kind.RESYNC: ({"CollectionId": _collection, "Bucket": _bucket, "Prefix": _prefix}, {"Prefix": ""}),
    Kind.INTEGRITY: ({}, {}),
}
